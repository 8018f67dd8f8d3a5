//! A small HTTP client for requests made inside the lab; it takes nothing for granted in the answer.

use std::io::{Read, Write};
use std::net::SocketAddr;

use crate::lab::Node;
use crate::lab::process::LIMIT;

/// The answer to a request.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// The body, chunks put together, still compressed if it was.
    pub body: Vec<u8>,
}

impl Response {
    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a GET request from `node` to `address`.
pub fn get(node: &Node, address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Response, String> {
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    let reply = raw(node, address, format!("{request}\r\n").as_bytes())?;
    parse(&reply).ok_or_else(|| format!("not an HTTP answer: {}", String::from_utf8_lossy(&reply)))
}

/// Sends any bytes and returns all that comes back before the server closes.
pub fn raw(node: &Node, address: SocketAddr, request: &[u8]) -> Result<Vec<u8>, String> {
    let failed = |e: std::io::Error| format!("no answer from {address}: {e}");
    let mut stream = node.tcp_connect(address).map_err(failed)?;
    stream.set_read_timeout(Some(LIMIT)).map_err(failed)?;
    stream.write_all(request).map_err(failed)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).map_err(failed)?;
    Ok(reply)
}

/// Takes an answer apart; `None` when it is cut short or not HTTP/1.
pub fn parse(reply: &[u8]) -> Option<Response> {
    let end = reply.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&reply[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let headers: Option<Vec<_>> = lines.map(|line| line.split_once(':')).collect();
    let headers = headers?.into_iter().map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned())).collect();
    let mut response = Response { status, headers, body: reply[end + 4..].to_vec() };
    if response.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        response.body = chunks(&response.body)?;
    } else if let Some(length) = response.header("content-length") {
        // More or fewer bytes than announced is the server's fault.
        (length.parse() == Ok(response.body.len())).then_some(())?;
    }
    Some(response)
}

fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.trim(), 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
