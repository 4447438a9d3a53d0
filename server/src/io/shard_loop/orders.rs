//! What the other threads tell a shard, and what it does then.

use super::ShardLoop;
use crate::access::Access;
use crate::shard::{Event, Nanos};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Default)]
pub struct Orders {
    /// Refuse new work, finish, then stop.
    pub drain: AtomicBool,
    /// Tell the clients to leave, close them little by little, then stop.
    pub lame_duck: AtomicBool,
    /// Stop now.
    pub stop: AtomicBool,
    /// Who may connect from now on, counted by changes.
    access: Mutex<Arc<Access>>,
    access_changes: AtomicU64,
    /// NATS clients on all shards.
    pub nats_connections: AtomicUsize,
}

/// The orders a shard has carried out.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Obeyed {
    pub draining: bool,
    pub leaving: bool,
    pub access_changes: u64,
}

impl Orders {
    pub fn give_access(&self, access: Access) {
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
        self.access_changes.fetch_add(1, Ordering::Release);
    }

    /// Whether there are orders that were not carried out.
    pub(super) fn news_since(&self, obeyed: &Obeyed) -> bool {
        self.stop.load(Ordering::Relaxed)
            || (self.drain.load(Ordering::Relaxed) && !obeyed.draining)
            || (self.lame_duck.load(Ordering::Relaxed) && !obeyed.leaving)
            || self.access_changes.load(Ordering::Relaxed) != obeyed.access_changes
    }
}

impl ShardLoop {
    /// Carries out what was ordered since the last turn.
    pub(super) fn obey(&mut self, now: Nanos) -> io::Result<()> {
        if !self.orders.news_since(&self.obeyed) {
            return Ok(());
        }
        let changes = self.orders.access_changes.load(Ordering::Acquire);
        if changes != self.obeyed.access_changes {
            self.obeyed.access_changes = changes;
            let orders = Arc::clone(&self.orders);
            let access = Arc::clone(&orders.access.lock().unwrap_or_else(PoisonError::into_inner));
            self.handle(now, Event::Access(&access))?;
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
