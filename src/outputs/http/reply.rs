//! Replies: what a handler returns, and its bytes.
//!
//! The head is encoded by `tiny_http::Response`; the body is shared by all connections that send it and is never
//! copied. Its gzip form is made once.

use std::cell::OnceCell;
use std::io;
use std::ops::Deref;
use std::rc::Rc;
use std::time::UNIX_EPOCH;

use httpdate::HttpDate;
use smol::future::yield_now;
use smol::lock::Mutex;
use tiny_http::{HTTPVersion, Header, StatusCode};

use super::Reject;
use super::gzip::Gzip;
use crate::sys::clock;

/// Bodies shorter than this, in bytes, fit in one packet anyway and are not compressed.
const MIN_GZIP: usize = 1024;

/// How much is compressed before other tasks get their turn, in bytes: about a millisecond on a slow router.
const GZIP_STEP: usize = 8 << 10;

/// The answer to one request.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP status code, 200 to 599.
    pub status: u16,
    /// The value of Content-Type.
    pub content_type: &'static str,
    /// What is sent to a GET, and measured for a HEAD.
    pub body: Body,
    /// Further header lines; one that holds a control character is left out.
    pub headers: Vec<(&'static str, String)>,
    /// The value of the label `path` this request is counted under; from a fixed set.
    pub label: &'static str,
    /// Whether the form of the page depends on Accept and Accept-Encoding: it is compressed if the client wants.
    pub negotiated: bool,
}

impl Reply {
    /// A negotiated page, counted under `label`.
    pub fn page(label: &'static str, content_type: &'static str, body: impl Into<Body>) -> Reply {
        Reply { status: 200, content_type, body: body.into(), headers: Vec::new(), label, negotiated: true }
    }

    /// A line for people, not negotiated, counted under "other".
    pub fn text(status: u16, text: impl Into<String>) -> Reply {
        let body = Body::from(text.into());
        let content_type = "text/plain; charset=utf-8";
        Reply { status, content_type, body, headers: Vec::new(), label: "other", negotiated: false }
    }

    /// The same, counted under `label`.
    #[must_use]
    pub fn labelled(mut self, label: &'static str) -> Reply {
        self.label = label;
        self
    }

    /// The same with one more header line.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }
}

impl From<Reject> for Reply {
    fn from(reject: Reject) -> Reply {
        let reply = Reply::text(reject.status, format!("{}\n", reject.why));
        if reject.status == 405 { reply.header("Allow", "GET, HEAD") } else { reply }
    }
}

/// A body that connections share; cloning it costs a counter. Dereferences to its bytes.
#[derive(Debug, Clone)]
pub struct Body(Rc<Forms>);

#[derive(Debug)]
struct Forms {
    plain: Vec<u8>,
    gzip: OnceCell<Vec<u8>>,
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.plain
    }
}

impl From<Vec<u8>> for Body {
    fn from(plain: Vec<u8>) -> Body {
        Body(Rc::new(Forms { plain, gzip: OnceCell::new() }))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        text.into_bytes().into()
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Body {
        text.as_bytes().to_vec().into()
    }
}

impl Body {
    /// Makes the gzip form unless it is there. `turn` lets one task at a time hold a compressor, which takes a few
    /// hundred kilobytes.
    async fn compress(&self, turn: &Mutex<()>) -> io::Result<()> {
        if self.0.gzip.get().is_some() {
            return Ok(());
        }
        let _turn = turn.lock().await;
        if self.0.gzip.get().is_some() {
            return Ok(());
        }
        let mut gzip = Gzip::new(self.len() / 8);
        for step in self.chunks(GZIP_STEP) {
            gzip.add(step)?;
            yield_now().await;
        }
        let packed = gzip.finish()?;
        self.0.gzip.get_or_init(|| packed);
        Ok(())
    }
}

/// A reply as it goes over the wire.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) head: Vec<u8>,
    body: Body,
    form: Form,
}

/// Which form of the body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    None,
    Plain,
    Gzip,
}

/// What the request says about the form of its reply.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) version: HTTPVersion,
    pub(super) head_only: bool,
    pub(super) gzip: bool,
    pub(super) keep_alive: bool,
}

impl Encoded {
    /// Encodes `reply` as `wish` says.
    pub(super) async fn new(reply: Reply, wish: &Wish, turn: &Mutex<()>) -> Encoded {
        let mut form = Form::Plain;
        if reply.negotiated && wish.gzip && reply.body.len() >= MIN_GZIP && reply.body.compress(turn).await.is_ok() {
            form = Form::Gzip;
        }
        Encoded::with_form(reply, wish, form)
    }

    /// Encodes `reply` without compression.
    pub(super) fn plain(reply: Reply, wish: &Wish) -> Encoded {
        Encoded::with_form(reply, wish, Form::Plain)
    }

    fn with_form(reply: Reply, wish: &Wish, form: Form) -> Encoded {
        let mut encoded = Encoded { head: Vec::new(), body: reply.body.clone(), form };
        encoded.head = print_head(&reply, wish, form, encoded.body().len());
        if wish.head_only {
            encoded.form = Form::None;
        }
        encoded
    }

    /// The bytes that follow the head.
    pub(super) fn body(&self) -> &[u8] {
        match self.form {
            Form::None => &[],
            Form::Plain => &self.body,
            Form::Gzip => self.body.0.gzip.get().map_or(&[], Vec::as_slice),
        }
    }
}

/// Prints the status line and the headers, up to and with the empty line.
fn print_head(reply: &Reply, wish: &Wish, form: Form, len: usize) -> Vec<u8> {
    const SERVER: &str = concat!("gatemeter/", env!("CARGO_PKG_VERSION"));
    // Without one tiny_http asks the standard library for the time, which is not always to be had: see `sys::clock`.
    let date = HttpDate::from(UNIX_EPOCH + clock::realtime()).to_string();
    let mut lines = vec![
        ("Date", date.as_str()),
        ("Server", SERVER),
        ("Content-Type", reply.content_type),
        // Text stays text, also where it repeats what was asked, and pages of other sites get no part of it.
        ("X-Content-Type-Options", "nosniff"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ];
    if reply.negotiated {
        lines.push(("Vary", "Accept, Accept-Encoding"));
    }
    if form == Form::Gzip {
        lines.push(("Content-Encoding", "gzip"));
    }
    lines.extend(reply.headers.iter().map(|(name, value)| (*name, value.as_str())));
    let headers = lines
        .into_iter()
        .filter(|(_, value)| !value.bytes().any(|byte| byte.is_ascii_control()))
        .filter_map(|(name, value)| Header::from_bytes(name, value).ok())
        .collect();

    let mut head = Vec::with_capacity(400);
    let response = tiny_http::Response::new(StatusCode(reply.status), headers, io::empty(), Some(len), None)
        // Never chunked: the length is known, and HTTP/1.0 could not read it.
        .with_chunked_threshold(usize::MAX);
    // The body is written by the connection; a `Vec` takes all it is given.
    let printed = response.raw_print(&mut head, wish.version.clone(), &[], true, None);
    debug_assert!(printed.is_ok(), "writing to memory does not fail");

    // tiny_http sets Connection itself and takes none from outside, so the line goes in before the empty line.
    let connection = match (wish.keep_alive, wish.version >= (1, 1)) {
        (true, true) => "",
        (true, false) => "Connection: keep-alive\r\n",
        (false, _) => "Connection: close\r\n",
    };
    head.truncate(head.len().saturating_sub(2));
    head.extend_from_slice(connection.as_bytes());
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    const GET: Wish = Wish { version: HTTPVersion(1, 1), head_only: false, gzip: false, keep_alive: true };

    fn encode(reply: Reply, wish: &Wish) -> (String, Vec<u8>) {
        let encoded = smol::block_on(Encoded::new(reply, wish, &Mutex::new(())));
        (String::from_utf8(encoded.head.clone()).unwrap(), encoded.body().to_vec())
    }

    fn page() -> Reply {
        Reply::page("/metrics", "text/plain", "metric 1\n".repeat(10_000))
    }

    #[test]
    fn the_head_says_who_serves_what_and_how_long_it_is() {
        let (head, body) = encode(Reply::page("/", "text/html", "<p>"), &GET);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains(concat!("\r\nServer: gatemeter/", env!("CARGO_PKG_VERSION"), "\r\n")), "{head}");
        assert!(head.contains("\r\nContent-Type: text/html\r\n"), "{head}");
        assert!(head.contains("\r\nVary: Accept, Accept-Encoding\r\n"), "{head}");
        assert!(head.ends_with("\r\nContent-Length: 3\r\n\r\n"), "{head}");
        assert!(!head.contains("Connection") && !head.contains("Encoding: "), "{head}");
        assert_eq!(body, b"<p>");
    }

    #[test]
    fn the_connection_header_follows_version_and_wish() {
        let wish = |minor, keep_alive| Wish { version: HTTPVersion(1, minor), keep_alive, ..GET };
        let head = |wish| encode(Reply::text(404, "no\n"), &wish).0;
        assert!(head(wish(1, false)).ends_with("\r\nConnection: close\r\n\r\n"));
        assert!(head(wish(0, false)).ends_with("\r\nConnection: close\r\n\r\n"));
        assert!(head(wish(0, true)).starts_with("HTTP/1.0 404 Not Found\r\n"));
        assert!(head(wish(0, true)).ends_with("\r\nConnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn gzip_is_made_once_and_decodes_to_the_page() {
        let reply = page();
        let wish = Wish { gzip: true, ..GET };
        let (head, body) = encode(reply.clone(), &wish);
        assert!(head.contains("\r\nContent-Encoding: gzip\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        let mut plain = Vec::new();
        GzDecoder::new(body.as_slice()).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, &reply.body[..]);
        let first = reply.body.0.gzip.get().unwrap().as_ptr();
        encode(reply.clone(), &wish);
        assert_eq!(reply.body.0.gzip.get().unwrap().as_ptr(), first);
    }

    #[test]
    fn a_short_page_and_one_that_is_not_negotiated_stay_plain() {
        let wish = Wish { gzip: true, ..GET };
        assert!(!encode(Reply::page("/", "text/plain", "short"), &wish).0.contains("gzip"));
        assert!(!encode(Reply::text(200, "x".repeat(5000)), &wish).0.contains("gzip"));
    }

    #[test]
    fn head_gets_the_headers_of_get_and_no_body() {
        for gzip in [false, true] {
            let (get, body) = encode(page(), &Wish { gzip, ..GET });
            let (head, nothing) = encode(page(), &Wish { gzip, head_only: true, ..GET });
            let without_date = |head: &str| head.lines().filter(|line| !line.starts_with("Date")).collect::<String>();
            assert_eq!(without_date(&head), without_date(&get));
            assert!(nothing.is_empty() && !body.is_empty());
        }
    }

    #[test]
    fn a_header_value_cannot_start_a_new_line() {
        let (head, _) = encode(Reply::text(200, "").header("X-A", "1\r\nX-B: 2").header("X-C", "3"), &GET);
        assert!(!head.contains("X-A") && !head.contains("X-B"), "{head}");
        assert!(head.contains("\r\nX-C: 3\r\n"), "{head}");
    }

    #[test]
    fn a_method_that_is_not_allowed_names_those_that_are() {
        let (head, body) = encode(Reject { status: 405, why: "only GET and HEAD are answered" }.into(), &GET);
        assert!(head.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{head}");
        assert!(head.contains("\r\nAllow: GET, HEAD\r\n"), "{head}");
        assert_eq!(body, b"only GET and HEAD are answered\n");
    }
}
