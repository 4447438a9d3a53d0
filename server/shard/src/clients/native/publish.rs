//! Publishes of a native client: one by one, in runs of frames to one numbered subject that arrive together,
//! and in batches. A run is checked and routed once.

use super::NativeClient;
use crate::bus::Bus;
use crate::clients::sender::Stage;
use crate::delivery::run::{Form, Run};
use crate::identity::PublisherId;
use crate::message::{Headed, Marks, Payload, Publication};
use crate::metrics::Counter;
use crate::reserved;
use crate::router::subjects::SubjectId;
use crate::steps::steps_of_text;
use crate::turn::Turn;
use bytes::Bytes;
use ringbolt_protocol::command::{Publish, SubjectRef};
use ringbolt_protocol::limits::HEADER_BYTES;
use ringbolt_protocol::native::batch::PublishBatch;
use ringbolt_protocol::native::control::RefusalCode;
use ringbolt_protocol::native::header::FrameType;
use ringbolt_protocol::native::scan_run;
use ringbolt_protocol::subject::Subject;
use ringbolt_protocol::varint;

impl NativeClient {
    #[inline]
    pub(super) fn publish(
        &mut self,
        publish: &Publish<'_>,
        backing: Option<&Bytes>,
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) {
        turn.counters.add(Counter::MessagesIn, 1);
        if let SubjectRef::Literal(text @ [b'$', ..]) = publish.subject
            && self.acknowledge(text, publish, bus, turn)
        {
            return;
        }
        let subject = match self.acceptable(publish, publish.payload.len(), bus, turn) {
            Ok(subject) => subject,
            Err(refusal) => return self.refuse_publish(publish, FrameType::Publish, refusal, bus, turn),
        };
        self.sender.count(1, publish.payload.len());
        let publication = self.publication(subject, publish, backing, bus);
        let taken = if publish.header_bytes == 0 {
            bus.publish(&publication, turn)
        } else {
            publish_with_headers(&publication, publish.payload, bus, turn)
        };
        if !taken && publish.reply.is_some() {
            turn.counters.add(Counter::NoResponders, 1);
            let refusal = (RefusalCode::NoResponders, "nobody is subscribed to the subject of this request");
            self.refuse(FrameType::Publish, (publish.correlation_id, 0), refusal, bus, turn);
        }
    }

    /// What a frame publishes, without what its headers ask for.
    #[inline]
    fn publication<'a>(
        &self,
        subject: SubjectId,
        publish: &Publish<'a>,
        backing: Option<&'a Bytes>,
        bus: &Bus,
    ) -> Publication<'a> {
        debug_assert_eq!(self.sender.stage, Stage::Ready, "who publishes was admitted");
        Publication {
            publisher: PublisherId { shard: bus.outlets.own, connection: self.sender.id },
            account: self.sender.account,
            flags: publish.flags.without_layout_bits(),
            timestamp_nanos: publish.timestamp_nanos,
            correlation_id: publish.correlation_id,
            subject,
            reply: publish.reply,
            // It was looked at when it came.
            foreign: false,
            marks: &Marks::PLAIN,
            header_bytes: publish.header_bytes,
            deliveries: 0,
            payload: Payload::Copied(publish.payload),
            backing,
        }
    }

    #[cold]
    fn acknowledge(
        &mut self,
        subject: &[u8],
        publish: &Publish<'_>,
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) -> bool {
        let words = &publish.payload[publish.header_bytes as usize..];
        let client = (self.sender.id, self.sender.account);
        bus.outlets.work.acknowledge(client, subject, words, publish.reply, turn)
    }

    /// The subject of a publish that may be routed.
    #[inline]
    fn acceptable(
        &mut self,
        publish: &Publish<'_>,
        payload_bytes: usize,
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) -> Result<SubjectId, (RefusalCode, &'static str)> {
        if self.sender.stage == Stage::AwaitingHello {
            return Err((RefusalCode::NotReady, "the first frame must be HELLO"));
        }
        if bus.draining {
            turn.counters.add(Counter::DropsDraining, 1);
            return Err((RefusalCode::ShuttingDown, "the server is shutting down"));
        }
        if payload_bytes > self.promise.payload_bytes_max as usize {
            return Err((RefusalCode::PayloadTooLarge, "the payload exceeds payload_bytes_max"));
        }
        if let Some(reply) = publish.reply {
            if Subject::new(reply).is_err() {
                return Err((RefusalCode::InvalidSubject, "the reply subject is not a subject"));
            }
            if reserved::refuses_reply(reply) {
                return Err((RefusalCode::InvalidSubject, "the reply subject is not for answers"));
            }
        }
        match publish.subject {
            SubjectRef::Interned(number) => self
                .subject(number)
                .ok_or((RefusalCode::UnknownInternedSubject, "no INTERN gave this number a subject")),
            SubjectRef::Literal(text) => match Subject::new(text) {
                Ok(_) if reserved::refuses(text) => {
                    Err((RefusalCode::InvalidSubject, "the subject is not for clients to publish to"))
                }
                Ok(subject) => {
                    turn.charge(steps_of_text(text.len()));
                    Ok(bus.accounts.space(self.sender.account).subjects.resolve(subject))
                }
                Err(_) => Err((RefusalCode::InvalidSubject, "the subject is not valid")),
            },
        }
    }

    #[cold]
    fn refuse_publish(
        &mut self,
        publish: &Publish<'_>,
        frame_type: FrameType,
        refusal: (RefusalCode, &str),
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) {
        if refusal.0 == RefusalCode::NotReady {
            return self.violation(refusal.1, bus, turn);
        }
        self.refuse(frame_type, (publish.correlation_id, 0), refusal, bus, turn);
    }

    /// Handles the frames at the start of `input` that only differ from `first`, which was handled before
    /// them, in time, correlation id and payload. Returns the bytes they take; 0 if they are to be handled
    /// one by one.
    pub(super) fn run(
        &mut self,
        publish: &Publish<'_>,
        first: &[u8],
        input: &[u8],
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) -> usize {
        let SubjectRef::Interned(number) = publish.subject else { return 0 };
        let alike = input.first_chunk::<4>() == first.first_chunk::<4>();
        let goes_on = turn.may_go_on() && !bus.draining;
        if !alike || publish.reply.is_some() || publish.header_bytes > 0 || !goes_on {
            return 0;
        }
        let Some(subject) = self.subject(number) else { return 0 };
        let number_bytes = varint::length(number);
        let shared_min = bus.limits().shared_payload_bytes_min;
        let payload_bytes_max = shared_min.saturating_sub(1).min(bus.limits().payload_bytes_max);
        let body_bytes_max = (self.limits.body_bytes_max as usize).saturating_sub(number_bytes);
        let input_bytes_max = bus.limits().outbox_segment_bytes / 2;
        let mut spans = std::mem::take(&mut bus.outlets.delivery.spans);
        let most = payload_bytes_max.min(body_bytes_max);
        scan_run(input, first, number_bytes, most, input_bytes_max, &mut spans);
        let run = Run::new(Form::Native, input, &spans);
        let common = self.publication(subject, &Publish { payload: b"", ..*publish }, None, bus);
        let routed = if run.messages() > 0 { bus.publish_run(&common, run, turn) } else { run };
        let end = routed.end();
        if end.is_some() {
            turn.counters.add(Counter::MessagesIn, routed.messages());
            self.sender.count(routed.messages(), routed.payload_bytes);
        }
        bus.outlets.delivery.spans = spans;
        end.unwrap_or(0)
    }

    /// Handles a PUBLISH_BATCH, whose body is the end of the frame. Apart from the other frames its loops
    /// have the registers for themselves.
    #[inline(never)]
    pub(super) fn publish_batch(
        &mut self,
        batch: &PublishBatch<'_>,
        backing: Option<&Bytes>,
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) {
        let about = Publish {
            flags: batch.flags,
            timestamp_nanos: batch.timestamp_nanos,
            correlation_id: batch.correlation_id,
            subject: batch.subject,
            reply: None,
            header_bytes: 0,
            payload: b"",
        };
        let messages = u64::from(batch.messages.count());
        turn.counters.add(Counter::MessagesIn, messages);
        if let SubjectRef::Literal(text @ [b'$', ..]) = batch.subject
            && reserved::refuses_number(text)
        {
            let message = "what is published to this subject comes one by one";
            let refusal = (RefusalCode::InvalidSubject, message);
            return self.refuse_publish(&about, FrameType::PublishBatch, refusal, bus, turn);
        }
        let subject = match self.acceptable(&about, batch.messages.largest_bytes(), bus, turn) {
            Ok(subject) => subject,
            Err(refusal) => {
                if bus.draining {
                    // One of them is counted with the refusal.
                    turn.counters.add(Counter::DropsDraining, messages - 1);
                }
                return self.refuse_publish(&about, FrameType::PublishBatch, refusal, bus, turn);
            }
        };
        let common = self.publication(subject, &about, None, bus);
        let small = batch.messages.largest_bytes() < bus.limits().shared_payload_bytes_min
            && batch.messages.bytes().len() + HEADER_BYTES <= bus.limits().outbox_segment_bytes;
        if small {
            let mut spans = std::mem::take(&mut bus.outlets.delivery.spans);
            spans.clear();
            spans.extend(batch.messages.spans());
            debug_assert_eq!(spans.len() as u64, messages, "every message of the batch stands somewhere");
            let run = Run::new(Form::Batch(batch.messages), batch.messages.bytes(), &spans);
            let routed = bus.publish_run(&common, run, turn).messages() > 0;
            if routed {
                self.sender.count(messages, run.payload_bytes);
            }
            bus.outlets.delivery.spans = spans;
            if routed {
                return;
            }
        }
        for payload in batch.messages.payloads() {
            // Other subjects may have been looked up since, and this one's number be another's.
            let Ok(subject) = self.acceptable(&about, payload.len(), bus, turn) else { return };
            self.sender.count(1, payload.len());
            let payload = Payload::Copied(payload);
            bus.publish(&Publication { subject, payload, backing, ..common }, turn);
        }
    }
}

/// Publishes a message with headers, without those that the server alone writes.
#[cold]
fn publish_with_headers(
    publication: &Publication<'_>,
    payload: &[u8],
    bus: &mut Bus,
    turn: &mut Turn<'_>,
) -> bool {
    let headed = Headed::new(payload, publication.header_bytes);
    let marks = headed.marks(bus.identity.unix_epoch_nanos);
    bus.publish(&headed.of(publication, &marks), turn)
}
