//! What one account lets another have: streams of its messages, and services that answer requests.

use ringbolt_protocol::subject::{Pattern, Subject};
use serde::{Deserialize, Serialize};

/// A message published in one account that is also one of another account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Link {
    pub kind: LinkKind,
    /// Number of the account it is published in, and the pattern of its subject there.
    pub from: u16,
    pub pattern: String,
    /// Number of the account that gets it, and its subject there.
    pub to: u16,
    pub mapping: Mapping,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LinkKind {
    Stream,
    /// Its answers find their way back.
    Service,
}

/// How a subject is called on the other side.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Mapping {
    Same,
    /// Behind more tokens.
    Prefix(String),
    /// By a pattern: `*` and `>` stand for what those of the source matched, in order; `$1` for the first.
    To(String),
}

impl Link {
    /// The pattern of its subjects on the other side.
    fn image(&self) -> String {
        match &self.mapping {
            Mapping::Same => self.pattern.clone(),
            Mapping::Prefix(prefix) => format!("{prefix}.{}", self.pattern),
            Mapping::To(to) => {
                let token =
                    |token: &'_ str| if token.starts_with('$') { "*".to_owned() } else { token.to_owned() };
                to.split('.').map(token).collect::<Vec<String>>().join(".")
            }
        }
    }

    /// The subject on the other side, if this link takes the subject.
    pub fn map(&self, subject: &str) -> Option<String> {
        let pattern = Pattern::relaxed(self.pattern.as_bytes()).ok()?;
        if !pattern.matches(&Subject::relaxed(subject.as_bytes()).ok()?) {
            return None;
        }
        Some(match &self.mapping {
            Mapping::Same => subject.to_owned(),
            Mapping::Prefix(prefix) => format!("{prefix}.{subject}"),
            Mapping::To(to) => rewritten(&self.pattern, subject, to)?,
        })
    }
}

/// The first of these links that leads, with others of its kind, back to an account its messages were in: one
/// publish would come again and again. An account that has something of itself is no circle.
pub fn circle(links: &[Link]) -> Option<usize> {
    links.iter().position(|link| {
        link.from != link.to && leads_back(links, link, &link.image(), &mut vec![link.from, link.to])
    })
}

/// Whether a message of the last account gone through, on subjects of that pattern, comes back.
fn leads_back(links: &[Link], first: &Link, pattern: &str, through: &mut Vec<u16>) -> bool {
    debug_assert!(through.windows(2).all(|pair| pair[0] != pair[1]), "every step leads to another account");
    let here = through[through.len() - 1];
    links.iter().any(|next| {
        let follows = next.kind == first.kind && next.from == here && next.to != here;
        if !follows || !collide(pattern, &next.pattern) {
            return false;
        }
        if through.contains(&next.to) {
            return true;
        }
        through.push(next.to);
        let back = leads_back(links, first, &next.image(), through);
        through.pop();
        back
    })
}

/// Whether some subject matches both patterns.
fn collide(left: &str, right: &str) -> bool {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(one), Some(other)) if one == other || one == "*" || other == "*" => {}
            _ => return false,
        }
    }
}

fn rewritten(pattern: &str, subject: &str, to: &str) -> Option<String> {
    let mut matched = Vec::new();
    let mut rest = None;
    let mut place = 0;
    for (wanted, token) in pattern.split('.').zip(subject.split('.')) {
        match wanted {
            "*" => matched.push(token),
            ">" => rest = subject.get(place..),
            _ => {}
        }
        if wanted == ">" {
            break;
        }
        place += token.len() + 1;
    }
    let mut next = matched.iter();
    let tokens = to.split('.').map(|token| match token {
        "*" => next.next().copied(),
        ">" => rest,
        token => match token.strip_prefix('$').and_then(|number| number.parse::<usize>().ok()) {
            Some(number) => matched.get(number.checked_sub(1)?).copied(),
            None => Some(token),
        },
    });
    Some(tokens.collect::<Option<Vec<_>>>()?.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_called_by_its_name_on_the_other_side() {
        let to = |text: &str| Mapping::To(text.to_owned());
        for (pattern, mapping, subject, mapped) in [
            ("a.>", Mapping::Same, "a.b.c", Some("a.b.c")),
            ("a.>", Mapping::Same, "b", None),
            ("a.>", Mapping::Prefix("p.q".to_owned()), "a.b", Some("p.q.a.b")),
            ("a.*", to("x.*.y"), "a.b", Some("x.b.y")),
            ("a.*.b.*", to("$2.$1"), "a.1.b.2", Some("2.1")),
            ("a.>", to("z.>"), "a.b.c", Some("z.b.c")),
            ("a", to("b"), "a", Some("b")),
            ("a.*", to("$2"), "a.b", None),
        ] {
            let link = Link { kind: LinkKind::Stream, from: 0, pattern: pattern.to_owned(), to: 1, mapping };
            assert_eq!(link.map(subject).as_deref(), mapped, "{link:?} {subject}");
        }
    }

    fn link(kind: LinkKind, (from, pattern): (u16, &str), (to, image): (u16, &str)) -> Link {
        let mapping = if pattern == image { Mapping::Same } else { Mapping::To(image.to_owned()) };
        Link { kind, from, pattern: pattern.to_owned(), to, mapping }
    }

    #[test]
    fn links_in_a_circle_are_found_and_others_are_none() {
        use LinkKind::{Service, Stream};
        for (links, found) in [
            (vec![link(Stream, (0, "a"), (1, "a")), link(Stream, (1, "a"), (0, "a"))], true),
            (vec![link(Stream, (0, "a.>"), (1, "x.a")), link(Stream, (1, "x.*"), (0, "a.>"))], true),
            (vec![link(Service, (0, "q"), (1, "r")), link(Service, (1, "r"), (0, "q"))], true),
            (
                vec![
                    link(Stream, (0, "a"), (1, "a")),
                    link(Stream, (1, "*"), (2, "b")),
                    link(Stream, (2, "b"), (0, "z")),
                ],
                true,
            ),
            // It begins beside the circle.
            (
                vec![
                    link(Stream, (3, "a"), (1, "a")),
                    link(Stream, (1, "a"), (2, "a")),
                    link(Stream, (2, "a"), (1, "a")),
                ],
                true,
            ),
            // It is one where the other begins.
            (vec![link(Stream, (0, "a"), (1, "a")), link(Stream, (1, "b"), (0, "a"))], true),
            (vec![link(Stream, (0, "a"), (1, "a")), link(Stream, (1, "b"), (0, "c"))], false),
            (vec![link(Stream, (0, "a"), (1, "a")), link(Service, (1, "a"), (0, "a"))], false),
            (vec![link(Stream, (0, "a.*"), (1, "a.*")), link(Stream, (1, "a"), (0, "a"))], false),
            (vec![link(Service, (0, "a"), (0, "a")), link(Stream, (0, "a"), (0, "b"))], false),
            (vec![link(Stream, (0, "a"), (1, "a")), link(Stream, (0, "a"), (2, "a"))], false),
        ] {
            assert_eq!(circle(&links).is_some(), found, "{links:?}");
        }
    }
}
