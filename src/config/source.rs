//! Where configuration files come from: a path enters, the sections in it leave.
//!
//! Only the committed file at that path counts. Changes that wait in /tmp/.uci for `uci commit` and replacements in
//! /var/run/uci are not read: a daemon should not start to follow settings that nobody has applied, and `-c FILE`
//! must mean that very file. Both forms of this function hold to it: our own reader knows nothing of those
//! places, and libuci leaves them out when it is given a path instead of a name.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::uci::{self, Package};
use crate::error::{Error, Result};

/// Largest configuration file that is read, in bytes; OpenWrt's own stay below a few dozen kilobytes.
pub const MAX_SIZE: u64 = 1024 * 1024;

/// Reads the UCI file at `path`; `None` if there is no such file.
///
/// # Errors
/// [`Error::Invalid`] with `path:line` for a file that breaks UCI's grammar, [`Error::Failed`] for one that cannot
/// be read, is not a regular file or is larger than [`MAX_SIZE`].
pub fn load(path: &Path) -> Result<Option<Package>> {
    let Some(text) = read(path)? else { return Ok(None) };
    // What is no text libuci would cut short; the name is what it would check.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    decode(path, &name, &text).map(Some)
}

#[cfg(not(feature = "libuci"))]
fn decode(path: &Path, name: &str, text: &[u8]) -> Result<Package> {
    uci::parse(name, text).map_err(|error| invalid(path, error.line, &error.reason.to_string()))
}

fn invalid(path: &Path, line: u32, problem: &str) -> Error {
    match line {
        0 => Error::invalid(path.display().to_string(), problem),
        line => Error::invalid(format!("{}:{line}", path.display()), problem),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let failed = |source: io::Error| {
        let remedy = match source.kind() {
            io::ErrorKind::PermissionDenied => "run as root or let this user read it",
            _ => "check that the path and the file system are in order",
        };
        Error::io(format!("read {}", path.display()), source).remedy(remedy)
    };
    // Asked before it is opened: opening a named pipe would wait for a writer.
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if !metadata.is_file() {
        let kind = if metadata.is_dir() { io::ErrorKind::IsADirectory } else { io::ErrorKind::InvalidInput };
        let what = if metadata.is_dir() { "it is a directory" } else { "it is not a regular file" };
        return Err(Error::io(format!("read {}", path.display()), io::Error::new(kind, what))
            .remedy("name a UCI file such as /etc/config/gatemeter"));
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(Error::failed(format!("read {}", path.display()), format!("it is larger than {MAX_SIZE} bytes"))
            .remedy("check that it is a UCI configuration file"));
    }
    Ok(Some(text))
}
