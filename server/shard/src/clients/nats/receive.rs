//! From a NATS client's bytes to operations: whole ones are read in place, one cut by the end of a
//! buffer is gathered.

use super::NatsClient;
use super::publish::PUBLISH_BYTES;
use crate::bus::Bus;
use crate::clients::sender::Stage;
use crate::closing::CloseReason;
use crate::limits::UNADMITTED_BYTES_MAX;
use crate::steps::{CONNECT_STEPS, steps_of, steps_of_text};
use crate::turn::Turn;
use bytes::Bytes;
use ringbolt_protocol::nats::{Command, ParseError, ParseLimits, Parsed, fast_publish, parse};

/// What a client may say before it is verified.
const WAITING_BYTES_MAX: usize = 1 << 20;
const _: () = assert!(WAITING_BYTES_MAX < UNADMITTED_BYTES_MAX, "one client is not all of them");

impl NatsClient {
    /// Handles as much as the turn allows. Returns how many bytes of the end are left for a later one.
    pub fn receive(&mut self, input: &[u8], bus: &mut Bus, turn: &mut Turn<'_>) -> usize {
        let whole = if self.sender.partial().is_empty() {
            Ok(Some(input))
        } else {
            self.finish_operation(input, bus, turn)
        };
        let rest = match whole {
            Ok(Some(rest)) if !turn.may_go_on() => Ok(rest),
            Ok(Some(whole)) => self.whole_operations(whole, bus, turn),
            Ok(None) => return 0,
            Err(error) => Err(error),
        };
        match rest {
            Ok([]) => {}
            Ok(rest) if !turn.may_go_on() => return rest.len(),
            Ok(rest) => return self.begin(rest, bus, turn),
            Err(error) => {
                let reason = match error {
                    ParseError::PayloadTooLarge => CloseReason::PayloadTooLarge,
                    _ => CloseReason::ProtocolError,
                };
                self.close(reason, error.answer(), bus, turn);
            }
        }
        0
    }

    fn close_unless(&mut self, kept: bool, bus: &mut Bus, turn: &mut Turn<'_>) {
        if !kept {
            let reason = CloseReason::UnadmittedBytes;
            self.close(reason, reason.nats(), bus, turn);
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

    /// Length of the operation that `rest` is the beginning of, if that says it.
    fn bytes_needed(&self, rest: &[u8]) -> usize {
        match parse(rest, &self.limits) {
            Ok(Parsed::IncompletePayload { bytes_needed }) => bytes_needed,
            _ => 0,
        }
    }

    /// Handles the whole operations at the start of `input`; returns the unfinished rest.
    fn whole_operations<'i>(
        &mut self,
        mut input: &'i [u8],
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) -> Result<&'i [u8], ParseError> {
        let mut limits = self.limits;
        while let Some(first) = input.first() {
            if self.sender.stage == Stage::Ready
                && let Some((publish, consumed)) = fast_publish(input, &limits)
            {
                turn.charge(steps_of(consumed));
                self.publish(&publish, None, bus, turn);
                if !bus.outlets.delivery.is_open(self.sender.id) {
                    return Ok(&[]);
                }
                let head_bytes = PUBLISH_BYTES + publish.subject.literal_bytes() + 1;
                debug_assert!(head_bytes < consumed, "an operation begins with its head");
                debug_assert!(consumed <= input.len(), "an operation is a part of the input");
                let (head, rest) = (&input[..head_bytes], &input[consumed..]);
                let ran = self.run(head, rest, bus, turn);
                if ran > 0 && !bus.outlets.delivery.is_open(self.sender.id) {
                    return Ok(&[]);
                }
                debug_assert!(ran <= rest.len(), "a run is a part of the input");
                input = &rest[ran..];
                if turn.may_go_on() {
                    continue;
                }
                break;
            }
            if self.sender.stage == Stage::Verifying {
                return self.wait_verified(input, bus, turn);
            }
            // Who must say who it is says nothing else first, not even the beginning of it.
            if self.sender.stage == Stage::AwaitingHello
                && !first.eq_ignore_ascii_case(&b'c')
                && !self.admit_unnamed(bus, turn)
            {
                self.refuse_to_admit(bus, turn);
                return Ok(&[]);
            }
            let Parsed::Command { command, consumed } = parse(input, &limits)? else { break };
            debug_assert!((1..=input.len()).contains(&consumed), "an operation is a part of the input");
            if !self.operation(&command, consumed, None, bus, turn) {
                return Ok(&[]);
            }
            limits = self.limits;
            input = &input[consumed..];
            if !turn.may_go_on() {
                break;
            }
        }
        Ok(input)
    }

    /// Completes and handles the operation begun earlier. Returns the input after it, or `None` when all
    /// input is used up or the connection takes no more.
    fn finish_operation<'i>(
        &mut self,
        mut input: &'i [u8],
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) -> Result<Option<&'i [u8]>, ParseError> {
        if self.sender.stage == Stage::Verifying {
            return Ok(Some(input));
        }
        let mut partial = self.sender.take_partial(bus);
        let limits = self.begun_under.unwrap_or(self.limits);
        loop {
            let needed = match parse(&partial, &limits)? {
                Parsed::Command { consumed, .. } => {
                    debug_assert_eq!(consumed, partial.len(), "an operation is gathered exactly");
                    break;
                }
                Parsed::IncompleteLine => {
                    input.iter().position(|&byte| byte == b'\n').map_or(input.len(), |place| place + 1)
                }
                Parsed::IncompletePayload { bytes_needed } => {
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
            // Grown by what arrived, never by what a line claims will.
            partial.extend_from_slice(more);
            input = rest;
        }
        self.begun_under = None;
        self.sender.has_gathered();
        let go_on = if partial.len() >= bus.limits().shared_payload_bytes_min {
            // Gathered anyway: its payload is shared from here instead of being copied once more.
            let backing = Bytes::from(partial);
            self.gathered_operation(&backing, Some(&backing), &limits, bus, turn)?
        } else {
            let go_on = self.gathered_operation(&partial, None, &limits, bus, turn)?;
            bus.outlets.delivery.pool.give(partial);
            go_on
        };
        Ok(go_on.then_some(input))
    }

    fn gathered_operation(
        &mut self,
        bytes: &[u8],
        backing: Option<&Bytes>,
        limits: &ParseLimits,
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) -> Result<bool, ParseError> {
        match parse(bytes, limits)? {
            Parsed::Command { command, consumed } => {
                Ok(self.operation(&command, consumed, backing, bus, turn))
            }
            _ => unreachable!("the caller gathered the whole operation"),
        }
    }

    /// What a client says while it is verified waits, up to a bound.
    fn wait_verified<'i>(
        &mut self,
        input: &'i [u8],
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) -> Result<&'i [u8], ParseError> {
        let fits = self.sender.partial().len() + input.len() <= WAITING_BYTES_MAX;
        let kept = fits && self.sender.keep(input, bus);
        self.close_unless(kept, bus, turn);
        Ok(&[])
    }

    /// Handles one operation of so many bytes. Returns whether the connection takes more.
    fn operation(
        &mut self,
        command: &Command<'_>,
        bytes: usize,
        backing: Option<&Bytes>,
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) -> bool {
        bus.remove_expired(turn);
        turn.charge(match command {
            Command::Publish(publish) => {
                let text = bytes - publish.payload.len() + publish.header_bytes as usize;
                steps_of(publish.payload.len()) + steps_of_text(text)
            }
            // A password is in it.
            Command::Connect(_) => CONNECT_STEPS,
            _ => steps_of(0) + steps_of_text(bytes),
        });
        match *command {
            Command::Publish(ref publish) => self.publish(publish, backing, bus, turn),
            Command::Subscribe { pattern, group, sid } => self.subscribe(pattern, group, sid, bus, turn),
            Command::Unsubscribe { sid, deliveries_max } => {
                self.unsubscribe(sid, deliveries_max, bus, turn);
            }
            Command::Connect(options) => self.connect(options, bus, turn),
            Command::Ping => self.pong(bus, turn),
            // Any received byte already proved the client alive.
            Command::Pong | Command::Ignored => {}
        }
        bus.outlets.delivery.is_open(self.sender.id)
    }
}
