//! The system calls the lab needs and the standard library lacks: entering a network namespace, packet sockets, tun
//! devices, clocks, signals. The only file of the lab with `unsafe`.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Duration;

/// Moves the calling thread, and no other, into the network namespace behind `netns`.
pub fn enter(netns: &File) -> io::Result<()> {
    // SAFETY: `netns` is borrowed, so its descriptor stays open during the call; setns touches no memory of ours.
    checked(unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// Makes `command` start in the network namespace behind `netns`, in a process group of its own (so that Ctrl-C
/// reaches the lab first, which then ends its processes in order), and die with the thread that started it.
pub fn start_in(command: &mut Command, netns: File) {
    command.process_group(0);
    let hook = move || {
        enter(&netns)?;
        die_with_parent()
    };
    // SAFETY: between fork and exec the closure makes two system calls, allocates nothing and takes no lock.
    unsafe { command.pre_exec(hook) };
}

fn die_with_parent() -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and no pointer.
    checked(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }).map(drop)
}

/// Sends `signal` to a child that has not been waited for, so its pid cannot belong to anybody else.
pub fn signal(child: &Child, signal: i32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    // SAFETY: kill takes two integers.
    checked(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// A raw packet socket on one interface: whole Ethernet frames in and out, no kernel help.
pub struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    /// Opens a socket on `ifname` of the calling thread's namespace that sees every EtherType.
    pub fn open(ifname: &str) -> io::Result<Self> {
        let protocol = u16::try_from(libc::ETH_P_ALL).map_err(io::Error::other)?.to_be();
        // SAFETY: socket takes three integers.
        let raw = checked(unsafe {
            libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(protocol))
        })?;
        // SAFETY: `raw` is a descriptor that was just opened and that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol,
            sll_ifindex: if_index(ifname)?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: `address` is a live sockaddr_ll and `length` is its size; the kernel only reads it.
        checked(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) })?;
        Ok(Self { fd })
    }

    /// Sends one frame, Ethernet header first, no FCS.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: the kernel reads `frame.len()` bytes of the live slice `frame`.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        match usize::try_from(sent) {
            Ok(n) if n == frame.len() => Ok(()),
            Ok(n) => Err(io::Error::other(format!("{n} of {} bytes sent", frame.len()))),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }

    /// Receives one frame; `None` when nothing came within `limit`. Frames we sent ourselves are seen too.
    pub fn receive(&self, limit: Duration) -> io::Result<Option<Vec<u8>>> {
        let mut ready = libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let millis = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: `ready` is one live pollfd, and the count given is one.
        if checked(unsafe { libc::poll(&raw mut ready, 1, millis) })? == 0 {
            return Ok(None);
        }
        let mut frame = vec![0; 65_536];
        // SAFETY: the kernel writes at most `frame.len()` bytes into the live buffer `frame`.
        let got = unsafe { libc::recv(self.fd.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), 0) };
        let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
        frame.truncate(got);
        Ok(Some(frame))
    }
}

/// Makes a tun device in the calling thread's namespace: a read gives one IP packet that was routed to it, a write puts
/// one in; neither blocks. The device lives as long as the file.
pub fn tun(ifname: &str) -> io::Result<File> {
    let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    let flags = libc::c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI).map_err(io::Error::other)?;
    let mut request =
        libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
    if ifname.len() >= request.ifr_name.len() {
        return Err(io::Error::other(format!("{ifname} is too long for the name of an interface")));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(ifname.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: `file` owns the descriptor; `request` is a live ifreq, which is what TUNSETIFF reads and writes.
    checked(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    Ok(file)
}

/// Waits until one of the two can be read, or is broken, or `limit` is over, and tells which; a signal ends it early.
pub fn wait_for_either(fds: [BorrowedFd<'_>; 2], limit: Option<Duration>) -> io::Result<[bool; 2]> {
    let mut wanted = fds.map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    let limit = limit.map(|limit| libc::timespec {
        tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `wanted` holds two live pollfds, which is the count given; `limit` is null or points to a timespec that
    // lives to the end of this function; no signal mask is given.
    match checked(unsafe { libc::ppoll(wanted.as_mut_ptr(), 2, limit, std::ptr::null()) }) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(wanted.map(|fd| fd.revents != 0)),
    }
}

/// What `clock` shows, in nanoseconds: `libc::CLOCK_MONOTONIC` or `libc::CLOCK_REALTIME`.
pub fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a live timespec that the kernel writes to.
    let read = checked(unsafe { libc::clock_gettime(clock, &raw mut now) });
    assert!(read.is_ok(), "there is no clock {clock}");
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Lets the calling thread run as soon as it is awake, before all ordinary ones, and wake without the 50 us that timers
/// may be late.
pub fn be_punctual() -> io::Result<()> {
    // SAFETY: PR_SET_TIMERSLACK takes a number of nanoseconds and no pointer.
    checked(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) })?;
    let urgent = libc::sched_param { sched_priority: 1 };
    // SAFETY: `urgent` is a live sched_param that the kernel only reads; 0 is the calling thread.
    checked(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const urgent) }).map(drop)
}

/// Index of `ifname` in the calling thread's namespace.
pub fn if_index(ifname: &str) -> io::Result<i32> {
    let name = CString::new(ifname)?;
    // SAFETY: `name` is a live string that ends in a zero byte.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => i32::try_from(index).map_err(io::Error::other),
    }
}

/// Takes and keeps the lock that lets one process at a time make or remove namespaces; released on drop.
pub fn exclusive(path: &str) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    loop {
        // SAFETY: `file` owns the descriptor, which stays open during the call.
        match checked(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) }) {
            Ok(_) => return Ok(file),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Turns the -1 of a system call into the error it left behind.
pub fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
