//! What a NATS client is told: `INFO`, `+OK`, `-ERR`, `PONG`, and the last words of a connection.

use crate::mesh::interest::Answer;
use crate::metrics::Counter;
use crate::{ConnectionId, Effects, Shard};
use ringbolt_protocol::nats::COMPATIBLE_VERSION;
use ringbolt_protocol::nats::{Info, encode};
use std::borrow::Cow;

/// Answers of all connections that may wait for other shards.
const WAITING_ANSWERS_MAX: usize = 1 << 16;
/// The first version of the protocol in which `INFO` may come again.
const PROTOCOL_WITH_INFO: i64 = 1;

impl Shard {
    /// Sends what the server says of itself.
    pub(crate) fn nats_info(&mut self, id: ConnectionId, leaving: bool, effects: &mut Effects) {
        let Some(session) = self.delivery.sessions.get(id) else { return };
        let Some(nats) = &session.nats else { return };
        let (host, port) = self.identity.nats.as_ref().map_or(("", 0), |(host, port)| (host.as_str(), *port));
        let client_ip = nats.peer.map(|peer| peer.ip().to_string()).unwrap_or_default();
        let mut line = Vec::new();
        let nonce = if self.access.wants_nonce() { nats.nonce() } else { String::new() };
        let info = Info {
            server_id: &self.identity.server_id,
            server_name: &self.identity.server_name,
            version: COMPATIBLE_VERSION,
            proto: 1,
            go: "rust",
            host,
            port,
            headers: true,
            max_payload: self.delivery.limits.payload_bytes_max,
            client_id: nats.number,
            client_ip: &client_ip,
            ldm: leaving,
            auth_required: self.access.required() && self.access.no_auth_user.is_none(),
            nonce: &nonce,
            ringbolt: &self.identity.version,
            ..Info::default()
        };
        encode::info(&mut line, &info);
        self.delivery.send_answer(id, |out| out.extend_from_slice(&line), effects);
    }

    /// Tells the clients that understand it what the server is now, or to go elsewhere.
    pub(crate) fn nats_info_to_all(&mut self, leaving: bool, effects: &mut Effects) {
        let told = |id: &ConnectionId| {
            let session = self.delivery.sessions.get(*id);
            let nats = session.and_then(|session| session.nats.as_ref());
            nats.is_some_and(|nats| nats.options.protocol >= PROTOCOL_WITH_INFO)
        };
        let told: Vec<ConnectionId> = self.delivery.sessions.ids().filter(told).collect();
        told.into_iter().for_each(|id| self.nats_info(id, leaving, effects));
    }

    pub(super) fn nats_ok(&mut self, id: ConnectionId, effects: &mut Effects) {
        let session = self.delivery.sessions.get_mut(id);
        let verbose =
            session.and_then(|session| session.nats.as_ref()).is_some_and(|nats| nats.options.verbose);
        if verbose {
            self.nats_answer(id, Cow::Borrowed(encode::OK), false, effects);
        }
    }

    /// An error that leaves the connection open.
    pub(super) fn nats_error(&mut self, id: ConnectionId, message: &str, effects: &mut Effects) {
        let mut line = Vec::new();
        encode::error(&mut line, message);
        self.nats_answer(id, Cow::Owned(line), false, effects);
    }

    /// Promises that everything before is in force.
    pub(super) fn nats_pong(&mut self, id: ConnectionId, effects: &mut Effects) {
        self.nats_answer(id, Cow::Borrowed(encode::PONG), true, effects);
    }

    /// Sends an answer, in the order of the operations: behind those that wait for other shards.
    fn nats_answer(
        &mut self,
        id: ConnectionId,
        line: Cow<'static, [u8]>,
        promises: bool,
        effects: &mut Effects,
    ) {
        let Some(session) = self.delivery.sessions.get_mut(id) else { return };
        let Some(nats) = &mut session.nats else { return };
        if nats.answers_waiting > 0 || (promises && !self.interest.is_in_force()) {
            if self.interest.waiting() >= WAITING_ANSWERS_MAX {
                // The protocol has no word for it: like a client that does not read its answers.
                return self.delivery.cut(id);
            }
            nats.answers_waiting += 1;
            return self.interest.hold(id, Answer::Line(line));
        }
        self.delivery.send_answer(id, |out| out.extend_from_slice(&line), effects);
    }

    /// An answer whose wait is over.
    pub(crate) fn nats_answer_in_force(&mut self, id: ConnectionId, line: &[u8], effects: &mut Effects) {
        let Some(session) = self.delivery.sessions.get_mut(id) else { return };
        if let Some(nats) = &mut session.nats {
            nats.answers_waiting -= 1;
        }
        self.delivery.send_answer(id, |out| out.extend_from_slice(line), effects);
    }

    pub(super) fn authorization_violation(&mut self, id: ConnectionId, effects: &mut Effects) {
        let reason = Counter::ConnectionsClosedAuthorization;
        self.close_nats(id, Some("Authorization Violation"), reason, effects);
    }

    /// Ends a connection in order, with an error as its last words if it gets some.
    pub(crate) fn close_nats(
        &mut self,
        id: ConnectionId,
        error: Option<&str>,
        reason: Counter,
        effects: &mut Effects,
    ) {
        let session = self.delivery.sessions.get(id);
        if session.and_then(|session| session.nats.as_ref()).is_some_and(|nats| nats.answers_waiting > 0) {
            for answer in self.interest.take_of(id) {
                self.answer(id, answer, effects);
            }
        }
        self.end(id, reason, effects, |delivery, effects| {
            if let Some(error) = error {
                delivery.send_answer(id, |out| encode::error(out, error), effects);
            }
        });
    }
}
