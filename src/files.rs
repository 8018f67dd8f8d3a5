//! Files that are only ever replaced as a whole, and files of others that are read up to a limit.
//!
//! What enters replaces the file in one step: it is written to a temporary file in the same directory, which is then
//! renamed, so no reader ever sees a part. The directory may be /tmp, where any user may have put something under our
//! names: the temporary file is only ever a new one, and a link in the target's place is replaced, not followed.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What is written is for everyone to read unless it is private, whatever the umask says.
const MODE: u32 = 0o644;

/// How many entries of a directory are looked at for leftovers; /tmp may be large.
const MAX_SCAN: usize = 4096;

/// How many random names are tried; even one clash takes somebody who guesses 64 bits.
const MAX_TRIES: usize = 4;

/// A file that is written again and again as a whole.
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    /// What it holds, in words for errors.
    what: &'static str,
    keep: Keep,
    mode: u32,
    /// Start of the names of our temporary files: hidden, and never ending in `.prom`.
    prefix: String,
    dir: PathBuf,
}

/// How long what was written must last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// As long as the power does: nothing is flushed to the medium.
    WhilePowered,
    /// Beyond a power failure, after which there is the old file or the new one, and never an empty one.
    Lasting,
}

/// Tries whether files can be made in a directory, by writing a small one for a moment.
///
/// # Errors
/// Why not.
pub fn try_dir(dir: &Path) -> io::Result<()> {
    // Anybody may put something under a name that can be foreseen.
    let probe = dir.join(format!(".gatemeter-check-{:016x}", random()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&probe)?;
    // A full file system takes empty files.
    let written = file.write_all(&[b'\n'; 4096]);
    fs::remove_file(&probe)?;
    written
}

/// Device and inode: tells a file put in place from one that has replaced it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// The identity of a file that was looked at.
    pub fn of(found: &Metadata) -> Self {
        Identity { device: found.dev(), inode: found.ino() }
    }
}

impl WholeFile {
    /// Takes `path` as target and removes the temporary files that a killed process has left beside it. `what` says
    /// what the file holds, as in "the page".
    ///
    /// # Errors
    /// The path does not end in a file name.
    pub fn new(path: impl Into<PathBuf>, what: &'static str, keep: Keep) -> Result<WholeFile> {
        let path = path.into();
        let Some(name) = path.file_name() else {
            return Err(Error::failed(
                format!("write {what} to {}", path.display()),
                "this does not end in a file name",
            ));
        };
        let prefix = format!(".{}.gatemeter-", name.to_string_lossy());
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let file = WholeFile { path, what, keep, mode: MODE, prefix, dir };
        file.remove_leftovers();
        Ok(file)
    }

    /// Lets nobody but our user read it, at no moment.
    #[must_use]
    pub fn private(mut self) -> Self {
        self.mode = 0o600;
        self
    }

    /// The target.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the target.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Replaces the file by `bytes`.
    ///
    /// # Errors
    /// The directory cannot be written, the disk is full, or something that is not a file is in the way. The old
    /// file is as it was, and nothing else is left behind.
    pub fn replace(&self, bytes: &[u8]) -> Result<Identity> {
        self.replace_by(|file| file.write_all(bytes))
    }

    /// Replaces the file by what `write` writes.
    ///
    /// # Errors
    /// As [`WholeFile::replace`], and if `write` fails.
    pub fn replace_by(&self, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<Identity> {
        self.check_target()?;
        let (mut file, temporary) = self.create_temporary()?;
        let filled = write(&mut file).and_then(|()| finish(&file, self.keep, self.mode));
        let identity = filled.map_err(|source| self.explain(source))?;
        fs::rename(&temporary.path, &self.path).map_err(|source| self.explain(source))?;
        temporary.keep();
        Ok(identity)
    }

    /// Sees whether the file could be replaced, and leaves it as it is.
    ///
    /// # Errors
    /// As [`WholeFile::replace`].
    pub fn try_to_replace(&self) -> Result<()> {
        self.check_target()?;
        let (mut file, _temporary) = self.create_temporary()?;
        // A full file system takes empty files.
        file.write_all(&[b'\n'; 4096]).map_err(|source| self.explain(source))
    }

    /// A rename would replace a pipe or a device, too, and nobody wants that.
    fn check_target(&self) -> Result<()> {
        let Ok(found) = fs::symlink_metadata(&self.path) else { return Ok(()) };
        let kind = if found.is_symlink() {
            // A link is replaced, wherever it leads: anyone may put one into /tmp. But one that our own user has
            // laid to a device or pipe, such as /dev/stdout, is there to be followed, and that cannot be done safely.
            match fs::metadata(&self.path) {
                Ok(end) if is_ours(&found) => special(&end),
                _ => None,
            }
        } else if found.is_dir() {
            Some("a directory")
        } else {
            special(&found)
        };
        match kind {
            None => Ok(()),
            Some(kind) => {
                Err(Error::failed(self.tried(), format!("it is {kind}")).remedy("give the path of a plain file"))
            }
        }
    }

    fn create_temporary(&self) -> Result<(File, Temporary)> {
        let mut last = io::ErrorKind::AlreadyExists.into();
        for _ in 0..MAX_TRIES {
            let path = self.dir.join(format!("{}{}-{:016x}", self.prefix, std::process::id(), random()));
            let opened = OpenOptions::new()
                .write(true)
                // O_CREAT with O_EXCL: never something that is already there, not even through a link.
                .create_new(true)
                .custom_flags(libc::O_NOFOLLOW)
                .mode(0o600)
                .open(&path);
            match opened {
                Ok(file) => return Ok((file, Temporary { path, keep: false })),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => return Err(self.explain(error)),
            }
        }
        Err(self.explain(last))
    }

    fn remove_leftovers(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for entry in entries.take(MAX_SCAN).flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| self.pid_of_temporary(name)) else { continue };
            // Another daemon with the same target may be in the middle of writing.
            let busy = pid != std::process::id() && Path::new("/proc").join(pid.to_string()).exists();
            let path = entry.path();
            if !busy && fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && is_ours(&found)) {
                match fs::remove_file(&path) {
                    Ok(()) => log::debug!("removed the leftover {}", path.display()),
                    Err(error) => log::debug!("cannot remove the leftover {}: {error}", path.display()),
                }
            }
        }
    }

    /// The process that has written a temporary file of this name, if it is one for our target.
    fn pid_of_temporary(&self, name: &str) -> Option<u32> {
        let (pid, random) = name.strip_prefix(&self.prefix)?.split_once('-')?;
        let is_hex = random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex { pid.parse().ok() } else { None }
    }

    fn tried(&self) -> String {
        format!("write {} {}", self.what, self.path.display())
    }

    fn explain(&self, source: io::Error) -> Error {
        let dir = self.dir.display();
        let remedy = match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => format!("make the directory {dir} first"),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("free some space in {dir}"),
            io::ErrorKind::ReadOnlyFilesystem => {
                format!("{dir} cannot be written, give a path on a tmpfs such as /tmp")
            }
            io::ErrorKind::PermissionDenied => {
                format!("let our user write to {dir}, and remove the file if it is another user's")
            }
            io::ErrorKind::AlreadyExists => format!("somebody keeps putting files into our way in {dir}"),
            _ => return Error::io(self.tried(), source),
        };
        Error::io(self.tried(), source).remedy(remedy)
    }
}

/// The start of a file, of whole lines only.
#[derive(Debug, Default)]
pub struct Lines {
    /// What was read.
    pub bytes: Vec<u8>,
    /// Whether the file is longer, so that lines were left out.
    pub cut: bool,
}

/// Reads a file up to the last line that ends within `limit` bytes; `None` if there is no such file.
///
/// # Errors
/// It cannot be read, or is not a regular file.
pub fn read_lines(path: &Path, limit: u64) -> io::Result<Option<Lines>> {
    open(path)?.map(|(file, _)| lines(file, limit)).transpose()
}

/// Opens a file for reading; `None` if there is no such file. What is known of it is of what was opened, whatever comes in its
/// place meanwhile.
///
/// # Errors
/// It cannot be read, or is not a regular file.
pub fn open(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    let irregular = || io::Error::other("it is not a regular file");
    match fs::metadata(path) {
        // Opening a device may do something, and a named pipe would wait for a writer.
        Ok(metadata) if !metadata.is_file() => return Err(irregular()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok(Some((file, metadata))) } else { Err(irregular()) }
}

/// Reads a file that was opened, up to the last line that ends within `limit` bytes.
///
/// # Errors
/// It cannot be read.
pub fn lines(file: File, limit: u64) -> io::Result<Lines> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    let cut = bytes.len() as u64 > limit;
    if cut {
        // Half a line could be a wrong one.
        let last = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        bytes.truncate(last);
    }
    Ok(Lines { bytes, cut })
}

/// A temporary file, removed when dropped unless it has become the target.
struct Temporary {
    path: PathBuf,
    keep: bool,
}

impl Temporary {
    fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::debug!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Opens the file that has been written to those who may read it.
fn finish(file: &File, keep: Keep, mode: u32) -> io::Result<Identity> {
    file.set_permissions(Permissions::from_mode(mode))?;
    if keep == Keep::Lasting {
        file.sync_all()?;
    }
    Ok(Identity::of(&file.metadata()?))
}

/// Whether our user owns it; the owner of /proc/self is the effective user of this process (proc(5)).
pub fn is_ours(found: &Metadata) -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == found.uid())
}

/// Words for what is neither a file, a directory nor a link.
fn special(found: &Metadata) -> Option<&'static str> {
    let kind = found.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        Some("a device")
    } else if kind.is_fifo() {
        Some("a pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        None
    }
}

/// 64 bits nobody can foresee: the keys of the standard library's hash maps come from the system's random source.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// An empty directory, removed when dropped.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Scratch {
            let path = std::env::temp_dir().join(format!("gatemeter-files-{:016x}", random()));
            fs::create_dir(&path).unwrap();
            Scratch(path)
        }

        fn join(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn names(&self) -> Vec<String> {
            let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<_> = names.collect();
            names.sort();
            names
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn page(dir: &Scratch, name: &str) -> Result<WholeFile> {
        WholeFile::new(dir.join(name), "the page", Keep::WhilePowered)
    }

    #[test]
    fn a_directory_is_tried_under_a_name_that_nobody_foresees() {
        let dir = Scratch::new();
        let theirs = format!(".gatemeter-check-{}", std::process::id());
        fs::write(dir.join(&theirs), "theirs").unwrap();
        try_dir(&dir.0).unwrap();
        assert_eq!(dir.names(), [theirs]);
    }

    #[test]
    fn a_page_replaces_the_one_before_and_leaves_nothing_beside_it() {
        let dir = Scratch::new();
        let file = page(&dir, "a.prom").unwrap();
        file.replace(b"a long first page\n").unwrap();
        file.replace(b"second\n").unwrap();
        assert_eq!(fs::read(dir.join("a.prom")).unwrap(), b"second\n");
        assert_eq!(fs::metadata(dir.join("a.prom")).unwrap().mode() & 0o7777, MODE);
        assert_eq!(dir.names(), ["a.prom"]);
        let failed = file.replace_by(|file| file.write_all(b"half").and(Err(io::ErrorKind::StorageFull.into())));
        assert!(failed.unwrap_err().to_string().contains("free some space"));
        assert_eq!(fs::read(dir.join("a.prom")).unwrap(), b"second\n");
        assert_eq!(dir.names(), ["a.prom"]);
    }

    #[test]
    fn a_reader_sees_whole_pages_only() {
        let dir = Scratch::new();
        let file = page(&dir, "a.prom").unwrap();
        file.replace(&[b'0'; 100_000]).unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                for _ in 0..500 {
                    let page = fs::read(dir.join("a.prom")).unwrap();
                    assert_eq!(page.len(), 100_000);
                    assert!(page.iter().all(|byte| *byte == page[0]));
                }
            });
            for digit in (b'0'..=b'9').cycle().take(500) {
                file.replace(&[digit; 100_000]).unwrap();
            }
            reader.join().unwrap();
        });
    }

    #[test]
    fn a_link_in_the_targets_place_is_replaced_and_what_it_leads_to_stays() {
        let dir = Scratch::new();
        fs::write(dir.join("precious"), "keep me").unwrap();
        symlink(dir.join("precious"), dir.join("a.prom")).unwrap();
        page(&dir, "a.prom").unwrap().replace(b"page").unwrap();
        assert_eq!(fs::read(dir.join("precious")).unwrap(), b"keep me");
        assert!(fs::symlink_metadata(dir.join("a.prom")).unwrap().is_file());
        symlink(dir.join("nowhere"), dir.join("b.prom")).unwrap();
        page(&dir, "b.prom").unwrap().replace(b"page").unwrap();
        assert_eq!(dir.names(), ["a.prom", "b.prom", "precious"]);
    }

    #[test]
    fn what_is_not_a_file_is_refused_by_its_kind() {
        let dir = Scratch::new();
        fs::create_dir(dir.join("folder")).unwrap();
        let _socket = UnixListener::bind(dir.join("socket")).unwrap();
        symlink("/dev/null", dir.join("null")).unwrap();
        let error = |name: &str| page(&dir, name).unwrap().replace(b"page").unwrap_err().to_string();
        assert!(error("folder").ends_with("/folder: it is a directory; give the path of a plain file"));
        assert!(error("socket").ends_with("/socket: it is a socket; give the path of a plain file"));
        assert!(error("null").ends_with("/null: it is a device; give the path of a plain file"));
        assert_eq!(dir.names(), ["folder", "null", "socket"]);
        assert!(WholeFile::new("/", "pages", Keep::WhilePowered).is_err());
        assert!(WholeFile::new("/tmp/..", "pages", Keep::WhilePowered).is_err());
    }

    #[test]
    fn a_missing_directory_is_named() {
        let dir = Scratch::new();
        let error = page(&dir, "none/a.prom").unwrap().replace(b"page").unwrap_err().to_string();
        assert!(error.starts_with("cannot write the page /"), "{error}");
        assert!(error.ends_with(&format!("; make the directory {} first", dir.join("none").display())), "{error}");
    }

    #[test]
    fn leftovers_of_a_killed_process_go_and_all_else_stays() {
        let dir = Scratch::new();
        // No process has this number: the kernel's limit is 4194304.
        let leftover = ".a.prom.gatemeter-4194305-0123456789abcdef";
        let running = format!(".a.prom.gatemeter-{}-0123456789abcdef", std::os::unix::process::parent_id());
        let others =
            ["other.prom", ".b.prom.gatemeter-4194305-0123456789abcdef", ".a.prom.gatemeter-4194305-short", &running];
        for name in others.iter().chain([&leftover]) {
            fs::write(dir.join(name), "").unwrap();
        }
        symlink(dir.join("other.prom"), dir.join(".a.prom.gatemeter-4194305-0000000000000000")).unwrap();
        page(&dir, "a.prom").unwrap();
        let names = dir.names();
        assert!(!names.contains(&leftover.to_owned()), "{names:?}");
        assert_eq!(names.len(), others.len() + 1, "{names:?}");
    }

    #[test]
    fn a_file_that_is_to_last_is_replaced_like_any_other() {
        let dir = Scratch::new();
        let file = WholeFile::new(dir.join("names"), "the names", Keep::Lasting).unwrap();
        let first = file.replace(b"first").unwrap();
        let second = file.replace(b"second").unwrap();
        assert!(first != second && second == Identity::of(&fs::metadata(file.path()).unwrap()));
        assert_eq!(fs::read(dir.join("names")).unwrap(), b"second");
        assert_eq!(dir.names(), ["names"]);
    }

    #[test]
    fn a_long_file_is_read_up_to_its_last_whole_line() {
        let dir = Scratch::new();
        let read = |limit| read_lines(&dir.join("a"), limit).unwrap().map(|lines| (lines.bytes, lines.cut));
        assert_eq!(read(8), None);
        fs::write(dir.join("a"), "one\ntwo\nthree").unwrap();
        assert_eq!(read(13), Some((b"one\ntwo\nthree".to_vec(), false)));
        assert_eq!(read(12), Some((b"one\ntwo\n".to_vec(), true)));
        assert_eq!(read(2), Some((Vec::new(), true)));
        assert_eq!(read_lines(&dir.0, 8).unwrap_err().to_string(), "it is not a regular file");
    }
}
