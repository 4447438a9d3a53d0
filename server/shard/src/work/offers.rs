//! Messages that other shards were asked to take over, until they answer.

use crate::identity::ShardId;
use crate::mesh::batch::OfferAnswer;

/// Offers that a shard may have unanswered.
const OPEN_MAX: u32 = 256;

#[derive(Clone, Debug)]
struct Peer {
    open: u32,
    /// So many it may have open: after it had no room for one, it is offered one more when time passed, and
    /// one more again for each that it takes.
    window: u32,
    /// It had no room for what it was offered.
    full: bool,
}

impl Peer {
    const NEW: Peer = Peer { open: 0, window: OPEN_MAX, full: false };
}

/// See the module.
#[derive(Debug, Default)]
pub struct Offers {
    /// By shard, as far as one was asked.
    peers: Vec<Peer>,
}

impl Offers {
    /// Whether a shard may be asked.
    pub fn admits(&self, shard: ShardId) -> bool {
        self.peers.get(usize::from(shard)).is_none_or(|peer| peer.open < peer.window && !peer.full)
    }

    pub fn opened(&mut self, shard: ShardId) {
        debug_assert!(self.admits(shard), "no more is offered than may be");
        let place = usize::from(shard);
        if place >= self.peers.len() {
            self.peers.resize(place + 1, Peer::NEW);
        }
        self.peers[place].open += 1;
    }

    /// Returns whether a shard may be asked that could not be for a while.
    pub fn answered(&mut self, shard: ShardId, answer: OfferAnswer) -> bool {
        let peer = &mut self.peers[usize::from(shard)];
        assert!(peer.open > 0, "an offer is answered once");
        let admitted = !peer.full && peer.open < peer.window;
        peer.open -= 1;
        match answer {
            OfferAnswer::Full => (peer.full, peer.window) = (true, 1),
            OfferAnswer::Taken if !peer.full => peer.window = (peer.window + 1).min(OPEN_MAX),
            OfferAnswer::Taken | OfferAnswer::Unwanted => {}
        }
        !admitted && !peer.full && peer.open < peer.window
    }

    pub fn pass_time(&mut self) {
        self.peers.iter_mut().for_each(|peer| peer.full = false);
    }

    /// Whether a shard has an offer to answer.
    pub fn is_open(&self, shard: ShardId) -> bool {
        self.peers.get(usize::from(shard)).is_some_and(|peer| peer.open > 0)
    }

    /// Offers that are not answered.
    pub fn open(&self) -> usize {
        self.peers.iter().map(|peer| peer.open as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_room_is_offered_one_when_time_passed_and_then_what_it_takes() {
        let mut offers = Offers::default();
        assert!(offers.admits(3) && !offers.is_open(3));
        (0..OPEN_MAX).for_each(|_| offers.opened(3));
        assert!(!offers.admits(3) && offers.admits(2) && offers.open() == OPEN_MAX as usize);
        assert!(offers.answered(3, OfferAnswer::Unwanted), "one more may be open");
        assert!(!offers.answered(3, OfferAnswer::Full));
        (2..OPEN_MAX).for_each(|_| assert!(!offers.answered(3, OfferAnswer::Taken), "it had no room"));
        assert!(!offers.admits(3) && !offers.is_open(3));
        offers.pass_time();
        for window in [1, 2, 4, 8] {
            (0..window).for_each(|_| offers.opened(3));
            assert!(!offers.admits(3), "{window}");
            let resumed = (0..window).filter(|_| offers.answered(3, OfferAnswer::Taken)).count();
            assert_eq!(resumed, 1, "it is told once that there may be more");
        }
        assert!(offers.admits(3) && !offers.is_open(3));
    }
}
