//! Unsigned LEB128 of 32 bits, shortest form only.

use crate::error::DecodeError;
use crate::limits::VARINT_BYTES_MAX;

/// Reads a varint; `None` if the input ends inside it. Returns the value and its length.
#[inline]
pub fn decode(input: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    match input.first() {
        None => Ok(None),
        Some(&byte) if byte < 0x80 => Ok(Some((u32::from(byte), 1))),
        Some(_) => decode_long(input),
    }
}

fn decode_long(input: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0u64;
    for (place, &byte) in input.iter().take(VARINT_BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            let minimal = byte != 0;
            let value = u32::try_from(value).map_err(|_| DecodeError::Varint)?;
            return if minimal { Ok(Some((value, place + 1))) } else { Err(DecodeError::Varint) };
        }
    }
    if input.len() >= VARINT_BYTES_MAX { Err(DecodeError::Varint) } else { Ok(None) }
}

/// Bytes of a varint.
#[inline]
pub fn length(value: u32) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => VARINT_BYTES_MAX,
    }
}

/// Appends a varint.
#[inline]
pub fn encode(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_return_and_have_their_shortest_length() {
        for (value, length) in [
            (0, 1),
            (1, 1),
            (127, 1),
            (128, 2),
            (16_383, 2),
            (16_384, 3),
            (1 << 21, 4),
            (1 << 28, 5),
            (u32::MAX, 5),
        ] {
            let mut bytes = Vec::new();
            encode(value, &mut bytes);
            assert_eq!(bytes.len(), length);
            assert_eq!(decode(&bytes), Ok(Some((value, length))));
            for cut in 0..length {
                assert_eq!(decode(&bytes[..cut]), Ok(None));
            }
        }
    }

    #[test]
    fn overlong_and_oversized_varints_are_rejected() {
        for bytes in [&[0x80, 0x00][..], &[0xff, 0x80, 0x00], &[0xff; 5], &[0xff, 0xff, 0xff, 0xff, 0x10]] {
            assert_eq!(decode(bytes), Err(DecodeError::Varint), "{bytes:x?}");
        }
    }
}
