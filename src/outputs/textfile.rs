//! Text files for node_exporter's textfile collector and whoever else reads pages from disk.
//!
//! A whole page enters and replaces the file in one step, see [`crate::files`]. Nothing is flushed to the medium: a
//! page lives as long as the power does.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::{Identity, Keep, WholeFile};

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

    /// Replaces the file by `page`. It is written even if nothing has changed: readers take its age for ours.
    ///
    /// # Errors
    /// The directory cannot be written, the disk is full, or something that is not a file is in the way. The old
    /// file is as it was, and nothing else is left behind.
    pub fn write(&mut self, page: &[u8]) -> Result<()> {
        self.written = Some(self.file.replace(page)?);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_stop_removes_our_file_and_nobody_elses() {
        let dir = std::env::temp_dir().join(format!("gatemeter-textfile-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let mut file = TextFile::new(dir.join("a.prom")).unwrap();
        file.write(b"page").unwrap();
        file.remove().unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        file.remove().unwrap();

        file.write(b"page").unwrap();
        fs::write(dir.join("new"), "of another program").unwrap();
        fs::rename(dir.join("new"), dir.join("a.prom")).unwrap();
        file.remove().unwrap();
        assert_eq!(fs::read(dir.join("a.prom")).unwrap(), b"of another program");
        fs::remove_dir_all(&dir).unwrap();
    }
}
