//! From received bytes to frames: whole ones are read in place, one cut by the end of a buffer is gathered.

use super::{NativeClient, decode_limits};
use crate::bus::Bus;
use crate::turn::Turn;
use bytes::Bytes;
use ringbolt_protocol::error::DecodeError;
use ringbolt_protocol::native::decode::{DecodeLimits, Decoded, Frame, decode_frame};

impl NativeClient {
    pub fn receive(&mut self, input: &[u8], bus: &mut Bus, turn: &mut Turn<'_>) {
        let partial = std::mem::take(&mut self.sender.partial);
        // Frames are as large as this client was promised, whatever the limit is since.
        let payload_bytes_max = bus.limits().payload_bytes_max.max(self.promise.payload_bytes_max as usize);
        let limits = decode_limits(bus.limits(), payload_bytes_max);
        let rest = match self.finish_partial(&limits, partial, input, bus, turn) {
            Ok(Some(rest)) => self.whole_frames(&limits, rest, bus, turn),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        match rest {
            Ok([]) => {}
            Ok(rest) => {
                self.sender.partial = bus.outlets.delivery.pool.take();
                self.sender.partial.extend_from_slice(rest);
            }
            Err(error) => self.violation(&error.to_string(), bus, turn),
        }
    }

    /// Handles the whole frames at the start of `input`; returns the unfinished rest.
    fn whole_frames<'i>(
        &mut self,
        limits: &DecodeLimits,
        mut input: &'i [u8],
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) -> Result<&'i [u8], DecodeError> {
        while !input.is_empty() {
            match decode_frame(input, limits)? {
                Decoded::Incomplete { .. } => break,
                Decoded::Frame { frame, consumed } => {
                    if !self.frame(&frame, None, bus, turn) {
                        return Ok(&[]);
                    }
                    let (first, rest) = input.split_at(consumed);
                    input = rest;
                    if let Frame::Publish(publish) = &frame {
                        let ran = self.run(limits, publish, first, input, bus, turn);
                        if ran > 0 && !bus.outlets.delivery.is_open(self.sender.id) {
                            return Ok(&[]);
                        }
                        input = &input[ran..];
                    }
                }
            }
        }
        Ok(input)
    }

    /// Completes and handles the frame begun earlier, if any. Returns the input after it, or `None`
    /// when all input is used up or the connection takes no more.
    fn finish_partial<'i>(
        &mut self,
        limits: &DecodeLimits,
        mut partial: Vec<u8>,
        mut input: &'i [u8],
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) -> Result<Option<&'i [u8]>, DecodeError> {
        if partial.is_empty() {
            return Ok(Some(input));
        }
        loop {
            let needed = match decode_frame(&partial, limits)? {
                Decoded::Frame { consumed, .. } => {
                    debug_assert_eq!(consumed, partial.len(), "a frame is gathered exactly");
                    break;
                }
                Decoded::Incomplete { bytes_needed } => bytes_needed - partial.len(),
            };
            let (more, rest) = input.split_at(needed.min(input.len()));
            if more.is_empty() {
                self.sender.partial = partial;
                return Ok(None);
            }
            // Grown by what arrived, never by what a header claims will.
            partial.extend_from_slice(more);
            input = rest;
        }
        let go_on = if partial.len() >= bus.limits().shared_payload_bytes_min {
            // Gathered anyway: its payload is shared from here instead of being copied once more.
            let backing = Bytes::from(partial);
            self.gathered_frame(limits, &backing, Some(&backing), bus, turn)?
        } else {
            let go_on = self.gathered_frame(limits, &partial, None, bus, turn)?;
            bus.outlets.delivery.pool.give(partial);
            go_on
        };
        Ok(go_on.then_some(input))
    }

    fn gathered_frame(
        &mut self,
        limits: &DecodeLimits,
        bytes: &[u8],
        backing: Option<&Bytes>,
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) -> Result<bool, DecodeError> {
        match decode_frame(bytes, limits)? {
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
