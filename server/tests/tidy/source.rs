//! A source file as the rules see it: code without comments and literals, its functions, the paths it names.

use std::path::Path;

/// One `.rs` file.
pub struct Source {
    /// From the root of the repository, with `/`.
    pub name: String,
    pub text: String,
    /// The text with comments and literals blanked; lines are where they were.
    pub code: String,
}

/// A function and where it stands.
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

impl Source {
    pub fn read(root: &Path, name: &str) -> Source {
        let text = std::fs::read_to_string(root.join(name)).expect("a readable source file");
        Source::new(name, text)
    }

    pub fn new(name: &str, text: String) -> Source {
        let code = blanked(&text);
        Source { name: name.to_owned(), text, code }
    }

    pub fn line_count(&self) -> usize {
        self.text.lines().count()
    }

    /// Lines whose code has `word` as a whole word, with their numbers.
    pub fn lines_with(&self, word: &str) -> Vec<usize> {
        let has = |line: &str| {
            line.match_indices(word).any(|(place, _)| {
                let before = line[..place].chars().next_back().is_some_and(is_word);
                let after =
                    word.ends_with(is_word) && line[place + word.len()..].chars().next().is_some_and(is_word);
                !before && !after
            })
        };
        self.code.lines().enumerate().filter(|(_, line)| has(line)).map(|(place, _)| place + 1).collect()
    }

    /// Every function with a body.
    pub fn functions(&self) -> Vec<Function> {
        let tokens = tokens(&self.code);
        let mut found = Vec::new();
        for (place, token) in tokens.iter().enumerate() {
            let named = tokens.get(place + 1).filter(|next| next.text.chars().all(is_word));
            if let ("fn", Some(named)) = (token.text, named)
                && let Some(end) = body_end(&tokens[place..])
            {
                let lines = end - token.line + 1;
                found.push(Function { name: named.text.to_owned(), line: token.line, lines });
            }
        }
        found
    }

    /// Every path (`a::b::c`) the code names, the braces of `use` written out.
    pub fn paths(&self) -> Vec<(usize, Vec<String>)> {
        let tokens = tokens(&self.code);
        let mut found = Vec::new();
        let mut place = 0;
        while place < tokens.len() {
            if tokens[place].text.chars().all(is_word) {
                place = path(&tokens, place, &mut Vec::new(), &mut found);
            }
            place += 1;
        }
        found
    }
}

pub struct Token<'a> {
    pub text: &'a str,
    pub line: usize,
}

pub fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Words, `::`, and single other characters.
pub fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (place, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let bytes = match first {
                _ if is_word(first) => rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                _ => first.len_utf8(),
            };
            tokens.push(Token { text: &rest[..bytes], line: place + 1 });
            rest = rest[bytes..].trim_start();
        }
    }
    tokens
}

/// The line of the brace that closes the body of the function that begins here; none without a body.
fn body_end(tokens: &[Token<'_>]) -> Option<usize> {
    let (mut round, mut curly) = (0, 0);
    for token in tokens {
        match token.text {
            "(" | "[" => round += 1,
            ")" | "]" => round -= 1,
            ";" if round == 0 && curly == 0 => return None,
            "{" => curly += 1,
            "}" if curly == 1 => return Some(token.line),
            "}" => curly -= 1,
            _ => {}
        }
    }
    None
}

/// Reads the path or tree at `place`; returns the place of its last token.
fn path(
    tokens: &[Token<'_>],
    mut place: usize,
    before: &mut Vec<String>,
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let depth = before.len();
    before.push(tokens[place].text.to_owned());
    let text = |place: usize| tokens.get(place).map_or("", |token| token.text);
    while text(place + 1) == "::" && text(place + 2).starts_with(is_word) {
        place += 2;
        before.push(text(place).to_owned());
    }
    if text(place + 1) == "::" && text(place + 2) == "{" {
        place += 3;
        while !matches!(text(place), "}" | "") {
            if text(place).starts_with(is_word) {
                place = path(tokens, place, before, found);
            }
            place += 1;
        }
    } else if before.len() > 1 {
        found.push((tokens[place].line, before.clone()));
    }
    before.truncate(depth);
    place
}

/// Blanks comments, strings and characters, and keeps the lines.
fn blanked(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word_before = code.ends_with(is_word);
        let bytes = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => string_bytes(rest),
            'r' | 'b' | 'c' if !word_before => prefixed_bytes(rest),
            '\'' => character_bytes(rest),
            _ => 0,
        };
        if bytes == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        code.extend(rest[..bytes].chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
        rest = &rest[bytes..];
    }
    code
}

/// Bytes of a string that begins with its quote.
fn string_bytes(text: &str) -> usize {
    let mut escaped = false;
    for (place, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return place + 1,
            _ => {}
        }
    }
    text.len()
}

/// Bytes of a string like `r#"…"#`, `b"…"` or `c"…"`; zero if it is a word.
fn prefixed_bytes(text: &str) -> usize {
    let prefix = text.find(|letter: char| !letter.is_ascii_lowercase()).unwrap_or(text.len());
    let hashes = text[prefix..].chars().take_while(|&letter| letter == '#').count();
    let raw = text[..prefix].ends_with('r');
    if prefix > 2 || !text[prefix + hashes..].starts_with('"') || (hashes > 0 && !raw) {
        return 0;
    }
    if !raw {
        return prefix + string_bytes(&text[prefix..]);
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let opened = prefix + hashes + 1;
    text[opened..].find(&end).map_or(text.len(), |place| opened + place + end.len())
}

/// Bytes of a character literal; zero if the quote begins a lifetime.
fn character_bytes(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    match (letters.next(), letters.next()) {
        (Some((_, '\\')), Some(_)) => text[3..].find('\'').map_or(0, |end| 3 + end + 1),
        (Some(_), Some((place, '\''))) => place + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("t.rs", text.to_owned())
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        let text =
            "let a = \"unsafe \\\" {\"; // unsafe\nlet b = r#\"unsafe\"#; let c = '{'; fn f<'a>() {}\n";
        let source = source(text);
        assert_eq!(source.lines_with("unsafe"), [0; 0]);
        assert!(!source.code.lines().next().expect("a line").contains('{'));
        assert_eq!(source.functions().len(), 1);
        assert_eq!(source.code.lines().count(), 2);
    }

    #[test]
    fn functions_end_with_their_own_brace() {
        let source =
            source("trait T { fn no(x: [u8; 3]); }\nfn one() -> u8 {\n    if a { b }\n}\nfn two() {}\n");
        let found: Vec<_> = source.functions().into_iter().map(|found| (found.name, found.lines)).collect();
        assert_eq!(found, [("one".to_owned(), 3), ("two".to_owned(), 1)]);
    }

    #[test]
    fn trees_of_use_are_written_out() {
        let source = source("use a::{b, c::{d, e}};\nlet x = f::g(h::<u8>());\n");
        let found: Vec<String> = source.paths().into_iter().map(|(_, path)| path.join("::")).collect();
        assert_eq!(found, ["a::b", "a::c::d", "a::c::e", "f::g"]);
    }
}
