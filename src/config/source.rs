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
/// [`Error::invalid`] with `path:line` for a file that breaks UCI's grammar, [`Error::failed`] for one that cannot
/// be read, is not a regular file or is larger than [`MAX_SIZE`].
pub fn load(path: &Path) -> Result<Option<Package>> {
    let Some(text) = read(path)? else { return Ok(None) };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    decode(path, &name, &text).map(Some)
}

#[cfg(not(feature = "libuci"))]
fn decode(path: &Path, name: &str, text: &[u8]) -> Result<Package> {
    uci::parse(name, text).map_err(|error| invalid(path, error.line, &error.reason.to_string()))
}

#[cfg(feature = "libuci")]
fn decode(path: &Path, name: &str, text: &[u8]) -> Result<Package> {
    // What libuci would not tell apart from a grammar that holds: our own reader refuses both before it starts.
    uci::check(name, text).map_err(|error| invalid(path, error.line, &error.reason.to_string()))?;
    let tried = || format!("read {} with libuci", path.display());
    // Without its directory libuci would take the name for one in /etc/config and merge uncommitted changes.
    let absolute = std::path::absolute(path).map_err(|source| Error::io(tried(), source))?;
    let sections =
        uci_sys::Context::new().and_then(|mut context| context.load(&absolute)).map_err(|error| match error {
            uci_sys::UciError::Parse { line, reason } => invalid(path, line.max(1), &reason),
            other => Error::failed(tried(), other.to_string()).remedy("check that this user may read it"),
        })?;
    Ok(Package { sections: sections.into_iter().map(section).collect() })
}

#[cfg(feature = "libuci")]
fn section(section: uci_sys::Section) -> uci::Section {
    let option = |option: uci_sys::Opt| uci::Opt {
        name: uci::lossy(option.name),
        value: match option.value {
            uci_sys::Value::Text(text) => uci::Value::Text(uci::lossy(text)),
            uci_sys::Value::List(items) => uci::Value::List(items.into_iter().map(uci::lossy).collect()),
        },
        line: None,
    };
    uci::Section {
        kind: uci::lossy(section.kind),
        name: uci::lossy(section.name),
        anonymous: section.anonymous,
        line: None,
        options: section.options.into_iter().map(option).collect(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A directory of its own for one test, gone when the test ends.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gatemeter-source-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Dir(path)
        }

        fn file(&self, name: &str, text: &[u8]) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_that_does_not_exist_is_no_error() {
        let dir = Dir::new("absent");
        assert_eq!(load(&dir.0.join("gatemeter")).unwrap(), None);
    }

    #[test]
    fn a_file_gives_its_sections() {
        let dir = Dir::new("present");
        let package = load(&dir.file("gatemeter", b"config main main\n")).unwrap().unwrap();
        assert_eq!(package.sections[0].name, "main");
    }

    #[test]
    fn a_bad_line_is_named_by_path_and_number() {
        let dir = Dir::new("bad");
        let path = dir.file("gatemeter", b"config main\n\toption a b\n\toption c 'd\n");
        let error = load(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("{}:3: EOF with unterminated '", path.display()));
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_directory_is_refused_with_advice() {
        let dir = Dir::new("directory");
        assert_eq!(
            load(&dir.0).unwrap_err().to_string(),
            format!(
                "cannot read {}: it is a directory; name a UCI file such as /etc/config/gatemeter",
                dir.0.display()
            )
        );
    }

    #[test]
    fn a_file_past_the_limit_is_refused_and_not_cut() {
        let dir = Dir::new("large");
        let path = dir.file("gatemeter", &vec![b'\n'; MAX_SIZE as usize + 1]);
        assert!(load(&path).unwrap_err().to_string().contains("larger than 1048576 bytes"));
        let path = dir.file("gatemeter", &vec![b'\n'; MAX_SIZE as usize]);
        assert_eq!(load(&path).unwrap().unwrap().sections, []);
    }

    #[test]
    fn a_file_name_with_a_space_is_refused() {
        let dir = Dir::new("name");
        let path = dir.file("two words", b"");
        let expected = format!("{}: invalid character in the file's name", path.display());
        assert_eq!(load(&path).unwrap_err().to_string(), expected);
    }
}
