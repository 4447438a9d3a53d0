//! The subjects of one account: who wants which, and what was found so far.

use crate::identity::HashSeed;
use crate::router::subjects::{SubjectId, Subjects};
use crate::router::{Route, Router, Stale};
use ringbolt_protocol::subject::{Pattern, Subject};

#[derive(Debug)]
pub struct Space {
    pub router: Router,
    pub subjects: Subjects,
}

impl Space {
    pub fn new(hash_seed: HashSeed, subjects_max: usize, routes_bytes_max: usize) -> Space {
        let subjects = Subjects::new(hash_seed, subjects_max, routes_bytes_max);
        Space { router: Router::new(hash_seed), subjects }
    }

    /// The text of a subject, its hash, and who wants it.
    #[inline]
    pub fn route(&mut self, subject: SubjectId) -> (&str, u64, &Route) {
        self.subjects.route(subject, &self.router)
    }

    /// Recounts the patterns and the subjects. Returns how often these are pinned.
    pub fn check(&self) -> u64 {
        self.router.check();
        self.subjects.check()
    }

    /// Interest in a pattern changed: what was found for it is not true any more.
    pub fn invalidate(&mut self, pattern: Pattern<'_>) {
        if Router::staleness(pattern) == Stale::One {
            // A pattern without wildcards is a subject.
            self.subjects.invalidate(Subject::trusted(pattern.as_str()));
        }
    }
}
