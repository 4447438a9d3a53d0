//! Where hashes begin: a seed that a client can know lets it choose keys that collide.

use super::modules::without_tests;
use super::source::{Source, Token, is_word, tokens};
use super::{assert_none, is_test, sources};
use std::collections::BTreeSet;

/// The file whose type is the seed: hashers are made there and nowhere else.
const SEED: &str = "server/shard/src/identity.rs";
/// Calls that take a seed, and its place among their arguments.
const SEEDED: &[(&str, &str, usize)] = &[("HashSeed", "new", 0), ("Random", "new", 0), ("Shard", "new", 4)];
/// Words of an argument that nobody needs to guess.
const KNOWN: &[&str] = &["slot", "shard", "id", "own", "generation", "self", "u64", "from", "as", "into"];
/// What a hasher is called that is made without a seed of ours.
const UNSEEDED: &[&str] = &["DefaultHashBuilder", "DefaultHasher"];

/// What hashes with a seed that is known, in these sources.
fn complaints(sources: &[&Source]) -> Vec<String> {
    let read: Vec<(&str, Vec<Token<'_>>)> =
        sources.iter().map(|source| (source.name.as_str(), without_tests(tokens(&source.code)))).collect();
    let hashers: BTreeSet<&str> =
        read.iter().flat_map(|(_, tokens)| aliases(tokens)).chain(["FixedState"]).collect();
    let mut found = Vec::new();
    for (name, tokens) in &read {
        for (place, token) in tokens.iter().enumerate() {
            let mut complain = |what: &str| found.push(format!("{name}:{}: {what}", token.line));
            let text = |ahead: usize| tokens.get(place + ahead).map_or("", |token| token.text);
            if token.text == "with_seed" && *name != SEED {
                complain("a hasher is made by HashSeed alone");
            }
            if UNSEEDED.contains(&token.text) || hashers.contains(token.text) && text(2) == "default" {
                complain("a hasher without a seed");
            }
            for (of, function, argument) in SEEDED {
                if (token.text, text(1), text(2), text(3)) == (*of, "::", *function, "(")
                    && arguments(&tokens[place + 4..]).get(*argument).is_none_or(|seed| is_known(seed))
                {
                    complain(&format!("{of}::{function} with a seed that is known"));
                }
            }
            if token.text == "derive"
                && let Some(field) = defaulted(&tokens[place..]).find(|word| hashers.contains(word))
            {
                complain(&format!("a derived Default makes a {field}"));
            }
        }
    }
    found
}

/// Names of types that are tables with such a hasher.
fn aliases<'a>(tokens: &'a [Token<'a>]) -> impl Iterator<Item = &'a str> {
    let begins = |place: &usize| tokens[*place].text == "type";
    (0..tokens.len()).filter(begins).filter_map(|place| {
        let mut rest = tokens[place..].iter().take_while(|token| token.text != ";");
        rest.any(|token| token.text == "FixedState").then(|| tokens[place + 1].text)
    })
}

/// Each argument of a call or field of a type, from behind the bracket.
fn arguments<'a>(tokens: &'a [Token<'a>]) -> Vec<Vec<&'a str>> {
    let (mut depth, mut arguments) = (0, vec![Vec::new()]);
    for token in tokens {
        match token.text {
            "(" | "[" | "{" | "<" => depth += 1,
            ")" | "]" | "}" if depth == 0 => break,
            ")" | "]" | "}" | ">" => depth -= 1,
            "," if depth == 0 => {
                arguments.push(Vec::new());
                continue;
            }
            _ => {}
        }
        arguments.last_mut().expect("one is there").push(token.text);
    }
    arguments
}

fn is_known(argument: &[&str]) -> bool {
    let is_secret =
        |word: &&str| word.starts_with(is_word) && !word.starts_with(|letter: char| letter.is_ascii_digit());
    argument.iter().filter(|word| is_secret(word)).all(|word| KNOWN.contains(word))
}

/// Types of a derived `Default`, from its `derive` on, that hold something by default.
fn defaulted<'a>(tokens: &'a [Token<'a>]) -> impl Iterator<Item = &'a str> {
    let list = tokens.iter().position(|token| token.text == "]").unwrap_or(0);
    let derives = tokens[..list].iter().any(|token| token.text == "Default");
    let kind = tokens[list..].iter().find(|token| matches!(token.text, "struct" | "enum"));
    // The default of an enum has no fields.
    let derives = derives && kind.is_some_and(|token| token.text == "struct");
    let opens = tokens[list..].iter().position(|token| matches!(token.text, "{" | "("));
    let fields = opens.filter(|_| derives).map(|opens| arguments(&tokens[list + opens + 1..]));
    let is_empty = |field: &Vec<&str>| field.iter().any(|word| matches!(*word, "Option" | "Vec"));
    fields.into_iter().flatten().filter(move |field| !is_empty(field)).flatten()
}

#[test]
fn no_hash_begins_with_what_a_client_can_know() {
    let sources = sources();
    let ours = |source: &&Source| {
        (source.name.starts_with("server/") || source.name.starts_with("protocol/")) && !is_test(&source.name)
    };
    assert_none(&complaints(&sources.iter().filter(ours).collect::<Vec<_>>()));
}

#[test]
fn seeds_that_are_known_are_found() {
    for (count, text) in [
        (0, "let table = HashMap::with_hasher(seed.table()); let random = Random::new(random.number());"),
        (0, "HashSeed::new(seeds.hash); Shard::new(id, &limits, &access, name(1, 2), *seed, 3);"),
        (0, "#[cfg(test)]\nmod tests { fn f() { HashSeed::new(1); FixedState::with_seed(2); } }"),
        (0, "#[derive(Default)] struct A { b: u8 }\nstruct B { c: HashMap<u8, u8, FixedState> }"),
        (0, "#[derive(Default)] struct A { b: Option<Box<HashMap<u8, u8, FixedState>>> }"),
        (1, "FixedState::with_seed(self.hash_seed)"),
        (1, "HashSeed::new(7)"),
        (1, "HashSeed::new(u64::from(id.slot))"),
        (1, "HashSeed::new(shard as u64 + 1)"),
        (1, "Random::new(0)"),
        (1, "Shard::new(id, &limits, &access, name(1, 2), u64::from(id), seed)"),
        (1, "FixedState::default()"),
        (1, "#[derive(Debug, Default)]\npub struct A { b: u8, c: HashMap<u8, u8, FixedState> }"),
        (1, "#[derive(Default)]\nstruct A(Tasks);\npub type Tasks = HashMap<u8, u8, FixedState>;"),
        (1, "fn f() -> Tasks { Tasks::default() }\ntype Tasks = HashMap<u8, u8, FixedState>;"),
        (1, "type Table = HashMap<u8, u8, DefaultHashBuilder>;"),
    ] {
        let source = Source::new("server/shard/src/t.rs", text.to_owned());
        let found = complaints(&[&source]);
        assert_eq!(found.len(), count, "{text}: {found:?}");
    }
}
