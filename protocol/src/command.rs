//! What the dialects have in common: a publish and a delivery, borrowed from the bytes they came in.

/// How a subject is given on the wire. Literal bytes are not validated yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubjectRef<'a> {
    /// The number this connection gave the subject; in a delivery 0 means the subscription's pattern.
    Interned(u32),
    Literal(&'a [u8]),
}

impl SubjectRef<'_> {
    /// Length of a subject that is spelled out.
    #[inline]
    pub fn literal_bytes(&self) -> usize {
        match self {
            SubjectRef::Interned(_) => 0,
            SubjectRef::Literal(text) => text.len(),
        }
    }
}

/// The flags byte of a publish or delivery.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flags(pub u8);

/// The priority lane of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Priority {
    Normal = 0,
    Critical = 1,
    High = 2,
    Low = 3,
    Background = 4,
}

/// How a payload is compressed. Opaque to the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Compression {
    None = 0,
    Lz4 = 1,
    Zstd = 2,
}

impl Flags {
    pub const INTERNED: u8 = 1 << 5;
    pub const REPLY: u8 = 1 << 6;
    pub const HEADERS: u8 = 1 << 7;

    pub fn new(priority: Priority, compression: Compression) -> Flags {
        Flags(priority as u8 | (compression as u8) << 3)
    }

    #[inline]
    pub fn is_valid(self) -> bool {
        self.0 & 7 <= 4 && self.0 >> 3 & 3 <= 2
    }

    pub fn priority(self) -> Priority {
        match self.0 & 7 {
            1 => Priority::Critical,
            2 => Priority::High,
            3 => Priority::Low,
            4 => Priority::Background,
            _ => Priority::Normal,
        }
    }

    pub fn compression(self) -> Compression {
        match self.0 >> 3 & 3 {
            1 => Compression::Lz4,
            2 => Compression::Zstd,
            _ => Compression::None,
        }
    }

    #[inline]
    pub fn interned(self) -> bool {
        self.0 & Flags::INTERNED != 0
    }

    #[inline]
    pub fn reply(self) -> bool {
        self.0 & Flags::REPLY != 0
    }

    #[inline]
    pub fn headers(self) -> bool {
        self.0 & Flags::HEADERS != 0
    }

    /// Priority and compression: what a delivery takes over from its publish. How subject, reply and
    /// headers are written is decided anew for every frame.
    #[inline]
    pub fn without_layout_bits(self) -> Flags {
        Flags(self.0 & !(Flags::INTERNED | Flags::REPLY | Flags::HEADERS))
    }
}

/// A message to a subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Publish<'a> {
    pub flags: Flags,
    /// The publisher's clock, nanoseconds since the Unix epoch; 0 if it set none.
    pub timestamp_nanos: u64,
    /// 0 if there is none.
    pub correlation_id: u64,
    pub subject: SubjectRef<'a>,
    pub reply: Option<&'a [u8]>,
    /// How much of the payload, at its start, is headers ([`crate::headers`]); 0 if there are none.
    pub header_bytes: u32,
    pub payload: &'a [u8],
}

/// A message for a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deliver<'a> {
    pub flags: Flags,
    pub timestamp_nanos: u64,
    pub correlation_id: u64,
    pub subscription_id: u32,
    pub subject: SubjectRef<'a>,
    pub reply: Option<&'a [u8]>,
    /// How much of the payload, at its start, is headers ([`crate::headers`]); 0 if there are none.
    pub header_bytes: u32,
    pub payload: &'a [u8],
}
