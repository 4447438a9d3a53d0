//! The modules of a crate as names see them: what each defines and imports, and where a path leads.

use super::source::{Source, Token, is_word, tokens};
use std::collections::{BTreeMap, BTreeSet};

/// Files, and those of which each names something.
pub type Imports<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;
/// Names from the root, which has none.
type Path = Vec<String>;

/// Imports that import imports, at most.
const STEPS_MAX: usize = 16;
const ITEMS: &[&str] =
    &["fn", "struct", "enum", "union", "trait", "type", "const", "static", "macro_rules", "mod"];

#[derive(Default)]
struct Module {
    /// Its place among the sources.
    file: usize,
    defined: BTreeSet<String>,
    /// Where each imported name comes from.
    imports: BTreeMap<String, Path>,
    /// Modules of which everything is imported.
    globs: Vec<Path>,
}

/// Where a path leads.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Target {
    Module(Path),
    /// The file that defines an item, and its name there.
    Item(usize, String),
    /// To another crate.
    Outside,
}

/// What a file names, and in which of its modules.
struct Mention {
    file: usize,
    module: Path,
    path: Path,
}

/// The modules of one crate, without what is compiled for tests only.
pub struct Modules<'a> {
    sources: Vec<&'a Source>,
    modules: BTreeMap<Path, Module>,
    mentions: Vec<Mention>,
    implementations: Vec<Mention>,
}

impl<'a> Modules<'a> {
    /// Of the sources in `folder`, which ends with `/`.
    pub fn new(sources: &'a [Source], folder: &str) -> Modules<'a> {
        let mut modules = Modules {
            sources: Vec::new(),
            modules: BTreeMap::new(),
            mentions: Vec::new(),
            implementations: Vec::new(),
        };
        for source in sources {
            let Some(path) = source.name.strip_prefix(folder).and_then(module_of) else { continue };
            modules.sources.push(source);
            modules.read(path, source);
        }
        modules
    }

    /// Every file that a file names something of, by re-exports the one that defines it.
    pub fn imports(&self) -> Imports<'a> {
        let mut imports = Imports::new();
        for mention in &self.mentions {
            let target = self.resolve(&mention.module, &mention.path, 0);
            if let Some(Target::Item(to, _)) = target
                && to != mention.file
            {
                let to = self.sources[to].name.as_str();
                imports.entry(self.sources[mention.file].name.as_str()).or_default().insert(to);
            }
        }
        imports
    }

    /// The files in which each type has methods of its own; a type is its file and its name.
    pub fn methods(&self) -> BTreeMap<(&'a str, String), BTreeSet<&'a str>> {
        let mut methods: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
        for implementation in &self.implementations {
            let target = self.resolve(&implementation.module, &implementation.path, 0);
            if let Some(Target::Item(file, name)) = target {
                let of = (self.sources[file].name.as_str(), name);
                methods.entry(of).or_default().insert(self.sources[implementation.file].name.as_str());
            }
        }
        methods
    }

    fn read(&mut self, path: Path, source: &Source) {
        let file = self.sources.len() - 1;
        let tokens = without_tests(tokens(&source.code));
        // The modules that are open, with the depth of braces inside each.
        let mut open = vec![(path, 0)];
        let mut depth = 0;
        let mut place = 0;
        self.module(&open[0].0, file);
        while let Some(token) = tokens.get(place) {
            let (module, own_depth) = open.last().expect("the file's own").clone();
            let text = |place: usize| tokens.get(place).map_or("", |token: &Token<'_>| token.text);
            let named = text(place + if token.text == "macro_rules" { 2 } else { 1 });
            match token.text {
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    if depth < own_depth {
                        open.pop();
                    }
                }
                "use" if text(place + 1).starts_with(is_word) || text(place + 1) == "{" => {
                    place = self.read_use(file, &module, &tokens, place + 1);
                }
                "impl" if depth == own_depth => {
                    if let Some(path) = implemented(&tokens[place + 1..]) {
                        self.implementations.push(Mention { file, module: module.clone(), path });
                    }
                }
                word if depth == own_depth && ITEMS.contains(&word) && named.starts_with(is_word) => {
                    self.module(&module, file).defined.insert(named.to_owned());
                    if word == "mod" && text(place + 2) == "{" {
                        let inner = [module.as_slice(), &[named.to_owned()]].concat();
                        self.module(&inner, file);
                        depth += 1;
                        open.push((inner, depth));
                        place += 2;
                    }
                }
                word if word.starts_with(is_word) && text(place.wrapping_sub(1)) != "." => {
                    let mut path = vec![word.to_owned()];
                    while text(place + 1) == "::" && text(place + 2).starts_with(is_word) {
                        place += 2;
                        path.push(text(place).to_owned());
                    }
                    self.mentions.push(Mention { file, module, path });
                }
                _ => {}
            }
            place += 1;
        }
    }

    fn module(&mut self, path: &Path, file: usize) -> &mut Module {
        self.modules.entry(path.clone()).or_insert_with(|| Module { file, ..Module::default() })
    }

    /// Reads the tree behind `use`; returns the place of its semicolon.
    fn read_use(&mut self, file: usize, module: &Path, tokens: &[Token<'_>], mut place: usize) -> usize {
        let text = |place: usize| tokens.get(place).map_or(";", |token| token.text);
        let (mut path, mut lengths) = (Path::new(), Vec::new());
        let mut alias = None;
        loop {
            let ends = matches!(text(place), "," | "}" | ";");
            if ends && path.len() > lengths.last().copied().unwrap_or(0) {
                self.import(file, module, path.clone(), alias.take());
            }
            match text(place) {
                ";" => return place,
                "{" => lengths.push(path.len()),
                "," | "}" => {
                    path.truncate(lengths.last().copied().unwrap_or(0));
                    if text(place) == "}" {
                        lengths.pop();
                        // What follows a closed tree belongs to the one around it.
                        path.truncate(lengths.last().copied().unwrap_or(0));
                    }
                }
                "as" => {
                    alias = Some(text(place + 1).to_owned());
                    place += 1;
                }
                word if word == "*" || word.starts_with(is_word) => path.push(word.to_owned()),
                _ => {}
            }
            place += 1;
        }
    }

    fn import(&mut self, file: usize, module: &Path, mut path: Path, alias: Option<String>) {
        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
            path.pop();
        }
        let own = self.module(module, file);
        if path.last().is_some_and(|last| last == "*") {
            path.pop();
            own.globs.push(path);
            return;
        }
        let name = alias.or_else(|| path.last().cloned()).expect("an import has a name");
        own.imports.insert(name, path.clone());
        self.mentions.push(Mention { file, module: module.clone(), path });
    }

    /// Where a path in a module leads; `None` if its first name is not known there.
    fn resolve(&self, module: &Path, path: &[String], steps: usize) -> Option<Target> {
        let (first, mut rest) = path.split_first()?;
        let mut target = match first.as_str() {
            "crate" => Target::Module(Path::new()),
            "self" => Target::Module(module.clone()),
            "super" => {
                let mut above = module.clone();
                above.pop();
                while rest.first().is_some_and(|next| next == "super") {
                    above.pop();
                    rest = &rest[1..];
                }
                Target::Module(above)
            }
            _ => self.look_up(module, first, steps)?,
        };
        for name in rest {
            let Target::Module(inside) = &target else { break };
            target = match self.look_up(inside, name, steps) {
                Some(target) => target,
                // What macros define, they define where they are.
                None => Target::Item(self.modules.get(inside)?.file, name.clone()),
            };
        }
        Some(target)
    }

    /// What a name is in a module: its own, or imported.
    fn look_up(&self, module: &Path, name: &String, steps: usize) -> Option<Target> {
        let own = self.modules.get(module)?;
        let child = [module.as_slice(), std::slice::from_ref(name)].concat();
        if self.modules.contains_key(&child) {
            return Some(Target::Module(child));
        }
        if own.defined.contains(name) {
            return Some(Target::Item(own.file, name.clone()));
        }
        if steps == STEPS_MAX {
            return None;
        }
        if let Some(path) = own.imports.get(name) {
            // A crate imported by its own name is known to no module.
            let itself = path.len() == 1 && path[0] == *name;
            let target = if itself { None } else { self.resolve(module, path, steps + 1) };
            return Some(target.unwrap_or(Target::Outside));
        }
        own.globs.iter().find_map(|glob| match self.resolve(module, glob, steps + 1)? {
            Target::Module(from) if from != *module => self.look_up(&from, name, steps + 1),
            _ => None,
        })
    }
}

/// The module of a file; none of programs and of tests.
fn module_of(inside: &str) -> Option<Path> {
    let path = inside.strip_suffix(".rs")?;
    let mut names: Path = path.split('/').map(str::to_owned).collect();
    if matches!(names.last()?.as_str(), "mod" | "lib") {
        names.pop();
    }
    (!matches!(path, "main") && !names.iter().any(|name| name == "tests" || name == "bin")).then_some(names)
}

/// The type of an `impl` without a trait, from behind that word.
fn implemented(tokens: &[Token<'_>]) -> Option<Path> {
    let (mut angles, mut path) = (0, Path::new());
    for (place, token) in tokens.iter().enumerate() {
        match token.text {
            "<" => angles += 1,
            ">" if place > 0 && tokens[place - 1].text == "-" => {}
            ">" => angles -= 1,
            _ if angles > 0 => {}
            "for" => return None,
            "{" | "where" => return Some(path),
            word if word.starts_with(is_word) => path.push(word.to_owned()),
            _ => {}
        }
    }
    None
}

/// Leaves out what stands behind `#[cfg(test)]`.
pub fn without_tests(tokens: Vec<Token<'_>>) -> Vec<Token<'_>> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::with_capacity(tokens.len());
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        kept.push(token);
        let marked = kept.len() >= MARK.len()
            && kept[kept.len() - MARK.len()..].iter().map(|token| token.text).eq(MARK);
        if !marked {
            continue;
        }
        kept.truncate(kept.len() - MARK.len());
        let (mut depth, mut is_use) = (0, false);
        for token in tokens.by_ref() {
            is_use |= depth == 0 && token.text == "use";
            match token.text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" => depth -= 1,
                "}" => {
                    depth -= 1;
                    if depth == 0 && !is_use {
                        break;
                    }
                }
                ";" if depth == 0 => break,
                _ => {}
            }
        }
    }
    kept
}
