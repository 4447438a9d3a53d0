//! What the other threads tell a shard.

use ringbolt_shard::ShardId;
use ringbolt_shard::access::Access;
use ringbolt_shard::limits::Limits;
use ringbolt_shard::report::ConnectionReport;
use ringbolt_shard::work::letters::LetterReport;
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
    pub(super) changed: Mutex<Option<Arc<Changed>>>,
    pub(super) changes: AtomicU64,
    /// Questions to each shard, counted.
    pub(super) inquiries: Mutex<Vec<(ShardId, Inquiry)>>,
    pub(super) inquiries_asked: AtomicU64,
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
