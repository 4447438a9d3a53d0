//! `PUB` and `HPUB`: checks, the answer to a request nobody took, and runs of publishes to one subject, which
//! are checked and routed once.

use super::NatsClient;
use crate::bus::Bus;
use crate::clients::sender::Stage;
use crate::delivery::run::{Form, Run};
use crate::identity::PublisherId;
use crate::message::{Headed, Payload, Publication};
use crate::metrics::Counter;
use crate::reserved;
use crate::router::subjects::SubjectId;
use crate::steps::steps_of_text;
use crate::turn::Turn;
use bytes::Bytes;
use ringbolt_protocol::command::{Publish, SubjectRef};
use ringbolt_protocol::headers;
use ringbolt_protocol::nats::encode::{self, MessageLine};
use ringbolt_protocol::nats::{SPAN_END_BYTES, scan_run};
use ringbolt_protocol::subject::Subject;

/// `PUB` and its blank.
pub const PUBLISH_BYTES: usize = 4;

impl NatsClient {
    #[inline]
    pub(super) fn publish(
        &mut self,
        publish: &Publish<'_>,
        backing: Option<&Bytes>,
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) {
        turn.counters.add(Counter::MessagesIn, 1);
        let SubjectRef::Literal(text) = publish.subject else { return };
        if text.first() == Some(&b'$') && self.acknowledge(text, publish, bus, turn) {
            return;
        }
        let subject = self.look_up(text, bus, turn);
        let allowed = self.last_allowed || self.may_answer(text, bus, turn);
        if self.options.pedantic && !Subject::relaxed(text).is_ok_and(is_literal) {
            self.error("Invalid Publish Subject", bus, turn);
        }
        if !allowed {
            return self.refuse_publish_to(text, bus, turn);
        }
        if let Some(violation) = reserved_violation(text, publish.reply) {
            return self.error(&violation, bus, turn);
        }
        self.answer_ok(bus, turn);
        if bus.draining {
            return turn.counters.add(Counter::DropsDraining, 1);
        }
        // A subject with an empty token is nobody's, not even of those who want everything.
        let taken = match subject {
            Some(subject) => self.publish_to(subject, publish, backing, bus, turn),
            None => false,
        };
        if !taken && publish.reply.is_some() {
            self.no_responders(publish, bus, turn);
        }
    }

    /// The subject of that text, if it is one by the rules of NATS; whether it may be published to is
    /// remembered with it.
    #[inline]
    fn look_up(&mut self, text: &[u8], bus: &mut Bus, turn: &mut Turn<'_>) -> Option<SubjectId> {
        if self.is_last(text, bus) {
            return Some(self.last_subject);
        }
        turn.charge(steps_of_text(text.len()));
        let found = bus.accounts.space(self.sender.account).subjects.resolve_relaxed(text);
        self.last_subject = found.unwrap_or(SubjectId::NONE);
        self.last_allowed = true;
        if let Some(permissions) = &self.permissions {
            self.last_allowed = std::str::from_utf8(text).is_ok_and(|text| permissions.may_publish(text));
            self.last_text.clear();
            self.last_text.extend_from_slice(text);
        }
        found
    }

    /// Whether that is the subject last published to, which still has its number.
    #[inline]
    fn is_last(&self, text: &[u8], bus: &mut Bus) -> bool {
        let subjects = &mut bus.accounts.space(self.sender.account).subjects;
        subjects.is(self.last_subject, text) && (self.permissions.is_none() || self.last_text == text)
    }

    /// Whether a client with permissions may publish an answer to that subject.
    #[cold]
    fn may_answer(&self, subject: &[u8], bus: &mut Bus, turn: &Turn<'_>) -> bool {
        let receiver = bus.outlets.delivery.receivers.get_mut(self.sender.id);
        let watch = receiver.and_then(|receiver| receiver.watch.as_mut());
        let replies = watch.and_then(|watch| watch.replies.as_mut());
        replies.is_some_and(|replies| replies.take(turn.now, subject))
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
        let is = bus.outlets.work.acknowledge(client, subject, words, publish.reply, turn);
        if is {
            self.answer_ok(bus, turn);
        }
        is
    }

    #[inline]
    fn publish_to(
        &mut self,
        subject: SubjectId,
        publish: &Publish<'_>,
        backing: Option<&Bytes>,
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) -> bool {
        self.sender.count(1, publish.payload.len());
        let publication = Publication {
            reply: publish.reply,
            foreign: bus.outlets.delivery.is_foreign(publish.reply),
            header_bytes: publish.header_bytes,
            payload: Payload::Copied(publish.payload),
            backing,
            ..self.publication(subject, bus)
        };
        if publish.header_bytes == 0 {
            bus.publish(&publication, turn)
        } else {
            publish_with_headers(&publication, publish.payload, bus, turn)
        }
    }

    /// What is the same for all it publishes to a subject.
    #[inline]
    fn publication(&self, subject: SubjectId, bus: &Bus) -> Publication<'static> {
        debug_assert_eq!(self.sender.stage, Stage::Ready, "who publishes was admitted");
        Publication {
            publisher: PublisherId { shard: bus.outlets.own, connection: self.sender.id },
            account: self.sender.account,
            subject,
            ..Publication::EMPTY
        }
    }

    /// Tells the publisher of a request that nobody took it, if it asked for that and would hear it.
    #[cold]
    fn no_responders(&mut self, publish: &Publish<'_>, bus: &mut Bus, turn: &mut Turn<'_>) {
        turn.counters.add(Counter::NoResponders, 1);
        // A subscription that has just had its last delivery hears no more.
        bus.remove_expired(turn);
        let (Some(reply), true) = (publish.reply, self.options.no_responders) else { return };
        let (Ok(subject), SubjectRef::Literal(asked)) = (Subject::relaxed(reply), publish.subject) else {
            return;
        };
        let space = bus.accounts.space(self.sender.account);
        let reply_id = space.subjects.resolve(subject);
        let (_, _, route) = space.route(reply_id);
        let Some(own) = route.plain.iter().find(|target| target.slot == self.sender.id.slot) else { return };
        let mut block = b"NATS/1.0 503\r\n".to_vec();
        headers::put("Nats-Subject", asked, &mut block);
        block.extend_from_slice(encode::CRLF);
        let line = MessageLine {
            subject: reply,
            sid: bus.outlets.delivery.subscriptions.at(own.subscription).sid(),
            reply: None,
            header_bytes: block.len(),
            payload_bytes: block.len(),
        };
        let mut answer = Vec::new();
        encode::message_line(&mut answer, &line);
        answer.extend_from_slice(&block);
        answer.extend_from_slice(encode::CRLF);
        bus.outlets.delivery.send_answer(self.sender.id, |out| out.extend_from_slice(&answer), turn);
    }

    /// Handles the messages at the start of `input` that begin with `head`, as the one before them did.
    /// Returns the bytes they take; 0 if they are to be handled one by one.
    #[inline]
    pub(super) fn run(&mut self, head: &[u8], input: &[u8], bus: &mut Bus, turn: &mut Turn<'_>) -> usize {
        if !input.starts_with(head) {
            return 0;
        }
        self.run_of(head, input, bus, turn).unwrap_or(0)
    }

    fn run_of(&mut self, head: &[u8], input: &[u8], bus: &mut Bus, turn: &mut Turn<'_>) -> Option<usize> {
        let text = head.get(PUBLISH_BYTES..)?.strip_suffix(b" ")?;
        // Who wants answers, or may not do everything, is answered message by message.
        let plain = self.last_allowed && !self.options.verbose && !self.options.pedantic;
        let known = plain && self.is_last(text, bus) && !reserved::refuses(text);
        if !known || bus.draining || !turn.may_go_on() {
            return None;
        }
        let payload_bytes_max = bus.limits().shared_payload_bytes_min.saturating_sub(1);
        let input_bytes_max = bus.limits().outbox_segment_bytes / 2;
        let mut spans = std::mem::take(&mut bus.outlets.delivery.spans);
        scan_run(input, head, &self.limits, payload_bytes_max, input_bytes_max, &mut spans);
        let run = Run::new(Form::Nats, input, &spans);
        let common = self.publication(self.last_subject, bus);
        let routed = if run.messages() > 0 { bus.publish_run(&common, run, turn) } else { run };
        let end = routed.end();
        if end.is_some() {
            turn.counters.add(Counter::MessagesIn, routed.messages());
            self.sender.count(routed.messages(), routed.payload_bytes);
        }
        bus.outlets.delivery.spans = spans;
        end.map(|end| end + SPAN_END_BYTES)
    }
}

/// Publishes a message with headers, without those that the server alone writes. What native clients say in
/// their frames, NATS clients say there.
#[cold]
fn publish_with_headers(
    publication: &Publication<'_>,
    payload: &[u8],
    bus: &mut Bus,
    turn: &mut Turn<'_>,
) -> bool {
    let headed = Headed::new(payload, publication.header_bytes);
    let marks = headed.marks(bus.identity.unix_epoch_nanos);
    let (flags, correlation_id) = (marks.flags, marks.correlation_id);
    let publication = Publication { flags, correlation_id, ..headed.of(publication, &marks) };
    bus.publish(&publication, turn)
}

/// What is said to a publisher whose subject or reply subject is not for clients.
#[inline]
fn reserved_violation(subject: &[u8], reply: Option<&[u8]>) -> Option<String> {
    if reserved::refuses(subject) {
        return Some(format!("Permissions Violation for Publish to {}", encode::quoted(subject)));
    }
    let reply = encode::quoted(reply.filter(|reply| reserved::refuses_reply(reply))?);
    Some(format!("Permissions Violation for Publish with Reply of {reply}"))
}

/// Whether no token is a wildcard.
fn is_literal(subject: Subject<'_>) -> bool {
    subject.tokens().all(|token| token != "*" && token != ">")
}
