//! Wildcard patterns as a trie of tokens. Knows patterns and entries, nothing above them.

use super::entry::Entry;
use compact_str::CompactString;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ringbolt_protocol::subject::{Pattern, Subject};
use smallvec::{SmallVec, smallvec};
use std::fmt;

type NodeId = u32;
const ROOT: NodeId = 0;

#[derive(Default)]
struct Node {
    literal: Option<Box<HashMap<CompactString, NodeId, FixedState>>>,
    /// `*`: exactly one token.
    star: Option<NodeId>,
    /// Patterns that end in this node.
    here: Entry,
    /// Patterns that end in `>` below this node.
    rest: Entry,
}

/// What a node takes, in its arena and in the map of the one above: most have no sister.
pub(super) const NODE_BYTES: usize = 250;

impl Node {
    fn is_bare(&self) -> bool {
        self.literal.as_ref().is_none_or(|map| map.is_empty())
            && self.star.is_none()
            && self.here.is_empty()
            && self.rest.is_empty()
    }
}

/// The trie; nodes live in one arena and are re-used.
pub(super) struct Trie {
    nodes: Vec<Node>,
    free: Vec<NodeId>,
    state: FixedState,
    patterns: usize,
}

impl Trie {
    pub(super) fn new(state: FixedState) -> Trie {
        Trie { nodes: vec![Node::default()], free: Vec::new(), state, patterns: 0 }
    }

    pub(super) fn patterns(&self) -> usize {
        self.patterns
    }

    /// Memory that nodes take, roughly; those that are free stay.
    pub(super) fn nodes_bytes(&self) -> usize {
        let used = self.nodes.len() - 1 - self.free.len();
        used * NODE_BYTES + self.free.len() * size_of::<Node>()
    }

    /// Edits the entry of a pattern, made if it is new and removed if it ends empty.
    pub(super) fn change<R>(&mut self, pattern: Pattern<'_>, edit: impl FnOnce(&mut Entry) -> R) -> R {
        let mut path = Vec::with_capacity(8);
        let mut node = ROOT;
        let mut rest = false;
        for token in pattern.tokens() {
            if token == ">" {
                rest = true;
                break;
            }
            path.push((node, token));
            node = self.child_or_new(node, token);
        }
        let place = &mut self.nodes[node as usize];
        let entry = if rest { &mut place.rest } else { &mut place.here };
        let known = usize::from(!entry.is_empty());
        debug_assert!(known <= self.patterns, "a pattern that is there was counted");
        self.patterns -= known;
        let result = edit(entry);
        self.patterns += usize::from(!entry.is_empty());
        self.prune(&path, node);
        result
    }

    /// Calls `found` with the entry of every pattern that matches; it may be empty. Returns how many nodes it
    /// looked at.
    pub(super) fn matches<'t>(&'t self, subject: Subject<'_>, mut found: impl FnMut(&'t Entry)) -> usize {
        // Depth first with an explicit stack: at most one waiting `*` branch a token.
        let text = subject.as_str();
        let mut stack: SmallVec<[(NodeId, Option<&str>); 8]> = smallvec![(ROOT, Some(text))];
        let mut nodes = 0;
        while let Some((id, rest)) = stack.pop() {
            nodes += 1;
            let node = &self.nodes[id as usize];
            let Some(rest) = rest else {
                found(&node.here);
                continue;
            };
            found(&node.rest);
            let (token, behind) = match rest.split_once('.') {
                Some((token, behind)) => (token, Some(behind)),
                None => (rest, None),
            };
            if let Some(star) = node.star {
                stack.push((star, behind));
            }
            if let Some(&child) = node.literal.as_ref().and_then(|map| map.get(token)) {
                stack.push((child, behind));
            }
        }
        nodes
    }

    /// What entries take beside their nodes, counted anew.
    pub(super) fn entries_bytes(&self) -> usize {
        let entries = self.nodes.iter().flat_map(|node| [&node.here, &node.rest]);
        entries.map(Entry::whole_heap_bytes).sum()
    }

    /// Recounts the patterns, and the nodes they stand in.
    pub(super) fn check(&self) {
        let entries = self.nodes.iter().flat_map(|node| [&node.here, &node.rest]);
        assert_eq!(self.patterns, entries.filter(|entry| !entry.is_empty()).count(), "patterns");
        self.nodes.iter().flat_map(|node| [&node.here, &node.rest]).for_each(Entry::check);
        let bare = self.nodes.iter().skip(1).filter(|node| node.is_bare()).count();
        assert_eq!(self.free.len(), bare, "a node that leads nowhere is free");
        assert!(
            self.free.iter().all(|&node| self.nodes[node as usize].is_bare()),
            "a free node leads nowhere"
        );
    }

    fn child_or_new(&mut self, parent: NodeId, token: &str) -> NodeId {
        let node = &self.nodes[parent as usize];
        let known = match token {
            "*" => node.star,
            _ => node.literal.as_ref().and_then(|map| map.get(token).copied()),
        };
        if let Some(child) = known {
            return child;
        }
        let child = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            (self.nodes.len() - 1) as NodeId
        });
        debug_assert!(child != ROOT && self.nodes[child as usize].is_bare(), "a node begins with nothing");
        let state = self.state.clone();
        let node = &mut self.nodes[parent as usize];
        if token == "*" {
            node.star = Some(child);
        } else {
            let map = node.literal.get_or_insert_with(|| Box::new(HashMap::with_hasher(state)));
            map.insert(token.into(), child);
        }
        child
    }

    fn prune(&mut self, path: &[(NodeId, &str)], mut node: NodeId) {
        for &(parent, token) in path.iter().rev() {
            if !self.nodes[node as usize].is_bare() {
                return;
            }
            debug_assert_ne!(node, ROOT, "the root stays");
            self.nodes[node as usize] = Node::default();
            self.free.push(node);
            let above = &mut self.nodes[parent as usize];
            if token == "*" {
                above.star = None;
            } else if let Some(map) = &mut above.literal {
                map.remove(token);
            }
            node = parent;
        }
    }
}

impl fmt::Debug for Trie {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes.len() - self.free.len();
        formatter.debug_struct("Trie").field("patterns", &self.patterns).field("nodes", &nodes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Route;
    use super::super::subscribers::Target;
    use super::*;

    fn trie() -> Trie {
        Trie::new(FixedState::with_seed(7))
    }

    fn pattern(text: &str) -> Pattern<'_> {
        Pattern::new(text.as_bytes()).expect("a pattern")
    }

    fn matched(trie: &Trie, subject: &str) -> Vec<u32> {
        let mut route = Route::default();
        let subject = Subject::new(subject.as_bytes()).expect("a subject");
        trie.matches(subject, |entry| route.merge(entry));
        let mut found: Vec<u32> = route.plain.iter().map(|target| target.subscription).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn wildcards_match_by_the_rules() {
        let mut trie = trie();
        let patterns = ["a.*", "a.>", "*", ">", "*.b", "a.*.c", "*.*.>", "a.b.*", "x.>"];
        for (number, text) in patterns.iter().enumerate() {
            let target = Target { subscription: number as u32, slot: 0 };
            trie.change(pattern(text), |entry| entry.add_local(None, target));
        }
        for (subject, expected) in [
            ("a", vec![2, 3]),
            ("a.b", vec![0, 1, 3, 4]),
            ("a.b.c", vec![1, 3, 5, 6, 7]),
            ("x", vec![2, 3]),
            ("x.y", vec![3, 8]),
            ("q.r.s.t", vec![3, 6]),
        ] {
            assert_eq!(matched(&trie, subject), expected, "{subject}");
        }
    }

    #[test]
    fn removing_every_pattern_frees_every_node() {
        let mut trie = trie();
        let target = Target { subscription: 1, slot: 2 };
        let patterns = ["a.*.c", "a.*", "a.*.>", "*.*", "deep.er.and.*.deeper"];
        for text in patterns {
            trie.change(pattern(text), |entry| entry.add_local(None, target));
        }
        assert_eq!(trie.patterns(), patterns.len());
        for text in patterns {
            trie.change(pattern(text), |entry| entry.remove_local(None, target));
        }
        assert_eq!(trie.patterns(), 0);
        assert_eq!(trie.nodes.len() - trie.free.len(), 1, "only the root is left");
    }
}
