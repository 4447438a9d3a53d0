//! A stream in parts: what is kept of it, and what is not.

/// What becomes of the next bytes of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Span {
    Kept(usize),
    /// Payload, of which the length is enough.
    Omitted(usize),
    /// A part of the options of a `CONNECT`.
    Held(usize),
    /// The options whose parts were held since the last of these, without their secrets.
    Options(Vec<u8>),
}

/// Adds a span, as a part of the last one if it is of the same kind.
pub fn push(spans: &mut Vec<Span>, span: Span) {
    match (spans.last_mut(), span) {
        (_, Span::Kept(0) | Span::Omitted(0) | Span::Held(0)) => {}
        (Some(Span::Kept(before)), Span::Kept(more)) => *before += more,
        (Some(Span::Omitted(before)), Span::Omitted(more)) => *before += more,
        (_, span) => spans.push(span),
    }
}

/// A message's bytes from some place on: what is kept of them, and what is payload behind that.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Body {
    pub kept: usize,
    pub omitted: usize,
}

impl Body {
    /// Takes what is there of it from the start of `chunk`. Returns how much that was.
    pub fn pass(&mut self, chunk: &[u8], spans: &mut Vec<Span>) -> usize {
        let kept = self.kept.min(chunk.len());
        let omitted = self.omitted.min(chunk.len() - kept);
        (self.kept, self.omitted) = (self.kept - kept, self.omitted - omitted);
        push(spans, Span::Kept(kept));
        push(spans, Span::Omitted(omitted));
        kept + omitted
    }

    pub fn is_over(self) -> bool {
        self == Body::default()
    }
}

/// Empties a buffer of a connection. There may be many connections: one that was large is freed.
pub fn empty(buffer: &mut Vec<u8>) {
    const KEPT_BYTES_MAX: usize = 512;
    if buffer.capacity() > KEPT_BYTES_MAX { *buffer = Vec::new() } else { buffer.clear() }
}
