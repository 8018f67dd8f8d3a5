//! Text files for node_exporter's textfile collector and whoever else reads pages from disk.
//!
//! A whole page enters and replaces the file in one step: it is written to a temporary file in the same directory,
//! which is then renamed, so no reader ever sees a part. The directory may be /tmp, where any user may have put
//! something under our names: the temporary file is only ever a new one, and a link in the target's place is
//! replaced, not followed. Nothing is flushed to the medium: a page lives as long as the power does.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A page is for everyone to read, whatever the umask says.
const MODE: u32 = 0o644;

/// How many entries of a directory are looked at for leftovers; /tmp may be large.
const MAX_SCAN: usize = 4096;

/// How many random names are tried; even one clash takes somebody who guesses 64 bits.
const MAX_TRIES: usize = 4;

/// A file that is written again and again as a whole.
#[derive(Debug)]
pub struct TextFile {
    path: PathBuf,
    /// Start of the names of our temporary files: hidden, and never ending in `.prom`.
    prefix: String,
    dir: PathBuf,
    /// Device and inode of the file last put in place.
    written: Option<(u64, u64)>,
}

impl TextFile {
    /// Takes `path` as target and removes the temporary files that a killed process has left beside it.
    ///
    /// # Errors
    /// The path does not end in a file name.
    pub fn new(path: impl Into<PathBuf>) -> Result<TextFile> {
        let path = path.into();
        let Some(name) = path.file_name() else {
            return Err(Error::failed(
                format!("write pages to {}", path.display()),
                "this does not end in a file name",
            ));
        };
        let prefix = format!(".{}.gatemeter-", name.to_string_lossy());
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let file = TextFile { path, prefix, dir, written: None };
        file.remove_leftovers();
        Ok(file)
    }

    /// The target.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file by `page`. It is written even if nothing has changed: readers take its age for ours.
    ///
    /// # Errors
    /// The directory cannot be written, the disk is full, or something that is not a file is in the way. The old
    /// file is as it was, and nothing else is left behind.
    pub fn write(&mut self, page: &[u8]) -> Result<()> {
        self.check_target()?;
        let (mut file, temporary) = self.create_temporary()?;
        let identity = fill(&mut file, page).map_err(|source| self.explain(source))?;
        fs::rename(&temporary.path, &self.path).map_err(|source| self.explain(source))?;
        temporary.keep();
        self.written = Some(identity);
        Ok(())
    }

    /// Removes the file on a clean stop, if it is still the one last written here.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn remove(&mut self) -> Result<()> {
        let Some(written) = self.written.take() else { return Ok(()) };
        match fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_file() && identity(&found) == written => fs::remove_file(&self.path)
                .map_err(|source| Error::io(format!("remove {}", self.path.display()), source)),
            _ => Ok(()),
        }
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
        format!("write the page {}", self.path.display())
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

/// Writes the page and opens the file to readers; returns its device and inode.
fn fill(file: &mut File, page: &[u8]) -> io::Result<(u64, u64)> {
    file.write_all(page)?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    Ok(identity(&file.metadata()?))
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Whether our user owns it; the owner of /proc/self is the effective user of this process (proc(5)).
fn is_ours(found: &Metadata) -> bool {
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
            let path = std::env::temp_dir().join(format!("gatemeter-textfile-{:016x}", random()));
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

    #[test]
    fn a_page_replaces_the_one_before_and_leaves_nothing_beside_it() {
        let dir = Scratch::new();
        let mut file = TextFile::new(dir.join("a.prom")).unwrap();
        file.write(b"a long first page\n").unwrap();
        file.write(b"second\n").unwrap();
        assert_eq!(fs::read(dir.join("a.prom")).unwrap(), b"second\n");
        assert_eq!(fs::metadata(dir.join("a.prom")).unwrap().mode() & 0o7777, MODE);
        assert_eq!(dir.names(), ["a.prom"]);
    }

    #[test]
    fn a_reader_sees_whole_pages_only() {
        let dir = Scratch::new();
        let mut file = TextFile::new(dir.join("a.prom")).unwrap();
        file.write(&[b'0'; 100_000]).unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                for _ in 0..500 {
                    let page = fs::read(dir.join("a.prom")).unwrap();
                    assert_eq!(page.len(), 100_000);
                    assert!(page.iter().all(|byte| *byte == page[0]));
                }
            });
            for digit in (b'0'..=b'9').cycle().take(500) {
                file.write(&[digit; 100_000]).unwrap();
            }
            reader.join().unwrap();
        });
    }

    #[test]
    fn a_link_in_the_targets_place_is_replaced_and_what_it_leads_to_stays() {
        let dir = Scratch::new();
        fs::write(dir.join("precious"), "keep me").unwrap();
        symlink(dir.join("precious"), dir.join("a.prom")).unwrap();
        TextFile::new(dir.join("a.prom")).unwrap().write(b"page").unwrap();
        assert_eq!(fs::read(dir.join("precious")).unwrap(), b"keep me");
        assert!(fs::symlink_metadata(dir.join("a.prom")).unwrap().is_file());
        symlink(dir.join("nowhere"), dir.join("b.prom")).unwrap();
        TextFile::new(dir.join("b.prom")).unwrap().write(b"page").unwrap();
        assert_eq!(dir.names(), ["a.prom", "b.prom", "precious"]);
    }

    #[test]
    fn what_is_not_a_file_is_refused_by_its_kind() {
        let dir = Scratch::new();
        fs::create_dir(dir.join("folder")).unwrap();
        let _socket = UnixListener::bind(dir.join("socket")).unwrap();
        symlink("/dev/null", dir.join("null")).unwrap();
        let error = |name: &str| TextFile::new(dir.join(name)).unwrap().write(b"page").unwrap_err().to_string();
        assert!(error("folder").ends_with("/folder: it is a directory; give the path of a plain file"));
        assert!(error("socket").ends_with("/socket: it is a socket; give the path of a plain file"));
        assert!(error("null").ends_with("/null: it is a device; give the path of a plain file"));
        assert_eq!(dir.names(), ["folder", "null", "socket"]);
        assert!(TextFile::new("/").is_err());
        assert!(TextFile::new("/tmp/..").is_err());
    }

    #[test]
    fn a_missing_directory_is_named() {
        let dir = Scratch::new();
        let error = TextFile::new(dir.join("none/a.prom")).unwrap().write(b"page").unwrap_err().to_string();
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
        TextFile::new(dir.join("a.prom")).unwrap();
        let names = dir.names();
        assert!(!names.contains(&leftover.to_owned()), "{names:?}");
        assert_eq!(names.len(), others.len() + 1, "{names:?}");
    }

    #[test]
    fn a_clean_stop_removes_our_file_and_nobody_elses() {
        let dir = Scratch::new();
        let mut file = TextFile::new(dir.join("a.prom")).unwrap();
        file.write(b"page").unwrap();
        file.remove().unwrap();
        assert!(dir.names().is_empty());
        file.remove().unwrap();

        file.write(b"page").unwrap();
        fs::write(dir.join("new"), "of another program").unwrap();
        fs::rename(dir.join("new"), dir.join("a.prom")).unwrap();
        file.remove().unwrap();
        assert_eq!(fs::read(dir.join("a.prom")).unwrap(), b"of another program");
    }
}
