//! The answers a client may give though it may not publish there: to the reply subjects of what it was asked.

use crate::access::Responses;
use crate::identity::{HashSeed, Nanos};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::rc::Rc;

/// Reply subjects kept for one client; those that expire first go first.
const REPLIES_MAX: usize = 4096;

/// By reply subject.
#[derive(Debug)]
pub struct Replies {
    rule: Responses,
    open: HashMap<Rc<[u8]>, Reply, FixedState>,
    /// By age, with their numbers: under one rule, who came first expires first. Those that were given are
    /// among them until they are swept.
    queue: VecDeque<(u64, Rc<[u8]>)>,
    number: u64,
}

#[derive(Clone, Copy, Debug)]
struct Reply {
    number: u64,
    /// Answers left, if they are counted.
    left: Option<u32>,
    until: Nanos,
}

impl Replies {
    pub fn new(rule: Responses, seed: HashSeed) -> Replies {
        let open = HashMap::with_hasher(seed.table());
        Replies { rule, open, queue: VecDeque::new(), number: 0 }
    }

    /// The same answers, under a rule that changed.
    pub fn ruled_by(self, rule: Responses) -> Replies {
        Replies { rule, ..self }
    }

    /// A request was delivered.
    #[cold]
    pub fn expect(&mut self, now: Nanos, subject: &[u8]) {
        self.make_room(now);
        let nanos_max = self.rule.nanos_max;
        let until = Nanos(nanos_max.map_or(u64::MAX, |nanos| now.0.saturating_add(nanos)));
        self.number += 1;
        let subject: Rc<[u8]> = subject.into();
        self.queue.push_back((self.number, Rc::clone(&subject)));
        self.open.insert(subject, Reply { number: self.number, left: self.rule.messages_max, until });
        debug_assert!(self.open.len() <= REPLIES_MAX, "room was made");
    }

    /// Forgets the oldest if they have expired, or are too many.
    fn make_room(&mut self, now: Nanos) {
        while let Some((number, subject)) = self.queue.front() {
            let reply = self.open.get(subject).filter(|reply| reply.number == *number);
            let keeps = reply.is_some_and(|reply| reply.until > now);
            if keeps && self.open.len() < REPLIES_MAX {
                break;
            }
            if reply.is_some() {
                self.open.remove(subject);
            }
            self.queue.pop_front();
        }
        if self.queue.len() > 2 * REPLIES_MAX {
            let open = &self.open;
            let is_open =
                |number: u64, subject: &[u8]| open.get(subject).is_some_and(|reply| reply.number == number);
            self.queue.retain(|(number, subject)| is_open(*number, subject));
        }
    }

    /// Whether an answer may be given now; counts it.
    pub fn take(&mut self, now: Nanos, subject: &[u8]) -> bool {
        let Some(reply) = self.open.get_mut(subject) else { return false };
        if reply.until <= now {
            self.open.remove(subject);
            return false;
        }
        match &mut reply.left {
            None => {}
            Some(left) if *left > 1 => *left -= 1,
            Some(_) => drop(self.open.remove(subject)),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(messages_max: Option<u32>, nanos_max: Option<u64>) -> Replies {
        Replies::new(Responses { messages_max, nanos_max }, HashSeed::new(1))
    }

    fn subject(number: usize) -> Vec<u8> {
        format!("inbox.{number}").into_bytes()
    }

    #[test]
    fn the_oldest_is_given_up_when_there_are_too_many() {
        let mut replies = replies(None, None);
        for number in 0..3 * REPLIES_MAX {
            replies.expect(Nanos(number as u64), &subject(number));
        }
        let may = |replies: &mut Replies, number| replies.take(Nanos(9), &subject(number));
        assert!(!may(&mut replies, 2 * REPLIES_MAX - 1) && may(&mut replies, 2 * REPLIES_MAX));
        assert_eq!((replies.open.len(), replies.queue.len()), (REPLIES_MAX, REPLIES_MAX));
    }

    #[test]
    fn what_was_given_is_not_remembered_beside_one_that_never_is() {
        let mut replies = replies(Some(1), None);
        replies.expect(Nanos(0), b"never");
        for number in 0..10 * REPLIES_MAX {
            replies.expect(Nanos(1), &subject(number % 3));
            assert!(replies.take(Nanos(1), &subject(number % 3)));
            assert!(!replies.take(Nanos(1), &subject(number % 3)), "once");
        }
        assert!(replies.queue.len() <= 2 * REPLIES_MAX + 1);
        assert!(replies.take(Nanos(1), b"never"));
    }

    #[test]
    fn who_asks_again_on_a_subject_may_be_answered_by_the_newer_time() {
        let mut replies = replies(Some(2), Some(10));
        replies.expect(Nanos(0), b"a");
        replies.expect(Nanos(5), b"a");
        replies.expect(Nanos(12), b"b");
        assert!(replies.take(Nanos(14), b"a"), "the first has expired, the second has not");
        assert!(!replies.take(Nanos(15), b"a"));
        assert!(replies.take(Nanos(15), b"b"));
        replies.expect(Nanos(40), b"c");
        assert_eq!(replies.open.len(), 1, "what has expired is forgotten");
    }
}
