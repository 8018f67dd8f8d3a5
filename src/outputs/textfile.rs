//! Text files for node_exporter's textfile collector and whoever else reads pages from disk.
//!
//! A page enters in pieces, so that it never stands in memory as a whole, and replaces the file in one step, see
//! [`crate::files`]. Nothing is flushed to the medium: a page lives as long as the power does.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::{Identity, Keep, WholeFile};

/// So much is written at a time, in bytes.
const PIECE: usize = 16 << 10;

/// A page on disk that is written again and again.
#[derive(Debug)]
pub struct TextFile {
    file: WholeFile,
    /// The file last put in place.
    written: Option<Identity>,
}

impl TextFile {
    /// Takes `path` as target and removes the temporary files that a killed process has left beside it.
    ///
    /// # Errors
    /// The path does not end in a file name.
    pub fn new(path: impl Into<PathBuf>) -> Result<TextFile> {
        Ok(TextFile { file: WholeFile::new(path, "the page", Keep::WhilePowered)?, written: None })
    }

    /// The target.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Replaces the file by the page that `make` writes: it appends to the text, and offers it to be taken out whenever
    /// that suits it. It is written even if nothing has changed: readers take its age for ours.
    ///
    /// # Errors
    /// The directory cannot be written, the disk is full, or something that is not a file is in the way. The old
    /// file is as it was, and nothing else is left behind.
    pub fn write(&mut self, make: impl FnOnce(&mut String, &mut dyn FnMut(&mut String))) -> Result<()> {
        let written = self.file.replace_by(|file| {
            // A line may be longer than what is left of the room.
            let mut text = String::with_capacity(PIECE + PIECE / 8);
            let mut outcome = Ok(());
            make(&mut text, &mut |text| {
                if text.len() >= PIECE {
                    take_out(text, file, &mut outcome);
                }
            });
            take_out(&mut text, file, &mut outcome);
            outcome
        });
        self.written = Some(written?);
        Ok(())
    }

    /// Removes the file on a clean stop, if it is still the one last written here.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn remove(&mut self) -> Result<()> {
        let Some(written) = self.written.take() else { return Ok(()) };
        match fs::symlink_metadata(self.path()) {
            Ok(found) if found.is_file() && Identity::of(&found) == written => fs::remove_file(self.path())
                .map_err(|source| Error::io(format!("remove {}", self.path().display()), source)),
            _ => Ok(()),
        }
    }
}

/// Writes the text and empties it; after a failure it is emptied only.
fn take_out(text: &mut String, file: &mut File, outcome: &mut io::Result<()>) {
    if outcome.is_ok() {
        *outcome = file.write_all(text.as_bytes());
    }
    text.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_stop_removes_our_file_and_nobody_elses() {
        let dir = std::env::temp_dir().join(format!("gatemeter-textfile-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let mut file = TextFile::new(dir.join("a.prom")).unwrap();
        file.write(|text, _| text.push_str("page")).unwrap();
        file.remove().unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        file.remove().unwrap();

        file.write(|text, _| text.push_str("page")).unwrap();
        fs::write(dir.join("new"), "of another program").unwrap();
        fs::rename(dir.join("new"), dir.join("a.prom")).unwrap();
        file.remove().unwrap();
        assert_eq!(fs::read(dir.join("a.prom")).unwrap(), b"of another program");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_long_page_is_written_in_pieces_and_none_is_lost() {
        let path = std::env::temp_dir().join(format!("gatemeter-pieces-{}", std::process::id()));
        let mut file = TextFile::new(&path).unwrap();
        let lines = || (0..20_000u32).map(|n| format!("{n}\n"));
        let mut longest = 0;
        let make = |text: &mut String, pass_on: &mut dyn FnMut(&mut String)| {
            for line in lines() {
                text.push_str(&line);
                longest = longest.max(text.len());
                pass_on(text);
            }
        };
        file.write(make).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), lines().collect::<String>());
        assert!(longest < PIECE + 10, "{longest}");
        file.remove().unwrap();
    }
}
