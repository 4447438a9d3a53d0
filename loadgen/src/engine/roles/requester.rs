//! Sends requests, and takes their replies in an inbox.

use super::next::{Next, take};
use crate::dialect::Dialect;
use crate::dialect::raw::Hello;
use crate::engine::names::Names;
use crate::sequence::Stream;

/// Subscription number of a requester's inbox, outside those of subjects.
pub const INBOX: u32 = 1 << 24;

/// The channel of replies to the requester of a subject.
pub fn inbox(subject: u32) -> u32 {
    INBOX + subject + 1
}

#[derive(Debug)]
pub struct Requester {
    pub number: u16,
    pub subject: u32,
    sequence: u32,
    /// Replies there should be, for the window of a closed loop.
    pub expected: u64,
    /// Of replies.
    pub stream: Stream,
}

impl Requester {
    pub fn new(number: u16, subject: u32) -> Requester {
        Requester { number, subject, sequence: 0, expected: 0, stream: Stream::default() }
    }

    pub fn hello(&self) -> Hello {
        Hello { takes: inbox(self.subject), gives: self.subject + 1 }
    }

    pub fn greet(&self, dialect: Dialect, names: &Names, out: &mut Vec<u8>) {
        dialect.introduce(1, &names.subjects[self.subject as usize], out);
        dialect.subscribe(INBOX, &names.inboxes[usize::from(self.number)], None, out);
    }

    #[inline]
    pub fn next(&mut self) -> Next {
        let sequence = take(&mut self.sequence);
        Next { publisher: self.number, subject: self.subject, introduced: 1, sequence, asks: true }
    }
}
