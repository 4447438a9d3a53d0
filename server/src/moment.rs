//! Points in time as text (RFC 3339) and as nanoseconds since the Unix epoch. Reads no clock.

use std::time::{Duration, UNIX_EPOCH};

pub fn text(unix_nanos: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_nanos(unix_nanos)).to_string()
}

pub fn parse(text: &[u8]) -> Option<u64> {
    let time = humantime::parse_rfc3339_weak(std::str::from_utf8(text).ok()?).ok()?;
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let nanos = 1_794_139_200_250_000_000;
        assert_eq!(text(nanos), "2026-11-08T12:00:00.250Z");
        assert_eq!(parse(text(nanos).as_bytes()), Some(nanos));
        assert_eq!(parse(b"2026-11-08 12:00:00"), Some(1_794_139_200_000_000_000));
        for nonsense in [&b"soon"[..], b"", b"\xff", b"1969-01-01T00:00:00Z"] {
            assert_eq!(parse(nonsense), None);
        }
    }
}
