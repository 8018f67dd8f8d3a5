//! File system calls the standard library lacks: which file system a path is on, mounting the BPF one, and a lock
//! that ends with its holder.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Whether `path` lies on a BPF file system.
pub fn is_bpffs(path: &Path) -> io::Result<bool> {
    const BPF_FS_MAGIC: u32 = 0xcafe_4a11;
    let name = c_path(path)?;
    let mut record = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `name` is a string that ends in zero; `record` has room for what the kernel writes.
    let result = unsafe { libc::statfs(name.as_ptr(), record.as_mut_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the record is plain numbers, zeroed by us and filled by the kernel.
    let record = unsafe { record.assume_init() };
    // The type of the field differs between machines; the magic is its low 32 bits on all of them.
    Ok(record.f_type as u32 == BPF_FS_MAGIC)
}

/// Mounts a BPF file system on `path`, readable by root only.
pub fn mount_bpffs(path: &Path) -> io::Result<()> {
    let name = c_path(path)?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let (source, kind, options) = (c"bpf".as_ptr(), c"bpf".as_ptr(), c"mode=0700".as_ptr());
    // SAFETY: all four are strings that end in zero and outlive the call.
    let result = unsafe { libc::mount(source, name.as_ptr(), kind, flags, options.cast()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes an exclusive lock on an open file or directory, which ends when the last copy of the descriptor is closed.
/// `false` if somebody else has it.
pub fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: the descriptor is borrowed from `file` and open.
    let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if result == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        error => Err(error),
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_not_a_bpf_file_system() {
        assert!(!is_bpffs(Path::new("/proc")).unwrap());
    }

    #[test]
    fn a_lock_is_refused_to_a_second_holder_and_free_after_the_first() {
        let directory = std::env::temp_dir();
        let first = File::open(&directory).unwrap();
        let second = File::open(&directory).unwrap();
        assert!(try_lock(&first).unwrap());
        assert!(!try_lock(&second).unwrap());
        drop(first);
        assert!(try_lock(&second).unwrap());
    }
}
