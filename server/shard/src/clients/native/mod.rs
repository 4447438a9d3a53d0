//! Clients that speak the native dialect: what their frames do, and what they are answered.

mod commands;
mod publish;
mod receive;

use super::sender::{Sender, Stage};
use crate::bus::Bus;
use crate::closing::CloseReason;
use crate::delivery::receiver::Receiver;
use crate::event::Opening;
use crate::identity::{ConnectionId, Nanos};
use crate::ledger::Kind;
use crate::limits::Limits;
use crate::router::subjects::SubjectId;
use crate::turn::Turn;
use ringbolt_protocol::limits::{CONTROL_BODY_BYTES_MAX, FRAME_BODY_BYTES_CEILING, SUBJECT_BYTES_MAX};
use ringbolt_protocol::native::control::{Close, Control, Ping, Refusal, RefusalCode};
use ringbolt_protocol::native::decode::DecodeLimits;
use ringbolt_protocol::native::header::FrameType;

/// Limits that a client was told, and that do not shrink while it is connected.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Promise {
    pub payload_bytes_max: u32,
    pub subscriptions_max: u32,
}

#[derive(Debug)]
pub struct NativeClient {
    pub sender: Sender,
    /// What its WELCOME said, or more since.
    promise: Promise,
    /// Of one frame: as large as this client was promised, whatever the limit is since.
    limits: DecodeLimits,
    /// Subjects by the numbers it gave them.
    subjects: Vec<Option<SubjectId>>,
}

/// What a client takes in the tables that it stands in, both halves of it.
const CONNECTION_BYTES: usize = size_of::<Receiver>() + size_of::<NativeClient>() + 64;
/// What the number of a subject takes, there and back.
const NUMBER_BYTES: usize = size_of::<Option<SubjectId>>() + 2 * size_of::<(SubjectId, u32)>();

impl NativeClient {
    pub fn new(id: ConnectionId, opening: &Opening, now: Nanos) -> NativeClient {
        NativeClient {
            sender: Sender::new(id, Stage::AwaitingHello, opening, now),
            promise: Promise::default(),
            // Nothing but a HELLO may come first.
            limits: DecodeLimits { body_bytes_max: CONTROL_BODY_BYTES_MAX },
            subjects: Vec::new(),
        }
    }

    /// Memory it takes, roughly, that says nothing and is sent nothing.
    pub fn own_bytes(&self) -> usize {
        CONNECTION_BYTES + self.subjects.capacity() * NUMBER_BYTES
    }

    /// The subject it gave a number.
    #[inline]
    fn subject(&self, number: u32) -> Option<SubjectId> {
        self.subjects.get(number as usize).copied().flatten()
    }

    /// Its subjects with numbers.
    pub fn subjects(&self) -> impl Iterator<Item = SubjectId> {
        self.subjects.iter().copied().flatten()
    }

    /// Limits that are higher from now on hold for it too; lower ones do not.
    pub fn change_limits(&mut self, limits: &Limits) {
        if self.sender.waits() {
            // What it said is judged by what it was told then; it is asked again when that is done.
            return;
        }
        let promise = &mut self.promise;
        promise.payload_bytes_max = promise.payload_bytes_max.max(limits.payload_bytes_max as u32);
        promise.subscriptions_max = promise.subscriptions_max.max(limits.subscriptions_max as u32);
        if self.sender.stage == Stage::Ready {
            let limits = decode_limits(limits, promise.payload_bytes_max as usize);
            self.limits.body_bytes_max = self.limits.body_bytes_max.max(limits.body_bytes_max);
        }
    }

    /// Ends the connection in order, with a CLOSE frame as its last words.
    pub fn close(&mut self, reason: CloseReason, message: &str, bus: &mut Bus, turn: &mut Turn<'_>) {
        let id = self.sender.id;
        if !bus.outlets.delivery.is_open(id) {
            return;
        }
        let partial = self.sender.take_partial(bus);
        bus.outlets.delivery.pool.give(partial);
        self.sender.forget_deferred(&mut bus.outlets.ledger);
        self.unpin_subjects(bus);
        let frame = Control::Close(Close { correlation_id: 0, code: reason.native().0, message });
        bus.outlets.delivery.send_control(id, &frame, turn);
        bus.end(id, reason, turn);
    }

    /// Its numbers stand for nothing any more.
    pub fn unpin_subjects(&mut self, bus: &mut Bus) {
        let space = bus.accounts.space(self.sender.account);
        bus.outlets.ledger.subtract(Kind::Connections, self.subjects.capacity() * NUMBER_BYTES);
        for subject in std::mem::take(&mut self.subjects).into_iter().flatten() {
            space.subjects.unpin(subject);
            assert!(bus.interned_subjects > 0, "it was counted when it was defined");
            bus.interned_subjects -= 1;
        }
    }

    pub fn ping(&mut self, bus: &mut Bus, turn: &mut Turn<'_>) {
        let ping = Control::Ping(Ping { correlation_id: 0 });
        bus.outlets.delivery.send_control(self.sender.id, &ping, turn);
    }

    fn violation(&mut self, message: &str, bus: &mut Bus, turn: &mut Turn<'_>) {
        self.close(CloseReason::ProtocolError, message, bus, turn);
    }

    /// Answers a frame that was not accepted. `about`: its correlation id, and the number it is about.
    fn refuse(
        &mut self,
        frame_type: FrameType,
        about: (u64, u32),
        (code, message): (RefusalCode, &str),
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) {
        let (correlation_id, id) = about;
        let refusal = Refusal { correlation_id, code, frame_type, id, message };
        bus.outlets.delivery.send_control(self.sender.id, &Control::Refusal(refusal), turn);
    }
}

/// What a frame may hold. A NATS client's subject may be as long as its line.
fn decode_limits(limits: &Limits, payload_bytes_max: usize) -> DecodeLimits {
    let subject_bytes_max = limits.control_line_bytes_max.max(SUBJECT_BYTES_MAX);
    let overhead = 2 * (subject_bytes_max + 8);
    debug_assert!(payload_bytes_max + overhead <= FRAME_BODY_BYTES_CEILING as usize, "a frame is bounded");
    DecodeLimits { body_bytes_max: (payload_bytes_max + overhead) as u32 }
}
