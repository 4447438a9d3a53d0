//! `PUB` and `HPUB`: checks, the route, and the answer to a request nobody took.

use crate::metrics::Counter;
use crate::reserved;
use crate::router::subjects::SubjectId;
use crate::{ConnectionId, Effects, Shard};
use bytes::Bytes;
use ringbolt_protocol::command::{Publish, SubjectRef};
use ringbolt_protocol::headers;
use ringbolt_protocol::nats::encode::{self, MessageLine};
use ringbolt_protocol::subject::Subject;

impl Shard {
    #[inline]
    pub(super) fn nats_publish(
        &mut self,
        id: ConnectionId,
        publish: &Publish<'_>,
        backing: Option<&Bytes>,
        effects: &mut Effects,
    ) {
        self.delivery.counters.add(Counter::MessagesIn, 1);
        let SubjectRef::Literal(text) = publish.subject else { return };
        if text.first() == Some(&b'$') && self.nats_acknowledge(id, text, publish, effects) {
            return;
        }
        let Some(session) = self.delivery.sessions.get_mut(id) else { return };
        let account = session.account;
        let Some(nats) = &mut session.nats else { return };
        let (verbose, pedantic) = (nats.options.verbose, nats.options.pedantic);
        let subjects = &mut self.spaces[usize::from(account.0)].subjects;
        let subject = if subjects.is(nats.last_subject, text) {
            Some(nats.last_subject)
        } else {
            let found = subjects.resolve_relaxed(text);
            nats.last_subject = found.unwrap_or_default();
            nats.last_allowed = match &nats.permissions {
                Some(permissions) => {
                    std::str::from_utf8(text).is_ok_and(|text| permissions.may_publish(text))
                }
                None => true,
            };
            found
        };
        let allowed = nats.last_allowed || session.may_answer(self.delivery.now, text);
        if pedantic && !Subject::relaxed(text).is_ok_and(is_literal) {
            self.nats_error(id, "Invalid Publish Subject", effects);
        }
        if !allowed {
            return self.refuse_publish_to(id, text, effects);
        }
        if let Some(violation) = violation(text, publish.reply) {
            return self.nats_error(id, &violation, effects);
        }
        if verbose {
            self.nats_ok(id, effects);
        }
        if self.drain.draining() {
            return self.delivery.counters.add(Counter::DropsDraining, 1);
        }
        // A subject with an empty token is nobody's, not even of those who want everything.
        let taken = match subject {
            Some(subject) => self.nats_route(id, subject, publish, backing, effects),
            None => false,
        };
        if !taken && publish.reply.is_some() {
            self.nats_no_responders(id, publish, effects);
        }
    }

    #[cold]
    fn nats_acknowledge(
        &mut self,
        id: ConnectionId,
        subject: &[u8],
        publish: &Publish<'_>,
        effects: &mut Effects,
    ) -> bool {
        let words = &publish.payload[publish.header_bytes as usize..];
        let is = self.acknowledge(id, subject, words, publish.reply);
        let session = self.delivery.sessions.get(id);
        let nats = session.and_then(|session| session.nats.as_ref());
        if is && nats.is_some_and(|nats| nats.options.verbose) {
            self.nats_ok(id, effects);
        }
        is
    }

    #[inline]
    fn nats_route(
        &mut self,
        id: ConnectionId,
        subject: SubjectId,
        publish: &Publish<'_>,
        backing: Option<&Bytes>,
        effects: &mut Effects,
    ) -> bool {
        if publish.header_bytes == 0 {
            return self.route(id, subject, publish, backing, effects);
        }
        let (flags, correlation_id) = headers::read(&publish.payload[..publish.header_bytes as usize]);
        let publish = Publish { flags, correlation_id, ..*publish };
        self.route_with_headers(id, subject, &publish, backing, effects)
    }

    /// Tells the publisher of a request that nobody took it, if it asked for that and would hear it.
    #[cold]
    fn nats_no_responders(&mut self, id: ConnectionId, publish: &Publish<'_>, effects: &mut Effects) {
        self.delivery.counters.add(Counter::NoResponders, 1);
        // A subscription that has just had its last delivery hears no more.
        self.remove_expired(effects);
        let Some(reply) = publish.reply else { return };
        let Some(session) = self.delivery.sessions.get(id) else { return };
        if !session.nats.as_ref().is_some_and(|nats| nats.options.no_responders) {
            return;
        }
        let Ok(subject) = Subject::relaxed(reply) else { return };
        let space = &mut self.spaces[usize::from(session.account.0)];
        let reply_id = space.subjects.resolve(subject);
        let (_, _, route) = space.subjects.route(reply_id, &space.router);
        let Some(own) = route.plain.iter().find(|target| target.slot == id.slot) else { return };
        let subscription = self.delivery.subscriptions.at(own.subscription);
        let SubjectRef::Literal(subject) = publish.subject else { return };
        let mut block = b"NATS/1.0 503\r\n".to_vec();
        headers::put("Nats-Subject", subject, &mut block);
        block.extend_from_slice(encode::CRLF);
        let line = MessageLine {
            subject: reply,
            sid: subscription.sid(),
            reply: None,
            header_bytes: block.len(),
            payload_bytes: block.len(),
        };
        let mut answer = Vec::new();
        encode::message_line(&mut answer, &line);
        answer.extend_from_slice(&block);
        answer.extend_from_slice(encode::CRLF);
        self.delivery.send_answer(id, |out| out.extend_from_slice(&answer), effects);
    }
}

/// What is said to a publisher whose subject or reply subject is not for clients.
#[inline]
fn violation(subject: &[u8], reply: Option<&[u8]>) -> Option<String> {
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
