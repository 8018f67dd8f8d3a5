//! The one error type: what was tried, on what, why it failed, and what to do about it.
//!
//! The reader is on a router over ssh, without the source at hand. [`Error::exit_code`] carries the contract
//! of the command line: 2 for a bad flag or configuration, 1 for anything else that stops the program.

use std::fmt;
use std::io;

/// A failure, told in one line to the user. One pointer, so that a `Result` costs those who only pass it on nothing.
#[derive(Debug)]
pub struct Error(Box<Story>);

/// What an [`Error`] tells.
#[derive(Debug)]
enum Story {
    /// A flag or a configuration option that cannot be used.
    Invalid {
        /// Where it was written: `-4`, `-o traffic.count`, or `/etc/config/gatemeter:12`.
        place: String,
        /// What is wrong with it and what was expected instead.
        problem: String,
    },
    /// Something the program tried and the system refused.
    Failed {
        /// What was tried and on what, as it reads after "cannot".
        tried: String,
        /// Why it failed.
        cause: Cause,
        /// What the user can do, if anything is known to help.
        remedy: Option<String>,
    },
}

/// The reason behind [`Story::Failed`].
#[derive(Debug)]
enum Cause {
    /// The operating system's answer.
    Io(io::Error),
    /// Bytes that could not be decoded.
    Codec(Malformed),
    /// Anything else, in words.
    Text(String),
}

/// Bytes that are not what their protocol says they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// The buffer ends before the field does.
    Truncated {
        /// The field that was read.
        what: &'static str,
        /// Where it starts, in bytes from the start of the buffer.
        offset: usize,
        /// How many bytes it takes.
        needed: usize,
        /// How many bytes the buffer holds in all.
        got: usize,
    },
    /// A field whose value is not allowed.
    Value {
        /// The field that was read.
        what: &'static str,
        /// Where it starts, in bytes from the start of the buffer.
        offset: usize,
    },
}

/// `Result` with our [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A flag or option that cannot be used; `place` says where it stands, `problem` what was expected.
    pub fn invalid(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self(Box::new(Story::Invalid { place: place.into(), problem: problem.into() }))
    }

    /// A refused system call; `tried` reads on from "cannot".
    pub fn io(tried: impl Into<String>, source: io::Error) -> Self {
        Self::new(tried.into(), Cause::Io(source))
    }

    /// A failure explained in words; `tried` reads on from "cannot".
    pub fn failed(tried: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(tried.into(), Cause::Text(why.into()))
    }

    /// Undecodable bytes; `tried` reads on from "cannot".
    pub fn codec(tried: impl Into<String>, source: Malformed) -> Self {
        Self::new(tried.into(), Cause::Codec(source))
    }

    fn new(tried: String, cause: Cause) -> Self {
        Self(Box::new(Story::Failed { tried, cause, remedy: None }))
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn remedy(mut self, text: impl Into<String>) -> Self {
        if let Story::Failed { remedy, .. } = &mut *self.0 {
            *remedy = Some(text.into());
        }
        self
    }

    /// Says what was tried, if whoever failed did not know and left that empty.
    #[must_use]
    pub fn trying(mut self, what: impl FnOnce() -> String) -> Self {
        if let Story::Failed { tried, .. } = &mut *self.0
            && tried.is_empty()
        {
            *tried = what();
        }
        self
    }

    /// The exit code this error ends the program with.
    pub fn exit_code(&self) -> u8 {
        match &*self.0 {
            Story::Invalid { .. } => 2,
            Story::Failed { .. } => 1,
        }
    }

    /// The operating system's error number, where it was the operating system that refused.
    pub fn os_error(&self) -> Option<i32> {
        match &*self.0 {
            Story::Failed { cause: Cause::Io(source), .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// The operating system's error kind, where it was the operating system that refused.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match &*self.0 {
            Story::Failed { cause: Cause::Io(source), .. } => Some(source.kind()),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Story::Invalid { place, problem } => write!(f, "{place}: {problem}"),
            Story::Failed { tried, cause, remedy } => {
                write!(f, "cannot {tried}: {cause}")?;
                match remedy {
                    Some(remedy) => write!(f, "; {remedy}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Io(source) => source.fmt(f),
            Cause::Codec(source) => source.fmt(f),
            Cause::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Truncated { what, offset, needed, got } => {
                write!(f, "{what} needs {needed} bytes at offset {offset}, the message has {got}")
            }
            Malformed::Value { what, offset } => write!(f, "{what} at offset {offset} has an impossible value"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Story::Failed { cause: Cause::Io(source), .. } => Some(source),
            _ => None,
        }
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_what_was_tried_why_it_failed_and_what_to_do() {
        let error = Error::io("open a packet socket on eth0", io::Error::from_raw_os_error(libc::EPERM))
            .remedy("run as root or grant CAP_NET_RAW");
        assert_eq!(
            error.to_string(),
            "cannot open a packet socket on eth0: Operation not permitted (os error 1); \
             run as root or grant CAP_NET_RAW"
        );
        assert_eq!(error.exit_code(), 1);
    }

    #[test]
    fn what_was_tried_is_filled_in_where_it_is_missing() {
        let cause = || io::Error::from_raw_os_error(libc::EPERM);
        let told = Error::io("", cause()).trying(|| "read /api of box".into());
        assert_eq!(told.to_string(), "cannot read /api of box: Operation not permitted (os error 1)");
        let known = Error::io("connect to box", cause()).trying(|| "read /api of box".into());
        assert_eq!(known.to_string(), "cannot connect to box: Operation not permitted (os error 1)");
        assert_eq!(known.os_error(), Some(libc::EPERM));
    }

    #[test]
    fn a_bad_option_ends_with_exit_code_two() {
        let error = Error::invalid("-p", "port 0 is not a port, expected 1 to 65535");
        assert_eq!(error.to_string(), "-p: port 0 is not a port, expected 1 to 65535");
        assert_eq!(error.exit_code(), 2);
    }
}
