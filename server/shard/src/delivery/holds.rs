//! Publishers that outrun a receiver are held back for short whiles, so that who takes what it is sent loses
//! nothing: each is heard a little every few milliseconds, however many hold it, so that nobody stops it.

use crate::identity::{Nanos, PublisherId};
use std::collections::{BTreeMap, VecDeque};

/// How long a publisher is held back.
const HOLD_NANOS: u64 = 5_000_000;
/// What it may send to receivers that it outruns between two holds: a part of an outbox, no more than this.
const GRACE_BYTES_MAX: usize = 64 << 10;
const GRACE_OF_OUTBOX: usize = 64;
/// What each message counts for beside its payload.
const MESSAGE_BYTES: usize = 64;
/// For how long after a hold its grace is remembered.
const REMEMBERED_NANOS: u64 = 1_000_000_000;

/// When, and after how many steps: what is delivered to several is one message.
pub type Moment = (Nanos, i64);

#[derive(Debug)]
struct Hold {
    is_held: bool,
    grace_bytes: usize,
    /// When the message was published that was counted last.
    counted: Option<Moment>,
    /// When it is let go, or was.
    until: Nanos,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Holds {
    of: BTreeMap<PublisherId, Hold>,
    held: VecDeque<(Nanos, PublisherId)>,
    let_go: VecDeque<(Nanos, PublisherId)>,
}

impl Holds {
    /// A publisher has sent so many bytes to a receiver that it outruns. Returns whether it is to be held.
    pub fn outruns(&mut self, publisher: PublisherId, at: Moment, bytes: usize) -> bool {
        let new = Hold { is_held: false, grace_bytes: 0, counted: None, until: at.0 };
        let hold = self.of.entry(publisher).or_insert(new);
        if hold.is_held || hold.counted == Some(at) && hold.grace_bytes > 0 {
            return false;
        }
        hold.counted = Some(at);
        hold.grace_bytes = hold.grace_bytes.saturating_sub(bytes + MESSAGE_BYTES);
        hold.is_held = hold.grace_bytes == 0;
        if hold.is_held {
            hold.until = Nanos(at.0.0 + HOLD_NANOS);
            self.held.push_back((hold.until, publisher));
        }
        hold.is_held
    }

    /// When the next publisher is let go.
    pub fn due(&self) -> Option<Nanos> {
        self.held.front().map(|&(until, _)| until)
    }

    /// The next publisher whose time is over: it is let go, and may send a little.
    pub fn let_go(&mut self, now: Nanos, outbox_bytes_max: usize) -> Option<PublisherId> {
        self.forget_old(now);
        let &(_, publisher) = self.held.front().filter(|(until, _)| *until <= now)?;
        self.held.pop_front();
        let hold = self.of.get_mut(&publisher)?;
        let grace_bytes = (outbox_bytes_max / GRACE_OF_OUTBOX).min(GRACE_BYTES_MAX);
        (hold.is_held, hold.grace_bytes, hold.until) = (false, grace_bytes, now);
        self.let_go.push_back((now, publisher));
        Some(publisher)
    }

    fn forget_old(&mut self, now: Nanos) {
        while let Some(&(since, publisher)) = self.let_go.front()
            && now.since(since) >= REMEMBERED_NANOS
        {
            self.let_go.pop_front();
            if self.of.get(&publisher).is_some_and(|hold| !hold.is_held && hold.until == since) {
                self.of.remove(&publisher);
            }
        }
    }

    /// Recounts who is held.
    pub fn check(&self) {
        let held: Vec<PublisherId> = self.held.iter().map(|&(_, publisher)| publisher).collect();
        let known = self.of.iter().filter(|(_, hold)| hold.is_held).count();
        assert_eq!(held.len(), known, "who is held back is let go once");
        assert!(self.held.iter().is_sorted_by_key(|&(until, _)| until), "and in turn");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ConnectionId;

    const OUTBOX: usize = 64 << 20;

    fn publisher(slot: u32) -> PublisherId {
        PublisherId { shard: 0, connection: ConnectionId { slot, generation: 1 } }
    }

    #[test]
    fn who_outruns_is_heard_a_little_between_two_holds() {
        let (mut holds, one) = (Holds::default(), publisher(1));
        assert!(holds.outruns(one, (Nanos(0), 9), 100), "it has no grace at first");
        assert!(!holds.outruns(one, (Nanos(0), 8), 100), "it is held already");
        assert_eq!(
            (holds.due(), holds.let_go(Nanos(HOLD_NANOS - 1), OUTBOX)),
            (Some(Nanos(HOLD_NANOS)), None)
        );
        assert_eq!(holds.let_go(Nanos(HOLD_NANOS), OUTBOX), Some(one));
        holds.check();
        let messages = GRACE_BYTES_MAX / (1000 + MESSAGE_BYTES);
        let later = Nanos(HOLD_NANOS + 1);
        for number in 0..messages as i64 {
            assert!(!holds.outruns(one, (later, number), 1000), "message {number}");
            assert!(!holds.outruns(one, (later, number), 1000), "to another receiver it is the same");
        }
        assert!(holds.outruns(one, (later, -1), 1000));
        assert_eq!(holds.let_go(Nanos(2 * HOLD_NANOS), OUTBOX), None);
    }

    #[test]
    fn a_message_larger_than_the_grace_is_sent_and_the_next_one_waits() {
        let (mut holds, one) = (Holds::default(), publisher(1));
        assert!(holds.outruns(one, (Nanos(0), 1), 1) && holds.let_go(Nanos(HOLD_NANOS), OUTBOX).is_some());
        assert!(holds.outruns(one, (Nanos(HOLD_NANOS), 1), 1 << 20));
    }

    #[test]
    fn who_outruns_nobody_any_more_is_forgotten() {
        let mut holds = Holds::default();
        (0..3).for_each(|slot| assert!(holds.outruns(publisher(slot), (Nanos(0), slot.into()), 1)));
        while holds.let_go(Nanos(HOLD_NANOS), OUTBOX).is_some() {}
        assert!(holds.outruns(publisher(1), (Nanos(HOLD_NANOS), 1), 1 << 20));
        assert_eq!(holds.let_go(Nanos(HOLD_NANOS + REMEMBERED_NANOS), OUTBOX), Some(publisher(1)));
        assert!(holds.of.keys().eq(&[publisher(1)]), "{:?}", holds.of);
        assert_eq!(holds.let_go(Nanos(3 * REMEMBERED_NANOS), OUTBOX), None);
        assert!(holds.of.is_empty() && holds.let_go.is_empty() && holds.held.is_empty());
    }
}
