//! From a NATS client's bytes to operations: whole ones are read in place, one cut by the end of a
//! buffer is gathered in its session.

use crate::metrics::Counter;
use crate::session::Stage;
use crate::{ConnectionId, Effects, Shard};
use bytes::Bytes;
use ringbolt_protocol::nats::{Command, ParseError, ParseLimits, Parsed, fast_publish, parse};

/// `PUB` and its blank.
pub(super) const PUBLISH_BYTES: usize = 4;
/// What a client may say before it is verified.
const WAITING_BYTES_MAX: usize = 1 << 20;

impl Shard {
    pub(crate) fn receive_nats(
        &mut self,
        id: ConnectionId,
        partial: Vec<u8>,
        input: &[u8],
        effects: &mut Effects,
    ) {
        let rest = match self.finish_operation(id, partial, input, effects) {
            Ok(Some(rest)) => self.whole_operations(id, rest, effects),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        match rest {
            Ok(rest) => self.keep_partial(id, rest),
            Err(error) => {
                let reason = match error {
                    ParseError::PayloadTooLarge => Counter::ConnectionsClosedLimit,
                    _ => Counter::ConnectionsClosedProtocolError,
                };
                self.close_nats(id, error.answer(), reason, effects);
            }
        }
    }

    /// Handles the whole operations at the start of `input`; returns the unfinished rest.
    fn whole_operations<'i>(
        &mut self,
        id: ConnectionId,
        mut input: &'i [u8],
        effects: &mut Effects,
    ) -> Result<&'i [u8], ParseError> {
        let Some((mut limits, mut stage)) = self.nats_limits(id) else { return Ok(&[]) };
        while let Some(first) = input.first() {
            if stage == Stage::Ready
                && let Some((publish, consumed)) = fast_publish(input, &limits)
            {
                self.nats_publish(id, &publish, None, effects);
                if !self.takes_more(id) {
                    return Ok(&[]);
                }
                let head_bytes = PUBLISH_BYTES + publish.subject.literal_bytes() + 1;
                let (head, behind) = (&input[..head_bytes], &input[consumed..]);
                let ran = self.nats_run(id, head, behind, &limits, effects);
                if ran > 0 && !self.takes_more(id) {
                    return Ok(&[]);
                }
                input = &behind[ran..];
                continue;
            }
            if stage == Stage::Verifying {
                return self.wait_verified(id, input);
            }
            // Who must say who it is says nothing else first, not even the beginning of it.
            if stage == Stage::AwaitingHello && !first.eq_ignore_ascii_case(&b'c') {
                if !self.admit_unnamed(id, effects) {
                    self.authorization_violation(id, effects);
                    return Ok(&[]);
                }
                stage = Stage::Ready;
            }
            let Parsed::Command { command, consumed } = parse(input, &limits)? else { break };
            if !self.operation(id, &command, None, effects) {
                return Ok(&[]);
            }
            if let Command::Connect(_) = command {
                let Some(now) = self.nats_limits(id) else { return Ok(&[]) };
                (limits, stage) = now;
            }
            input = &input[consumed..];
        }
        Ok(input)
    }

    /// Completes and handles the operation begun earlier, if any. Returns the input behind it, or
    /// `None` when all input is used up or the connection takes no more.
    fn finish_operation<'i>(
        &mut self,
        id: ConnectionId,
        mut partial: Vec<u8>,
        mut input: &'i [u8],
        effects: &mut Effects,
    ) -> Result<Option<&'i [u8]>, ParseError> {
        if partial.is_empty() {
            return Ok(Some(input));
        }
        let Some((limits, stage)) = self.nats_limits(id) else { return Ok(None) };
        if stage == Stage::Verifying {
            if let Some(session) = self.delivery.sessions.get_mut(id) {
                session.partial = partial;
            }
            return Ok(Some(input));
        }
        let limits = self.limits_of_begun(id).unwrap_or(limits);
        loop {
            let needed = match parse(&partial, &limits)? {
                Parsed::Command { consumed, .. } => {
                    debug_assert_eq!(consumed, partial.len(), "an operation is gathered exactly");
                    break;
                }
                Parsed::IncompleteLine => {
                    input.iter().position(|&byte| byte == b'\n').map_or(input.len(), |place| place + 1)
                }
                Parsed::IncompletePayload { bytes_needed } => bytes_needed - partial.len(),
            };
            let (more, behind) = input.split_at(needed.min(input.len()));
            if more.is_empty() {
                if let Some(session) = self.delivery.sessions.get_mut(id) {
                    session.partial = partial;
                }
                return Ok(None);
            }
            // Grown by what arrived, never by what a line claims will.
            partial.extend_from_slice(more);
            input = behind;
        }
        self.forget_limits_of_begun(id);
        let go_on = if partial.len() >= self.delivery.limits.shared_payload_bytes_min {
            // Gathered anyway: its payload is shared from here instead of being copied once more.
            let backing = Bytes::from(partial);
            self.gathered_operation(id, &backing, Some(&backing), &limits, effects)?
        } else {
            let go_on = self.gathered_operation(id, &partial, None, &limits, effects)?;
            self.delivery.pool.give(partial);
            go_on
        };
        Ok(go_on.then_some(input))
    }

    fn gathered_operation(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        backing: Option<&Bytes>,
        limits: &ParseLimits,
        effects: &mut Effects,
    ) -> Result<bool, ParseError> {
        match parse(bytes, limits)? {
            Parsed::Command { command, .. } => Ok(self.operation(id, &command, backing, effects)),
            _ => unreachable!("the caller gathered the whole operation"),
        }
    }

    /// What this client may send now, and whether it has still to say or prove who it is.
    fn nats_limits(&mut self, id: ConnectionId) -> Option<(ParseLimits, Stage)> {
        let session = self.delivery.sessions.get(id)?;
        Some((session.nats.as_ref()?.limits, session.stage))
    }

    fn limits_of_begun(&self, id: ConnectionId) -> Option<ParseLimits> {
        self.delivery.sessions.get(id)?.nats.as_ref()?.begun_under
    }

    pub(super) fn forget_limits_of_begun(&mut self, id: ConnectionId) {
        if let Some(nats) = self.delivery.sessions.get_mut(id).and_then(|session| session.nats.as_mut()) {
            nats.begun_under = None;
        }
    }

    /// What a client says while it is verified waits, up to a bound.
    fn wait_verified<'i>(&mut self, id: ConnectionId, input: &'i [u8]) -> Result<&'i [u8], ParseError> {
        let Some(session) = self.delivery.sessions.get_mut(id) else { return Ok(&[]) };
        if session.partial.len() + input.len() > WAITING_BYTES_MAX {
            return Err(ParseError::LineTooLong);
        }
        session.partial.extend_from_slice(input);
        Ok(&[])
    }

    /// Handles one operation. Returns whether the connection takes more.
    fn operation(
        &mut self,
        id: ConnectionId,
        command: &Command<'_>,
        backing: Option<&Bytes>,
        effects: &mut Effects,
    ) -> bool {
        self.remove_expired(effects);
        match *command {
            Command::Publish(ref publish) => self.nats_publish(id, publish, backing, effects),
            Command::Subscribe { pattern, group, sid } => {
                self.nats_subscribe(id, pattern, group, sid, effects);
            }
            Command::Unsubscribe { sid, deliveries_max } => {
                self.nats_unsubscribe(id, sid, deliveries_max, effects);
            }
            Command::Connect(options) => self.nats_connect(id, options, effects),
            Command::Ping => self.nats_pong(id, effects),
            // Any received byte already proved the client alive.
            Command::Pong | Command::Ignored => {}
        }
        self.takes_more(id)
    }
}
