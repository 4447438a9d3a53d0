//! Connects, subscribes, sends itself one message, and leaves; again and again.

use super::next::{Next, take};
use crate::dialect::Dialect;
use crate::dialect::raw::Hello;
use crate::engine::names::Names;

#[derive(Debug)]
pub struct Churner {
    number: u16,
    sequence: u32,
    /// When its connect was due; 0 while none is under way.
    pub intended: u64,
}

impl Churner {
    pub fn new(number: u16) -> Churner {
        Churner { number, sequence: 0, intended: 0 }
    }

    /// It has one of its own.
    pub fn subject(&self) -> u32 {
        u32::from(self.number)
    }

    pub fn hello(&self) -> Hello {
        Hello { takes: self.subject() + 1, gives: self.subject() + 1 }
    }

    pub fn greet(&self, dialect: Dialect, names: &Names, out: &mut Vec<u8>) {
        let text = &names.subjects[self.subject() as usize];
        dialect.subscribe(self.subject() + 1, text, None, out);
    }

    #[inline]
    pub fn next(&mut self) -> Next {
        let sequence = take(&mut self.sequence);
        Next { publisher: self.number, subject: self.subject(), introduced: 0, sequence, asks: false }
    }
}
