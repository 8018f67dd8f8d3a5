//! The file of the name cache: when it is read and written, and what is told when it cannot be.
//!
//! A router's storage wears out with writing, so the file is written only when its content has changed, a minute after
//! the first change at the earliest, then every six hours at most, and at a clean stop. A power failure costs what was
//! learned since. Each trouble is logged when it comes, not at each try.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::codec::{self, Format};
use super::{Cache, MAX_ENTRIES};
use crate::error::{Error, Result};
use crate::files::{self, Keep, Lines, WholeFile};

/// Names come in bursts, such as at a start.
const SETTLE: Duration = Duration::from_secs(60);
/// Least time between two writes.
const REST: Duration = Duration::from_secs(6 * 3600);
/// Least time between two tries to write.
const RETRY: Duration = Duration::from_secs(15 * 60);

/// Tries whether a cache at this place could be written.
///
/// # Errors
/// What is refused, by its directory or, if that is yet to be made, by the one above.
pub fn try_place(path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match files::try_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => files::try_dir(dir.parent().unwrap_or(dir)),
        tried => tried,
    }
}

/// The file.
#[derive(Debug)]
pub struct CacheFile {
    path: PathBuf,
    state: State,
    /// Since when there is something to write.
    changed: Option<Instant>,
    /// No write before this time.
    not_before: Option<Instant>,
    /// What went wrong last, as it was logged.
    trouble: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Not looked at yet.
    Unread,
    /// What it had is in the table.
    Read,
    /// It is somebody else's, and stays as it is.
    Foreign,
    /// It is another process's to write.
    ReadOnly,
}

impl CacheFile {
    /// Nothing is opened yet.
    pub fn new(path: PathBuf) -> Self {
        CacheFile { path, state: State::Unread, changed: None, not_before: None, trouble: None }
    }

    /// Never writes from now on.
    pub fn read_only(&mut self) {
        self.state = State::ReadOnly;
    }

    /// Reads the file into an empty table.
    pub fn load(&mut self, cache: &mut Cache) {
        if self.state == State::Unread {
            self.state = State::Read;
        }
        let path = self.path.display();
        let Lines { bytes, cut } = match files::read_lines(&self.path, codec::MAX_SIZE as u64) {
            Ok(Some(lines)) => lines,
            Ok(None) => return,
            Err(error) => return self.report(Some(format!("cannot read the name cache {path}: {error}"))),
        };
        let text = String::from_utf8_lossy(&bytes);
        let mut records = Vec::new();
        let reading = codec::parse(&text, |record| {
            if records.len() < MAX_ENTRIES {
                records.push(record);
            }
        });
        let long = || format!("{path} is larger than {} bytes; what lies behind is left out", codec::MAX_SIZE);
        let mut trouble = cut.then(long).or_else(|| reading.unread.trouble(&self.path));
        if reading.format == Format::Foreign && self.state == State::Read {
            self.state = State::Foreign;
            trouble = Some(format!("{path} is no name cache and stays as it is; give another path or remove it"));
        }
        cache.restore(records.into_iter());
        // A file in another format, or with lines that are no use, is written in ours.
        cache.changed = reading.format != Format::Own || trouble.is_some();
        self.report(trouble);
    }

    /// Writes the file if that is due.
    pub fn keep(&mut self, cache: &mut Cache, now: Instant) {
        if !cache.changed {
            return;
        }
        let due = *self.changed.get_or_insert(now) + SETTLE;
        if due.max(self.not_before.unwrap_or(due)) <= now {
            self.save(cache, now);
        }
    }

    /// Writes the file if there is something to write.
    pub fn save(&mut self, cache: &mut Cache, now: Instant) {
        if !cache.changed || matches!(self.state, State::ReadOnly | State::Unread) {
            return;
        }
        if self.state == State::Foreign {
            if fs::symlink_metadata(&self.path).is_ok() {
                self.not_before = Some(now + RETRY);
                return;
            }
            self.state = State::Read;
        }
        match write(&self.path, &codec::encode(cache.records())) {
            Ok(()) => {
                cache.changed = false;
                self.changed = None;
                self.not_before = Some(now + REST);
                self.report(None);
            }
            Err(error) => {
                self.not_before = Some(now + RETRY);
                self.report(Some(format!("{error}; names are lost at a restart until it can be written")));
            }
        }
    }

    fn report(&mut self, trouble: Option<String>) {
        if trouble != self.trouble {
            match &trouble {
                Some(trouble) => log::warn!("names: {trouble}"),
                None => log::info!("names: {} is in order again", self.path.display()),
            }
            self.trouble = trouble;
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let file = WholeFile::new(path, "the name cache", Keep::Lasting)?;
    if fs::metadata(file.dir()).is_err_and(is_missing) {
        fs::create_dir(file.dir()).map_err(|source| {
            Error::io(format!("make the directory {} for the name cache", file.dir().display()), source)
                .remedy("make it, or give another path")
        })?;
    }
    file.replace(text.as_bytes()).map(drop)
}

fn is_missing(error: io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::mac::Mac;
    use crate::names::{Belief, Found};

    /// A directory of its own for one test, gone when the test ends; the file lies in a directory below it.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gatemeter-cache-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Dir(path)
        }

        fn path(&self) -> PathBuf {
            self.0.join("state/names")
        }

        fn write(&self, bytes: &[u8]) {
            fs::create_dir_all(self.0.join("state")).unwrap();
            fs::write(self.path(), bytes).unwrap();
        }

        fn text(&self) -> Option<String> {
            fs::read_to_string(self.path()).ok()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn learn(cache: &mut Cache, last: u8, now: Instant) {
        let found = Some(Found { name: "tv", belief: Belief::LeaseMac });
        cache.saw(Some(&Mac([2, 0, 0, 0, 0, last])), &[10, 0, 0, last].into(), found, now);
    }

    /// A table and its file, read.
    fn loaded(dir: &Dir) -> (Cache, CacheFile) {
        let (mut cache, mut file) = (Cache::default(), CacheFile::new(dir.path()));
        file.load(&mut cache);
        (cache, file)
    }

    #[test]
    fn a_change_is_written_after_a_minute_and_the_next_one_after_six_hours() {
        let dir = Dir::new("due");
        let (mut cache, mut file) = loaded(&dir);
        let start = Instant::now();
        let mut at = |seconds: u64, cache: &mut Cache| {
            let before = dir.text();
            file.keep(cache, start + Duration::from_secs(seconds));
            dir.text() != before
        };
        assert!(!at(0, &mut cache), "there is nothing to write");
        learn(&mut cache, 1, start);
        assert!(!at(1000, &mut cache));
        learn(&mut cache, 2, start);
        assert!(!at(1059, &mut cache));
        assert!(at(1060, &mut cache), "a minute after the first change");
        learn(&mut cache, 3, start);
        assert!(!at(1062, &mut cache));
        assert!(!at(1060 + 6 * 3600 - 1, &mut cache));
        assert!(at(1060 + 6 * 3600, &mut cache));
        assert!(!at(1_000_000, &mut cache), "there is nothing to write");
        assert_eq!(dir.text().unwrap().lines().count(), 4);
        learn(&mut cache, 4, start);
        file.save(&mut cache, start);
        assert_eq!(dir.text().unwrap().lines().count(), 5, "a clean stop does not wait");
        assert_eq!(fs::read_dir(dir.0.join("state")).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_told_once_and_tried_again() {
        let dir = Dir::new("refused");
        fs::write(dir.0.join("state"), "a file where the directory should be").unwrap();
        let (mut cache, mut file) = loaded(&dir);
        let start = Instant::now();
        learn(&mut cache, 1, start);
        file.save(&mut cache, start);
        let told = file.trouble.clone().unwrap();
        assert!(
            told.contains("/state/names: ") && told.ends_with("names are lost at a restart until it can be written")
        );
        fs::remove_file(dir.0.join("state")).unwrap();
        file.keep(&mut cache, start);
        file.keep(&mut cache, start + RETRY - Duration::from_secs(1));
        assert_eq!(dir.text(), None);
        file.keep(&mut cache, start + RETRY);
        assert!(dir.text().is_some());
        assert_eq!(file.trouble, None);
    }

    #[test]
    fn a_directory_whose_own_directory_is_missing_is_not_made() {
        let dir = Dir::new("two-levels");
        let (mut cache, mut file) = (Cache::default(), CacheFile::new(dir.0.join("a/b/names")));
        file.load(&mut cache);
        learn(&mut cache, 1, Instant::now());
        file.save(&mut cache, Instant::now());
        let told = file.trouble.unwrap();
        let start = format!("cannot make the directory {}/a/b for the name cache: No such file", dir.0.display());
        assert!(told.starts_with(&start) && told.contains("; make it, or give another path; "), "{told}");
        assert!(!dir.0.join("a").exists());
    }

    #[test]
    fn a_peers_file_is_rewritten_in_our_format() {
        let dir = Dir::new("peer");
        dir.write(b"10.0.0.1|nas\n10.0.0.2|tv");
        let (mut cache, mut file) = loaded(&dir);
        assert_eq!(file.trouble, None);
        file.save(&mut cache, Instant::now());
        assert_eq!(dir.text().unwrap(), "# gatemeter names 1\n- nas 10.0.0.1\n- tv 10.0.0.2\n");
    }

    #[test]
    fn a_file_in_order_is_not_rewritten() {
        let dir = Dir::new("in-order");
        dir.write(b"# gatemeter names 1\n- nas 10.0.0.1\n");
        let (cache, file) = loaded(&dir);
        assert!(!cache.changed && file.trouble.is_none());
    }

    #[test]
    fn a_damaged_file_is_used_as_far_as_it_goes() {
        let dir = Dir::new("damaged");
        dir.write(b"# gatemeter names 1\n- nas 10.0.0.1\n\xff\0\xfe\n- tv 10.0.0.2\n- radio 10.0");
        let (mut cache, mut file) = loaded(&dir);
        assert!(file.trouble.as_ref().unwrap().contains("/names:3: this line and another one are in no known format"));
        file.save(&mut cache, Instant::now());
        assert_eq!(dir.text().unwrap(), "# gatemeter names 1\n- nas 10.0.0.1\n- tv 10.0.0.2\n");
        assert_eq!(file.trouble, None);
    }

    #[test]
    fn garbage_is_replaced() {
        let dir = Dir::new("garbage");
        dir.write(&[0; 4096]);
        let (mut cache, mut file) = loaded(&dir);
        file.save(&mut cache, Instant::now());
        assert_eq!(dir.text().unwrap(), "# gatemeter names 1\n");
    }

    #[test]
    fn somebody_elses_file_stays_as_it_is() {
        let dir = Dir::new("foreign");
        dir.write(b"127.0.0.1 localhost\n");
        let (mut cache, mut file) = loaded(&dir);
        let now = Instant::now();
        learn(&mut cache, 1, now);
        file.save(&mut cache, now);
        assert_eq!(dir.text().unwrap(), "127.0.0.1 localhost\n");
        assert!(
            file.trouble.as_ref().unwrap().contains("/names is no name cache and stays as it is; give another path")
        );
        fs::remove_file(dir.path()).unwrap();
        file.save(&mut cache, now);
        assert!(dir.text().unwrap().contains(" tv 10.0.0.1\n"));
    }

    #[test]
    fn a_huge_file_is_read_up_to_the_limit() {
        let dir = Dir::new("huge");
        dir.write(format!("# gatemeter names 1\n- nas 10.0.0.1\n{}", "# \n".repeat(1 << 20)).as_bytes());
        let (cache, file) = loaded(&dir);
        assert_eq!(cache.find(None, &[10, 0, 0, 1].into()).unwrap().name, "nas");
        assert!(file.trouble.unwrap().ends_with("/names is larger than 262144 bytes; what lies behind is left out"));
    }

    #[test]
    fn a_directory_in_its_place_is_told_and_left_alone() {
        let dir = Dir::new("directory");
        fs::create_dir_all(dir.path()).unwrap();
        let (mut cache, mut file) = loaded(&dir);
        assert!(file.trouble.as_ref().unwrap().ends_with("/names: it is not a regular file"));
        learn(&mut cache, 1, Instant::now());
        file.save(&mut cache, Instant::now());
        assert!(file.trouble.as_ref().unwrap().contains("it is a directory; give the path of a plain file"));
        assert!(dir.path().is_dir());
    }

    #[test]
    fn beside_a_daemon_nothing_is_written() {
        let dir = Dir::new("beside");
        let (mut cache, mut file) = (Cache::default(), CacheFile::new(dir.path()));
        file.read_only();
        file.load(&mut cache);
        learn(&mut cache, 1, Instant::now());
        file.save(&mut cache, Instant::now());
        assert!(!dir.0.join("state").exists());
    }
}
