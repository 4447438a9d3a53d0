//! Points in time as text (RFC 3339) and as nanoseconds since the Unix epoch. Reads no clock.

use std::time::{Duration, UNIX_EPOCH};

pub fn text(unix_nanos: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_nanos(unix_nanos)).to_string()
}

pub fn parse(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let (local, offset_seconds) = without_offset(text)?;
    let time = humantime::parse_rfc3339_weak(local).ok()?;
    let nanos = i128::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()?;
    u64::try_from(nanos - i128::from(offset_seconds) * 1_000_000_000).ok()
}

/// Splits `+02:00` or `-02:00` off the end of a time.
fn without_offset(text: &str) -> Option<(&str, i64)> {
    const OFFSET_BYTES: usize = 6;
    let Some((local, offset)) = text.len().checked_sub(OFFSET_BYTES).and_then(|at| text.split_at_checked(at))
    else {
        return Some((text, 0));
    };
    let sign = match offset.as_bytes() {
        [b'+', _, _, b':', _, _] => 1,
        [b'-', _, _, b':', _, _] => -1,
        _ => return Some((text, 0)),
    };
    let hours: i64 = offset[1..3].parse().ok().filter(|hours| (0..24).contains(hours))?;
    let minutes: i64 = offset[4..6].parse().ok().filter(|minutes| (0..60).contains(minutes))?;
    Some((local, sign * (3600 * hours + 60 * minutes)))
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
        assert_eq!(parse(b"2026-11-08T14:30:00.25+02:30"), Some(nanos));
        assert_eq!(parse(b"2026-11-08T04:00:00.250-08:00"), Some(nanos));
        for nonsense in [&b"soon"[..], b"", b"\xff", b"1969-01-01T00:00:00Z", b"2026-11-08T12:00:00+99:00"] {
            assert_eq!(parse(nonsense), None);
        }
    }
}
