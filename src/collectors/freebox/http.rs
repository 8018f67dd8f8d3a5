//! HTTP/1.1 answers on the wire (RFC 9112): bytes enter as they arrive, a status and a body leave.
//!
//! No more is read than a REST service needs: the status, where the body ends, and whether the connection stays.
//! Head and body are bounded, since whatever took the box's address may answer.

#![deny(clippy::indexing_slicing)]

use crate::error::Malformed;

/// Longest head of an answer, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// Longest body of an answer, in bytes: a LAN of 600 hosts takes that.
pub const MAX_BODY: usize = 1 << 20;

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, chunks joined.
    pub body: Vec<u8>,
    /// Whether another request may be sent over the same connection.
    pub stays: bool,
}

/// Puts an answer together.
#[derive(Debug, Default)]
pub struct Reader {
    head: Vec<u8>,
    status: u16,
    stays: bool,
    state: State,
    body: Vec<u8>,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Head,
    /// So many bytes of body are left.
    Length(usize),
    /// The body ends with the connection.
    UntilEnd,
    /// The line with the size of a chunk; it is kept in `head`.
    ChunkSize,
    /// So many bytes of the chunk are left, its line end included.
    Chunk(usize),
    /// Lines behind the last chunk; the last of them is empty.
    Trailer,
    Done,
}

impl Reader {
    /// Whether no byte has arrived.
    pub fn is_untouched(&self) -> bool {
        self.head.is_empty() && self.state == State::Head
    }

    /// Takes bytes in; true once the answer is whole, and what is behind it is ignored.
    ///
    /// # Errors
    /// They are not an answer, or one beyond the bounds.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<bool, Malformed> {
        while let (Some((first, rest)), false) = (bytes.split_first(), self.state == State::Done) {
            match self.state {
                State::Length(left) => {
                    let used = self.take(bytes, left)?;
                    self.state = if used == left { State::Done } else { State::Length(left - used) };
                    bytes = bytes.get(used..).unwrap_or(&[]);
                    continue;
                }
                State::UntilEnd => {
                    self.take(bytes, bytes.len())?;
                    return Ok(false);
                }
                State::Chunk(left) => {
                    // The last two bytes are the line end.
                    let used = if left > 2 { self.take(bytes, left - 2)? } else { 1 };
                    self.state = if used == left { State::ChunkSize } else { State::Chunk(left - used) };
                    bytes = bytes.get(used..).unwrap_or(&[]);
                    continue;
                }
                State::Head => {
                    self.push_head(*first)?;
                    if self.head.ends_with(b"\r\n\r\n") || self.head.ends_with(b"\n\n") {
                        self.read_head()?;
                    }
                }
                State::ChunkSize => {
                    self.push_head(*first)?;
                    if *first == b'\n' {
                        self.read_chunk_size()?;
                    }
                }
                State::Trailer => {
                    self.push_head(*first)?;
                    match (*first, self.head.trim_ascii().is_empty()) {
                        (b'\n', true) => self.state = State::Done,
                        (b'\n', false) => self.head.clear(),
                        _ => {}
                    }
                }
                State::Done => {}
            }
            bytes = rest;
        }
        Ok(self.state == State::Done)
    }

    /// The answer, once the connection has ended or [`Reader::push`] has said that it is whole.
    ///
    /// # Errors
    /// The connection has ended too early.
    pub fn finish(self) -> Result<Answer, Malformed> {
        match self.state {
            State::Done => Ok(Answer { status: self.status, body: self.body, stays: self.stays }),
            State::UntilEnd => Ok(Answer { status: self.status, body: self.body, stays: false }),
            State::Head => Err(cut("answer head", self.head.len(), 1)),
            State::Length(left) | State::Chunk(left) => Err(cut("answer body", self.body.len(), left)),
            State::ChunkSize | State::Trailer => Err(cut("answer chunk", self.body.len(), 1)),
        }
    }

    fn push_head(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.head.len() >= MAX_HEAD {
            return Err(wrong("length of the answer's head", MAX_HEAD));
        }
        self.head.push(byte);
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], most: usize) -> Result<usize, Malformed> {
        let bytes = bytes.get(..most).unwrap_or(bytes);
        if self.body.len() + bytes.len() > MAX_BODY {
            return Err(wrong("length of the answer", MAX_BODY));
        }
        self.body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn read_head(&mut self) -> Result<(), Malformed> {
        let head = std::mem::take(&mut self.head);
        let head = String::from_utf8_lossy(&head);
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split_ascii_whitespace();
        let version = words.next().unwrap_or_default();
        let minor = version.strip_prefix("HTTP/1.").ok_or(wrong("HTTP version", 0))?;
        let status = words.next().filter(|word| word.len() == 3).and_then(|word| word.parse::<u16>().ok());
        self.status = status.ok_or(wrong("status code", version.len()))?;
        self.stays = minor != "0";
        let (mut length, mut chunked) = (None, false);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.parse::<usize>().map_err(|_| wrong("Content-Length", 0))?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.to_ascii_lowercase().ends_with("chunked");
            } else if name.eq_ignore_ascii_case("connection") {
                self.stays = match value.to_ascii_lowercase().as_str() {
                    "close" => false,
                    "keep-alive" => true,
                    _ => self.stays,
                };
            }
        }
        self.state = match (self.status, length) {
            // One that says nothing yet is followed by the answer.
            (100..=199, _) => State::Head,
            (204 | 304, _) => State::Done,
            _ if chunked => State::ChunkSize,
            (_, Some(0)) => State::Done,
            (_, Some(length)) if length > MAX_BODY => return Err(wrong("length of the answer", MAX_BODY)),
            (_, Some(length)) => State::Length(length),
            (_, None) => State::UntilEnd,
        };
        Ok(())
    }

    fn read_chunk_size(&mut self) -> Result<(), Malformed> {
        let line = std::mem::take(&mut self.head);
        let line = String::from_utf8_lossy(&line);
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| wrong("chunk size", self.body.len()))?;
        self.state = match size {
            0 => State::Trailer,
            size if size > MAX_BODY => return Err(wrong("length of the answer", MAX_BODY)),
            size => State::Chunk(size + 2),
        };
        Ok(())
    }
}

fn wrong(what: &'static str, offset: usize) -> Malformed {
    Malformed::Value { what, offset }
}

fn cut(what: &'static str, offset: usize, needed: usize) -> Malformed {
    Malformed::Truncated { what, offset, needed, got: offset }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an answer byte by byte and as a whole, which must be the same.
    fn read(bytes: &[u8]) -> Result<Answer, Malformed> {
        let whole = read_in(bytes, bytes.len().max(1));
        assert_eq!(read_in(bytes, 1), whole);
        whole
    }

    fn read_in(bytes: &[u8], pieces: usize) -> Result<Answer, Malformed> {
        let mut reader = Reader::default();
        for piece in bytes.chunks(pieces) {
            if reader.push(piece)? {
                break;
            }
        }
        reader.finish()
    }

    fn answer(status: u16, body: &str, stays: bool) -> Result<Answer, Malformed> {
        Ok(Answer { status, body: body.into(), stays })
    }

    #[test]
    fn a_body_ends_where_its_length_says() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 4\r\n\r\n{ } more";
        assert_eq!(read(bytes), answer(200, "{ } ", true));
        assert_eq!(read(b"HTTP/1.1 204 No Content\r\n\r\n"), answer(204, "", true));
        assert_eq!(read(b"HTTP/1.0 200 OK\nContent-Length: 1\n\nx"), answer(200, "x", false));
    }

    #[test]
    fn chunks_are_joined_and_their_extensions_and_trailers_skipped() {
        let bytes = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n00a\r\n0123456789\r\n0\r\nA: b\r\n\r\n";
        assert_eq!(read(bytes), answer(403, "abc0123456789", true));
    }

    #[test]
    fn without_a_length_the_body_ends_with_the_connection() {
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n\r\nabc"), answer(200, "abc", false));
    }

    #[test]
    fn an_answer_that_says_to_go_on_is_followed_by_another() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(read(bytes), answer(200, "ok", false));
    }

    #[test]
    fn what_ends_early_is_told_where() {
        for (bytes, what) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], "answer head"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "answer body"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", "answer body"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "answer chunk"),
            (b"", "answer head"),
        ] {
            let Err(Malformed::Truncated { what: got, .. }) = read(bytes) else { panic!("{what}") };
            assert_eq!(got, what);
        }
    }

    #[test]
    fn what_is_no_answer_or_too_long_is_refused() {
        for bytes in [
            b"SSH-2.0-dropbear\r\n\r\n".to_vec(),
            b"HTTP/1.1 2000 OK\r\n\r\n".to_vec(),
            b"HTTP/2 200\r\n\r\n".to_vec(),
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n".to_vec(),
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec(),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n".to_vec(),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n".to_vec(),
            [b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'x'; MAX_HEAD]].concat(),
            [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; MAX_BODY + 1]].concat(),
        ] {
            assert!(
                matches!(read(&bytes), Err(Malformed::Value { .. })),
                "{}",
                String::from_utf8_lossy(bytes.get(..40).unwrap_or(&bytes))
            );
        }
    }
}
