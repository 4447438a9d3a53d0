//! What a NATS client is told: `INFO`, `+OK`, `-ERR`, `PING`, `PONG`, and the last words of a connection.

use super::NatsClient;
use crate::bus::Bus;
use crate::closing::CloseReason;
use crate::turn::Turn;
use ringbolt_protocol::nats::COMPATIBLE_VERSION;
use ringbolt_protocol::nats::{Info, encode};
use std::borrow::Cow;

/// The first version of the protocol in which `INFO` may come again.
const PROTOCOL_WITH_INFO: i64 = 1;

impl NatsClient {
    /// Sends what the server says of itself.
    pub fn send_info(&self, leaving: bool, bus: &mut Bus, turn: &mut Turn<'_>) {
        let identity = &bus.identity;
        let access = bus.accounts.access();
        let (host, port) = identity.nats.as_ref().map_or(("", 0), |(host, port)| (host.as_str(), *port));
        let client_ip = self.sender.peer.map(|peer| peer.ip().to_string()).unwrap_or_default();
        let nonce = if access.wants_nonce() { self.nonce() } else { String::new() };
        let info = Info {
            server_id: &identity.server_id,
            server_name: &identity.server_name,
            version: COMPATIBLE_VERSION,
            proto: 1,
            go: "rust",
            host,
            port,
            headers: true,
            max_payload: bus.limits().payload_bytes_max,
            client_id: self.number,
            client_ip: &client_ip,
            ldm: leaving,
            auth_required: access.required() && access.no_auth_user.is_none(),
            nonce: &nonce,
            ringbolt: &identity.version,
            ..Info::default()
        };
        let mut line = Vec::new();
        encode::info(&mut line, &info);
        bus.outlets.delivery.send_answer(self.sender.id, |out| out.extend_from_slice(&line), turn);
    }

    /// Tells a client that understands it what the server is by now, or to go elsewhere.
    pub fn send_info_again(&self, leaving: bool, bus: &mut Bus, turn: &mut Turn<'_>) {
        if self.options.protocol >= PROTOCOL_WITH_INFO {
            self.send_info(leaving, bus, turn);
        }
    }

    pub fn ping(&mut self, bus: &mut Bus, turn: &mut Turn<'_>) {
        bus.outlets.delivery.send_answer(self.sender.id, |out| out.extend_from_slice(encode::PING), turn);
    }

    #[inline]
    pub(super) fn answer_ok(&mut self, bus: &mut Bus, turn: &mut Turn<'_>) {
        if self.options.verbose {
            bus.answer_in_order(self.sender.id, Cow::Borrowed(encode::OK), false, turn);
        }
    }

    /// An error that leaves the connection open.
    pub(super) fn error(&mut self, message: &str, bus: &mut Bus, turn: &mut Turn<'_>) {
        let mut line = Vec::new();
        encode::error(&mut line, message);
        bus.answer_in_order(self.sender.id, Cow::Owned(line), false, turn);
    }

    /// Promises that everything before is in force.
    pub(super) fn pong(&mut self, bus: &mut Bus, turn: &mut Turn<'_>) {
        bus.answer_in_order(self.sender.id, Cow::Borrowed(encode::PONG), true, turn);
    }

    /// Ends the connection: it may not be here.
    pub fn refuse_to_admit(&mut self, bus: &mut Bus, turn: &mut Turn<'_>) {
        let reason = CloseReason::Authorization;
        self.close(reason, reason.nats(), bus, turn);
    }

    /// Ends the connection in order, with an error as its last words if it gets some.
    pub fn close(&mut self, reason: CloseReason, error: Option<&str>, bus: &mut Bus, turn: &mut Turn<'_>) {
        let id = self.sender.id;
        if !bus.outlets.delivery.is_open(id) {
            return;
        }
        bus.release_answers_of(id, turn);
        let partial = self.sender.take_partial(bus);
        bus.outlets.delivery.pool.give(partial);
        self.sender.forget_deferred(&mut bus.outlets.ledger);
        if let Some(error) = error {
            bus.outlets.delivery.send_answer(id, |out| encode::error(out, error), turn);
        }
        bus.end(id, reason, turn);
    }
}
