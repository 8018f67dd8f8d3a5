//! Signals as a descriptor: blocked in every thread and read when the executor finds time.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::bytes;

/// The signals the daemon answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: stop.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// Bytes of one `struct signalfd_siginfo` (signalfd(2)); its first four are the signal number.
const SIGINFO_BYTES: usize = 128;

/// Blocks SIGTERM, SIGINT and SIGHUP for this thread and all it starts, and returns a non-blocking descriptor that
/// becomes readable when one arrives. Call it before any thread is started.
pub fn open() -> io::Result<OwnedFd> {
    // SAFETY: sigset_t is plain numbers, for which all zeroes is a valid value.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a live sigset_t.
    unsafe { libc::sigemptyset(&raw mut set) };
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: `set` is a live, initialised sigset_t and `signal` a valid signal number.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    // SAFETY: `set` is a live sigset_t; a null old set is allowed.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result));
    }
    // SAFETY: `set` is a live sigset_t; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just returned by signalfd(), so it is open and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reads the next signal; `WouldBlock` if there is none.
pub fn read(fd: &impl AsRawFd) -> io::Result<Signal> {
    let mut buf = [0u8; SIGINFO_BYTES];
    // SAFETY: `fd` is borrowed, so it stays open during the call; the kernel writes at most `buf.len()` bytes.
    let got = unsafe { libc::read(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    match bytes::ne32(&buf, 0, "signal number").map(|number| number as libc::c_int) {
        Ok(libc::SIGHUP) => Ok(Signal::Reload),
        _ => Ok(Signal::Stop),
    }
}
