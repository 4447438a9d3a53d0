//! A run of publishes to the subject that the client has just published to: checked and routed once.

use super::publish::reserved;
use super::receive::PUBLISH_BYTES;
use crate::shard::delivery::{Message, Run};
use crate::shard::identity::PublisherId;
use crate::shard::mesh::batch::MeshPayload;
use crate::shard::metrics::Counter;
use crate::shard::publish::FanOut;
use crate::shard::{ConnectionId, Effects, Shard};
use ringbolt_protocol::command::Flags;
use ringbolt_protocol::nats::{ParseLimits, scan_run};

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
        let session = self.delivery.sessions.at(id.slot)?;
        let account = session.account;
        let nats = session.nats.as_ref()?;
        // Who wants answers, or may not do everything, is answered message by message.
        let plain = nats.last_allowed && !nats.options.verbose && !nats.options.pedantic;
        let space = &mut self.spaces[usize::from(account.0)];
        let known = plain && space.subjects.is(nats.last_subject, text) && reserved(text, None).is_none();
        if !known || self.drain.draining() || self.links.concern(account) {
            return None;
        }
        let subject_id = nats.last_subject;
        let (subject, subject_hash, route) = space.subjects.route(subject_id, &space.router);
        if !route.by_receiver {
            return None;
        }
        let payload_bytes_max = self.delivery.limits.shared_payload_bytes_min.saturating_sub(1);
        let input_bytes_max = self.delivery.limits.outbox_segment_bytes / 2;
        let mut spans = std::mem::take(&mut self.delivery.spans);
        let consumed = scan_run(input, head, limits, payload_bytes_max, input_bytes_max, &mut spans);
        let run = Run::new(input, &spans);
        session.traffic.messages_in += run.messages();
        session.traffic.bytes_in += run.payload_bytes as u64;
        self.delivery.counters.add(Counter::MessagesIn, run.messages());
        let message = Message {
            publisher: PublisherId { shard: self.id, connection: id },
            account,
            flags: Flags::default(),
            timestamp_nanos: 0,
            correlation_id: 0,
            subject,
            subject_id,
            reply: None,
            header_bytes: 0,
            payload: MeshPayload::Copied(&[]),
        };
        let (delivery, random) = (&mut self.delivery, &mut self.random);
        FanOut { delivery, random, subject_hash, hops: 0 }.run(route, &run, &message, effects);
        self.delivery.spans = spans;
        Some(consumed)
    }
}
