//! The one error type: what was tried, on what, why it failed, and what to do about it.
//!
//! The reader is on a router over ssh, without the source at hand. [`Error::exit_code`] carries the contract
//! of the command line: 2 for a bad flag or configuration, 1 for anything else that stops the program.

use std::fmt;
use std::io;

/// A failure, told in one line to the user.
#[derive(Debug)]
pub enum Error {
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

/// The reason behind [`Error::Failed`].
#[derive(Debug)]
pub enum Cause {
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
        Error::Invalid { place: place.into(), problem: problem.into() }
    }

    /// A refused system call; `tried` reads on from "cannot".
    pub fn io(tried: impl Into<String>, source: io::Error) -> Self {
        Error::Failed { tried: tried.into(), cause: Cause::Io(source), remedy: None }
    }

    /// A failure explained in words; `tried` reads on from "cannot".
    pub fn failed(tried: impl Into<String>, why: impl Into<String>) -> Self {
        Error::Failed { tried: tried.into(), cause: Cause::Text(why.into()), remedy: None }
    }

    /// Undecodable bytes; `tried` reads on from "cannot".
    pub fn codec(tried: impl Into<String>, source: Malformed) -> Self {
        Error::Failed { tried: tried.into(), cause: Cause::Codec(source), remedy: None }
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn remedy(mut self, text: impl Into<String>) -> Self {
        if let Error::Failed { remedy, .. } = &mut self {
            *remedy = Some(text.into());
        }
        self
    }

    /// The exit code this error ends the program with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Invalid { .. } => 2,
            Error::Failed { .. } => 1,
        }
    }

    /// The operating system's error kind, where it was the operating system that refused.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Error::Failed { cause: Cause::Io(source), .. } => Some(source.kind()),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid { place, problem } => write!(f, "{place}: {problem}"),
            Error::Failed { tried, cause, remedy } => {
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
        match self {
            Error::Failed { cause: Cause::Io(source), .. } => Some(source),
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
    fn a_bad_option_ends_with_exit_code_two() {
        let error = Error::invalid("-p", "port 0 is not a port, expected 1 to 65535");
        assert_eq!(error.to_string(), "-p: port 0 is not a port, expected 1 to 65535");
        assert_eq!(error.exit_code(), 2);
    }
}
