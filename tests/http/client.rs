//! A client that says exactly the bytes it is told, and reads replies strictly.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::wait::{LIMIT, poll};

pub struct Client {
    stream: BufReader<TcpStream>,
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub version: String,
    /// Lines as sent, without the status line.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is there twice");
        value
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    pub fn new(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&addr, LIMIT).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Sends bytes; whether the server still takes them is for the reply to tell.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.get_mut().write_all(bytes.as_ref());
    }

    /// Sends a GET as HTTP/1.1 with further header lines, and reads the reply.
    pub fn get(&mut self, target: &str, headers: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\n"));
        self.response().unwrap()
    }

    /// Reads the reply to a GET, or nothing if the connection ends before it.
    pub fn response(&mut self) -> Option<Response> {
        let mut response = self.head()?;
        let length = response.header("Content-Length").expect("Content-Length").parse().unwrap();
        response.body = vec![0; length];
        self.stream.read_exact(&mut response.body).ok()?;
        Some(response)
    }

    /// Reads the head of a reply only.
    pub fn head(&mut self) -> Option<Response> {
        let status_line = self.line()?;
        let (version, rest) = status_line.split_once(' ').unwrap();
        let status = rest.split(' ').next().unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(Response { status, version: version.to_owned(), headers, body: Vec::new() });
            }
            let (name, value) = line.split_once(": ").unwrap();
            headers.push((name.to_owned(), value.to_owned()));
        }
    }

    /// The connection ends here in good order: no byte, no reset.
    pub fn assert_closed(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// Waits until the server has reset the connection, without reading any of what it has sent.
    pub fn wait_for_reset(&self) {
        let error = poll(LIMIT, || self.socket().take_error().unwrap());
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::ConnectionReset));
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.stream.read_line(&mut line).ok()?;
        (count > 0).then(|| line.strip_suffix("\r\n").expect("a line that ends in CRLF").to_owned())
    }
}

/// A GET on a connection of its own.
pub fn get(addr: SocketAddr, target: &str) -> Response {
    let mut client = Client::new(addr);
    let response = client.get(target, "Connection: close\r\n");
    client.assert_closed();
    response
}
