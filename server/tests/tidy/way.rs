//! The way of a message through the pure half, as ARCHITECTURE.md lists it file by file, held against the
//! code: it leads on from each file to the next, enters none twice, and turns aside nowhere but on ways that
//! are named here.
//!
//! A list stands under its heading, an entry a line: `` 1. `server/shard/src/lib.rs`: `handle` ``. Each
//! function must be called by one further up, by itself or through functions of that one's own file. Whatever
//! else they call must be of the same file, of one further down, of a leaf, or an exit.
//!
//! `cargo bench --package ringbolt-instructions -- --files CASE` prints the files that a message
//! really enters.

use super::calls::{Call, Calls};
use super::source::Source;
use super::{assert_none, root, sources};
use std::collections::BTreeSet;

const DOCUMENT: &str = "docs/ARCHITECTURE.md";
const SHARD: &str = "server/shard/src/";

/// A list by its heading, and how many files it may have.
struct Way {
    heading: &'static str,
    files_max: usize,
}

const WAYS: &[Way] = &[
    Way { heading: "PUB to a receiver of this shard", files_max: 9 },
    Way { heading: "PUBLISH to a receiver of this shard", files_max: 9 },
    Way { heading: "PUB to another shard", files_max: 8 },
    Way { heading: "PUBLISH to another shard", files_max: 8 },
    Way { heading: "From another shard to a NATS client", files_max: 7 },
    Way { heading: "From another shard to a native client", files_max: 7 },
];

/// Files that any other may call, and that call back none: vocabulary and containers. They are not counted.
const LEAVES: &[&str] = &[
    "server/shard/src/access/permissions.rs",
    "server/shard/src/closing.rs",
    "server/shard/src/delivery/emergency.rs",
    "server/shard/src/delivery/pool.rs",
    "server/shard/src/delivery/subscription.rs",
    "server/shard/src/event.rs",
    "server/shard/src/identity.rs",
    "server/shard/src/lanes.rs",
    "server/shard/src/ledger.rs",
    "server/shard/src/limits.rs",
    "server/shard/src/message.rs",
    "server/shard/src/metrics.rs",
    "server/shard/src/moment.rs",
    "server/shard/src/outcome.rs",
    "server/shard/src/random.rs",
    "server/shard/src/reserved.rs",
    "server/shard/src/router/entry.rs",
    "server/shard/src/router/subscribers.rs",
    "server/shard/src/steps.rs",
    "server/shard/src/table.rs",
    "server/shard/src/turn.rs",
    "server/shard/src/wide.rs",
];

/// Where a function on the way may turn aside, into this file (all of it: `*`) or function, and why.
const EXITS: &[(&str, &str, &str)] = &[
    ("server/shard/src/accounts/links.rs", "concern", "whether an account has links, asked of a table"),
    ("server/shard/src/accounts/mod.rs", "*", "the subjects of an account, out of a table"),
    ("server/shard/src/bus.rs", "*", "limits, and answers, which are a way of their own"),
    ("server/shard/src/clients/mod.rs", "*", "the table of clients; one is opened or closed"),
    ("server/shard/src/clients/native/commands.rs", "*", "control frames"),
    ("server/shard/src/clients/native/mod.rs", "*", "a client is opened, closed or refused something"),
    ("server/shard/src/clients/native/receive.rs", "*", "what clients send is another event"),
    ("server/shard/src/clients/nats/receive.rs", "*", "what clients send is another event"),
    ("server/shard/src/clients/nats/access.rs", "*", "who a client is"),
    ("server/shard/src/clients/nats/answers.rs", "*", "answers are a way of their own"),
    ("server/shard/src/clients/nats/commands.rs", "*", "CONNECT, SUB and UNSUB"),
    ("server/shard/src/clients/nats/mod.rs", "*", "a client is opened, or its settings change"),
    ("server/shard/src/clients/sender.rs", "*", "what is unfinished is kept, what was received is counted"),
    ("server/shard/src/delivery/beside.rs", "*", "lanes other than the normal one"),
    ("server/shard/src/delivery/mod.rs", "*", "connections open, close, are full or held back"),
    ("server/shard/src/delivery/outbox.rs", "*", "receivers of this shard"),
    ("server/shard/src/delivery/receiver.rs", "*", "the table of receivers"),
    ("server/shard/src/delivery/write_native.rs", "write_frame", "receivers that speak the other dialect"),
    ("server/shard/src/delivery/write_nats.rs", "write_line", "receivers that speak the other dialect"),
    ("server/shard/src/mesh/batch.rs", "*", "receivers of other shards"),
    ("server/shard/src/mesh/inbound.rs", "*", "what other shards send is another event"),
    ("server/shard/src/mesh/link.rs", "*", "receivers of other shards"),
    ("server/shard/src/outlets.rs", "memory_bytes", "two sums"),
    ("server/shard/src/requests.rs", "concern", "whether a reply is waited for, asked of a table"),
    ("server/shard/src/requests.rs", "is_idle", "whether any reply is waited for"),
    ("server/shard/src/router/mod.rs", "*", "the route is computed anew, or interest changes"),
    ("server/shard/src/shard/housekeeping.rs", "*", "time passed"),
    ("server/shard/src/shard/leaving.rs", "*", "the shard ends"),
    ("server/shard/src/shard/pace.rs", "*", "what a turn may take"),
    ("server/shard/src/shard/settings.rs", "*", "settings were read again"),
    ("server/shard/src/shard/settle.rs", "*", "what handling the event left to be done"),
    ("server/shard/src/shard/turns.rs", "*", "who is heard in a later turn"),
    ("server/shard/src/subscriptions.rs", "*", "subscriptions come and go"),
    ("server/shard/src/work/bury.rs", "*", "dead letters are replayed or purged"),
    ("server/shard/src/work/serve.rs", "*", "groups that acknowledge"),
];

/// One file of a way, and the function it is entered by.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Step {
    file: String,
    function: String,
}

/// What a way is held against.
struct Rules<'r> {
    leaves: &'r [&'r str],
    exits: &'r [(&'r str, &'r str, &'r str)],
}

/// The list under a heading.
fn listed(document: &str, heading: &str) -> Vec<Step> {
    let title = |line: &str| line.trim_start_matches('#').trim() == heading && line.starts_with('#');
    let below = document.lines().skip_while(|line| !title(line)).skip(1);
    let own = below.take_while(|line| !line.starts_with('#'));
    own.filter_map(|line| {
        let (number, entry) = line.split_once(". `")?;
        let (file, rest) = entry.split_once("`: `")?;
        let (function, _) = rest.split_once('`')?;
        let is_number = number.parse::<usize>().is_ok();
        is_number.then(|| Step { file: file.to_owned(), function: function.to_owned() })
    })
    .collect()
}

impl Rules<'_> {
    fn is_leaf(&self, file: &str) -> bool {
        self.leaves.contains(&file)
    }

    /// Whether a call from a file leaves the way by an exit; a function that is marked `#[cold]` is one.
    fn is_exit(&self, calls: &Calls<'_>, file: &str, call: &Call<'_>) -> bool {
        let to = calls.leads_to(file, call);
        let is_it = |to: &&str| {
            let exits = self.exits.iter().filter(|(of, _, _)| of == to);
            exits.into_iter().any(|(_, name, _)| *name == "*" || *name == call.function)
        };
        calls.is_cold(file, call) || !to.is_empty() && !to.contains(file) && to.iter().all(is_it)
    }

    /// What a step calls, the next one not taken for an exit.
    fn reached<'c>(&self, calls: &Calls<'c>, step: &Step, next: Option<&Step>) -> BTreeSet<Call<'c>> {
        calls.within(&step.file, &step.function, |call| {
            next.is_none_or(|next| next.function != call.function) && self.is_exit(calls, &step.file, call)
        })
    }

    /// What is wrong with a way.
    fn complaints(&self, calls: &Calls<'_>, way: &[Step], files_max: usize) -> Vec<String> {
        let mut found = Vec::new();
        if way.is_empty() || way.len() > files_max {
            found.push(format!("{} files, not 1 to {files_max}", way.len()));
        }
        for (place, step) in way.iter().enumerate() {
            let (file, function) = (step.file.as_str(), step.function.as_str());
            if way[..place].iter().any(|before| before.file == file) {
                found.push(format!("{file} is entered twice"));
            }
            if self.is_leaf(file) {
                found.push(format!("{file} is a leaf, which is not counted"));
            }
            if !calls.defines(file, function) {
                found.push(format!("{file} defines no {function}"));
                continue;
            }
            // What a file asks of another returns to it: the next may be called from further up.
            let leads_here = |before: &Step| {
                self.reached(calls, before, Some(step)).iter().any(|call| {
                    call.function == function && calls.leads_to(&before.file, call).contains(file)
                })
            };
            if place > 0 && !way[..place].iter().any(leads_here) {
                found.push(format!("{file}: nothing further up calls {function}"));
            }
            let allowed: BTreeSet<&str> = way[place..]
                .iter()
                .map(|step| step.file.as_str())
                .chain(self.leaves.iter().copied())
                .collect();
            for call in self.reached(calls, step, way.get(place + 1)) {
                let to = calls.leads_to(file, &call);
                if !to.is_empty() && to.is_disjoint(&allowed) {
                    let to = to.into_iter().collect::<Vec<_>>().join(" or ");
                    found.push(format!("{file}: {function} calls {} of {to}", call.function));
                }
            }
        }
        found
    }
}

#[test]
fn the_way_of_a_message_is_the_one_that_the_architecture_lists() {
    let document = std::fs::read_to_string(root().join(DOCUMENT)).expect("it is there");
    let sources = sources();
    let calls = Calls::new(&sources, SHARD);
    let rules = Rules { leaves: LEAVES, exits: EXITS };
    let mut found = Vec::new();
    for Way { heading, files_max } in WAYS {
        let of_way = rules.complaints(&calls, &listed(&document, heading), *files_max);
        found.extend(of_way.iter().map(|complaint| format!("{DOCUMENT}: {heading}: {complaint}")));
    }
    assert_none(&found);
}

#[test]
fn leaves_call_nothing_back() {
    let sources = sources();
    let calls = Calls::new(&sources, SHARD);
    let mut found = Vec::new();
    for leaf in LEAVES {
        for call in calls.of(leaf) {
            let to = calls.leads_to(leaf, call);
            if !to.is_empty() && to.iter().all(|file| !LEAVES.contains(file)) {
                found.push(format!("{leaf} calls {} of {to:?}", call.function));
            }
        }
    }
    assert_none(&found);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up crate: each file by its name without `.rs`, and its code.
    const CRATE: &[(&str, &str)] = &[
        (
            "bus",
            "impl Bus { fn handle(&mut self) { self.bytes() } fn bytes(&mut self) { receive::read(self) } }",
        ),
        ("receive", "fn read(bus: &mut Bus) { metrics::count(); bus.core.publish() }"),
        (
            "door",
            "struct Core { outbox: Outbox, subjects: Vec<u8> }\n\
                  impl Core { fn publish(&mut self) { self.subjects.push(1); self.fan_out() }\n\
                  fn fan_out(&mut self) { self.outbox.write() } }",
        ),
        ("outbox", "impl Outbox { fn write(&mut self) {} fn push(&mut self) {} }"),
        ("closing", "impl Core { fn close(&mut self) {} }"),
        ("metrics", "fn count() {}"),
    ];
    const WAY: &[(&str, &str)] =
        &[("bus", "handle"), ("receive", "read"), ("door", "publish"), ("outbox", "write")];

    /// What is wrong with a way through the crate, in which `from` is replaced by `to`.
    fn complaints(way: &[(&str, &str)], from: &str, to: &str) -> Vec<String> {
        let replaced =
            |&(name, code): &(&str, &str)| Source::new(&format!("a/{name}.rs"), code.replace(from, to));
        let sources: Vec<Source> = CRATE.iter().map(replaced).collect();
        let step = |&(file, function): &(&str, &str)| Step {
            file: format!("a/{file}.rs"),
            function: function.to_owned(),
        };
        let way: Vec<Step> = way.iter().map(step).collect();
        let exits = &[("a/closing.rs", "*", "a client is closed")];
        Rules { leaves: &["a/metrics.rs"], exits }.complaints(&Calls::new(&sources, "a/"), &way, 4)
    }

    #[test]
    fn a_way_that_leads_on_and_nowhere_else_is_right() {
        assert_eq!(complaints(WAY, "", ""), [""; 0]);
        let closes = complaints(WAY, "metrics::count()", "self.core.close()");
        assert_eq!(closes, [""; 0], "an exit");
        let back = "fn write(&mut self) { self.rare() } #[cold] fn rare(&mut self) { receive::read() }";
        assert_eq!(complaints(WAY, "fn write(&mut self) {}", back), [""; 0], "cold");
    }

    #[test]
    fn a_way_that_the_code_does_not_take_is_found() {
        for (from, to, complaint) in [
            ("fn publish", "fn publish_run", "a/door.rs defines no publish"),
            ("receive::read(self)", "", "a/receive.rs: nothing further up calls read"),
            ("self.fan_out() }", "}", "a/outbox.rs: nothing further up calls write"),
            (
                "fn write(&mut self) {",
                "fn write(&mut self) { door::fan_out()",
                "write calls fan_out of a/door.rs",
            ),
            (
                "fn write(&mut self) {",
                "fn write(&mut self) { self.bus.handle()",
                "write calls handle of a/bus.rs",
            ),
            ("struct Core {", "fn aside() {} struct Core {", ""),
        ] {
            let found = complaints(WAY, from, to);
            let is_found = found.iter().any(|words| words.ends_with(complaint));
            assert!(is_found != complaint.is_empty(), "{to}: {found:?}");
        }
    }

    #[test]
    fn a_list_that_is_too_long_or_enters_a_file_twice_or_a_leaf_is_found() {
        let twice = complaints(&[WAY, &[("bus", "bytes")]].concat(), "", "");
        assert!(twice.contains(&"5 files, not 1 to 4".to_owned()), "{twice:?}");
        assert!(twice.contains(&"a/bus.rs is entered twice".to_owned()), "{twice:?}");
        let leaf = complaints(&[("receive", "read"), ("metrics", "count")], "", "");
        assert!(leaf.contains(&"a/metrics.rs is a leaf, which is not counted".to_owned()), "{leaf:?}");
        assert_eq!(complaints(&[], "", ""), ["0 files, not 1 to 4"]);
    }

    #[test]
    fn a_list_is_read_under_its_heading_only() {
        let document = "## A\n1. `a.rs`: `f`, and why\nwords\n2. `b.rs`: `g`\n### B\n1. `c.rs`: `h`\n";
        let step = |file: &str, function: &str| Step { file: file.to_owned(), function: function.to_owned() };
        assert_eq!(listed(document, "A"), [step("a.rs", "f"), step("b.rs", "g")]);
        assert_eq!(listed(document, "C"), []);
    }
}
