//! What the sending half of a connection is, whatever it speaks.

use crate::bus::Bus;
use crate::event::Opening;
use crate::identity::{AccountId, ConnectionId, Nanos};
use crate::ledger::{Kind, Ledger, Ticket};
use crate::limits::UNADMITTED_BYTES_MAX;
use crate::turn::Turn;
use bytes::Bytes;
use core::net::SocketAddr;
use std::collections::VecDeque;

/// Bytes that each client may send before it is admitted, however many there are.
const UNCOUNTED_BYTES: usize = 4096;

/// How far a client has come in saying who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Connected; only HELLO, or a CONNECT with credentials, is acceptable.
    AwaitingHello,
    /// What the client claims to be is being verified; what it says meanwhile waits.
    Verifying,
    Ready,
}

#[derive(Debug)]
pub struct Sender {
    pub id: ConnectionId,
    /// Set by [`Sender::admit`], and before anything is kept.
    pub stage: Stage,
    pub account: AccountId,
    pub peer: Option<SocketAddr>,
    pub opened_at: Nanos,
    /// From when it has time to say who it is.
    pub admitting_since: Nanos,
    pub received_at: Nanos,
    pub pings_outstanding: u8,
    pub messages_in: u64,
    pub bytes_in: u64,
    /// The beginning of a frame or operation whose rest has not arrived.
    partial: Vec<u8>,
    /// Since when it has been gathered, if it is one that there had to be room for.
    gathering_since: Option<Nanos>,
    /// Its place in the line of those who wait for room.
    ticket: Option<Ticket>,
    /// What comes after a turn that gave it no more. Made with the first.
    deferred: Option<Box<Deferred>>,
}

/// What a client has said that waits for a turn, and what it still pays for.
#[derive(Debug, Default)]
struct Deferred {
    pieces: VecDeque<Bytes>,
    /// Steps it has spent beyond what its turns gave it.
    owed: i64,
    /// It is held back, and in no line.
    parked: bool,
}

impl Sender {
    pub fn new(id: ConnectionId, stage: Stage, opening: &Opening, now: Nanos) -> Sender {
        Sender {
            id,
            stage,
            account: AccountId::GLOBAL,
            peer: opening.peer,
            opened_at: now,
            admitting_since: now,
            received_at: now,
            pings_outstanding: 0,
            messages_in: 0,
            bytes_in: 0,
            partial: Vec::new(),
            gathering_since: None,
            ticket: None,
            deferred: None,
        }
    }

    #[inline]
    pub fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Any received byte proves the client alive.
    #[inline]
    pub fn heard(&mut self, now: Nanos) {
        debug_assert!(self.received_at <= now, "time does not go back");
        self.received_at = now;
        self.pings_outstanding = 0;
    }

    /// Keeps the beginning of something until its rest arrives. Returns whether there was room for it: what
    /// all send who were not admitted is bounded.
    #[must_use = "who has no room is closed"]
    pub fn keep(&mut self, rest: &[u8], bus: &mut Bus) -> bool {
        debug_assert!(!rest.is_empty(), "what is kept has begun");
        let mut partial = self.take_partial(bus);
        if partial.capacity() == 0 {
            partial = bus.outlets.delivery.pool.take();
        }
        partial.extend_from_slice(rest);
        self.put_back(partial, bus)
    }

    /// Likewise, of one that will have so many bytes in all.
    #[must_use = "who has no room is closed"]
    pub fn begin(&mut self, rest: &[u8], bytes_needed: usize, bus: &mut Bus) -> bool {
        debug_assert!(self.partial.is_empty(), "one begins when the one before has ended");
        if bytes_needed < bus.limits().gathered_bytes_min || self.stage != Stage::Ready {
            return self.keep(rest, bus);
        }
        let mut partial = Vec::with_capacity(bytes_needed);
        partial.extend_from_slice(rest);
        self.put_back(partial, bus)
    }

    /// Whether there is room for a message of so many bytes that has begun. If there is none, the client is
    /// heard further when there is.
    pub fn has_room_for(&mut self, bytes_needed: usize, bus: &mut Bus, turn: &mut Turn<'_>) -> bool {
        let limits = bus.limits();
        let most = limits.gathered_bytes_max;
        if bytes_needed < limits.gathered_bytes_min || self.stage != Stage::Ready || turn.is_unbounded() {
            return true;
        }
        let has_room = bus.outlets.ledger.may_gather(&mut self.ticket, self.id, bytes_needed, most);
        if has_room {
            self.gathering_since = Some(turn.now);
        } else {
            turn.end_for_want_of_room();
        }
        has_room
    }

    /// Since when it has been gathering a large message, if it has.
    pub fn gathers_since(&self) -> Option<Nanos> {
        self.gathering_since
    }

    /// What was gathered is whole.
    pub fn has_gathered(&mut self) {
        debug_assert!(self.partial.is_empty(), "it was taken to be handled");
        self.gathering_since = None;
    }

    /// Whether it is to be heard in a later turn.
    #[inline]
    pub fn waits(&self) -> bool {
        self.deferred.is_some()
    }

    /// It is heard later, after all that it said before.
    pub fn defer(&mut self, piece: Bytes, ledger: &mut Ledger) {
        debug_assert!(!piece.is_empty(), "silence need not wait");
        ledger.add(Kind::Deferred, piece.len());
        self.deferred.get_or_insert_default().pieces.push_back(piece);
    }

    /// Likewise, before all that it said later.
    pub fn defer_again(&mut self, piece: Bytes, ledger: &mut Ledger) {
        ledger.add(Kind::Deferred, piece.len());
        self.deferred.get_or_insert_default().pieces.push_front(piece);
    }

    /// The next piece that waits.
    pub fn deferred(&mut self, ledger: &mut Ledger) -> Option<Bytes> {
        let piece = self.deferred.as_mut()?.pieces.pop_front()?;
        ledger.subtract(Kind::Deferred, piece.len());
        Some(piece)
    }

    /// What waits is heard when the client is no longer held back. It gives up its place in any line.
    pub fn park(&mut self, ledger: &mut Ledger) {
        ledger.leave_line(&mut self.ticket);
        if let Some(deferred) = &mut self.deferred {
            deferred.parked = true;
        }
    }

    pub fn is_parked(&self) -> bool {
        self.deferred.as_ref().is_some_and(|deferred| deferred.parked)
    }

    /// It may line up again. Returns whether it was parked.
    pub fn unpark(&mut self) -> bool {
        self.deferred.as_mut().is_some_and(|deferred| std::mem::take(&mut deferred.parked))
    }

    /// Whether it waits for room, not for a turn.
    pub fn is_in_line(&self) -> bool {
        self.ticket.is_some()
    }

    pub fn deferred_bytes(&self) -> usize {
        let pieces = self.deferred.iter().flat_map(|deferred| &deferred.pieces);
        pieces.map(Bytes::len).sum()
    }

    pub fn owe(&mut self, steps: i64) {
        if steps > 0 {
            let deferred = self.deferred.get_or_insert_default();
            deferred.owed += steps;
        } else if self.deferred.as_ref().is_some_and(|deferred| deferred.pieces.is_empty()) {
            self.deferred = None;
        }
    }

    /// Pays so much of what it owes. Returns what is left.
    pub fn pay(&mut self, steps: i64) -> i64 {
        let Some(deferred) = &mut self.deferred else { return 0 };
        deferred.owed = (deferred.owed - steps).max(0);
        deferred.owed
    }

    pub fn forget_deferred(&mut self, ledger: &mut Ledger) {
        ledger.leave_line(&mut self.ticket);
        ledger.subtract(Kind::Deferred, self.deferred_bytes());
        self.deferred = None;
    }

    /// Memory that the beginning of something takes.
    pub fn partial_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// Memory that it takes for what it has begun, and for what waits.
    pub fn held_bytes(&self) -> usize {
        self.partial.capacity() + self.deferred_bytes()
    }

    /// What the beginning of something is counted as.
    pub fn kind(&self) -> Kind {
        if self.gathering_since.is_some() { Kind::Gathered } else { Kind::Begun }
    }

    /// What was kept so far, to go on with.
    pub fn take_partial(&mut self, bus: &mut Bus) -> Vec<u8> {
        if self.partial.capacity() == 0 {
            return Vec::new();
        }
        bus.outlets.ledger.subtract(self.kind(), self.partial.capacity());
        let partial = std::mem::take(&mut self.partial);
        self.uncount(partial.len(), bus);
        partial
    }

    /// Keeps what was taken and has grown, without a copy: a frame may come in as many parts as it has bytes.
    /// Returns whether there was room for it.
    #[must_use = "who has no room is closed"]
    pub fn put_back(&mut self, partial: Vec<u8>, bus: &mut Bus) -> bool {
        debug_assert!(self.partial.is_empty(), "it was taken before");
        if self.stage != Stage::Ready {
            let bytes = bus.unadmitted_bytes + counted(partial.len());
            if bytes > UNADMITTED_BYTES_MAX {
                return false;
            }
            bus.unadmitted_bytes = bytes;
        }
        self.partial = partial;
        bus.outlets.ledger.add(self.kind(), self.partial.capacity());
        true
    }

    /// The client is who it says it is.
    pub fn admit(&mut self, bus: &mut Bus) {
        self.uncount(self.partial.len(), bus);
        self.stage = Stage::Ready;
    }

    /// Bytes of it that count among those of all who were not admitted.
    pub fn unadmitted_bytes(&self) -> usize {
        if self.stage == Stage::Ready { 0 } else { counted(self.partial.len()) }
    }

    fn uncount(&self, bytes: usize, bus: &mut Bus) {
        if self.stage != Stage::Ready {
            let bytes = counted(bytes);
            debug_assert!(bus.unadmitted_bytes >= bytes, "it was counted when it was kept");
            bus.unadmitted_bytes -= bytes;
        }
    }

    #[inline]
    pub fn count(&mut self, messages: u64, payload_bytes: usize) {
        self.messages_in += messages;
        self.bytes_in += payload_bytes as u64;
    }
}

/// A HELLO or CONNECT may be kept whatever others send: what counts is what goes beyond.
fn counted(bytes: usize) -> usize {
    bytes.saturating_sub(UNCOUNTED_BYTES)
}
