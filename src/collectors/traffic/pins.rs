//! What outlives the process: a directory on the BPF file system with the host tables and the TCX links.
//!
//! `PIN_DIR/v1/` holds one layout (see `bpf/src/layout.rs`): the tables under their map names, tables of another size
//! that are still to be merged as `NAME-ID` (no dots: the BPF file system reserves them), one link per direction as `in-IFINDEX` and `out-IFINDEX`, and
//! `clsact-IFINDEX` where the clsact qdisc was added by us. A lock on `PIN_DIR` keeps a second daemon out.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use super::codec::layout::*;
use super::hook::Direction;
use crate::error::{Error, Result};
use crate::sys;

const PERCPU_HASH: u32 = 5;
const PERCPU_ARRAY: u32 = 6;
const NO_PREALLOC: u32 = 1;

/// The locked pin directory.
#[derive(Debug)]
pub struct Pins {
    root: PathBuf,
    dir: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl Pins {
    /// Creates the directory if needed and locks it.
    pub fn lock(root: &Path) -> Result<Pins> {
        let dir = root.join(format!("v{LAYOUT}"));
        let tried = || format!("pin counters in {}", root.display());
        fs::create_dir_all(&dir).map_err(|error| Error::io(tried(), error))?;
        let bpffs = sys::fs::is_bpffs(&dir).map_err(|error| Error::io(tried(), error))?;
        if !bpffs {
            let _ = fs::remove_dir(&dir);
            let _ = fs::remove_dir(root);
            return Err(Error::failed(tried(), "it is not on a BPF file system")
                .remedy("mount one: mount -t bpf bpf /sys/fs/bpf"));
        }
        let lock = File::open(root).map_err(|error| Error::io(tried(), error))?;
        match sys::fs::try_lock(&lock) {
            Ok(true) => Ok(Pins { root: root.to_owned(), dir, _lock: lock }),
            Ok(false) => Err(Error::failed(tried(), "another gatemeter is accounting with them")
                .remedy("stop it first, or give this one no pinning")),
            Err(error) => Err(Error::io(tried(), error)),
        }
    }

    /// Where a map of this layout is pinned.
    pub fn map(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Where the link of an interface is pinned.
    pub fn link(&self, ifindex: u32, direction: Direction) -> PathBuf {
        let name = match direction {
            Direction::In => "in",
            Direction::Out => "out",
        };
        self.dir.join(format!("{name}-{ifindex}"))
    }

    /// Takes our programs off an interface and unpins their links.
    pub fn drop_links(&self, ifindex: u32) {
        for direction in Direction::BOTH {
            let _ = unpin(&self.link(ifindex, direction));
        }
    }

    /// Remembers that the clsact qdisc of the interface is ours; any object serves as the mark.
    pub fn mark_clsact(&self, ifindex: u32, object: BorrowedFd<'_>) -> io::Result<()> {
        match sys::bpf::pin(object, &self.clsact(ifindex)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    /// Whether the clsact qdisc of the interface is ours; forgets it.
    pub fn unmark_clsact(&self, ifindex: u32) -> bool {
        fs::remove_file(self.clsact(ifindex)).is_ok()
    }

    fn clsact(&self, ifindex: u32) -> PathBuf {
        self.dir.join(format!("clsact-{ifindex}"))
    }

    /// Interfaces for which anything is pinned.
    pub fn interfaces(&self) -> Vec<u32> {
        let mut found: Vec<u32> = names(&self.dir)
            .iter()
            .filter_map(|name| name.split_once('-'))
            .filter(|(kind, _)| matches!(*kind, "in" | "out" | "clsact"))
            .filter_map(|(_, ifindex)| ifindex.parse().ok())
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Tables of another size, set aside by [`Pins::prepare`].
    pub fn set_aside(&self, name: &str) -> Vec<PathBuf> {
        let prefix = format!("{name}-");
        names(&self.dir).iter().filter(|file| file.starts_with(&prefix)).map(|file| self.dir.join(file)).collect()
    }

    /// Makes the directory fit for maps of `max_hosts`: removes other layouts and maps of other shapes, and sets tables
    /// of another size aside. Answers what it removed, in words.
    pub fn prepare(&self, max_hosts: u32) -> Result<Vec<String>> {
        let mut removed = self.remove_other_layouts()?;
        let shapes = [
            (HOSTS4_NAME, PERCPU_HASH, KEY4, VALUE, NO_PREALLOC, None),
            (HOSTS6_NAME, PERCPU_HASH, KEY6, VALUE, NO_PREALLOC, None),
            (UNCOUNTED_NAME, PERCPU_ARRAY, 4, UNCOUNTED_VALUE, 0, Some(UNCOUNTED_ENTRIES)),
        ];
        for (name, kind, key, value, flags, entries) in shapes {
            let path = self.map(name);
            let info = match sys::bpf::open_pin(&path) {
                Ok(fd) => sys::bpf::map_info(fd.as_fd()).ok(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io(format!("open {}", path.display()), error)),
            };
            let fits = info.filter(|info| {
                (info.kind, info.key_size as usize, info.value_size as usize, info.flags) == (kind, key, value, flags)
                    && entries.is_none_or(|entries| entries == info.max_entries)
            });
            let Some(info) = fits else {
                removed.extend(remove_all(&self.dir)?);
                break;
            };
            if entries.is_none() && info.max_entries != max_hosts {
                let aside = self.map(&format!("{name}-{}", info.id));
                fs::rename(&path, &aside).map_err(|error| Error::io(format!("set aside {}", path.display()), error))?;
            }
        }
        Ok(removed)
    }

    fn remove_other_layouts(&self) -> Result<Vec<String>> {
        let mut removed = Vec::new();
        for name in names(&self.root) {
            let path = self.root.join(name);
            if path != self.dir && path.is_dir() {
                removed.extend(remove_all(&path)?);
                fs::remove_dir(&path).map_err(|error| Error::io(format!("remove {}", path.display()), error))?;
            }
        }
        Ok(removed)
    }

    /// Removes every pin and both directories. Answers what it removed, in words.
    pub fn remove(self) -> Result<Vec<String>> {
        let mut removed = self.remove_other_layouts()?;
        removed.extend(remove_all(&self.dir)?);
        fs::remove_dir(&self.dir).map_err(|error| Error::io(format!("remove {}", self.dir.display()), error))?;
        match fs::remove_dir(&self.root) {
            Ok(()) => removed.push(format!("directory {}", self.root.display())),
            // The root of a BPF file system, or one that holds what is somebody else's, was not made by us.
            Err(error) if matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::DirectoryNotEmpty) => {}
            Err(error) => return Err(Error::io(format!("remove {}", self.root.display()), error)),
        }
        Ok(removed)
    }
}

fn remove_all(dir: &Path) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for name in names(dir) {
        let path = dir.join(&name);
        unpin(&path).map_err(|error| Error::io(format!("unpin {}", path.display()), error))?;
        removed.push(format!("pin {}", path.display()));
    }
    Ok(removed)
}

/// Removes a pin; what is a link ends at once, not when the kernel finds the time.
fn unpin(path: &Path) -> io::Result<()> {
    if let Ok(object) = sys::bpf::open_pin(path) {
        let _ = sys::bpf::link_detach(object.as_fd());
    }
    fs::remove_file(path)
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}
