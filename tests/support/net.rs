//! Namespaces, veth pairs and raw frames for tests and benchmarks on the real kernel.
//!
//! Everything lives in namespaces of the calling thread and ends with it: no trace is left on the machine.

#![allow(dead_code, reason = "each user needs a part of it")]
#![allow(unsafe_code, reason = "the standard library has no namespaces and no packet sockets")]
#![allow(clippy::disallowed_methods, reason = "tests may run ip, tc and bpftool to set up and to check")]

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::Command;

/// Gives the calling thread a network and a mount namespace of its own, with loopback up.
pub fn enter_namespaces() {
    // SAFETY: the call takes flags only and changes nothing but this thread's namespaces.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) };
    assert_eq!(result, 0, "needs root (namespaces): {}", io::Error::last_os_error());
    run("mount --make-rprivate /");
    // What sysfs shows of interfaces belongs to the namespace it was mounted in.
    run("mount -t sysfs sysfs /sys");
    run("ip link set lo up");
    for file in ["all", "default"] {
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{file}/disable_ipv6"), "1");
    }
}

/// Runs a command, words split at spaces, and returns what it prints.
pub fn run(command: &str) -> String {
    try_run(command).unwrap_or_else(|error| panic!("{error}"))
}

/// Like [`run`], with the failure as text.
pub fn try_run(command: &str) -> Result<String, String> {
    let mut words = command.split(' ');
    let program = words.next().unwrap_or_default();
    let output = Command::new(program)
        .args(words)
        .output()
        .map_err(|error| format!("{command}: {error}; apt-get install iproute2 bpftool"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!(
            "{command}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

/// Makes a veth pair, both ends up in this namespace; returns both interface indexes.
pub fn veth(one: &str, other: &str) -> (u32, u32) {
    run(&format!("ip link add {one} type veth peer name {other}"));
    for end in [one, other] {
        run(&format!("ip link set {end} up"));
    }
    (ifindex(one), ifindex(other))
}

/// Index of an interface.
pub fn ifindex(name: &str) -> u32 {
    std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).unwrap().trim().parse().unwrap()
}

/// Mounts a BPF file system of this thread's own and returns a directory to pin in, not created yet.
pub fn pin_dir() -> PathBuf {
    run("mount -t tmpfs tmpfs /mnt");
    std::fs::create_dir("/mnt/bpf").unwrap();
    run("mount -t bpf bpf /mnt/bpf");
    PathBuf::from("/mnt/bpf/gatemeter")
}

/// Keeps the calling thread on one core, by its number from 0.
pub fn stay_on(core: usize) {
    // SAFETY: the set is plain bits, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is alive; a number beyond its end is ignored.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: 0 is the calling thread, and `set` is a live set of the given size.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    assert_eq!(result, 0, "core {core}: {}", io::Error::last_os_error());
}

/// A packet socket that sends raw frames out of one interface.
pub struct Sender(OwnedFd);

impl Sender {
    pub fn new(ifindex: u32) -> Sender {
        // SAFETY: the call takes numbers only.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        assert!(fd >= 0, "packet socket: {}", io::Error::last_os_error());
        // SAFETY: the kernel has just returned this descriptor to us.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the address is plain numbers, for which zero is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = 0;
        address.sll_ifindex = ifindex as i32;
        let size = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: `address` is a live address of the given size.
        let result = unsafe { libc::bind(fd, (&raw const address).cast(), size) };
        assert_eq!(result, 0, "bind: {}", io::Error::last_os_error());
        Sender(socket)
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) {
        // SAFETY: `frame` is a live buffer of the given length.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(sent, frame.len() as isize, "send: {}", io::Error::last_os_error());
    }

    /// Sends one frame whose headers do not lie in the linear part of the packet: only `linear` bytes do. The frame must be longer
    /// than a page.
    pub fn send_scattered(&self, frame: &[u8], linear: u16) {
        const PACKET_VNET_HDR: libc::c_int = 15;
        let one: libc::c_int = 1;
        let (fd, size) = (self.0.as_raw_fd(), size_of::<libc::c_int>() as u32);
        // SAFETY: the option is an integer of the given size.
        let result = unsafe { libc::setsockopt(fd, libc::SOL_PACKET, PACKET_VNET_HDR, (&raw const one).cast(), size) };
        assert_eq!(result, 0, "PACKET_VNET_HDR: {}", io::Error::last_os_error());
        // struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset.
        let mut message = vec![0; 10];
        message[2..4].copy_from_slice(&linear.to_ne_bytes());
        message.extend(frame);
        self.send(&message);
    }

    /// Sends each frame once, many per system call.
    pub fn send_all<'a>(&self, frames: impl Iterator<Item = &'a [u8]>) {
        const AT_ONCE: usize = 64;
        let mut frames = frames.peekable();
        while frames.peek().is_some() {
            let batch: Vec<&[u8]> = frames.by_ref().take(AT_ONCE).collect();
            let mut vectors: Vec<libc::iovec> = batch
                .iter()
                .map(|frame| libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() })
                .collect();
            let mut messages: Vec<libc::mmsghdr> = vectors
                .iter_mut()
                .map(|vector| {
                    // SAFETY: the header is plain numbers and pointers, for which zero is a value.
                    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                    message.msg_hdr.msg_iov = vector;
                    message.msg_hdr.msg_iovlen = 1;
                    message
                })
                .collect();
            let mut done = 0;
            while done < messages.len() {
                let rest = &mut messages[done..];
                // SAFETY: every header points to a vector and every vector to a frame, all alive.
                let sent = unsafe { libc::sendmmsg(self.0.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0) };
                assert!(sent > 0, "sendmmsg: {}", io::Error::last_os_error());
                done += sent as usize;
            }
        }
    }
}

/// Makes the kernel cut what a UDP socket sends into datagrams of `size` bytes, as late as it can.
pub fn segment_udp(socket: &std::net::UdpSocket, size: u16) {
    const UDP_SEGMENT: libc::c_int = 103;
    let size = libc::c_int::from(size);
    let len = size_of::<libc::c_int>() as u32;
    // SAFETY: the option is an integer of the given size.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_UDP, UDP_SEGMENT, (&raw const size).cast(), len) };
    assert_eq!(result, 0, "UDP_SEGMENT: {}", io::Error::last_os_error());
}
