//! What one account lets another have: streams of its messages, and services that answer requests.

use ringbolt_protocol::subject::{Pattern, Subject};

/// A message published in one account that is also one of another account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    pub kind: LinkKind,
    /// Number of the account it is published in, and the pattern of its subject there.
    pub from: u16,
    pub pattern: String,
    /// Number of the account that gets it, and its subject there.
    pub to: u16,
    pub mapping: Mapping,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkKind {
    Stream,
    /// Its answers find their way back.
    Service,
}

/// How a subject is called on the other side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mapping {
    Same,
    /// Behind more tokens.
    Prefix(String),
    /// By a pattern: `*` and `>` stand for what those of the source matched, in order; `$1` for the first.
    To(String),
}

impl Link {
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
}
