//! What the other threads tell a shard, and what it does then.

use super::ShardLoop;
use crate::access::Access;
use crate::limits::Limits;
use crate::shard::report::ConnectionReport;
use crate::shard::{Event, Nanos, ShardId};
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

/// A question about a shard's connections.
#[derive(Debug)]
pub struct Inquiry {
    pub from_slot: u32,
    pub most: usize,
    pub patterns: bool,
    /// The connections, and the slot to go on from.
    pub answer: Sender<(Vec<ConnectionReport>, Option<u32>)>,
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

impl ShardLoop {
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
                self.handle(now, Event::Settings(&changed.access, &changed.limits))?;
            }
        }
        let asked = self.orders.inquiries_asked.load(Ordering::Acquire);
        if asked != self.obeyed.inquiries_asked {
            self.obeyed.inquiries_asked = asked;
            self.answer_inquiries(now);
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

    fn answer_inquiries(&mut self, now: Nanos) {
        let own = self.shard.id();
        let mut inquiries = self.orders.inquiries.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, inquiry) in inquiries.extract_if(.., |(shard, _)| *shard == own) {
            // Who asked may have given up.
            let report = self.shard.report(now, inquiry.from_slot, inquiry.most, inquiry.patterns);
            let _ = inquiry.answer.send(report);
        }
    }

    fn stop_accepting(&mut self) -> io::Result<()> {
        // Closing a listener refuses what waits in its backlog.
        for (number, listener) in std::mem::take(&mut self.listeners).into_iter().enumerate() {
            if listener.accepting {
                self.ring.cancel_accept(number as u32)?;
            }
        }
        Ok(())
    }
}
