//! What a message carries to measure and check itself, in any dialect.
//!
//! ```text
//! bytes 0..8   intended send time, ns since the run's epoch (48 bits) << 16 | check (16 bits)
//! bytes 8..16  sequence (32 bits) | publisher (16 bits) << 32 | lateness (16 bits) << 48
//! bytes 16..   a slice of a fixed table, chosen by publisher and sequence
//! ```
//! Lateness (intended to actual send) is a small float: 11 bits of mantissa, 5 of exponent, exact to
//! 0.1 %. The check covers both words and the subject, so a message delivered for the wrong subject is
//! found out as well.

/// Shortest payload: the two words.
pub const STAMP_BYTES: usize = 16;

/// Longest payload the pattern table serves.
pub const PAYLOAD_BYTES_MAX: usize = 32 << 20;

const OFFSETS: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Nanoseconds since the run's epoch; 48 bits are 78 hours.
    pub intended: u64,
    pub lateness: u64,
    pub sequence: u32,
    pub publisher: u16,
}

/// The bytes behind the stamps.
#[derive(Debug)]
pub struct Pattern {
    table: Vec<u8>,
}

impl Pattern {
    /// A table for payloads up to `payload_bytes_max`.
    pub fn new(payload_bytes_max: usize) -> Pattern {
        let mut word = 0x5eed_u64;
        let length = payload_bytes_max + OFFSETS + 8;
        let mut table = Vec::with_capacity(length);
        while table.len() < length {
            word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            table.extend_from_slice(&(word ^ word >> 29).to_le_bytes());
        }
        Pattern { table }
    }

    /// `None`: longer than any payload of this run.
    fn expected(&self, stamp: &Stamp, bytes: usize) -> Option<&[u8]> {
        self.table.get(offset_of(stamp)..offset_of(stamp) + bytes)
    }

    #[inline]
    pub fn of(&self, stamp: &Stamp, bytes: usize) -> &[u8] {
        &self.table[offset_of(stamp)..offset_of(stamp) + bytes]
    }
}

#[inline]
fn offset_of(stamp: &Stamp) -> usize {
    (stamp.sequence.wrapping_mul(31) ^ u32::from(stamp.publisher)) as usize % OFFSETS
}

impl Stamp {
    /// Appends a payload of `bytes`.
    #[inline]
    pub fn write(&self, subject: u32, bytes: usize, pattern: &Pattern, out: &mut Vec<u8>) {
        debug_assert!(bytes >= STAMP_BYTES);
        let second = u64::from(self.sequence)
            | u64::from(self.publisher) << 32
            | u64::from(shrink(self.lateness)) << 48;
        let first = self.intended << 16;
        let first = first | u64::from(check(first, second, subject));
        let mut words = [0u8; STAMP_BYTES];
        words[..8].copy_from_slice(&first.to_le_bytes());
        words[8..].copy_from_slice(&second.to_le_bytes());
        out.extend_from_slice(&words);
        if bytes > STAMP_BYTES {
            out.extend_from_slice(pattern.of(self, bytes - STAMP_BYTES));
        }
    }

    /// Reads and checks a payload whole; `None` if any byte of it is not as it was written.
    #[inline]
    pub fn read(payload: &[u8], subject: u32, pattern: &Pattern) -> Option<Stamp> {
        let (words, rest) = payload.split_first_chunk::<STAMP_BYTES>()?;
        let first = u64::from_le_bytes(words[..8].try_into().ok()?);
        let second = u64::from_le_bytes(words[8..].try_into().ok()?);
        if first as u16 != check(first & !0xffff, second, subject) {
            return None;
        }
        let stamp = Stamp {
            intended: first >> 16,
            lateness: grow((second >> 48) as u16),
            sequence: second as u32,
            publisher: (second >> 32) as u16,
        };
        (rest.is_empty() || pattern.expected(&stamp, rest.len()) == Some(rest)).then_some(stamp)
    }
}

#[inline]
fn check(first: u64, second: u64, subject: u32) -> u16 {
    let mixed =
        (first ^ second.rotate_left(23) ^ u64::from(subject) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 48) as u16
}

#[inline]
fn shrink(nanos: u64) -> u16 {
    let bits = u64::BITS - nanos.leading_zeros();
    let exponent = bits.saturating_sub(11);
    if exponent > 31 { u16::MAX } else { (exponent << 11) as u16 | (nanos >> exponent) as u16 }
}

#[inline]
fn grow(small: u16) -> u64 {
    u64::from(small & 0x7ff) << (small >> 11)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_longer_than_any_of_this_run_is_not_its_own() {
        let (long, short) = (Pattern::new(OFFSETS * 3), Pattern::new(64));
        let stamp = Stamp { intended: 1, lateness: 0, sequence: 9, publisher: 0 };
        let mut payload = Vec::new();
        stamp.write(3, OFFSETS * 3, &long, &mut payload);
        assert!(Stamp::read(&payload, 3, &long).is_some());
        assert!(Stamp::read(&payload, 3, &short).is_none());
    }

    #[test]
    fn lateness_survives_to_a_thousandth() {
        for nanos in [0, 1, 999, 2047, 2048, 123_456, 9_876_543_210, (1 << 42) - 1] {
            let back = grow(shrink(nanos));
            assert!(back <= nanos && nanos - back <= nanos / 1024, "{nanos} became {back}");
        }
        assert!(grow(shrink(u64::MAX)) > 1 << 41, "the largest is still large");
    }

    #[test]
    fn a_payload_reads_back_and_any_changed_byte_is_found() {
        let pattern = Pattern::new(100);
        let stamp = Stamp { intended: 123_456_789, lateness: 1024, sequence: 77, publisher: 5 };
        for bytes in [16, 17, 100] {
            let mut payload = Vec::new();
            stamp.write(9, bytes, &pattern, &mut payload);
            assert_eq!(payload.len(), bytes);
            assert_eq!(Stamp::read(&payload, 9, &pattern), Some(stamp));
            assert_eq!(Stamp::read(&payload, 8, &pattern), None, "another subject");
            for place in 0..bytes {
                let mut changed = payload.clone();
                changed[place] ^= 0x10;
                assert_eq!(Stamp::read(&changed, 9, &pattern), None, "byte {place} of {bytes}");
            }
        }
        assert_eq!(Stamp::read(&[0; 15], 0, &pattern), None);
    }
}
