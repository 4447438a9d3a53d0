//! Who calls whom, as far as names say: the functions of a crate, what each calls, and the files where that
//! may be. There are no types here: a call is taken to any function of its name, unless the name before it
//! (a module, a type, or what a field or parameter was declared as) says where.

use super::modules::without_tests;
use super::source::{Source, Token, is_word, tokens};
use std::collections::{BTreeMap, BTreeSet};

/// What stands before the name of a function that is called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Before<'a> {
    Nothing,
    /// The last name of a path: a module or a type.
    Path(&'a str),
    /// What the method is of, if it is a name.
    Receiver(&'a str),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Call<'a> {
    before: Before<'a>,
    pub function: &'a str,
}

/// Methods that nearly everything of the standard library has: of what is not known, they are not ours.
const STANDARD: &[&str] = &[
    "clear", "contains", "expect", "extend", "find", "get", "get_mut", "insert", "into", "is_empty", "iter",
    "iter_mut", "len", "map", "matches", "new", "push", "remove", "retain", "take",
];
/// What has them whatever it holds.
const CONTAINERS: &[&str] =
    &["BTreeMap", "BTreeSet", "HashMap", "HashSet", "HashTable", "SmallVec", "String", "Vec", "VecDeque"];

type Files<'a> = BTreeSet<&'a str>;

/// The functions of a crate, tests aside.
#[derive(Default)]
pub struct Calls<'a> {
    /// What the functions of a name in a file call; several of one name are taken as one.
    bodies: BTreeMap<(&'a str, &'a str), BTreeSet<Call<'a>>>,
    /// Files that define a function.
    defined: BTreeMap<&'a str, Files<'a>>,
    /// Files with methods of a type, by its name.
    methods: BTreeMap<&'a str, Files<'a>>,
    /// Functions that are marked as hardly ever called.
    cold: BTreeSet<(&'a str, &'a str)>,
    /// Types that fields and parameters of a name were declared with.
    declared: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Calls<'a> {
    pub fn new(sources: &'a [Source], folder: &str) -> Calls<'a> {
        let mut calls = Calls::default();
        for source in sources.iter().filter(|source| source.name.starts_with(folder)) {
            let tokens = without_tests(tokens(&source.code));
            calls.read(&source.name, &tokens);
        }
        calls
    }

    /// Whether a call in `file` leads to a function that is marked `#[cold]`, and to no other.
    pub fn is_cold(&self, file: &str, call: &Call<'_>) -> bool {
        let files = self.leads_to(file, call);
        !files.is_empty() && files.iter().all(|file| self.cold.contains(&(*file, call.function)))
    }

    /// What all functions of a file call.
    pub fn of(&self, file: &str) -> impl Iterator<Item = &Call<'a>> {
        self.bodies.iter().filter(move |((of, _), _)| *of == file).flat_map(|(_, calls)| calls)
    }

    pub fn defines(&self, file: &str, function: &str) -> bool {
        self.bodies.contains_key(&(file, function))
    }

    /// What the function of the file calls, and all functions of the file that it calls, however deep; those
    /// that `stops` says it does of are not entered.
    pub fn within(
        &self,
        file: &str,
        function: &str,
        stops: impl Fn(&Call<'a>) -> bool,
    ) -> BTreeSet<Call<'a>> {
        let (mut found, mut entered, mut waiting) = (BTreeSet::new(), BTreeSet::new(), vec![function]);
        while let Some(at) = waiting.pop() {
            if !entered.insert(at) {
                continue;
            }
            let Some(calls) = self.bodies.get(&(file, at)) else { continue };
            for call in calls.iter().filter(|call| !stops(call)) {
                found.insert(call.clone());
                if self.leads_to(file, call).contains(file) {
                    waiting.push(call.function);
                }
            }
        }
        found
    }

    /// Files that a call in `file` may lead to; none if it leaves the crate.
    pub fn leads_to(&self, file: &str, call: &Call<'_>) -> Files<'a> {
        let Some(all) = self.defined.get(call.function) else { return Files::new() };
        let narrowed = |files: Files<'a>| all.intersection(&files).copied().collect::<Files<'_>>();
        let is_standard = STANDARD.contains(&call.function);
        let of_type = |name: &str| self.methods.get(name).cloned().unwrap_or_default();
        match call.before {
            Before::Nothing | Before::Path("Self" | "self") | Before::Receiver("self") => match all.get(file)
            {
                Some(own) => Files::from([*own]),
                None => all.clone(),
            },
            Before::Path(name) if name.starts_with(char::is_uppercase) => narrowed(of_type(name)),
            Before::Path(name) => {
                let is_module =
                    |path: &&str| path.rsplit(['/', '.']).skip(1).take(2).any(|part| part == name);
                all.iter().copied().filter(is_module).collect()
            }
            Before::Receiver(name) => match self.declared.get(name) {
                Some(types) if is_standard && CONTAINERS.iter().any(|name| types.contains(name)) => {
                    Files::new()
                }
                Some(types) => narrowed(types.iter().flat_map(|name| of_type(name)).collect()),
                None if is_standard => Files::new(),
                None => all.clone(),
            },
        }
    }

    fn read(&mut self, file: &'a str, tokens: &[Token<'a>]) {
        // The functions that are open, with the depth of braces around each.
        let (mut open, mut depth): (Vec<(&str, i32)>, i32) = (Vec::new(), 0);
        // A closure by its name is no function of the crate.
        let closures: BTreeSet<&str> = tokens
            .windows(4)
            .filter(|four| {
                four[0].text == "let" && four[2].text == "=" && matches!(four[3].text, "|" | "move")
            })
            .map(|four| four[1].text)
            .collect();
        let mut waiting = None;
        for (place, token) in tokens.iter().enumerate() {
            let before = |steps: usize| place.checked_sub(steps).map_or("", |place| tokens[place].text);
            let after = |steps: usize| tokens.get(place + steps).map_or("", |token| token.text);
            match token.text {
                "{" => {
                    open.extend(waiting.take().map(|name| (name, depth)));
                    depth += 1;
                }
                "}" => {
                    depth -= 1;
                    open.pop_if(|(_, around)| *around == depth);
                }
                ";" if after(1) != "]" => waiting = None,
                "impl" => {
                    if let Some(name) = implemented(&tokens[place + 1..]) {
                        self.methods.entry(name).or_default().insert(file);
                    }
                }
                ":" if before(1).starts_with(is_word) => {
                    let kind = tokens[place + 1..].iter().take_while(|token| !ends_type(token.text));
                    let names =
                        kind.map(|token| token.text).filter(|word| word.starts_with(char::is_uppercase));
                    self.declared.entry(before(1)).or_default().extend(names);
                }
                name if before(1) == "fn" => {
                    waiting = Some(name);
                    self.defined.entry(name).or_default().insert(file);
                    let head = tokens[..place].iter().rev().map(|token| token.text);
                    if head.take_while(|word| !matches!(*word, "{" | "}" | ";")).any(|word| word == "cold") {
                        self.cold.insert((file, name));
                    }
                    self.bodies.entry((file, name)).or_default();
                }
                name if name.starts_with(|letter: char| letter.is_lowercase()) && waiting.is_none() => {
                    let is_call = after(1) == "(" || (after(1), after(2)) == ("::", "<");
                    let is_named = before(1) == "::" && matches!(after(1), ")" | ",");
                    let is_closure = closures.contains(name) && !matches!(before(1), "." | "::");
                    if let (true, Some((function, _))) = (!is_closure && (is_call || is_named), open.last()) {
                        let named = if before(2).starts_with(is_word) { before(2) } else { "" };
                        let before = match before(1) {
                            "." => Before::Receiver(named),
                            "::" => Before::Path(named),
                            _ => Before::Nothing,
                        };
                        let calls = self.bodies.entry((file, function)).or_default();
                        calls.insert(Call { before, function: name });
                    }
                }
                _ => {}
            }
        }
    }
}

/// Whether a token cannot stand in the type of a field or parameter.
fn ends_type(token: &str) -> bool {
    matches!(token, "," | ")" | "}" | "{" | ";" | "=")
}

/// The type whose methods an `impl` has, from behind that word.
fn implemented<'a>(tokens: &[Token<'a>]) -> Option<&'a str> {
    let (mut angles, mut name) = (0, None);
    for (place, token) in tokens.iter().enumerate() {
        match token.text {
            "<" => angles += 1,
            ">" if place > 0 && tokens[place - 1].text == "-" => {}
            ">" => angles -= 1,
            "{" | "where" => break,
            "for" if angles == 0 => name = None,
            word if angles == 0 && word.starts_with(is_word) => name = Some(word),
            _ => {}
        }
    }
    name
}
