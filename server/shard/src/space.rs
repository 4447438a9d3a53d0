//! The subjects of one account: who wants which, and what was found so far.

use super::identity::HashSeed;
use super::router::Router;
use super::router::subjects::Subjects;

#[derive(Debug)]
pub struct Space {
    pub router: Router,
    pub subjects: Subjects,
}

impl Space {
    pub fn new(hash_seed: HashSeed, subjects_max: usize) -> Space {
        Space { router: Router::new(hash_seed), subjects: Subjects::new(hash_seed, subjects_max) }
    }
}
