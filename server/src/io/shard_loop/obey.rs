//! What a shard does when the other threads told it something.

use super::ShardLoop;
use super::orders::Inquiry;
use super::recorded::decide;
use crate::io::platform::{Platform, Ring};
use ringbolt_shard::{Event, Nanos};
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

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
