//! What this system has of what accounting needs: small probes that change nothing, and mounting the BPF file system.

use std::io;
use std::path::Path;

use crate::error::{Error, Result};
use crate::sys;

/// Where the BPF file system belongs.
pub const BPFFS: &str = "/sys/fs/bpf";

/// What accounting finds on this system.
#[derive(Debug)]
pub struct Doctor {
    /// Whether bpf(2) can be called: the reason if not.
    pub bpf: Result<()>,
    /// Whether the pin directory lies on a BPF file system; `None` without a pin directory.
    pub bpffs: Option<bool>,
    /// Bytes of memory this process may lock, `None` for no limit. Counts before Linux 5.11 only, and is raised when maps
    /// are made, if that is allowed.
    pub memlock: Option<u64>,
}

/// Looks at this system. `pin_dir` need not exist.
pub fn doctor(pin_dir: Option<&Path>) -> Doctor {
    let bpf = sys::bpf::available().map_err(|error| super::refusal::with_remedy(Error::io("call bpf()", error)));
    Doctor { bpf, bpffs: pin_dir.map(on_bpffs), memlock: sys::memory::memlock_limit() }
}

/// Makes sure that `dir` lies on a BPF file system: mounts one on [`BPFFS`] if that is where `dir` belongs and none is
/// mounted yet. Answers whether it mounted one.
///
/// Fails where mounting is not allowed; counting works without pinning then.
pub fn ensure_bpffs(dir: &Path) -> Result<bool> {
    if on_bpffs(dir) {
        return Ok(false);
    }
    let remedy = "count without pinning, or mount it before: mount -t bpf bpf /sys/fs/bpf";
    let tried = format!("mount a BPF file system for {}", dir.display());
    if !dir.starts_with(BPFFS) {
        return Err(Error::failed(tried, format!("it is not below {BPFFS}")).remedy(remedy));
    }
    match sys::fs::mount_bpffs(Path::new(BPFFS)) {
        Ok(()) => Ok(true),
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy && on_bpffs(dir) => Ok(false),
        Err(error) => Err(Error::io(tried, error).remedy(remedy)),
    }
}

/// Whether the path, or the nearest directory above it that exists, is on a BPF file system.
fn on_bpffs(dir: &Path) -> bool {
    dir.ancestors().find(|dir| dir.exists()).is_some_and(|dir| sys::fs::is_bpffs(dir).unwrap_or(false))
}
