//! As much of HTTP/1.1 as requests without bodies need; parsing is httparse's.

/// A request's head may not be longer.
pub(super) const HEAD_BYTES_MAX: usize = 8192;
const HEADERS_MAX: usize = 64;

/// What a buffer that may hold a request means.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Parsed {
    /// More bytes are needed.
    Incomplete,
    Request {
        method: Method,
        path: String,
        query: String,
        keep_alive: bool,
        head_bytes: usize,
        /// The name it was sent to, if it names one.
        host: Option<Vec<u8>>,
        /// It may come from a page in a browser: it lacks a header that pages may not set unasked, or has
        /// one that only browsers send.
        from_a_page: bool,
    },
    /// Answer with this status and close.
    Bad(u16),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Method {
    Get,
    Head,
    Post,
    Other,
}

pub(super) fn parse(buffer: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let head_bytes = match request.parse(buffer) {
        Ok(httparse::Status::Complete(bytes)) if bytes <= HEAD_BYTES_MAX => bytes,
        Ok(httparse::Status::Partial) if buffer.len() < HEAD_BYTES_MAX => return Parsed::Incomplete,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Parsed::Bad(431),
        Err(_) => return Parsed::Bad(400),
    };
    let value = |name: &str| {
        let header = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| header.value)
    };
    let is_host = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("host");
    if request.headers.iter().filter(is_host).count() > 1 {
        return Parsed::Bad(400);
    }
    let host = value("host").map(<[u8]>::to_vec);
    let has_body = value("transfer-encoding").is_some() || value("content-length").is_some_and(|v| v != b"0");
    if has_body {
        return Parsed::Bad(413);
    }
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("POST") => Method::Post,
        _ => Method::Other,
    };
    let target = request.path.unwrap_or("/");
    let target = target.split('#').next().unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let connection = value("connection").unwrap_or(b"");
    let asks_for = |token: &str| {
        let mut tokens = connection.split(|&byte| byte == b',');
        tokens.any(|found| found.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    let keep_alive = match request.version {
        Some(1) => !asks_for("close"),
        _ => asks_for("keep-alive"),
    };
    let from_a_page = value("ringbolt-admin").is_none()
        || value("origin").is_some()
        || value("sec-fetch-site").is_some_and(|site| site != b"none");
    Parsed::Request { method, path, query, keep_alive, head_bytes, host, from_a_page }
}

pub(super) fn response(
    (status, content_type, body): &(u16, &str, String),
    method: Method,
    keep_alive: bool,
) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    };
    let allow = if *status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let length = body.len();
    let mut response = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         {allow}Connection: {connection}\r\n\r\n"
    )
    .into_bytes();
    if method != Method::Head {
        response.extend_from_slice(body.as_bytes());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_from_any_split() {
        let request = b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nrest";
        let head_bytes = request.len() - 4;
        for cut in 0..head_bytes {
            assert_eq!(parse(&request[..cut]), Parsed::Incomplete, "{cut}");
        }
        let (path, query, host) = ("/metrics".to_owned(), "x=1".to_owned(), Some(b"a".to_vec()));
        let (method, keep_alive, from_a_page) = (Method::Get, false, true);
        let whole = Parsed::Request { method, path, query, keep_alive, head_bytes, host, from_a_page };
        assert_eq!(parse(request), whole);
    }

    #[test]
    fn a_connection_is_kept_as_its_version_and_header_ask() {
        for (line, kept) in [
            ("HTTP/1.1\r\n", true),
            ("HTTP/1.1\r\nConnection: Keep-Alive, Close\r\n", false),
            ("HTTP/1.0\r\n", false),
            ("HTTP/1.0\r\nconnection: keep-alive\r\n", true),
        ] {
            let parsed = parse(format!("GET / {line}\r\n").as_bytes());
            assert!(matches!(parsed, Parsed::Request { keep_alive, .. } if keep_alive == kept), "{line}");
        }
    }

    #[test]
    fn the_answer_to_head_has_no_body_but_its_length() {
        let answer = (200, "text/plain", "ok\n".to_owned());
        let text = String::from_utf8(response(&answer, Method::Head, true)).expect("ASCII");
        assert!(text.contains("Content-Length: 3\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    }

    #[test]
    fn garbage_bodies_and_endless_heads_are_refused() {
        assert_eq!(parse(b"\x16\x03\x01\x02\x00"), Parsed::Bad(400));
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n"), Parsed::Bad(400));
        assert_eq!(parse(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"), Parsed::Bad(413));
        let mut endless = b"GET / HTTP/1.1\r\nX: ".to_vec();
        endless.resize(HEAD_BYTES_MAX, b'x');
        assert_eq!(parse(&endless), Parsed::Bad(431));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(parse(many.as_bytes()), Parsed::Bad(431));
    }
}
