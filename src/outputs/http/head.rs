//! Request heads: bytes to values (RFC 9112 for the syntax, RFC 9110 for what the headers mean).
//!
//! One whole head enters, a [`Head`] or the [`Reject`] to answer with leaves. Only requests without a body are
//! let through, so where the next request starts is never in doubt. No I/O and no clock: this is a fuzz target.

#![deny(clippy::indexing_slicing)]

use std::borrow::Cow;

use tiny_http::{HTTPVersion, Header, Method};

/// The longest head that is read, in bytes, from the method to the empty line.
pub const MAX_HEAD: usize = 8 << 10;

/// The longest request target, in bytes as sent.
pub const MAX_TARGET: usize = 4 << 10;

/// The most header lines a head may have; each costs two small allocations while the request is handled.
pub const MAX_HEADERS: usize = 64;

/// A request that will be answered.
#[derive(Debug, Clone)]
pub struct Head {
    /// `Get` or `Head`: the others are rejected.
    pub method: Method,
    /// The path with its percent-encoding undone: starts with `/`, has no NUL.
    pub path: String,
    /// What follows the `?`.
    pub query: Query,
    /// 1.0 or 1.1; a later 1.x counts as 1.1.
    pub version: HTTPVersion,
    /// Whether the client lets the connection stay open.
    pub keep_alive: bool,
    headers: Vec<Header>,
}

/// Why a request is refused, and with which status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject {
    /// HTTP status code, 400 to 505.
    pub status: u16,
    /// What is wrong, for the person who sent it.
    pub why: &'static str,
}

/// The query of a request: `key=value` pairs joined by `&`, form-encoded as browsers and Prometheus send it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Every pair of it decodes: [`Query::parse`] has seen to it.
    raw: String,
}

impl Head {
    /// The values of all header lines of this name, in the order sent; letter case does not matter.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |header| header.field.as_str().as_str().eq_ignore_ascii_case(name))
            .map(|header| header.value.as_str())
    }
}

impl Query {
    /// Checks that every pair decodes to UTF-8 without NUL.
    pub fn parse(raw: &str) -> Result<Query, Reject> {
        for (key, value) in split(raw) {
            decode(key, true)?;
            decode(value, true)?;
        }
        Ok(Query { raw: raw.to_owned() })
    }

    /// The decoded pairs in the order sent; a key without `=` has an empty value.
    pub fn pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        split(&self.raw)
            .map(|(key, value)| (decode(key, true).unwrap_or_default(), decode(value, true).unwrap_or_default()))
    }

    /// The values of every pair with this key, in the order sent.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
        self.pairs().filter(move |(name, _)| name == key).map(|(_, value)| value)
    }

    /// The first value of this key.
    pub fn get(&self, key: &str) -> Option<Cow<'_, str>> {
        self.pairs().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

/// Where the first head in `buf` ends: the offset after its empty line, or `None` if that has not come yet.
///
/// `seen` bytes at the start are known to hold no end, so that a slow sender does not cost a scan from the start
/// for every byte. `buf` must not start with an empty line.
pub fn head_end(buf: &[u8], seen: usize) -> Option<usize> {
    // An end may straddle the border: "\n\r" seen, "\n" new.
    let from = seen.saturating_sub(2);
    let tail = buf.get(from..)?;
    tail.iter().enumerate().filter(|(_, byte)| **byte == b'\n').find_map(|(at, _)| match tail.get(at + 1..) {
        Some([b'\n', ..]) => Some(from + at + 2),
        Some([b'\r', b'\n', ..]) => Some(from + at + 3),
        _ => None,
    })
}

/// Whether `byte` may stand in a method or header name (`tchar`, RFC 9110 section 5.6.2).
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Reads one head, from the method up to its empty line. Lines may end in LF alone (RFC 9112 section 2.2).
pub fn parse_head(bytes: &[u8]) -> Result<Head, Reject> {
    if bytes.len() > MAX_HEAD {
        return Err(reject(431, "the request head is longer than 8 KiB"));
    }
    if bytes.contains(&0) {
        return Err(reject(400, "the request holds a NUL byte"));
    }
    let mut lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let line = lines.find(|line| !line.is_empty()).ok_or(reject(400, "the request is empty"))?;
    let (method, target, version) = request_line(line)?;
    let headers = header_lines(lines)?;

    if target.len() > MAX_TARGET {
        return Err(reject(414, "the request target is longer than 4 KiB"));
    }
    let method = match method.parse() {
        Ok(method @ (Method::Get | Method::Head)) => method,
        Ok(Method::NonStandard(_)) | Err(()) => return Err(reject(501, "this method is not known")),
        Ok(_) => return Err(reject(405, "only GET and HEAD are answered")),
    };
    let mut head = Head { method, path: String::new(), query: Query::default(), version, keep_alive: false, headers };
    check_host(&head)?;
    check_no_body(&head)?;
    if head.version >= (1, 1) && head.headers("Expect").any(|value| !value.eq_ignore_ascii_case("100-continue")) {
        return Err(reject(417, "this expectation is not known"));
    }
    head.keep_alive = keep_alive(&head);
    let (path, query) = split_target(target)?;
    head.path = decode(path, false)?.into_owned();
    head.query = Query::parse(query)?;
    Ok(head)
}

fn reject(status: u16, why: &'static str) -> Reject {
    Reject { status, why }
}

/// Method, target and version; the target is visible ASCII, the version 1.0 or 1.1.
fn request_line(line: &[u8]) -> Result<(&str, &str, HTTPVersion), Reject> {
    const SHAPE: Reject = Reject { status: 400, why: "the request line is not `METHOD TARGET HTTP/1.1`" };
    let line = std::str::from_utf8(line).map_err(|_| SHAPE)?;
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SHAPE);
    };
    let method_is_token = !method.is_empty() && method.bytes().all(is_token_byte);
    let target_is_visible = !target.is_empty() && target.bytes().all(|byte| matches!(byte, 0x21..=0x7e));
    if !method_is_token || !target_is_visible {
        return Err(SHAPE);
    }
    match version.strip_prefix("HTTP/").map(str::as_bytes) {
        Some([b'1', b'.', b'0']) => Ok((method, target, HTTPVersion(1, 0))),
        Some([b'1', b'.', b'1'..=b'9']) => Ok((method, target, HTTPVersion(1, 1))),
        Some([b'0'..=b'9', b'.', b'0'..=b'9']) => Err(reject(505, "only HTTP/1.0 and HTTP/1.1 are spoken")),
        _ => Err(SHAPE),
    }
}

/// The header lines up to the empty line or the end of the bytes.
fn header_lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Header>, Reject> {
    let mut headers = Vec::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        if headers.len() == MAX_HEADERS {
            return Err(reject(431, "the request has more than 64 header lines"));
        }
        if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            return Err(reject(400, "a header is folded over two lines"));
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(reject(400, "a header has no colon"))?;
        let (name, value) = line.split_at_checked(colon).ok_or(reject(400, "a header has no colon"))?;
        if name.is_empty() || !name.iter().copied().all(is_token_byte) {
            return Err(reject(400, "a header name holds a byte that is not allowed, or a space before its colon"));
        }
        let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
        if value.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)) {
            return Err(reject(400, "a header value holds a control character"));
        }
        // Bytes above 127 have no agreed meaning here (RFC 9110 section 5.5); a cookie of another site on this
        // host may hold some, and none of the headers that are looked at.
        let value: Vec<u8> = value.iter().map(|byte| if byte.is_ascii() { *byte } else { b'?' }).collect();
        let header = Header::from_bytes(name, value).map_err(|()| reject(400, "a header is not ASCII"))?;
        headers.push(header);
    }
    Ok(headers)
}

/// HTTP/1.1 wants exactly one Host; no version takes two (RFC 9112 section 3.2).
fn check_host(head: &Head) -> Result<(), Reject> {
    let mut hosts = head.headers("Host");
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(reject(400, "the request has more than one Host"));
    }
    match host {
        None if head.version >= (1, 1) => Err(reject(400, "the request has no Host")),
        Some(host) if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~[]:%".contains(&byte)) => {
            Err(reject(400, "the Host is not a host name or address"))
        }
        _ => Ok(()),
    }
}

/// Lets only requests without a body pass (RFC 9112 section 6).
fn check_no_body(head: &Head) -> Result<(), Reject> {
    let mut lengths = head.headers("Content-Length");
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(reject(400, "the request has more than one Content-Length"));
    }
    if head.headers("Transfer-Encoding").next().is_some() {
        return Err(if length.is_some() || head.version < (1, 1) {
            reject(400, "Transfer-Encoding contradicts the Content-Length or the version")
        } else {
            reject(501, "no transfer coding is known")
        });
    }
    match length {
        None => Ok(()),
        Some(length) if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(reject(400, "the Content-Length is not a number"))
        }
        Some(length) if length.bytes().all(|byte| byte == b'0') => Ok(()),
        Some(_) => Err(reject(413, "a request here has no body")),
    }
}

/// What version and Connection header say about keeping the connection (RFC 9112 section 9.3).
fn keep_alive(head: &Head) -> bool {
    let has = |option: &str| {
        head.headers("Connection")
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case(option))
    };
    !has("close") && (head.version >= (1, 1) || has("keep-alive"))
}

/// Path and query of a target in origin form (`/path?query`) or absolute form (`http://host/path?query`).
fn split_target(target: &str) -> Result<(&str, &str), Reject> {
    const SHAPE: Reject = Reject { status: 400, why: "the request target is neither a path nor an http URL" };
    if target.contains('#') {
        return Err(reject(400, "the request target holds a `#`"));
    }
    let local = if target.starts_with('/') {
        target
    } else {
        let (scheme, rest) = target.split_once("://").ok_or(SHAPE)?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(SHAPE);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, local) = rest.split_at_checked(end).ok_or(SHAPE)?;
        if host.is_empty() || host.contains('@') {
            return Err(SHAPE);
        }
        local
    };
    let (path, query) = local.split_once('?').unwrap_or((local, ""));
    Ok((if path.is_empty() { "/" } else { path }, query))
}

/// The undecoded pairs of a query; empty pieces (`a=1&&b=2`) are left out.
fn split(raw: &str) -> impl Iterator<Item = (&str, &str)> {
    raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Undoes percent-encoding; with `form`, `+` is a space as in HTML forms.
fn decode(text: &str, form: bool) -> Result<Cow<'_, str>, Reject> {
    const BROKEN: Reject = Reject { status: 400, why: "the request target has a broken percent-encoding" };
    if !text.bytes().any(|byte| byte == b'%' || (form && byte == b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let high = bytes.next().and_then(hex).ok_or(BROKEN)?;
                let low = bytes.next().and_then(hex).ok_or(BROKEN)?;
                match high << 4 | low {
                    0 => return Err(reject(400, "the request target encodes a NUL")),
                    byte => byte,
                }
            }
            b'+' if form => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| reject(400, "the request target does not decode to UTF-8"))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<Head, Reject> {
        parse_head(head.as_bytes())
    }

    fn status(head: &str) -> u16 {
        parse(head).unwrap_err().status
    }

    /// The status of a GET of `/` with these further header lines.
    fn status_with(headers: &str) -> u16 {
        status(&format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n"))
    }

    #[test]
    fn a_scrape_of_prometheus_is_read() {
        let head = parse(
            "GET /metrics?collect%5B%5D=traffic&collect[]=probe HTTP/1.1\r\nHost: router:9999\r\n\
             User-Agent: Prometheus/2.42.0\r\nAccept: text/plain\r\naccept-encoding: gzip\r\n\r\n",
        )
        .unwrap();
        assert_eq!((head.method.as_str(), head.path.as_str()), ("GET", "/metrics"));
        assert_eq!(head.query.values("collect[]").collect::<Vec<_>>(), ["traffic", "probe"]);
        assert_eq!(head.headers("Accept-Encoding").collect::<Vec<_>>(), ["gzip"]);
        assert!(head.keep_alive);
    }

    #[test]
    fn path_and_query_are_decoded_each_in_its_own_way() {
        let head = parse("GET /a%20b+c?x=%C3%A9+1&flag&&y=a=b HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(head.path, "/a b+c");
        let pairs: Vec<_> = head.query.pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
        assert_eq!(pairs, [("x".into(), "é 1".into()), ("flag".into(), String::new()), ("y".into(), "a=b".into())]);
    }

    #[test]
    fn http_1_0_needs_no_host_and_closes_unless_asked() {
        assert!(!parse("GET / HTTP/1.0\r\n\r\n").unwrap().keep_alive);
        assert!(parse("GET / HTTP/1.0\r\nConnection: foo, Keep-Alive\r\n\r\n").unwrap().keep_alive);
        assert!(!parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n").unwrap().keep_alive);
    }

    #[test]
    fn an_absolute_target_is_reduced_to_its_path() {
        let path = |target| parse(&format!("GET {target} HTTP/1.1\nHost: a\n\n")).map(|head| head.path);
        assert_eq!(path("http://router:9999/metrics?x=1"), Ok("/metrics".into()));
        assert_eq!(path("HTTP://router"), Ok("/".into()));
        assert_eq!(path("http://router?x=1"), Ok("/".into()));
        assert_eq!(path("http:///metrics").unwrap_err().status, 400);
        assert_eq!(path("http://user@router/").unwrap_err().status, 400);
        assert_eq!(path("ftp://router/").unwrap_err().status, 400);
        assert_eq!(path("*").unwrap_err().status, 400);
        assert_eq!(path("metrics").unwrap_err().status, 400);
        assert_eq!(path("/a#b").unwrap_err().status, 400);
    }

    #[test]
    fn known_methods_are_not_allowed_and_others_not_implemented() {
        assert_eq!(status("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"), 405);
        assert_eq!(status("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
        assert_eq!(status("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
        assert_eq!(status("BREW / HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
        assert_eq!(status("get / HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
    }

    #[test]
    fn a_broken_request_line_is_a_bad_request() {
        for line in [
            "",
            "GET",
            "GET /",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET / http/1.1",
            "GET / HTTP/1",
            "GET / HTTP/1.x",
            "GET / HTTP/11.1",
            "G@T / HTTP/1.1",
            "GET /é HTTP/1.1",
            "GET /\t HTTP/1.1",
            "GET / HTTP/1.1\r",
        ] {
            assert_eq!(status(&format!("{line}\r\nHost: a\r\n\r\n")), 400, "{line:?}");
        }
        assert_eq!(status("GET / HTTP/0.9\r\n\r\n"), 505);
        assert_eq!(status("PRI * HTTP/2.0\r\n\r\n"), 505);
    }

    #[test]
    fn broken_encodings_are_bad_requests() {
        for target in ["/%", "/%4", "/%zz", "/%+1", "/%ff", "/%00", "/?a=%", "/?%ff=1", "/?a=%00", "/?a=1&b=%2"] {
            assert_eq!(status(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")), 400, "{target}");
        }
        assert_eq!(status("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    }

    #[test]
    fn malformed_headers_are_bad_requests() {
        for lines in [
            "nocolon",
            "Space : 1",
            " Fold: 1",
            "X: 1\r\n folded",
            "\tX: 1",
            ": empty",
            "B@d: 1",
            "X: a\rb",
            "X: a\x01b",
            "X: a\x7fb",
            "X: a\0b",
        ] {
            assert_eq!(status_with(lines), 400, "{lines:?}");
        }
    }

    #[test]
    fn bytes_above_ascii_in_a_value_are_tolerated() {
        let head = parse("GET / HTTP/1.1\r\nHost: a\r\nCookie: k=é\r\n\r\n").unwrap();
        assert_eq!(head.headers("cookie").collect::<Vec<_>>(), ["k=??"]);
    }

    #[test]
    fn host_is_wanted_once_and_must_be_a_host() {
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status_with("Host: b"), 400);
        assert_eq!(status("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400);
        assert!(parse("GET / HTTP/1.1\r\nHost: [fe80::1%25br-lan]:9999\r\n\r\n").is_ok());
        assert!(parse("GET / HTTP/1.1\r\nHost:\r\n\r\n").is_ok());
    }

    #[test]
    fn a_body_is_refused_and_a_contradiction_is_a_bad_request() {
        assert_eq!(status_with("Content-Length: 5"), 413);
        assert_eq!(status_with("Content-Length: 99999999999999999999999999"), 413);
        assert_eq!(status_with("Content-Length: 5\r\nExpect: 100-continue"), 413);
        for value in ["", "+5", "-1", "0x5", "5, 5", "5 5"] {
            assert_eq!(status_with(&format!("Content-Length: {value}")), 400, "{value:?}");
        }
        assert_eq!(status_with("Content-Length: 5\r\nContent-Length: 5"), 400);
        assert_eq!(status_with("Content-Length: 0\r\nContent-Length: 7"), 400);
        assert_eq!(status_with("Transfer-Encoding: chunked"), 501);
        assert_eq!(status_with("Transfer-Encoding: chunked\r\nContent-Length: 0"), 400);
        assert_eq!(status("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
        assert!(parse("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").is_ok());
    }

    #[test]
    fn an_expectation_without_a_body_is_met_at_once_and_an_unknown_one_fails() {
        assert!(parse("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n").is_ok());
        assert_eq!(status_with("Expect: miracles"), 417);
    }

    #[test]
    fn each_bound_has_its_status() {
        assert_eq!(status(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(MAX_TARGET))), 414);
        assert_eq!(status_with(&"X: 1\r\n".repeat(MAX_HEADERS)), 431);
        assert_eq!(status_with(&format!("X: {}", "a".repeat(MAX_HEAD))), 431);
    }

    #[test]
    fn the_end_of_a_head_is_found_wherever_the_reads_are_split() {
        for head in ["GET / HTTP/1.1\r\nHost: a\r\n\r\nGET", "GET / HTTP/1.1\nHost: a\n\nGET", "A\n\r\nGET"] {
            let end = head.len() - 3;
            for split in 0..head.len() {
                let before = head_end(head.as_bytes().split_at(split).0, 0);
                if split < end {
                    assert_eq!(before, None, "{head:?} at {split}");
                    assert_eq!(head_end(head.as_bytes(), split), Some(end), "{head:?} at {split}");
                } else {
                    assert_eq!(before, Some(end));
                }
            }
        }
    }
}
