//! Subjects that have a meaning of their own, and what clients may not do with them, in either dialect.

/// Kept by nats-server for itself: nobody publishes to them.
const KEPT: [&[u8]; 2] = [b"_GR_.", b"$GR."];
/// Where dead letters go: behind it the reason and the subject the message had.
pub const DEAD_LETTERS: &str = "$DLQ.";
/// Where the server says what happens.
const EVENTS: &str = "$EVENTS.";
/// Where acknowledgements are said. Who is asked something must not say one by answering.
pub const ACKNOWLEDGEMENTS: &[u8] = b"$JS.ACK.";
/// How the reply subjects of services begin; clients may publish to them, and ask for none.
pub const SERVICE_REPLIES: &str = "_R_.";

/// Whether publishing to a subject is refused.
#[inline]
pub fn refuses(subject: &[u8]) -> bool {
    let looks_so = matches!(subject, [b'_', b'G', ..] | [b'$', b'G' | b'D' | b'E', ..]);
    debug_assert!(looks_so || !is_refused(subject), "the quick look passes over none");
    looks_so && is_refused(subject)
}

#[cold]
fn is_refused(subject: &[u8]) -> bool {
    KEPT.iter().any(|kept| is_below(subject, kept)) || is_servers(subject)
}

/// Whether the server alone publishes to a subject.
pub fn is_servers(subject: &[u8]) -> bool {
    is_below(subject, DEAD_LETTERS.as_bytes()) || is_below(subject, EVENTS.as_bytes())
}

/// Whether asking for answers at a subject is refused.
#[inline]
pub fn refuses_reply(reply: &[u8]) -> bool {
    let looks_so = matches!(reply, [b'_', b'R' | b'G', ..] | [b'$', ..]);
    debug_assert!(looks_so || !is_refused_reply(reply), "the quick look passes over none");
    looks_so && is_refused_reply(reply)
}

#[cold]
fn is_refused_reply(reply: &[u8]) -> bool {
    is_refused(reply) || is_below(reply, ACKNOWLEDGEMENTS) || reply.starts_with(SERVICE_REPLIES.as_bytes())
}

/// Whether a client may give a subject a number: what is said there must be seen for what it is.
#[cold]
pub fn refuses_number(subject: &[u8]) -> bool {
    is_refused(subject) || is_below(subject, ACKNOWLEDGEMENTS)
}

fn is_below(subject: &[u8], prefix: &[u8]) -> bool {
    subject.len() > prefix.len() && subject.starts_with(prefix)
}
