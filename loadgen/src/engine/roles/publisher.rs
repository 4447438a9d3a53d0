//! Publishes to its subjects in turn.

use super::next::{Next, take};
use crate::dialect::Dialect;
use crate::dialect::raw::Hello;
use crate::engine::names::Names;
use std::collections::VecDeque;

#[derive(Debug)]
pub struct Publisher {
    pub number: u16,
    subjects: Vec<u32>,
    /// The next sequence of each.
    sequences: Vec<u32>,
    /// The subject of the next message, as an index into its own.
    turn: usize,
    /// Deliveries its messages should cause, for the window of a closed loop.
    pub expected: u64,
    /// Messages before each barrier that is not answered, and when the last of them was due.
    pub barriers: VecDeque<(u64, u64)>,
}

impl Publisher {
    pub fn new(number: u16, subjects: Vec<u32>) -> Publisher {
        let sequences = vec![0; subjects.len()];
        Publisher { number, subjects, sequences, turn: 0, expected: 0, barriers: VecDeque::new() }
    }

    pub fn hello(&self) -> Hello {
        Hello { takes: 0, gives: self.subjects[0] + 1 }
    }

    pub fn greet(&self, dialect: Dialect, names: &Names, out: &mut Vec<u8>) {
        for (place, &subject) in self.subjects.iter().enumerate() {
            dialect.introduce(place as u32 + 1, &names.subjects[subject as usize], out);
        }
    }

    /// The subject of its next message.
    pub fn subject(&self) -> u32 {
        self.subjects[self.turn]
    }

    pub fn subject_at(&self, place: usize) -> u32 {
        self.subjects[place]
    }

    /// The place of the subject whose turn it is; the next one's turn follows.
    #[inline]
    pub fn advance(&mut self) -> usize {
        let turn = self.turn;
        self.turn = if turn + 1 == self.subjects.len() { 0 } else { turn + 1 };
        turn
    }

    /// The next sequence of the subject at a place.
    #[inline]
    pub fn sequence(&mut self, place: usize) -> u32 {
        take(&mut self.sequences[place])
    }

    #[inline]
    pub fn next(&mut self) -> Next {
        let place = self.advance();
        Next {
            publisher: self.number,
            subject: self.subjects[place],
            introduced: place as u32 + 1,
            sequence: self.sequence(place),
            asks: false,
        }
    }
}
