//! Subjects and patterns: tokens between dots.
//!
//! A subject has 1 to 255 bytes of UTF-8 in 1 to 32 tokens. No token is empty, and no byte is a blank
//! or control character. A token that is exactly `*` or `>` is a wildcard; inside a longer token both
//! are ordinary characters. A subject has no wildcards. In a pattern `*` stands for exactly one token,
//! and `>`, only as the last token, for one or more.

use crate::limits::{SUBJECT_BYTES_MAX, TOKENS_MAX};
use crate::swar::{WORD_BYTES, Word};
use std::fmt;

/// A subject that messages are published to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Subject<'a>(&'a str);

/// A pattern that is subscribed to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pattern<'a> {
    text: &'a str,
    has_wildcard: bool,
}

/// What is wrong with a subject or pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubjectError {
    Empty,
    TooLong {
        bytes: usize,
    },
    TooManyTokens,
    EmptyToken,
    /// A blank, a control character or DEL.
    Character {
        byte: u8,
    },
    NotUtf8,
    /// A subject to publish to contains a wildcard token.
    Wildcard,
    /// `>` stands before the last token.
    RestNotLast,
}

impl fmt::Display for SubjectError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SubjectError::Empty => formatter.write_str("the subject is empty"),
            SubjectError::TooLong { bytes } => {
                write!(formatter, "the subject has {bytes} bytes, more than {SUBJECT_BYTES_MAX}")
            }
            SubjectError::TooManyTokens => {
                write!(formatter, "the subject has more than {TOKENS_MAX} tokens")
            }
            SubjectError::EmptyToken => formatter.write_str("the subject has an empty token"),
            SubjectError::Character { byte } => {
                write!(formatter, "the subject contains the byte 0x{byte:02x}: no blanks, no controls")
            }
            SubjectError::NotUtf8 => formatter.write_str("the subject is not UTF-8"),
            SubjectError::Wildcard => {
                formatter.write_str("the subject contains a wildcard, which only a pattern may")
            }
            SubjectError::RestNotLast => formatter.write_str("'>' is only allowed as the last token"),
        }
    }
}

impl std::error::Error for SubjectError {}

impl<'a> Subject<'a> {
    #[inline]
    pub fn new(text: &'a [u8]) -> Result<Subject<'a>, SubjectError> {
        let (text, shape) = validate(text)?;
        if shape.star || shape.rest { Err(SubjectError::Wildcard) } else { Ok(Subject(text)) }
    }

    /// A subject by the rules of the NATS protocol: any UTF-8 without empty tokens. It may have any
    /// length, and a wildcard in it is an ordinary token.
    #[inline]
    pub fn relaxed(text: &'a [u8]) -> Result<Subject<'a>, SubjectError> {
        if !is_ordinary(text) {
            inspect_tokens(text)?;
        }
        std::str::from_utf8(text).map(Subject).map_err(|_| SubjectError::NotUtf8)
    }

    /// Text that came from a subject.
    #[inline]
    pub fn trusted(text: &'a str) -> Subject<'a> {
        Subject(text)
    }

    #[inline]
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0.as_bytes()
    }

    pub fn tokens(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.0.split('.')
    }
}

impl<'a> Pattern<'a> {
    pub fn new(text: &'a [u8]) -> Result<Pattern<'a>, SubjectError> {
        let (text, shape) = validate(text)?;
        if shape.rest_not_last {
            return Err(SubjectError::RestNotLast);
        }
        Ok(Pattern { text, has_wildcard: shape.star || shape.rest })
    }

    /// A pattern by the rules of the NATS protocol: any UTF-8 without empty tokens, of any length.
    pub fn relaxed(text: &'a [u8]) -> Result<Pattern<'a>, SubjectError> {
        let shape = if is_ordinary(text) { Shape::default() } else { inspect_tokens(text)? };
        if shape.rest_not_last {
            return Err(SubjectError::RestNotLast);
        }
        let text = std::str::from_utf8(text).map_err(|_| SubjectError::NotUtf8)?;
        Ok(Pattern { text, has_wildcard: shape.star || shape.rest })
    }

    pub fn as_str(&self) -> &'a str {
        self.text
    }

    pub fn has_wildcard(&self) -> bool {
        self.has_wildcard
    }

    pub fn tokens(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.text.split('.')
    }

    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        let mut subject = subject.tokens();
        for token in self.tokens() {
            match (token, subject.next()) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (token, Some(other)) if token == other => {}
                _ => return false,
            }
        }
        subject.next().is_none()
    }
}

#[derive(Default)]
struct Shape {
    star: bool,
    rest: bool,
    rest_not_last: bool,
}

#[inline]
fn validate(text: &[u8]) -> Result<(&str, Shape), SubjectError> {
    if text.is_empty() {
        return Err(SubjectError::Empty);
    }
    if text.len() > SUBJECT_BYTES_MAX {
        return Err(SubjectError::TooLong { bytes: text.len() });
    }
    let shape = if is_ordinary(text) { Shape::default() } else { inspect(text)? };
    let text = std::str::from_utf8(text).map_err(|_| SubjectError::NotUtf8)?;
    Ok((text, shape))
}

/// Shorter texts cannot have too many tokens without having an empty one.
const ORDINARY_BYTES_MAX: usize = 2 * TOKENS_MAX;

/// Whether the text is surely right and without wildcards, looked at eight bytes at a time. Most
/// subjects are; no is no judgement.
#[inline]
fn is_ordinary(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk::<WORD_BYTES>() else { return false };
    if text.len() > ORDINARY_BYTES_MAX {
        return false;
    }
    let (words, _) = text.as_chunks::<WORD_BYTES>();
    // As if a dot stood before the text: it may not begin with one.
    let (mut odd, mut dot_before) = (0, 0x80);
    for word in words {
        let word = Word(u64::from_le_bytes(*word));
        let dots = word.places_of(b'.');
        odd |= word.odd_places() | dots & (dots << 8 | dot_before);
        dot_before = dots >> 56;
    }
    // The rest, and again some bytes before it, so that it is a whole word too.
    let word = Word(u64::from_le_bytes(*last));
    let dots = word.places_of(b'.');
    odd |= word.odd_places() | dots & dots << 8 | dots & 0x80 << 56;
    odd == 0
}

/// Token by token: what is wrong, or where the wildcards are.
#[cold]
fn inspect(text: &[u8]) -> Result<Shape, SubjectError> {
    let mut shape = Shape::default();
    let (mut token_start, mut tokens) = (0, 0);
    for (place, &byte) in text.iter().enumerate() {
        if byte == b'.' {
            shape.see(&text[token_start..place])?;
            token_start = place + 1;
            tokens += 1;
        } else if byte <= b' ' || byte == 0x7f {
            return Err(SubjectError::Character { byte });
        }
    }
    shape.see(&text[token_start..])?;
    if tokens + 1 > TOKENS_MAX {
        return Err(SubjectError::TooManyTokens);
    }
    Ok(shape)
}

/// Tokens alone, whatever they are made of.
#[cold]
fn inspect_tokens(text: &[u8]) -> Result<Shape, SubjectError> {
    let mut shape = Shape::default();
    text.split(|&byte| byte == b'.').try_for_each(|token| shape.see(token))?;
    Ok(shape)
}

impl Shape {
    #[inline]
    fn see(&mut self, token: &[u8]) -> Result<(), SubjectError> {
        self.rest_not_last |= self.rest;
        match token {
            [] => return Err(SubjectError::EmptyToken),
            b"*" => self.star = true,
            b">" => self.rest = true,
            _ => {}
        }
        Ok(())
    }
}
