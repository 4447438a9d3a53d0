//! Takes what is published, alone or as a member of a group.

use crate::dialect::Dialect;
use crate::dialect::raw::Hello;
use crate::engine::names::Names;
use crate::sequence::{Faults, Stream};
use ringbolt_protocol::command::Priority;
use std::collections::VecDeque;

/// A message that a member works on.
#[derive(Debug)]
pub struct Job {
    /// When it is done, and when it was due to be sent.
    pub done: u64,
    pub intended: u64,
    pub lane: Priority,
    /// Where it is acknowledged.
    pub reply: String,
}

/// What a member of the queue group works on, one after the other.
#[derive(Default, Debug)]
pub struct Member {
    pub work: VecDeque<Job>,
}

#[derive(Debug)]
pub struct Subscriber {
    subjects: Vec<u32>,
    /// Whether its patterns have a wildcard.
    wildcard: bool,
    /// It subscribes, and never reads what it gets.
    pub stalled: bool,
    /// Of each subject, then by rank of the publisher; none of a member, which sees a part of each.
    streams: Vec<Stream>,
    ranks: usize,
    /// How far apart its subjects lie.
    stride: usize,
    pub member: Option<Member>,
}

impl Subscriber {
    pub fn new(subjects: Vec<u32>, wildcard: bool, stalled: bool, ranks: usize, stride: usize) -> Subscriber {
        let streams = vec![Stream::default(); subjects.len() * ranks];
        Subscriber { subjects, wildcard, stalled, streams, ranks, stride, member: None }
    }

    /// One of the queue group.
    pub fn member(subjects: Vec<u32>, wildcard: bool) -> Subscriber {
        Subscriber { member: Some(Member::default()), ..Subscriber::new(subjects, wildcard, false, 0, 1) }
    }

    pub fn hello(&self) -> Hello {
        Hello { takes: self.subjects[0] + 1, gives: 0 }
    }

    pub fn greet(&self, dialect: Dialect, names: &Names, out: &mut Vec<u8>) {
        let group = self.member.is_some().then_some(names.group.as_str());
        let texts = if self.wildcard { &names.wildcards } else { &names.subjects };
        for &subject in &self.subjects {
            dialect.subscribe(subject + 1, &texts[subject as usize], group, out);
        }
    }

    /// Takes a message of the publisher of that rank; returns whether it counts as delivered, `None` if it
    /// is for no subject of this one.
    #[inline]
    pub fn take(&mut self, subject: u32, rank: usize, sequence: u32, faults: &mut Faults) -> Option<bool> {
        let own = if self.subjects.len() == 1 { 0 } else { subject as usize / self.stride };
        let stream = self.streams.get_mut(own * self.ranks + rank)?;
        Some(stream.take(sequence, faults))
    }
}
