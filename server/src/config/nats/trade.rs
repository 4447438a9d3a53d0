//! `exports` and `imports` of accounts: what one gives, what another takes, and whether both fit.

use super::context::{Context, Unsupported};
use super::language::{Entry, Node, Place, Value};
use ringbolt_protocol::subject::{Pattern, Subject};
use ringbolt_shard::access::links::circle;
use ringbolt_shard::access::{Access, Account, Link, LinkKind, Mapping};

/// All accounts' exports and imports, before they are compared.
#[derive(Default)]
pub(super) struct Trade {
    exports: Vec<Export>,
    imports: Vec<Import>,
}

struct Export {
    kind: LinkKind,
    account: u16,
    pattern: String,
    /// Names of the accounts it is for; everyone, if there are none.
    only: Option<Vec<String>>,
}

struct Import {
    kind: LinkKind,
    account: u16,
    place: Place,
    /// Name of the exporting account, and the subject there.
    from: String,
    subject: String,
    mapping: Mapping,
}

impl Trade {
    pub(super) fn exports(&mut self, account: u16, node: &Node, context: &mut Context<'_>) {
        for node in list(node, context) {
            let (mut found, mut only) = (None, None);
            for entry in context.block(node) {
                match entry.key.to_ascii_lowercase().as_str() {
                    "stream" => found = context.text(&entry.node).map(|pattern| (LinkKind::Stream, pattern)),
                    "service" => {
                        found = context.text(&entry.node).map(|pattern| (LinkKind::Service, pattern));
                    }
                    "accounts" => {
                        let nodes = list(&entry.node, context);
                        only = Some(nodes.iter().filter_map(|node| context.text(node)).collect());
                    }
                    // How many answers there are and how they are timed is not looked at.
                    "response" | "response_type" | "threshold" | "response_threshold" | "allow_trace" => {}
                    "latency" | "account_token_position" => {
                        context.unsupported(Unsupported { name: &entry.key, place: &entry.place });
                    }
                    _ => context.unknown(entry),
                }
            }
            match found {
                Some((kind, pattern)) if Pattern::relaxed(pattern.as_bytes()).is_ok() => {
                    self.exports.push(Export { kind, account, pattern, only });
                }
                _ => {
                    context
                        .wrong(&node.place, "an export is a stream or a service with a subject".to_owned());
                }
            }
        }
    }

    pub(super) fn imports(&mut self, account: u16, node: &Node, context: &mut Context<'_>) {
        for node in list(node, context) {
            let (mut found, mut mapping) = (None, Mapping::Same);
            for entry in context.block(node) {
                match entry.key.to_ascii_lowercase().as_str() {
                    "stream" => found = source(entry, context).map(|source| (LinkKind::Stream, source)),
                    "service" => found = source(entry, context).map(|source| (LinkKind::Service, source)),
                    "prefix" => {
                        mapping = context.text(&entry.node).map_or(Mapping::Same, Mapping::Prefix);
                    }
                    "to" => mapping = context.text(&entry.node).map_or(Mapping::Same, Mapping::To),
                    "share" | "allow_trace" => {
                        context.unsupported(Unsupported { name: &entry.key, place: &entry.place });
                    }
                    _ => context.unknown(entry),
                }
            }
            let Some((kind, (from, subject))) = found else {
                let message = "an import is a stream or a service of an account and a subject".to_owned();
                context.wrong(&node.place, message);
                continue;
            };
            self.imports.push(Import { kind, account, place: node.place.clone(), from, subject, mapping });
        }
    }

    /// Makes links of the imports that are exported, and names the others, what is imported twice, and what
    /// runs in a circle.
    pub(super) fn settle(self, access: &mut Access, context: &mut Context<'_>) {
        let mut links: Vec<(&Import, Link)> = Vec::new();
        for import in &self.imports {
            let named = |account: &&Account| account.name == import.from;
            let Some(exporter) = access.accounts().iter().find(named).map(|account| account.number) else {
                context.wrong(&import.place, format!("there is no account '{}'", import.from));
                continue;
            };
            let importer = access.account(import.account).map(|account| &account.name);
            let given = self.exports.iter().any(|export| {
                (export.kind, export.account) == (import.kind, exporter)
                    && contains(&export.pattern, &import.subject)
                    && export
                        .only
                        .as_ref()
                        .is_none_or(|only| importer.is_some_and(|name| only.contains(name)))
            });
            if !given {
                let message =
                    format!("account '{}' does not export '{}' to this one", import.from, import.subject);
                context.wrong(&import.place, message);
                continue;
            }
            let link = import.link(exporter);
            // A stream of a subject comes once, under one name; a local subject is one service of an account.
            let same = |(_, other): &&(&Import, Link)| {
                (other.kind, other.from, other.to, &other.pattern)
                    == (link.kind, link.from, link.to, &link.pattern)
            };
            if links.iter().any(|known| same(&known)) {
                let message = format!("account '{}': '{}' is imported already", import.from, link.pattern);
                context.wrong(&import.place, message);
                continue;
            }
            links.push((import, link));
        }
        access.links = links.iter().map(|(_, link)| link.clone()).collect();
        if let Some(place) = circle(&access.links) {
            let import = links[place].0;
            context.wrong(&import.place, format!("import of '{}' forms a cycle", import.subject));
        }
    }
}

impl Import {
    fn link(&self, exporter: u16) -> Link {
        let kind = self.kind;
        match kind {
            LinkKind::Stream => Link {
                kind,
                from: exporter,
                pattern: self.subject.clone(),
                to: self.account,
                mapping: self.mapping.clone(),
            },
            // The other way: requests go to the exporter.
            LinkKind::Service => {
                let (pattern, mapping) = match &self.mapping {
                    Mapping::Same => (self.subject.clone(), Mapping::Same),
                    Mapping::Prefix(prefix) => {
                        let local = format!("{prefix}.{}", self.subject);
                        (local, Mapping::To(self.subject.clone()))
                    }
                    Mapping::To(local) => (local.clone(), Mapping::To(self.subject.clone())),
                };
                Link { kind, from: self.account, pattern, to: exporter, mapping }
            }
        }
    }
}

fn list<'n>(node: &'n Node, context: &mut Context<'_>) -> &'n [Node] {
    match &node.value {
        Value::List(nodes) => nodes,
        _ => {
            context.wrong(&node.place, "takes a list: [ … ]".to_owned());
            &[]
        }
    }
}

/// `{account: A, subject: "a.>"}`.
fn source(entry: &Entry, context: &mut Context<'_>) -> Option<(String, String)> {
    let (mut account, mut subject) = (None, None);
    for part in context.block(&entry.node) {
        match part.key.to_ascii_lowercase().as_str() {
            "account" => account = context.text(&part.node),
            "subject" => subject = context.text(&part.node),
            _ => context.unknown(part),
        }
    }
    let subject = subject.filter(|subject| Pattern::relaxed(subject.as_bytes()).is_ok())?;
    Some((account?, subject))
}

/// Whether everything one pattern matches is matched by the other.
fn contains(wide: &str, narrow: &str) -> bool {
    match (Pattern::relaxed(wide.as_bytes()), Subject::relaxed(narrow.as_bytes())) {
        (Ok(pattern), Ok(subject)) => pattern.matches(&subject),
        _ => false,
    }
}
