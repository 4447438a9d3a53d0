//! The language of `nats.conf`: keys and values, blocks, lists, comments, variables and includes.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// Files that include files that include files.
const INCLUDES_MAX: usize = 16;

/// Where something stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub file: PathBuf,
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file.display(), self.line)
    }
}

/// What is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    pub place: Place,
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.message)
    }
}

/// A value and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Text(String),
    /// With the text it was written as: `2m` is a number, and means two minutes where a time is wanted.
    Number(i64, String),
    Float(f64),
    Bool(bool),
    List(Vec<Node>),
    Block(Vec<Entry>),
}

#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    pub key: String,
    pub place: Place,
    pub node: Node,
}

/// What may come from outside the text.
pub trait Surroundings {
    fn file(&self, path: &Path) -> std::io::Result<String>;
    fn variable(&self, name: &str) -> Option<String>;
}

/// Files and the environment of this process.
pub struct ThisProcess;

impl Surroundings for ThisProcess {
    fn file(&self, path: &Path) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// Reads a file and everything it includes.
pub fn read(path: &Path, surroundings: &dyn Surroundings) -> Result<Vec<Entry>, Fault> {
    read_file(path, surroundings, 0, &mut vec![Vec::new()])
}

fn read_file(
    path: &Path,
    surroundings: &dyn Surroundings,
    depth: usize,
    scopes: &mut Vec<Vec<Entry>>,
) -> Result<Vec<Entry>, Fault> {
    let place = Place { file: path.to_owned(), line: 1 };
    let text = surroundings
        .file(path)
        .map_err(|error| Fault { place, message: format!("cannot be read ({error})") })?;
    let mut reader = Reader { rest: &text, line: 1, file: path, surroundings, depth, nesting: 0 };
    reader.skip();
    // A whole file may stand in braces, as JSON does.
    let braced = reader.take("{");
    let entries = reader.entries(scopes)?;
    if braced && !reader.take("}") {
        return Err(reader.fault("a '}' is missing at the end"));
    }
    reader.skip();
    if !reader.rest.is_empty() {
        return Err(reader.fault("a '}' without a '{'"));
    }
    Ok(entries)
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
    file: &'t Path,
    surroundings: &'t dyn Surroundings,
    depth: usize,
    /// Values that the one that is read lies in.
    nesting: usize,
}

/// Far more than a file needs, and far less than the stack holds.
const NESTING_MAX: usize = 64;

impl Reader<'_> {
    fn place(&self) -> Place {
        Place { file: self.file.to_owned(), line: self.line }
    }

    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault { place: self.place(), message: message.into() }
    }

    fn advance(&mut self, bytes: usize) {
        self.line += self.rest[..bytes].matches('\n').count();
        self.rest = &self.rest[bytes..];
    }

    fn take(&mut self, text: &str) -> bool {
        let there = self.rest.starts_with(text);
        if there {
            self.advance(text.len());
        }
        there
    }

    /// Blanks, ends of lines, separators and comments.
    fn skip(&mut self) {
        loop {
            let before = self.rest.len();
            let blanks = self.rest.len() - self.rest.trim_start().len();
            self.advance(blanks);
            if self.rest.starts_with('#') || self.rest.starts_with("//") {
                let comment = self.rest.find('\n').unwrap_or(self.rest.len());
                self.advance(comment);
            }
            if self.rest.starts_with([',', ';']) {
                self.advance(1);
            }
            if self.rest.len() == before {
                return;
            }
        }
    }

    /// Entries up to the end of the text or of the block. The innermost scope collects them.
    fn entries(&mut self, scopes: &mut Vec<Vec<Entry>>) -> Result<Vec<Entry>, Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            self.skip();
            if self.rest.is_empty() || self.rest.starts_with('}') {
                return Ok(last_of_each(entries));
            }
            let place = self.place();
            let key = self.key()?;
            if key == "include" {
                entries.extend(self.include(scopes)?);
                continue;
            }
            let blanks = self.rest.len() - self.rest.trim_start_matches([' ', '\t']).len();
            self.advance(blanks);
            if !self.take("=") {
                self.take(":");
            }
            self.skip_blanks_and_lines();
            let node = self.value(scopes)?;
            let entry = Entry { key, place, node };
            scopes.last_mut().expect("never empty").push(entry.clone());
            entries.push(entry);
        }
    }

    fn skip_blanks_and_lines(&mut self) {
        let blanks = self.rest.len() - self.rest.trim_start().len();
        self.advance(blanks);
    }

    fn key(&mut self) -> Result<String, Fault> {
        if self.rest.starts_with(['"', '\'']) {
            return self.quoted();
        }
        let ends =
            |letter: char| letter.is_whitespace() || matches!(letter, '=' | ':' | '{' | '[' | '}' | ',');
        let bytes = self.rest.find(ends).unwrap_or(self.rest.len());
        if bytes == 0 {
            return Err(self.fault("a key is missing"));
        }
        let key = self.rest[..bytes].to_owned();
        self.advance(bytes);
        Ok(key)
    }

    fn include(&mut self, scopes: &mut Vec<Vec<Entry>>) -> Result<Vec<Entry>, Fault> {
        self.skip_blanks_and_lines();
        let Value::Text(name) = self.value(scopes)?.value else {
            return Err(self.fault("include wants the path of a file"));
        };
        if self.depth >= INCLUDES_MAX {
            return Err(self.fault(format!("more than {INCLUDES_MAX} files include one another")));
        }
        let path = self.file.parent().unwrap_or(Path::new("")).join(name);
        let entries = read_file(&path, self.surroundings, self.depth + 1, scopes)?;
        Ok(entries)
    }

    fn value(&mut self, scopes: &mut Vec<Vec<Entry>>) -> Result<Node, Fault> {
        if self.nesting == NESTING_MAX {
            return Err(self.fault(format!("blocks and lists are nested more than {NESTING_MAX} times")));
        }
        self.nesting += 1;
        let node = self.nested_value(scopes)?;
        self.nesting -= 1;
        Ok(node)
    }

    fn nested_value(&mut self, scopes: &mut Vec<Vec<Entry>>) -> Result<Node, Fault> {
        let place = self.place();
        let value = match self.rest.chars().next() {
            None => return Err(self.fault("a value is missing")),
            Some('{') => {
                self.advance(1);
                scopes.push(Vec::new());
                let entries = self.entries(scopes)?;
                scopes.pop();
                if !self.take("}") {
                    return Err(self.fault("a '}' is missing"));
                }
                Value::Block(entries)
            }
            Some('[') => {
                self.advance(1);
                Value::List(self.list(scopes)?)
            }
            Some('(') => Value::Text(self.lines()?),
            Some('"' | '\'') => Value::Text(self.quoted()?),
            Some(_) => return self.bare(scopes),
        };
        Ok(Node { place, value })
    }

    fn list(&mut self, scopes: &mut Vec<Vec<Entry>>) -> Result<Vec<Node>, Fault> {
        let mut nodes = Vec::new();
        loop {
            self.skip();
            if self.take("]") {
                return Ok(nodes);
            }
            if self.rest.is_empty() {
                return Err(self.fault("a ']' is missing"));
            }
            nodes.push(self.value(scopes)?);
        }
    }

    /// Text over several lines: `(` at the end of a line up to a line that is `)` alone.
    fn lines(&mut self) -> Result<String, Fault> {
        self.advance(1);
        let mut end = 0;
        for line in self.rest.split_inclusive('\n') {
            if line.trim() == ")" {
                let text = self.rest[..end].to_owned();
                self.advance(end + line.find(')').expect("just seen") + 1);
                return Ok(text);
            }
            end += line.len();
        }
        Err(self.fault("a ')' on a line of its own is missing"))
    }

    fn quoted(&mut self) -> Result<String, Fault> {
        let quote = self.rest.chars().next().expect("the caller saw it");
        let mut text = String::new();
        let mut letters = self.rest.char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            match letter {
                _ if letter == quote => {
                    self.advance(at + 1);
                    return Ok(text);
                }
                '\\' if quote == '"' => match letters.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, other)) => text.push(other),
                    None => break,
                },
                _ => text.push(letter),
            }
        }
        Err(self.fault("the closing quote is missing"))
    }

    fn bare(&mut self, scopes: &[Vec<Entry>]) -> Result<Node, Fault> {
        let place = self.place();
        let ends = |letter: char| letter.is_whitespace() || matches!(letter, ',' | ';' | ']' | '}');
        let bytes = self.rest.find(ends).unwrap_or(self.rest.len());
        let word = &self.rest[..bytes];
        if word.is_empty() {
            return Err(self.fault("a value is missing"));
        }
        // A password hash begins like a variable.
        let variable =
            word.strip_prefix('$').filter(|name| !name.starts_with("2a$") && !name.starts_with("2b$"));
        let value = match variable {
            None => plain(word),
            Some(name) => match scopes.iter().rev().find_map(|scope| known(scope, name)) {
                Some(node) => node.value.clone(),
                None => match self.surroundings.variable(name) {
                    Some(text) => plain(text.trim_matches(['"', '\''])),
                    None => {
                        return Err(self.fault(format!(
                            "the variable ${name} is set neither here nor in the environment"
                        )));
                    }
                },
            },
        };
        self.advance(bytes);
        Ok(Node { place, value })
    }
}

/// Of entries with one key the last counts.
fn last_of_each(mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut seen = HashSet::new();
    entries.reverse();
    entries.retain(|entry| seen.insert(entry.key.clone()));
    entries.reverse();
    entries
}

fn known<'s>(scope: &'s [Entry], name: &str) -> Option<&'s Node> {
    scope.iter().rev().find(|entry| entry.key == name).map(|entry| &entry.node)
}

/// A word as what it looks like.
fn plain(word: &str) -> Value {
    match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => return Value::Bool(true),
        "false" | "no" | "off" => return Value::Bool(false),
        _ => {}
    }
    if let Some(number) = number(word) {
        return Value::Number(number, word.to_owned());
    }
    match word.parse() {
        Ok(float) if word.contains('.') => Value::Float(float),
        _ => Value::Text(word.to_owned()),
    }
}

/// Digits, and perhaps a unit: `k` is a thousand, `kb` and `ki` are 1024, and so on.
fn number(word: &str) -> Option<i64> {
    let digits = word.trim_start_matches('-');
    let digits =
        &digits[..digits.len() - digits.trim_start_matches(|letter: char| letter.is_ascii_digit()).len()];
    let sign_bytes = word.len() - word.trim_start_matches('-').len();
    if digits.is_empty() || sign_bytes > 1 {
        return None;
    }
    let number: i64 = word[..sign_bytes + digits.len()].parse().ok()?;
    let factor: i64 = match word[sign_bytes + digits.len()..].to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1_000,
        "kb" | "ki" | "kib" => 1 << 10,
        "m" => 1_000_000,
        "mb" | "mi" | "mib" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" | "gi" | "gib" => 1 << 30,
        "t" => 1_000_000_000_000,
        "tb" | "ti" | "tib" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io;

    struct Given(BTreeMap<&'static str, &'static str>);

    impl Surroundings for Given {
        fn file(&self, path: &Path) -> io::Result<String> {
            let text = self.0.get(path.to_str().expect("UTF-8"));
            text.map(|text| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
        }

        fn variable(&self, name: &str) -> Option<String> {
            (name == "PORT_OF_ENVIRONMENT").then(|| "4333".to_owned())
        }
    }

    fn read_text(text: &'static str) -> Result<Vec<Entry>, Fault> {
        let files = [("a.conf", text), ("more/b.conf", "b: 2\ninclude 'c.conf'"), ("more/c.conf", "c: $x")];
        read(Path::new("a.conf"), &Given(files.into_iter().collect()))
    }

    fn shown(entries: &[Entry]) -> String {
        let parts = entries.iter().map(|entry| format!("{}={}", entry.key, show(&entry.node.value)));
        parts.collect::<Vec<_>>().join(" ")
    }

    fn show(value: &Value) -> String {
        match value {
            Value::Text(text) => format!("{text:?}"),
            Value::Number(number, _) => number.to_string(),
            Value::Float(float) => float.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::List(nodes) => {
                format!("[{}]", nodes.iter().map(|node| show(&node.value)).collect::<Vec<_>>().join(" "))
            }
            Value::Block(entries) => format!("{{{}}}", shown(entries)),
        }
    }

    #[test]
    fn keys_and_values_are_read_in_every_spelling() {
        for (text, meaning) in [
            ("port: 4222", "port=4222"),
            ("port = 4222", "port=4222"),
            ("port 4222 # a comment", "port=4222"),
            ("// nothing\nhost: 127.0.0.1", "host=\"127.0.0.1\""),
            ("listen: localhost:4222", "listen=\"localhost:4222\""),
            ("a: 1k, b: 1kb; c: 64MB", "a=1000 b=1024 c=67108864"),
            ("d: 10s e: -1 f: 1.5", "d=\"10s\" e=-1 f=1.5"),
            ("on: yes off: FALSE", "on=true off=false"),
            ("\"quoted key\" = \"a \\\"b\\\" \\n\"", "quoted key=\"a \\\"b\\\" \\n\""),
            ("p: 'as $it is\\n'", "p=\"as $it is\\\\n\""),
            ("u: nats://a:b@h:1", "u=\"nats://a:b@h:1\""),
            ("hash: $2a$11$abc", "hash=\"$2a$11$abc\""),
            ("block { a: 1\n b { c: [x, 'y z'\n 3] } }", "block={a=1 b={c=[\"x\" \"y z\" 3]}}"),
            ("block: {a:1}\nc:{}", "block={a=1} c={}"),
            ("x = 5 y { z: $x x: 6 w: $x } v: $PORT_OF_ENVIRONMENT", "x=5 y={z=5 x=6 w=6} v=4333"),
            ("x: 1\ninclude \"more/b.conf\"\nd: 4", "x=1 b=2 c=1 d=4"),
            ("{\"port\": 4222, \"a\": [\"b\", true]}", "port=4222 a=[\"b\" true]"),
            ("text: (\none\n two\n)\nb: 1", "text=\"\\none\\n two\\n\" b=1"),
            ("a: 1 b: 2 a: 3", "b=2 a=3"),
            ("b { c: 1 } b { d: 2 } B: 1", "b={d=2} B=1"),
            ("x: 1 y: $x x: 2 z: $x", "y=1 x=2 z=2"),
            ("", ""),
        ] {
            let entries = read_text(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
            assert_eq!(shown(&entries), meaning, "{text}");
        }
    }

    const DEEP: &str = "a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n[[[[[[[[[[";

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, told) in [
            ("a: 1\nb: {\nc: 1", "a.conf:3: a '}' is missing"),
            ("a: 1\n}", "a.conf:2: a '}' without a '{'"),
            ("a: [1", "a.conf:1: a ']' is missing"),
            (DEEP, "a.conf:2: blocks and lists are nested more than 64 times"),
            ("\na: \"x", "a.conf:2: the closing quote is missing"),
            ("a:", "a.conf:1: a value is missing"),
            ("a: $NOT_SET", "a.conf:1: the variable $NOT_SET is set neither here nor in the environment"),
            ("include nothing.conf", "nothing.conf:1: cannot be read"),
            ("include a.conf", "more than 16 files include one another"),
            ("a: (\nb", "a ')' on a line of its own is missing"),
        ] {
            let fault = read_text(text).expect_err(text).to_string();
            assert!(fault.contains(told), "{text}: {fault}");
        }
    }
}
