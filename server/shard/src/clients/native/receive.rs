//! From received bytes to frames: whole ones are read in place, one cut by the end of a buffer is gathered.

use super::NativeClient;
use crate::bus::Bus;
use crate::closing::CloseReason;
use crate::steps::steps_of;
use crate::turn::Turn;
use bytes::Bytes;
use ringbolt_protocol::error::DecodeError;
use ringbolt_protocol::native::decode::{Decoded, Frame, decode_frame};

impl NativeClient {
    /// Handles as much as the turn allows. Returns how many bytes of the end are left for a later one.
    pub fn receive(&mut self, input: &[u8], bus: &mut Bus, turn: &mut Turn<'_>) -> usize {
        let whole = if self.sender.partial().is_empty() {
            Ok(Some(input))
        } else {
            self.finish_partial(input, bus, turn)
        };
        let rest = match whole {
            Ok(Some(rest)) if !turn.may_go_on() => Ok(rest),
            Ok(Some(whole)) => self.whole_frames(whole, bus, turn),
            Ok(None) => return 0,
            Err(error) => Err(error),
        };
        match rest {
            Ok([]) => {}
            Ok(rest) if !turn.may_go_on() => return rest.len(),
            Ok(rest) => return self.begin(rest, bus, turn),
            Err(error) => self.violation(&error.to_string(), bus, turn),
        }
        0
    }

    fn close_unless(&mut self, kept: bool, bus: &mut Bus, turn: &mut Turn<'_>) {
        if !kept {
            let reason = CloseReason::UnadmittedBytes;
            self.close(reason, reason.native().1, bus, turn);
        }
    }

    /// Keeps the beginning of something until its rest comes. Returns how many bytes are left for later.
    #[cold]
    #[inline(never)]
    fn begin(&mut self, rest: &[u8], bus: &mut Bus, turn: &mut Turn<'_>) -> usize {
        let needed = self.bytes_needed(rest);
        if !self.sender.has_room_for(needed, bus, turn) {
            return rest.len();
        }
        let kept = self.sender.begin(rest, needed, bus);
        self.close_unless(kept, bus, turn);
        0
    }

    /// Length of the frame that `rest` is the beginning of, if that says it.
    fn bytes_needed(&self, rest: &[u8]) -> usize {
        match decode_frame(rest, &self.limits) {
            Ok(Decoded::Incomplete { bytes_needed }) => bytes_needed,
            _ => 0,
        }
    }

    /// Handles the whole frames at the start of `input`; returns the unfinished rest.
    fn whole_frames<'i>(
        &mut self,
        mut input: &'i [u8],
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) -> Result<&'i [u8], DecodeError> {
        while !input.is_empty() {
            match decode_frame(input, &self.limits)? {
                Decoded::Incomplete { .. } => break,
                Decoded::Frame { frame, consumed } => {
                    debug_assert!((1..=input.len()).contains(&consumed), "a frame is a part of the input");
                    turn.charge(steps_of(consumed));
                    if !self.frame(&frame, None, bus, turn) {
                        return Ok(&[]);
                    }
                    let (first, rest) = input.split_at(consumed);
                    input = rest;
                    if let (Frame::Publish(publish), false) = (&frame, rest.is_empty()) {
                        let ran = self.run(publish, first, input, bus, turn);
                        debug_assert!(ran <= input.len(), "a run is a part of the input");
                        if ran > 0 && !bus.outlets.delivery.is_open(self.sender.id) {
                            return Ok(&[]);
                        }
                        input = &input[ran..];
                    }
                    if !turn.may_go_on() {
                        break;
                    }
                }
            }
        }
        Ok(input)
    }

    /// Completes and handles the frame begun earlier. Returns the input after it, or `None` when all input is
    /// used up or the connection takes no more.
    fn finish_partial<'i>(
        &mut self,
        mut input: &'i [u8],
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) -> Result<Option<&'i [u8]>, DecodeError> {
        let mut partial = self.sender.take_partial(bus);
        loop {
            let needed = match decode_frame(&partial, &self.limits)? {
                Decoded::Frame { consumed, .. } => {
                    debug_assert_eq!(consumed, partial.len(), "a frame is gathered exactly");
                    break;
                }
                Decoded::Incomplete { bytes_needed } => {
                    debug_assert!(bytes_needed > partial.len(), "what is unfinished needs more");
                    let large = bytes_needed >= bus.limits().gathered_bytes_min;
                    if large && partial.capacity() < bytes_needed && !input.is_empty() {
                        if !self.sender.has_room_for(bytes_needed, bus, turn) {
                            let kept = self.sender.put_back(partial, bus);
                            self.close_unless(kept, bus, turn);
                            return Ok(Some(input));
                        }
                        partial.reserve_exact(bytes_needed - partial.len());
                    }
                    bytes_needed - partial.len()
                }
            };
            let (more, rest) = input.split_at(needed.min(input.len()));
            if more.is_empty() {
                let kept = self.sender.put_back(partial, bus);
                self.close_unless(kept, bus, turn);
                return Ok(None);
            }
            // Grown by what arrived, never by what a header claims will.
            partial.extend_from_slice(more);
            input = rest;
        }
        self.sender.has_gathered();
        let go_on = if partial.len() >= bus.limits().shared_payload_bytes_min {
            // Gathered anyway: its payload is shared from here instead of being copied once more.
            let backing = Bytes::from(partial);
            self.gathered_frame(&backing, Some(&backing), bus, turn)?
        } else {
            let go_on = self.gathered_frame(&partial, None, bus, turn)?;
            bus.outlets.delivery.pool.give(partial);
            go_on
        };
        Ok(go_on.then_some(input))
    }

    fn gathered_frame(
        &mut self,
        bytes: &[u8],
        backing: Option<&Bytes>,
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) -> Result<bool, DecodeError> {
        turn.charge(steps_of(bytes.len()));
        match decode_frame(bytes, &self.limits)? {
            Decoded::Frame { frame, .. } => Ok(self.frame(&frame, backing, bus, turn)),
            Decoded::Incomplete { .. } => unreachable!("the caller gathered the whole frame"),
        }
    }

    /// Handles one frame. Returns whether the connection takes more.
    #[inline]
    fn frame(
        &mut self,
        frame: &Frame<'_>,
        backing: Option<&Bytes>,
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) -> bool {
        match frame {
            Frame::Publish(publish) => self.publish(publish, backing, bus, turn),
            Frame::Control(control) => self.control(control, bus, turn),
            Frame::PublishBatch(batch) => self.publish_batch(batch, backing, bus, turn),
            Frame::Deliver(_) | Frame::DeliverBatch(_) => {
                self.violation("deliveries go from the server to the client only", bus, turn);
            }
        }
        bus.outlets.delivery.is_open(self.sender.id)
    }
}
