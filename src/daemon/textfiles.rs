//! Writes the snapshot to text files as it changes, so that a file tells of every collector, and what it tells is never
//! older than an interval.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use smol::channel::Receiver;
use smol::future::FutureExt as _;

use super::pages::{Pages, Reader, file_names};
use crate::collectors::ALL;
use crate::error::Error;
use crate::logger::DAEMON;
use crate::outputs::prometheus::{self, Dialect};
use crate::outputs::textfile::TextFile;
use crate::supervisor::Status;
use crate::sys::alarm;

/// Collections are a little early or late; what comes this near to its time is in time.
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
    /// What the files tell of each collector, in the order of the statuses.
    written: Vec<State>,
    /// The trouble last logged, so that it is logged once.
    trouble: Option<String>,
}

/// What a page tells of a collector.
struct State {
    tried: bool,
    up: bool,
    /// When its figures were collected.
    collected: Option<Instant>,
}

impl State {
    fn of(status: &Status) -> Self {
        State { tried: status.tried.get(), up: status.up.get(), collected: status.succeeded_at.get() }
    }
}

impl TextFiles {
    /// No files yet.
    pub fn new(pages: Rc<Pages>) -> Self {
        TextFiles { pages, whole: None, dir: None, parts: BTreeMap::new(), written: Vec::new(), trouble: None }
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

    /// Writes when told of changes, for ever: at once when a collector comes, goes or fails, and when its figures in the
    /// files are an interval old and there are new ones. Other changes wait for that, but no longer than an interval.
    pub async fn run(files: Rc<RefCell<TextFiles>>, interval: Duration, changed: Receiver<()>) {
        let mut last: Option<Instant> = None;
        while changed.recv().await.is_ok() {
            let latest = last.map(|last| last + interval + SLACK);
            while let Some(latest) = latest.filter(|_| !files.borrow().is_time(interval)) {
                let change = async { changed.recv().await.is_ok() };
                let time_is_up = async {
                    alarm::until(latest).await;
                    false
                };
                if !change.or(time_is_up).await {
                    break;
                }
            }
            last = Some(Instant::now());
            files.borrow_mut().write();
        }
    }

    /// Whether what there is now is worth a write before its time.
    fn is_time(&self, interval: Duration) -> bool {
        self.written.iter().zip(&self.pages.statuses).any(|(then, status)| {
            let now = State::of(status);
            let ages = then.collected.zip(now.collected);
            let aged = ages.is_some_and(|(then, now)| now + SLACK >= then + interval);
            aged || (now.tried, now.up) != (then.tried, then.up)
        })
    }

    /// Writes every file once, and logs when that begins or ceases to fail.
    pub fn write(&mut self) {
        self.written.clear();
        self.written.extend(self.pages.statuses.iter().map(|status| State::of(status)));
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
            let pages = &self.pages;
            let make = |text: &mut String, pass_on: &mut dyn FnMut(&mut String)| {
                pages.whole_in_pieces(Dialect::Text, Reader::File, None, text, pass_on);
            };
            first_error = whole.write(make).err();
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
                let make = |text: &mut String, pass_on: &mut dyn FnMut(&mut String)| {
                    prometheus::encode_in_pieces(page, Dialect::Text, text, pass_on);
                };
                if let Err(error) = file.and_then(|file| file.write(make)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::store::Store;
    use crate::supervisor::Shared;

    const INTERVAL: Duration = Duration::from_secs(5);

    /// Files in no place, of collectors named `slow` and `quick` that have not been tried.
    fn files() -> TextFiles {
        let shared = Rc::new(Shared {
            store: Store::new(["slow", "quick"]),
            changed: Box::new(|| {}),
            desk: RefCell::default(),
        });
        TextFiles::new(Rc::new(Pages::new(shared, vec![Status::new("slow"), Status::new("quick")])))
    }

    fn collected(status: &Status, at: Instant) {
        status.tried.set(true);
        status.up.set(true);
        status.succeeded_at.set(Some(at));
    }

    #[test]
    fn a_write_between_two_collections_does_not_put_off_the_next_figures() {
        let mut files = files();
        let (begin, statuses) = (Instant::now(), files.pages.statuses.clone());
        let [slow, quick] = [&statuses[0], &statuses[1]];
        let at = |seconds| begin + Duration::from_secs(seconds);
        collected(slow, at(0));
        collected(quick, at(1));
        files.write();
        collected(quick, at(3));
        assert!(!files.is_time(INTERVAL), "the files have figures of the second before the last");
        collected(slow, at(5));
        assert!(files.is_time(INTERVAL));
        files.write();
        collected(quick, at(7));
        assert!(!files.is_time(INTERVAL));
        collected(quick, at(9));
        assert!(files.is_time(INTERVAL));
        files.write();
        collected(slow, at(10) - SLACK / 2);
        assert!(files.is_time(INTERVAL), "what was written a second ago has old figures of the slow one");
    }

    #[test]
    fn a_collector_that_comes_fails_or_goes_is_told_at_once() {
        let mut files = files();
        let (now, statuses) = (Instant::now(), files.pages.statuses.clone());
        let [slow, quick] = [&statuses[0], &statuses[1]];
        collected(slow, now);
        files.write();
        assert!(!files.is_time(INTERVAL));
        let mut told = |change: &dyn Fn()| {
            change();
            assert!(files.is_time(INTERVAL));
            files.write();
            assert!(!files.is_time(INTERVAL));
        };
        told(&|| quick.tried.set(true));
        told(&|| collected(quick, now));
        told(&|| slow.up.set(false));
        told(&|| slow.tried.set(false));
    }
}
