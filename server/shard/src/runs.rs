//! Native publishes in bulk: frames to one numbered subject that arrive together, and batches. Checked and
//! routed once.

use super::delivery::{Form, Message, Run};
use super::identity::PublisherId;
use super::mesh::batch::MeshPayload;
use super::metrics::Counter;
use super::publish::FanOut;
use super::reserved;
use super::router::subjects::SubjectId;
use super::{ConnectionId, Effects, Shard};
use bytes::Bytes;
use ringbolt_protocol::command::{Publish, SubjectRef};
use ringbolt_protocol::limits::HEADER_BYTES;
use ringbolt_protocol::native::batch::PublishBatch;
use ringbolt_protocol::native::control::RefusalCode;
use ringbolt_protocol::native::header::FrameType;
use ringbolt_protocol::native::scan_run;
use ringbolt_protocol::varint;

impl Shard {
    /// Handles the frames at the start of `input` that only differ from `first`, which was handled before
    /// them, in time, correlation id and payload. Returns the bytes they take; 0 if they are to be handled
    /// one by one.
    pub(super) fn native_run(
        &mut self,
        id: ConnectionId,
        publish: &Publish<'_>,
        first: &[u8],
        input: &[u8],
        effects: &mut Effects,
    ) -> usize {
        let SubjectRef::Interned(number) = publish.subject else { return 0 };
        let alike = input.first_chunk::<4>() == first.first_chunk::<4>();
        if !alike || publish.reply.is_some() || publish.header_bytes > 0 || self.drain.draining() {
            return 0;
        }
        let number_bytes = varint::length(number);
        let session = self.delivery.sessions.get_mut(id);
        let known = session.and_then(|session| session.interned.as_ref()?.subject(number));
        let Some(subject_id) = known else { return 0 };
        let limits = &self.delivery.limits;
        let payload_bytes_max =
            limits.shared_payload_bytes_min.saturating_sub(1).min(limits.payload_bytes_max);
        let body_bytes_max = (self.decode_limits.body_bytes_max as usize).saturating_sub(number_bytes);
        let input_bytes_max = limits.outbox_segment_bytes / 2;
        let mut spans = std::mem::take(&mut self.delivery.spans);
        let most = payload_bytes_max.min(body_bytes_max);
        let mut consumed = scan_run(input, first, number_bytes, most, input_bytes_max, &mut spans);
        let run = Run::new(Form::Native, input, &spans);
        let messages = run.messages();
        if messages == 0 || !self.route_run(id, subject_id, publish, &run, effects) {
            consumed = 0;
        } else {
            self.delivery.counters.add(Counter::MessagesIn, messages);
        }
        self.delivery.spans = spans;
        consumed
    }

    /// Handles a PUBLISH_BATCH, whose body is the end of `frame`. Apart from the other frames its loops have
    /// the registers for themselves.
    #[inline(never)]
    pub(super) fn publish_batch(
        &mut self,
        id: ConnectionId,
        batch: &PublishBatch<'_>,
        backing: Option<&Bytes>,
        effects: &mut Effects,
    ) {
        let one = |payload| Publish {
            flags: batch.flags,
            timestamp_nanos: batch.timestamp_nanos,
            correlation_id: batch.correlation_id,
            subject: batch.subject,
            reply: None,
            header_bytes: 0,
            payload,
        };
        let about = one(b"");
        self.delivery.counters.add(Counter::MessagesIn, u64::from(batch.messages.count()));
        if let SubjectRef::Literal(text @ [b'$', ..]) = batch.subject
            && reserved::refuses_number(text)
        {
            let message = "what is published to this subject comes one by one";
            let refused = (FrameType::PublishBatch, RefusalCode::InvalidSubject, message);
            return self.refuse_publish(id, &about, refused, effects);
        }
        let subject_id = match self.acceptable(id, &about, batch.messages.largest_bytes()) {
            Ok(subject_id) => subject_id,
            Err((code, message)) => {
                if self.drain.draining() {
                    // One of them is counted with the refusal.
                    self.delivery.counters.add(Counter::DropsDraining, u64::from(batch.messages.count()) - 1);
                }
                let refused = (FrameType::PublishBatch, code, message);
                return self.refuse_publish(id, &about, refused, effects);
            }
        };
        let limits = &self.delivery.limits;
        let small = batch.messages.largest_bytes() < limits.shared_payload_bytes_min
            && batch.messages.bytes().len() + HEADER_BYTES <= limits.outbox_segment_bytes;
        if small {
            let mut spans = std::mem::take(&mut self.delivery.spans);
            let input = batch.messages.bytes();
            spans.clear();
            spans.extend(batch.messages.spans());
            let run = Run::new(Form::Batch(batch.messages), input, &spans);
            let routed = self.route_run(id, subject_id, &about, &run, effects);
            self.delivery.spans = spans;
            if routed {
                return;
            }
        }
        for payload in batch.messages.payloads() {
            self.route(id, subject_id, &one(payload), backing, effects);
        }
    }

    /// Delivers a run whose subject and sizes were accepted. Returns whether it could be delivered as one.
    pub(super) fn route_run(
        &mut self,
        id: ConnectionId,
        subject_id: SubjectId,
        publish: &Publish<'_>,
        run: &Run<'_>,
        effects: &mut Effects,
    ) -> bool {
        let Some(session) = self.delivery.sessions.get_mut(id) else { return false };
        let account = session.account;
        let watched = !self.requests.is_idle() && self.watches_subject(account, subject_id);
        if watched || self.links.concern(account) {
            return false;
        }
        let Some(session) = self.delivery.sessions.get_mut(id) else { return false };
        let space = &mut self.spaces[usize::from(account.0)];
        let (subject, subject_hash, route) = space.subjects.route(subject_id, &space.router);
        if !route.by_receiver {
            return false;
        }
        session.traffic.messages_in += run.messages();
        session.traffic.bytes_in += run.payload_bytes as u64;
        let common = Message {
            publisher: PublisherId { shard: self.id, connection: id },
            account,
            flags: publish.flags.without_layout_bits(),
            timestamp_nanos: publish.timestamp_nanos,
            correlation_id: publish.correlation_id,
            subject,
            subject_id,
            reply: None,
            header_bytes: 0,
            deliveries: 0,
            payload: MeshPayload::Copied(&[]),
        };
        let (delivery, random) = (&mut self.delivery, &mut self.random);
        FanOut { delivery, random, subject_hash, hops: 0, foreign: false }.run(route, run, &common, effects);
        true
    }
}
