//! Decimal numbers of text protocols, without a format machine.

/// Digits of `u64::MAX`.
const DIGITS_MAX: usize = 20;

/// Appends a number.
#[inline]
pub fn put(out: &mut Vec<u8>, number: u64) {
    // Short ones are stores; a copy of unknown length is a call.
    let digit = |number: u64| b'0' + (number % 10) as u8;
    match number {
        0..10 => return out.push(digit(number)),
        10..100 => return out.extend_from_slice(&[digit(number / 10), digit(number)]),
        100..1000 => {
            return out.extend_from_slice(&[digit(number / 100), digit(number / 10), digit(number)]);
        }
        _ => {}
    }
    let mut digits = [0u8; DIGITS_MAX];
    let mut place = digits.len();
    let mut rest = number;
    while rest > 0 {
        place -= 1;
        digits[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[place..]);
}

/// Reads a number of 1 to `digits_max` digits (at most 19) and nothing else.
#[inline]
pub fn parse(text: &[u8], digits_max: usize) -> Option<u64> {
    debug_assert!(digits_max < DIGITS_MAX, "more could overflow");
    if text.is_empty() || text.len() > digits_max {
        return None;
    }
    let digit = |byte: u8| Some(byte.wrapping_sub(b'0')).filter(|&digit| digit < 10);
    text.iter().try_fold(0, |sum, &byte| Some(sum * 10 + u64::from(digit(byte)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_other_text_does_not() {
        for number in [0, 9, 10, 99, 100, 12_345, 999_999_999, u64::from(u32::MAX)] {
            let mut text = Vec::new();
            put(&mut text, number);
            assert_eq!(text, number.to_string().as_bytes());
            assert_eq!(parse(&text, 10), Some(number));
        }
        let mut text = Vec::new();
        put(&mut text, u64::MAX);
        assert_eq!(text, u64::MAX.to_string().as_bytes());
        assert_eq!(parse(b"007", 9), Some(7), "leading zeros are digits");
        for wrong in ["", "-1", "+1", "1 ", "1a", "\u{661}", "1234567890"] {
            assert_eq!(parse(wrong.as_bytes(), 9), None, "{wrong}");
        }
    }
}
