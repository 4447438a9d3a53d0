//! The message a sender sends next.

pub struct Next {
    pub publisher: u16,
    pub subject: u32,
    /// The connection's number for the subject, from 1, if it introduced one.
    pub introduced: u32,
    pub sequence: u32,
    /// Whether a reply is wanted.
    pub asks: bool,
}

/// Takes a number of a series.
#[inline]
pub fn take(sequence: &mut u32) -> u32 {
    let taken = *sequence;
    *sequence = taken.wrapping_add(1);
    taken
}
