//! What the other threads tell a shard, and what it does then.

use super::ShardLoop;
use super::recorded::decide;
use crate::io::platform::{Platform, Ring};
use ringbolt_shard::access::Access;
use ringbolt_shard::limits::Limits;
use ringbolt_shard::report::ConnectionReport;
use ringbolt_shard::work::letters::LetterReport;
use ringbolt_shard::{Event, Nanos, ShardId};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Default)]
pub struct Orders {
    /// Refuse new work, finish, then stop.
    pub drain: AtomicBool,
    /// Tell the clients to leave, close them little by little, then stop.
    pub lame_duck: AtomicBool,
    /// Stop now.
    pub stop: AtomicBool,
    /// What holds from now on, counted by changes.
    changed: Mutex<Option<Arc<Changed>>>,
    changes: AtomicU64,
    /// Questions to each shard, counted.
    inquiries: Mutex<Vec<(ShardId, Inquiry)>>,
    inquiries_asked: AtomicU64,
    /// NATS clients on all shards.
    pub nats_connections: AtomicUsize,
}

/// Settings read again.
#[derive(Clone, Debug)]
pub struct Changed {
    pub access: Access,
    pub limits: Limits,
}

/// The orders a shard has carried out.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Obeyed {
    pub draining: bool,
    pub leaving: bool,
    pub changes: u64,
    pub inquiries_asked: u64,
}

/// Something the admin address wants of a shard, and where the answer goes.
#[derive(Debug)]
pub enum Inquiry {
    /// Its connections from a slot on, and the slot to go on from.
    Connections {
        from_slot: u32,
        most: usize,
        patterns: bool,
        answer: Sender<(Vec<ConnectionReport>, Option<u32>)>,
    },
    /// Dead letters from a number on.
    Letters { from: u64, most: usize, contents: bool, answer: Sender<Vec<LetterReport>> },
    /// Publish dead letters anew; how many were taken.
    Replay { one: Option<u64>, answer: Sender<u64> },
    /// Forget dead letters; how many there were.
    Purge { one: Option<u64>, answer: Sender<u64> },
}

impl Orders {
    pub fn change(&self, changed: Changed) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(changed));
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Asks a shard; the caller wakes it.
    pub fn ask(&self, shard: ShardId, inquiry: Inquiry) {
        self.inquiries.lock().unwrap_or_else(PoisonError::into_inner).push((shard, inquiry));
        self.inquiries_asked.fetch_add(1, Ordering::Release);
    }

    /// Whether there are orders that were not carried out.
    pub(super) fn news_since(&self, obeyed: &Obeyed) -> bool {
        self.stop.load(Ordering::Relaxed)
            || (self.drain.load(Ordering::Relaxed) && !obeyed.draining)
            || (self.lame_duck.load(Ordering::Relaxed) && !obeyed.leaving)
            || self.changes.load(Ordering::Relaxed) != obeyed.changes
            || self.inquiries_asked.load(Ordering::Relaxed) != obeyed.inquiries_asked
    }
}

impl<P: Platform> ShardLoop<P> {
    /// Carries out what was ordered since the last turn.
    pub(super) fn obey(&mut self, now: Nanos) -> io::Result<()> {
        if !self.orders.news_since(&self.obeyed) {
            return Ok(());
        }
        let changes = self.orders.changes.load(Ordering::Acquire);
        if changes != self.obeyed.changes {
            self.obeyed.changes = changes;
            let changed = self.orders.changed.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(changed) = changed {
                self.nats_connections_max = changed.limits.nats_connections_max;
                self.hello_timeout_nanos = changed.limits.hello_timeout_nanos;
                self.handle(now, Event::Settings(&changed.access, &changed.limits))?;
            }
        }
        let asked = self.orders.inquiries_asked.load(Ordering::Acquire);
        if asked != self.obeyed.inquiries_asked {
            self.obeyed.inquiries_asked = asked;
            self.answer_inquiries(now)?;
        }
        if !self.obeyed.leaving && self.orders.lame_duck.load(Ordering::Relaxed) {
            self.obeyed.leaving = true;
            self.stop_accepting()?;
            self.handle(now, Event::LameDuck)?;
        }
        if !self.obeyed.draining && self.orders.drain.load(Ordering::Relaxed) {
            self.obeyed.draining = true;
            self.stop_accepting()?;
            self.handle(now, Event::Drain)?;
        }
        Ok(())
    }

    fn answer_inquiries(&mut self, now: Nanos) -> io::Result<()> {
        let own = self.shard.id();
        let mut inquiries = self.orders.inquiries.lock().unwrap_or_else(PoisonError::into_inner);
        let own: Vec<Inquiry> =
            inquiries.extract_if(.., |(shard, _)| *shard == own).map(|(_, inquiry)| inquiry).collect();
        drop(inquiries);
        for inquiry in own {
            // Who asked may have given up: nobody minds an answer that cannot be sent.
            match inquiry {
                Inquiry::Connections { from_slot, most, patterns, answer } => {
                    let _ = answer.send(self.shard.report(now, from_slot, most, patterns));
                }
                Inquiry::Letters { from, most, contents, answer } => {
                    let _ = answer.send(self.shard.letters(from, most, contents));
                }
                Inquiry::Replay { one, answer } => {
                    let _ = answer.send(self.count_letters(now, Event::ReplayLetters(one))?);
                }
                Inquiry::Purge { one, answer } => {
                    let _ = answer.send(self.count_letters(now, Event::PurgeLetters(one))?);
                }
            }
        }
        Ok(())
    }

    /// How many dead letters the event was about.
    fn count_letters(&mut self, now: Nanos, event: Event<'_>) -> io::Result<u64> {
        decide(&mut self.shard, &mut self.capture, now, event, &mut self.effects);
        let count = self.effects.letters.take().unwrap_or_default();
        self.apply(now)?;
        Ok(count)
    }

    fn stop_accepting(&mut self) -> io::Result<()> {
        for number in 0..std::mem::take(&mut self.listeners).len() {
            self.ring.close_listener(number as u32)?;
        }
        Ok(())
    }
}
