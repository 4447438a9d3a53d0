//! From received bytes to frames: whole frames are read in place, a frame cut by the end of a buffer
//! is gathered in its session.

use super::metrics::Counter;
use super::session::Stage;
use super::{ConnectionId, Effects, Nanos, Shard};
use bytes::Bytes;
use ringbolt_protocol::error::DecodeError;
use ringbolt_protocol::native::control::CloseCode;
use ringbolt_protocol::native::decode::{Decoded, Frame, decode_frame};

impl Shard {
    pub(super) fn receive(&mut self, now: Nanos, id: ConnectionId, input: &[u8], effects: &mut Effects) {
        let Some(session) = self.delivery.sessions.get_mut(id) else { return };
        if session.stage == Stage::Closing {
            return;
        }
        session.received_at = now;
        session.pings_outstanding = 0;
        let partial = std::mem::take(&mut session.partial);
        self.delivery.counters.add(Counter::BytesIn, input.len() as u64);
        if session.nats.is_some() {
            return self.receive_nats(id, partial, input, effects);
        }
        let rest = match self.finish_partial(now, id, partial, input, effects) {
            Ok(Some(rest)) => self.whole_frames(now, id, rest, effects),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        match rest {
            Ok(rest) => self.keep_partial(id, rest),
            Err(error) => self.protocol_error(id, &error, effects),
        }
    }

    /// Keeps the beginning of a frame until its rest arrives.
    pub(super) fn keep_partial(&mut self, id: ConnectionId, rest: &[u8]) {
        if rest.is_empty() {
            return;
        }
        let Some(session) = self.delivery.sessions.get_mut(id) else { return };
        session.partial = self.delivery.pool.take();
        session.partial.extend_from_slice(rest);
    }

    /// Handles the whole frames at the start of `input`; returns the unfinished rest.
    fn whole_frames<'i>(
        &mut self,
        now: Nanos,
        id: ConnectionId,
        mut input: &'i [u8],
        effects: &mut Effects,
    ) -> Result<&'i [u8], DecodeError> {
        while !input.is_empty() {
            match decode_frame(input, &self.decode_limits)? {
                Decoded::Incomplete { .. } => break,
                Decoded::Frame { frame, consumed } => {
                    if !self.frame(now, id, &frame, None, effects) {
                        return Ok(&[]);
                    }
                    let (first, behind) = input.split_at(consumed);
                    input = behind;
                    if let Frame::Publish(publish) = &frame {
                        let ran = self.native_run(id, publish, first, input, effects);
                        if ran > 0 && !self.takes_more(id) {
                            return Ok(&[]);
                        }
                        input = &input[ran..];
                    }
                }
            }
        }
        Ok(input)
    }

    /// Completes and handles the frame begun earlier, if any. Returns the input behind it, or `None`
    /// when all input is used up or the connection takes no more.
    fn finish_partial<'i>(
        &mut self,
        now: Nanos,
        id: ConnectionId,
        mut partial: Vec<u8>,
        mut input: &'i [u8],
        effects: &mut Effects,
    ) -> Result<Option<&'i [u8]>, DecodeError> {
        if partial.is_empty() {
            return Ok(Some(input));
        }
        loop {
            let needed = match decode_frame(&partial, &self.decode_limits)? {
                Decoded::Frame { consumed, .. } => {
                    debug_assert_eq!(consumed, partial.len(), "a frame is gathered exactly");
                    break;
                }
                Decoded::Incomplete { bytes_needed } => bytes_needed - partial.len(),
            };
            let (more, behind) = input.split_at(needed.min(input.len()));
            if more.is_empty() {
                if let Some(session) = self.delivery.sessions.get_mut(id) {
                    session.partial = partial;
                }
                return Ok(None);
            }
            // Grown by what arrived, never by what a header claims will.
            partial.extend_from_slice(more);
            input = behind;
        }
        let go_on = if partial.len() >= self.delivery.limits.shared_payload_bytes_min {
            // Gathered anyway: its payload is shared from here instead of being copied once more.
            let backing = Bytes::from(partial);
            self.gathered_frame(now, id, &backing, Some(&backing), effects)?
        } else {
            let go_on = self.gathered_frame(now, id, &partial, None, effects)?;
            self.delivery.pool.give(partial);
            go_on
        };
        Ok(go_on.then_some(input))
    }

    fn gathered_frame(
        &mut self,
        now: Nanos,
        id: ConnectionId,
        bytes: &[u8],
        backing: Option<&Bytes>,
        effects: &mut Effects,
    ) -> Result<bool, DecodeError> {
        match decode_frame(bytes, &self.decode_limits)? {
            Decoded::Frame { frame, .. } => Ok(self.frame(now, id, &frame, backing, effects)),
            Decoded::Incomplete { .. } => unreachable!("the caller gathered the whole frame"),
        }
    }

    /// Handles one frame. Returns whether the connection takes more.
    #[inline]
    fn frame(
        &mut self,
        now: Nanos,
        id: ConnectionId,
        frame: &Frame<'_>,
        backing: Option<&Bytes>,
        effects: &mut Effects,
    ) -> bool {
        match frame {
            Frame::Publish(publish) => self.publish(now, id, publish, backing, effects),
            Frame::Control(control) => self.control(id, control, effects),
            Frame::PublishBatch(batch) => self.publish_batch(id, batch, backing, effects),
            Frame::Deliver(_) | Frame::DeliverBatch(_) => {
                self.violation(id, "deliveries go from the server to the client only", effects);
            }
        }
        self.takes_more(id)
    }

    #[inline]
    pub(super) fn takes_more(&mut self, id: ConnectionId) -> bool {
        self.delivery.sessions.get_mut(id).is_some_and(|session| session.stage != Stage::Closing)
    }

    fn protocol_error(&mut self, id: ConnectionId, error: &DecodeError, effects: &mut Effects) {
        self.violation(id, &error.to_string(), effects);
    }

    pub(super) fn violation(&mut self, id: ConnectionId, message: &str, effects: &mut Effects) {
        let code = CloseCode::ProtocolError;
        self.close(id, code, message, Counter::ConnectionsClosedProtocolError, effects);
    }
}
