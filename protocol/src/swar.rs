//! Bytes looked at eight at a time, in an ordinary register (SWAR).

pub(crate) const WORD_BYTES: usize = 8;

/// Eight bytes, the first of the text lowest. Places are the top bits of bytes.
#[derive(Clone, Copy)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    const ONES: u64 = u64::MAX / 0xff;
    const TOPS: u64 = Word::ONES << 7;

    /// Where the byte is not ASCII, a blank, a control character or could be a wildcard.
    #[inline]
    pub(crate) fn odd_places(self) -> u64 {
        let from_blank = (self.0 | Word::TOPS).wrapping_sub(Word::ONES * (0x20 + 1));
        let wildcards = self.places_of(b'*') | self.places_of(b'>');
        (self.0 | !from_blank) & Word::TOPS | self.places_of(0x7f) | wildcards
    }

    /// Where the byte is `byte`; right if all are ASCII.
    #[inline]
    pub(crate) fn places_of(self, byte: u8) -> u64 {
        let others = self.0 ^ (Word::ONES * u64::from(byte));
        !((others | Word::TOPS) - Word::ONES) & Word::TOPS
    }

    /// Where the byte is a blank or a control character, whatever the others are.
    #[inline]
    fn blank_places(self) -> u64 {
        let from_blank = (self.0 | Word::TOPS).wrapping_sub(Word::ONES * (0x20 + 1));
        !(self.0 | from_blank) & Word::TOPS
    }
}

/// The place of the first blank or control character, as far as whole words and a short rest show it.
#[inline]
pub(crate) fn first_blank(text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks::<WORD_BYTES>();
    for (place, word) in words.iter().enumerate() {
        let blanks = Word(u64::from_le_bytes(*word)).blank_places();
        if blanks != 0 {
            return Some(place * WORD_BYTES + blanks.trailing_zeros() as usize / 8);
        }
    }
    let place = rest.iter().position(|&byte| byte <= b' ')?;
    Some(words.len() * WORD_BYTES + place)
}

/// Whether two texts are the same; most that are compared are short, and a comparison of unknown length is
/// a call.
#[inline]
pub fn same(left: &[u8], right: &[u8]) -> bool {
    fn ends<const N: usize>(text: &[u8]) -> ([u8; N], [u8; N]) {
        let first = text.first_chunk::<N>().copied().unwrap_or([0; N]);
        (first, text.last_chunk::<N>().copied().unwrap_or([0; N]))
    }
    if left.len() != right.len() {
        return false;
    }
    match left.len() {
        0..4 => left.iter().zip(right).all(|(left, right)| left == right),
        // The first and the last bytes, which overlap or meet.
        4..8 => ends::<4>(left) == ends::<4>(right),
        8..=16 => ends::<8>(left) == ends::<8>(right),
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use super::{first_blank, same};

    #[test]
    fn texts_are_the_same_if_every_byte_is() {
        for length in 0..40 {
            let text: Vec<u8> = (0..length).collect();
            assert!(same(&text, &text.clone()));
            assert!(!same(&text, &[&text[..], b"x"].concat()));
            for place in 0..text.len() {
                let mut other = text.clone();
                other[place] ^= 1;
                assert!(!same(&text, &other), "{length} {place}");
            }
        }
    }

    #[test]
    fn the_first_blank_is_found_wherever_it_lies() {
        for before in 0..40 {
            for blank in [0, b'\t', b'\r', b'\n', 0x1f, b' '] {
                for other in [b'a', b'!', 0x7f, 0x80, 0xa0, 0xff] {
                    let mut text = vec![other; before];
                    text.push(blank);
                    text.extend([other, b' ', other]);
                    assert_eq!(first_blank(&text), Some(before), "{text:?}");
                    assert_eq!(first_blank(&text[..before]), None, "{text:?}");
                }
            }
        }
    }
}
