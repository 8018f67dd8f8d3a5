//! One file with names, read again only when its state on disk has changed.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file and the names last read from it.
#[derive(Debug)]
pub struct Watched<T> {
    /// Where the file lies, whether or not there is one now.
    pub path: PathBuf,
    /// The names in it when it could last be read.
    pub table: T,
    /// The state at the latest read; `None` before the first.
    state: Option<State>,
    /// What was wrong at the latest read, as it was logged.
    trouble: Option<String>,
}

/// What a read gives: the names, and what was left out, if anything.
pub type Outcome<T> = Result<(T, Option<String>), String>;

/// What tells one content of a file from another without reading it. The change time is there because a file that
/// becomes readable by `chmod` changes nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Present { device: u64, inode: u64, size: u64, modified: (i64, i64), changed: (i64, i64) },
    Failed(io::ErrorKind),
}

impl<T: Default + PartialEq> Watched<T> {
    /// Knows nothing before the first [`Watched::refresh`].
    pub fn new(path: PathBuf) -> Self {
        Watched { path, table: T::default(), state: None, trouble: None }
    }

    /// Calls `read` if the file's state has changed since the last call; true if its names have.
    pub fn refresh(&mut self, read: impl FnOnce(&Path) -> Outcome<T>) -> bool {
        // Taken before the read: a change during it shows as another state next time.
        let state = Some(State::of(&self.path));
        if state == self.state {
            return false;
        }
        self.state = state;
        let (table, trouble) = match read(&self.path) {
            Ok((table, trouble)) => (Some(table), trouble),
            Err(trouble) => (None, Some(format!("{trouble}; names known from it are kept"))),
        };
        if trouble != self.trouble {
            match &trouble {
                Some(trouble) => log::warn!("names: {trouble}"),
                None => log::info!("names: {} is in order again", self.path.display()),
            }
            self.trouble = trouble;
        }
        match table {
            Some(table) if table != self.table => {
                self.table = table;
                true
            }
            _ => false,
        }
    }
}

impl State {
    pub(super) fn of(path: &Path) -> Self {
        match std::fs::metadata(path) {
            Ok(file) => State::Present {
                device: file.dev(),
                inode: file.ino(),
                size: file.size(),
                modified: (file.mtime(), file.mtime_nsec()),
                changed: (file.ctime(), file.ctime_nsec()),
            },
            Err(error) => State::Failed(error.kind()),
        }
    }
}
