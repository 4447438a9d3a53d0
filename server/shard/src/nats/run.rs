//! A run of publishes to the subject that the client has just published to: checked and routed once.

use super::receive::PUBLISH_BYTES;
use crate::delivery::{Form, Run};
use crate::metrics::Counter;
use crate::reserved;
use crate::{ConnectionId, Effects, Shard};
use ringbolt_protocol::command::{Flags, Publish, SubjectRef};
use ringbolt_protocol::nats::{ParseLimits, scan_run};

/// What a NATS client says of all messages of a run: nothing but the subject, which is known.
const NAMELESS: Publish<'static> = Publish {
    flags: Flags(0),
    timestamp_nanos: 0,
    correlation_id: 0,
    subject: SubjectRef::Literal(b""),
    reply: None,
    header_bytes: 0,
    payload: b"",
};

impl Shard {
    /// Handles the messages at the start of `input` that begin with `head`, as the one before them did.
    /// Returns the bytes they take; 0 if they are to be handled one by one.
    #[inline]
    pub(super) fn nats_run(
        &mut self,
        id: ConnectionId,
        head: &[u8],
        input: &[u8],
        limits: &ParseLimits,
        effects: &mut Effects,
    ) -> usize {
        if !input.starts_with(head) {
            return 0;
        }
        self.run_of(id, head, input, limits, effects).unwrap_or(0)
    }

    fn run_of(
        &mut self,
        id: ConnectionId,
        head: &[u8],
        input: &[u8],
        limits: &ParseLimits,
        effects: &mut Effects,
    ) -> Option<usize> {
        let text = head.get(PUBLISH_BYTES..)?.strip_suffix(b" ")?;
        let session = self.delivery.sessions.get_mut(id)?;
        let account = session.account;
        let nats = session.nats.as_ref()?;
        // Who wants answers, or may not do everything, is answered message by message.
        let plain = nats.last_allowed && !nats.options.verbose && !nats.options.pedantic;
        let space = &mut self.spaces[usize::from(account.0)];
        let known = plain && space.subjects.is(nats.last_subject, text) && !reserved::refuses(text);
        if !known || self.drain.draining() {
            return None;
        }
        let subject_id = nats.last_subject;
        let payload_bytes_max = self.delivery.limits.shared_payload_bytes_min.saturating_sub(1);
        let input_bytes_max = self.delivery.limits.outbox_segment_bytes / 2;
        let mut spans = std::mem::take(&mut self.delivery.spans);
        let consumed = scan_run(input, head, limits, payload_bytes_max, input_bytes_max, &mut spans);
        let run = Run::new(Form::Nats, input, &spans);
        let messages = run.messages();
        let routed = messages > 0 && self.route_run(id, subject_id, &NAMELESS, &run, effects);
        self.delivery.spans = spans;
        if !routed {
            return None;
        }
        self.delivery.counters.add(Counter::MessagesIn, messages);
        Some(consumed)
    }
}
