//! Writes the snapshot to text files whenever it changed, at most once per interval.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_io::Timer;
use smol::channel::Receiver;

use super::pages::{Pages, Reader, file_names};
use crate::collectors::ALL;
use crate::error::Error;
use crate::logger::DAEMON;
use crate::outputs::prometheus::Dialect;
use crate::outputs::textfile::TextFile;

/// A snapshot changes a moment after the write before; writes this near to their time are not put off.
const SLACK: Duration = Duration::from_millis(50);

/// The file of a collector in a directory for textfile collectors.
pub fn path_in(dir: &Path, collector: &str) -> PathBuf {
    dir.join(format!("gatemeter_{collector}.prom"))
}

/// The text files of a daemon. They are removed when this is dropped: figures of a daemon that stopped are nobody's.
pub struct TextFiles {
    pages: Rc<Pages>,
    whole: Option<TextFile>,
    dir: Option<PathBuf>,
    parts: BTreeMap<&'static str, TextFile>,
    /// The trouble last logged, so that it is logged once.
    trouble: Option<String>,
}

impl TextFiles {
    /// No files yet.
    pub fn new(pages: Rc<Pages>) -> Self {
        TextFiles { pages, whole: None, dir: None, parts: BTreeMap::new(), trouble: None }
    }

    /// Has the files at these places from now on. Those elsewhere are removed; those that stay are not touched, so
    /// that no reader misses them. Nothing is written yet.
    pub fn place(&mut self, whole: Option<&Path>, dir: Option<&Path>) -> Result<(), Error> {
        if self.whole.as_ref().map(TextFile::path) != whole {
            let new = whole.map(TextFile::new).transpose()?;
            remove(std::mem::replace(&mut self.whole, new).as_mut());
        }
        if self.dir.as_deref() != dir {
            remove(self.parts.values_mut());
            self.parts.clear();
            self.dir = dir.map(PathBuf::from);
            dir.into_iter().for_each(remove_stale);
        }
        Ok(())
    }

    /// Writes when told of a change, at most once per interval, for ever.
    pub async fn run(files: Rc<RefCell<TextFiles>>, interval: Duration, changed: Receiver<()>) {
        let mut last: Option<Instant> = None;
        while changed.recv().await.is_ok() {
            let due = last.map(|last| last + interval - SLACK.min(interval));
            if let Some(due) = due.filter(|due| *due > Instant::now()) {
                Timer::at(due).await;
                // What changed while we waited is in the page now.
                let _ = changed.try_recv();
            }
            last = Some(Instant::now());
            files.borrow_mut().write();
        }
    }

    /// Writes every file once, and logs when that begins or ceases to fail.
    pub fn write(&mut self) {
        let trouble = self.try_write().err().map(|error| error.to_string());
        match (&self.trouble, &trouble) {
            (old, Some(new)) if old.as_ref() != Some(new) => log::error!(target: DAEMON, "{new}"),
            (Some(_), None) => log::warn!(target: DAEMON, "text files are written again"),
            _ => {}
        }
        self.trouble = trouble;
    }

    fn try_write(&mut self) -> Result<(), Error> {
        let mut first_error = None;
        if let Some(whole) = &mut self.whole {
            let page = self.pages.whole(Dialect::Text, Reader::File, None);
            first_error = whole.write(page.as_bytes()).err();
        }
        if let Some(dir) = &self.dir {
            let mut present = Vec::new();
            let parts = &mut self.parts;
            self.pages.each(|name, page| {
                present.push(name);
                let file = match parts.entry(name) {
                    std::collections::btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
                    std::collections::btree_map::Entry::Vacant(entry) => {
                        TextFile::new(path_in(dir, name)).map(|file| entry.insert(file))
                    }
                };
                if let Err(error) = file.and_then(|file| file.write(page.as_bytes())) {
                    first_error.get_or_insert(error);
                }
            });
            // A collector without figures must not go on showing its last ones.
            for (_, file) in parts.iter_mut().filter(|(name, _)| !present.contains(name)) {
                if let Err(error) = file.remove() {
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}

/// Removes the pages that a killed daemon has left: a collector that has no figures now must not show those of then.
fn remove_stale(dir: &Path) {
    for path in file_names(ALL).map(|name| path_in(dir, name)) {
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_file())
            && let Err(error) = fs::remove_file(&path)
        {
            log::warn!(target: DAEMON, "cannot remove {}: {error}", path.display());
        }
    }
}

fn remove<'a>(files: impl IntoIterator<Item = &'a mut TextFile>) {
    for file in files {
        if let Err(error) = file.remove() {
            log::warn!(target: DAEMON, "{error}");
        }
    }
}

impl Drop for TextFiles {
    fn drop(&mut self) {
        remove(self.whole.iter_mut().chain(self.parts.values_mut()));
    }
}
