//! Answers system calls of a program in the kernel's place (seccomp_unotify(2)): a clock that is set, a kernel that has
//! no memory to answer with. The program is the real one, and all else that it asks for is the kernel's answer.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use crate::lab::sys::checked;

/// `AT_NULL`, `AT_IGNORE` and `AT_SYSINFO_EHDR` of the auxiliary vector: its end, an entry without meaning, and where the
/// kernel's own shared object is, which tells the time without a system call.
const AT_NULL: u64 = 0;
const AT_IGNORE: u64 = 1;
const AT_SYSINFO_EHDR: u64 = 33;
/// Which field of /proc/PID/stat behind the name says where the stack began: "startstack" is the 28th of all, "state" the 3rd.
const STARTSTACK: usize = 28 - 3;

/// A system call of the program.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The thread that makes it.
    pub thread: u32,
    /// Its arguments.
    pub args: [u64; 6],
}

/// What is answered to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// What the kernel answers.
    Kernel,
    /// This error number.
    Error(i32),
    /// That it is done.
    Done,
}

type Answers = dyn Fn(&Call) -> Answer + Send + Sync;

/// Which call is answered, and how.
#[derive(Clone)]
pub struct Supervisor {
    call: libc::c_long,
    /// The value of the first argument, if it matters.
    first: Option<u32>,
    answers: Arc<Answers>,
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Supervisor of call {}", self.call)
    }
}

impl Supervisor {
    /// Answers all calls of a number.
    pub fn new(call: libc::c_long, answers: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        Supervisor { call, first: None, answers: Arc::new(answers) }
    }

    /// Has the program see a wall clock that differs from this machine's by as many seconds as `step` says at the time.
    /// Only what the program asks for is another time: stamps that the kernel puts on packets are those of the real one.
    pub fn wall_clock(step: &Arc<AtomicI64>) -> Self {
        Self::clock(libc::CLOCK_REALTIME, step)
    }

    /// Likewise the clock that only runs: `step` may only grow. What is long is then over at once; a sleep that has begun
    /// still takes as long as it was meant to.
    pub fn running_clock(step: &Arc<AtomicI64>) -> Self {
        Self::clock(libc::CLOCK_MONOTONIC, step)
    }

    fn clock(id: libc::clockid_t, step: &Arc<AtomicI64>) -> Self {
        let step = step.clone();
        let answers = move |call: &Call| {
            let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: `now` is a live timespec, into which the kernel writes.
            checked(unsafe { libc::clock_gettime(id, &raw mut now) }).unwrap();
            let seconds = now.tv_sec + step.load(Ordering::SeqCst);
            let mut time = seconds.to_ne_bytes().to_vec();
            time.extend(now.tv_nsec.to_ne_bytes());
            let memory = File::options().write(true).open(format!("/proc/{}/mem", call.thread));
            match memory.and_then(|memory| memory.write_all_at(&time, call.args[1])) {
                Ok(()) => Answer::Done,
                Err(_) => Answer::Error(libc::EFAULT),
            }
        };
        Supervisor { call: libc::SYS_clock_gettime, first: Some(id as u32), answers: Arc::new(answers) }
    }

    /// Makes `command` start so that its calls come to us; [`Starting::begin`] must follow once it has been started, on the
    /// same thread.
    pub(super) fn attend(&self, command: &mut Command) -> Starting {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (call, first) = (self.call as u32, self.first);
        let hook = move || {
            let listener = install(call, first)?;
            hand_over(&theirs, listener)?;
            // SAFETY: PTRACE_TRACEME uses no other argument. The program stops once it is loaded.
            checked(unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) } as libc::c_int).map(drop)
        };
        // SAFETY: between fork and exec the closure makes system calls on memory that is its own; it allocates nothing and
        // takes no lock.
        unsafe { command.pre_exec(hook) };
        Starting { channel: ours, answers: self.answers.clone() }
    }
}

/// A program that was told to stop once it is loaded.
pub(super) struct Starting {
    channel: UnixStream,
    answers: Arc<Answers>,
}

impl Starting {
    /// Takes the kernel's clock from the program, answers its calls from now on, and lets it go.
    pub(super) fn begin(self, child: &Child) {
        let pid = child.id() as libc::pid_t;
        let mut status = 0;
        // SAFETY: `status` is a live integer that the kernel fills; the child is ours and is not waited for elsewhere.
        checked(unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) }).unwrap();
        assert!(libc::WIFSTOPPED(status), "the program did not stop when it was loaded: {status:#x}");
        without_vdso(pid).unwrap();
        let listener = take_over(&self.channel).unwrap();
        let answers = self.answers;
        thread::spawn(move || answer(&listener, &*answers));
        // SAFETY: PTRACE_DETACH uses neither of the last arguments but as "no signal".
        checked(unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0) } as libc::c_int).unwrap();
    }
}

/// Answers calls until the program is gone.
fn answer(listener: &OwnedFd, answers: &Answers) {
    loop {
        let mut waits = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: `waits` is one live pollfd.
        if unsafe { libc::poll(&raw mut waits, 1, -1) } < 0 {
            continue;
        }
        if waits.revents & libc::POLLIN == 0 {
            return;
        }
        // SAFETY: seccomp_notif is plain numbers, and the kernel wants it zeroed.
        let mut notice: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the request reads and writes one `seccomp_notif`, which `notice` is.
        if unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notice) } < 0 {
            // Whoever called has been interrupted or has ended.
            continue;
        }
        let call = Call { thread: notice.pid, args: notice.data.args };
        let (error, flags) = match answers(&call) {
            Answer::Kernel => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
            Answer::Error(number) => (-number, 0),
            Answer::Done => (0, 0),
        };
        let reply = libc::seccomp_notif_resp { id: notice.id, val: 0, error, flags };
        // SAFETY: the request reads one `seccomp_notif_resp`, which `reply` is. It fails if the caller is gone.
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const reply) };
    }
}

/// Has calls of a number go to whoever holds the descriptor that is returned.
fn install(call: u32, first: Option<u32>) -> io::Result<libc::c_int> {
    let statement = |code: u32, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let load = |offset: usize| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, offset as u32);
    let equal = |jf, value| statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, jf, value);
    let end = |verdict| statement(libc::BPF_RET | libc::BPF_K, 0, verdict);
    // The lower half of the first argument.
    let argument = std::mem::offset_of!(libc::seccomp_data, args) + if cfg!(target_endian = "big") { 4 } else { 0 };
    let mut program = match first {
        Some(first) => [
            load(std::mem::offset_of!(libc::seccomp_data, nr)),
            equal(3, call),
            load(argument),
            equal(1, first),
            end(libc::SECCOMP_RET_USER_NOTIF),
            end(libc::SECCOMP_RET_ALLOW),
        ],
        None => [
            load(std::mem::offset_of!(libc::seccomp_data, nr)),
            equal(1, call),
            end(libc::SECCOMP_RET_USER_NOTIF),
            end(libc::SECCOMP_RET_ALLOW),
            end(libc::SECCOMP_RET_ALLOW),
            end(libc::SECCOMP_RET_ALLOW),
        ],
    };
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: `program` points at `len` live instructions; the kernel copies them during the call.
    let listener =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    checked(listener as libc::c_int)
}

/// Room for one control message with one descriptor, aligned as its header is.
type Control = [u64; 4];

fn message(part: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: msghdr is numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (part, 1);
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE computes a number.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<libc::c_int>() as u32) } as _;
    message
}

fn hand_over(channel: &UnixStream, descriptor: libc::c_int) -> io::Result<()> {
    let (mut byte, mut control) = (0u8, Control::default());
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let message = message(&mut part, &mut control);
    // SAFETY: `message` has room for a control message, so its first one is there.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: CMSG_LEN computes a number.
    let length = unsafe { libc::CMSG_LEN(size_of::<libc::c_int>() as u32) };
    // SAFETY: zero is a value of every field of a cmsghdr.
    let mut filled: libc::cmsghdr = unsafe { std::mem::zeroed() };
    (filled.cmsg_level, filled.cmsg_type, filled.cmsg_len) = (libc::SOL_SOCKET, libc::SCM_RIGHTS, length as _);
    // SAFETY: `header` points into `control`, which is aligned for it and long enough.
    unsafe { header.write(filled) };
    // SAFETY: behind the header there is room for its data.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: one descriptor fits there; where it lies may be any address.
    unsafe { data.cast::<libc::c_int>().write_unaligned(descriptor) };
    // SAFETY: everything that `message` points at is live during the call.
    checked(unsafe { libc::sendmsg(channel.as_raw_fd(), &raw const message, 0) } as libc::c_int).map(drop)
}

fn take_over(channel: &UnixStream) -> io::Result<OwnedFd> {
    let (mut byte, mut control) = (0u8, Control::default());
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut message = message(&mut part, &mut control);
    let flags = libc::MSG_CMSG_CLOEXEC;
    // SAFETY: everything that `message` points at is live, and the kernel writes no more than it says.
    checked(unsafe { libc::recvmsg(channel.as_raw_fd(), &raw mut message, flags) } as libc::c_int)?;
    // SAFETY: the kernel has filled `message`.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    assert!(!header.is_null(), "no descriptor came");
    // SAFETY: there is a control message at `header`.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: it is the one that `hand_over` sent, which holds one descriptor.
    let descriptor = unsafe { data.cast::<libc::c_int>().read_unaligned() };
    // SAFETY: the kernel has just made it for us, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Takes the shared object that the kernel tells the time by away from a program that was just loaded, so that it asks the
/// kernel: its auxiliary vector stands behind its arguments and its environment, each of which ends in zero.
fn without_vdso(pid: libc::pid_t) -> io::Result<()> {
    let mut stat = String::new();
    File::open(format!("/proc/{pid}/stat"))?.read_to_string(&mut stat)?;
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let mut at: u64 = fields[STARTSTACK].parse().map_err(io::Error::other)?;
    let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem"))?;
    let word = |at: u64| -> io::Result<u64> {
        let mut bytes = [0; 8];
        memory.read_exact_at(&mut bytes, at)?;
        Ok(u64::from_ne_bytes(bytes))
    };
    // How many arguments there are comes first.
    at += 8;
    for _ in 0..2 {
        while word(at)? != 0 {
            at += 8;
        }
        at += 8;
    }
    loop {
        match word(at)? {
            AT_NULL => return Ok(()),
            AT_SYSINFO_EHDR => memory.write_all_at(&AT_IGNORE.to_ne_bytes(), at)?,
            _ => {}
        }
        at += 16;
    }
}
