//! A run: publishes to one subject, one behind the other, as a client writes them that stays with it.
//!
//! Behind `PUB subject ` such a message is, byte for byte, what stands behind the subscription's id in its
//! delivery: size, payload and ends of line. So a run is looked over once, and copied from where it lies.

use super::parse::ParseLimits;
use crate::swar::same;

/// One message of a run, as places in the input: of text, or of native frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The first digit of the size; of a native frame, its time.
    pub start: u32,
    pub payload: u32,
    /// Behind the payload.
    pub end: u32,
}

impl Span {
    #[inline]
    pub fn payload(self, input: &[u8]) -> &[u8] {
        &input[self.payload as usize..self.end as usize]
    }
}

const END: &[u8; 2] = b"\r\n";
/// Bytes behind the payload of a span that belong to its message.
pub const SPAN_END_BYTES: usize = END.len();
/// Longest size of a message of a run.
const DIGITS_MAX: usize = 5;

/// Collects the messages at the start of `input` that begin with `head`, which is `PUB subject ` with the
/// blank. Stops at the first that is anything else: unfinished, larger than `payload_bytes_max`, with a
/// reply, or written in another way; and before `input_bytes_max`. Returns the bytes of the run.
pub fn scan_run(
    input: &[u8],
    head: &[u8],
    limits: &ParseLimits,
    payload_bytes_max: usize,
    input_bytes_max: usize,
    spans: &mut Vec<Span>,
) -> usize {
    spans.clear();
    let input = &input[..input.len().min(input_bytes_max).min(u32::MAX as usize)];
    if head.len() + DIGITS_MAX + END.len() > limits.line_bytes_max {
        return 0;
    }
    let payload_bytes_max = payload_bytes_max.min(limits.payload_bytes_max);
    let mut at = 0;
    while let Some(span) = next(input, at, head, payload_bytes_max) {
        at = span.end as usize + END.len();
        spans.push(span);
    }
    at
}

#[inline]
fn next(input: &[u8], at: usize, head: &[u8], payload_bytes_max: usize) -> Option<Span> {
    let start = at + head.len();
    if !same(input.get(at..start)?, head) {
        return None;
    }
    let mut place = start;
    let mut size = 0;
    loop {
        let digit = input.get(place)?.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        size = size * 10 + usize::from(digit);
        place += 1;
        if place - start > DIGITS_MAX {
            return None;
        }
    }
    let payload = place + END.len();
    let end = payload + size;
    // Deliveries say sizes without leading zeros.
    let well_formed = place > start
        && (place == start + 1 || input[start] != b'0')
        && size <= payload_bytes_max
        && input.get(place..payload)? == END
        && input.get(end..end + END.len())? == END;
    well_formed.then_some(Span { start: start as u32, payload: payload as u32, end: end as u32 })
}
