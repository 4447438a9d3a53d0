//! A run: PUBLISH frames to one numbered subject, one behind the other.

use crate::limits::HEADER_BYTES;
use crate::nats::Span;

/// Bytes of a header before the length of the body: magic, version, type and flags.
const KIND_BYTES: usize = 4;
/// Time and correlation id stand here.
const STAMPS_AT: usize = 8;

/// Collects the frames at the start of `input` that have the type, flags and subject of `first`, a
/// PUBLISH frame with a numbered subject, no reply and no headers. `number_bytes` is how long that number
/// is. Stops at the first frame that is anything else, unfinished, or has a payload of more than
/// `payload_bytes_max`, and before `input_bytes_max`. Returns the bytes of the run.
pub fn scan_run(
    input: &[u8],
    first: &[u8],
    number_bytes: usize,
    payload_bytes_max: usize,
    input_bytes_max: usize,
    spans: &mut Vec<Span>,
) -> usize {
    spans.clear();
    let input = &input[..input.len().min(input_bytes_max).min(u32::MAX as usize)];
    let head_bytes = HEADER_BYTES + number_bytes;
    let (Some(kind), Some(number)) = (first.get(..KIND_BYTES), first.get(HEADER_BYTES..head_bytes)) else {
        return 0;
    };
    let mut at = 0;
    while let Some(head) = input.get(at..at + head_bytes) {
        let body_bytes = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let same = head[..KIND_BYTES] == *kind && head[HEADER_BYTES..] == *number;
        if !same || body_bytes < number_bytes || body_bytes - number_bytes > payload_bytes_max {
            break;
        }
        let end = at + HEADER_BYTES + body_bytes;
        if end > input.len() {
            break;
        }
        let (start, payload) = (at + STAMPS_AT, at + head_bytes);
        spans.push(Span { start: start as u32, payload: payload as u32, end: end as u32 });
        at = end;
    }
    at
}
