//! What a connection had goes piece by piece: its subscriptions, what its members held, the requests it
//! watched. Until then it keeps its place, so that nobody who comes after it is taken for it.
//!
//! It is told apart from one that is there by its receiving half, which is not open: nothing is delivered to
//! it, and no group gives it anything.

use crate::bus::Bus;
use crate::delivery::receiver::Receiver;
use crate::identity::ConnectionId;
use crate::steps::INTEREST_STEPS;
use crate::table::Key;
use crate::turn::Turn;

/// What is left to be done of the end of one connection.
#[derive(Debug)]
pub struct Teardown {
    /// Subscriptions, the last first.
    keys: Vec<Key>,
    /// The edge has nothing of it any more.
    pub gone: bool,
}

impl Teardown {
    pub fn of(receiver: &Receiver) -> Teardown {
        debug_assert!(!receiver.open, "nothing more comes to who leaves");
        let mut keys = receiver.subscriptions.keys();
        keys.reverse();
        Teardown { keys, gone: false }
    }

    /// Gives back as many subscriptions, messages or requests as so many steps are about, one at least.
    /// Returns whether that was all.
    pub fn go_on(&mut self, id: ConnectionId, steps: i64, bus: &mut Bus, turn: &mut Turn<'_>) -> bool {
        let mut most = (steps as usize / INTEREST_STEPS).max(1);
        while most > 0
            && !bus.outlets.mesh.is_flooded_with_interest()
            && let Some(&key) = self.keys.last()
        {
            most -= bus.give_back_of(key, most, turn);
            if most > 0 {
                bus.remove_subscription(key, true, turn);
                self.keys.pop();
                most -= 1;
            }
        }
        if !self.keys.is_empty() {
            return false;
        }
        if most > 0 {
            most -= bus.outlets.work.connection_gone(id, most, turn);
        }
        if most > 0 {
            most -= bus.requests.forget_those_of(id, most, turn);
        }
        most > 0
    }
}
