//! All that a routed message can come to: outboxes here, links to other shards, groups that acknowledge.

use crate::delivery::Delivery;
use crate::identity::{HashSeed, ShardId};
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::mesh::Mesh;
use crate::work::Book;
use std::rc::Rc;

#[derive(Debug)]
pub struct Outlets {
    pub own: ShardId,
    pub limits: Rc<Limits>,
    pub seed: HashSeed,
    pub delivery: Delivery,
    pub mesh: Mesh,
    /// Messages that are kept until they are acknowledged.
    pub work: Book,
    pub ledger: Ledger,
}

impl Outlets {
    pub fn new(own: ShardId, limits: Rc<Limits>, seed: HashSeed) -> Outlets {
        Outlets {
            own,
            seed,
            delivery: Delivery::new(own, Rc::clone(&limits), seed),
            mesh: Mesh::new(own, Rc::clone(&limits)),
            work: Book::new(seed),
            ledger: Ledger::default(),
            limits,
        }
    }

    pub fn change_limits(&mut self, limits: Rc<Limits>) {
        self.delivery.change_limits(Rc::clone(&limits));
        self.mesh.change_limits(Rc::clone(&limits));
        self.limits = limits;
    }

    /// Recounts every running sum.
    pub fn check(&self) {
        self.delivery.check();
        self.mesh.check();
        self.work.check(&self.delivery);
    }
}
