//! Takes powers away from a program before it starts, to see how it lives without them: system calls the kernel lacks,
//! capabilities it was not given, memory it may not lock. The only file of the harness with `unsafe`.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::lab::sys::checked;

/// The capabilities' numbers, from linux/capability.h.
pub const CAP_NET_ADMIN: u32 = 12;
/// Raw and packet sockets.
pub const CAP_NET_RAW: u32 = 13;
/// Mounting, and all of bpf() before 5.8.
pub const CAP_SYS_ADMIN: u32 = 21;
/// bpf() since 5.8.
pub const CAP_BPF: u32 = 39;
/// Instructions of a filter that refuses nothing: one loads the call's number, one allows.
const EMPTY_FILTER: usize = 2;
/// Enough to try every number a kernel may know; unknown ones are refused and that is fine.
const CAP_COUNT: u32 = 64;

/// What the program has to do without; nothing by default.
#[derive(Debug, Clone, Default)]
pub struct Confine {
    denied: Vec<(libc::c_long, i32)>,
    /// Address families of which there are sockets; of all if it is none.
    families: Option<Vec<libc::c_int>>,
    /// Protocols of netlink for which there is no socket.
    no_netlink: Vec<libc::c_int>,
    capabilities: Option<Vec<u32>>,
    memlock: Option<u64>,
    soft_memlock: Option<u64>,
    open_files: Option<u64>,
}

impl Confine {
    /// A kernel built without bpf(): the call fails with ENOSYS.
    pub fn without_bpf() -> Self {
        Self::default().deny(libc::SYS_bpf, libc::ENOSYS)
    }

    /// A kernel without netlink for nf_tables and conntrack, such as one built without CONFIG_NETFILTER_NETLINK.
    pub fn without_netfilter() -> Self {
        Self { no_netlink: vec![libc::NETLINK_NETFILTER], ..Self::default() }
    }

    /// Makes a system call, by its number, fail with `errno`.
    pub fn deny(mut self, call: libc::c_long, errno: i32) -> Self {
        self.denied.push((call, errno));
        self
    }

    /// Refuses sockets of all address families but these, as systemd's RestrictAddressFamilies does.
    pub fn families(mut self, keep: &[libc::c_int]) -> Self {
        self.families = Some(keep.to_vec());
        self
    }

    /// Leaves the program, still run by root, with these capabilities and no other.
    pub fn capabilities(mut self, keep: &[u32]) -> Self {
        self.capabilities = Some(keep.to_vec());
        self
    }

    /// Limits locked memory, in bytes (RLIMIT_MEMLOCK).
    pub fn memlock(mut self, bytes: u64) -> Self {
        self.memlock = Some(bytes);
        self
    }

    /// Limits locked memory, in bytes, and lets the program raise the limit again by itself.
    pub fn soft_memlock(mut self, bytes: u64) -> Self {
        self.soft_memlock = Some(bytes);
        self
    }

    /// Limits open files (RLIMIT_NOFILE).
    pub fn open_files(mut self, count: u64) -> Self {
        self.open_files = Some(count);
        self
    }

    /// Makes `command` start confined, after whatever it was told to do before.
    pub fn apply(&self, command: &mut Command) {
        let confine = self.clone();
        let mut filter = self.filter();
        let hook = move || {
            for (resource, limit) in
                [(libc::RLIMIT_MEMLOCK, confine.memlock), (libc::RLIMIT_NOFILE, confine.open_files)]
            {
                if let Some(limit) = limit {
                    set_limit(resource, limit)?;
                }
            }
            if let Some(soft) = confine.soft_memlock {
                set_soft_limit(libc::RLIMIT_MEMLOCK, soft)?;
            }
            // The filter first: installing it without no_new_privs takes CAP_SYS_ADMIN.
            if filter.len() > EMPTY_FILTER {
                install(&mut filter)?;
            }
            match &confine.capabilities {
                Some(keep) => drop_all_but(keep),
                None => Ok(()),
            }
        };
        // SAFETY: between fork and exec the closure makes system calls on memory that was allocated before the fork;
        // it allocates nothing and takes no lock.
        unsafe { command.pre_exec(hook) };
    }

    /// The classic BPF program: load the call's number, answer each denied one with its errno, look at the family of a
    /// socket if that matters, allow the rest.
    fn filter(&self) -> Vec<libc::sock_filter> {
        let statement = |code: u32, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf, k };
        let load = |offset: usize| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, offset as u32);
        let equal = |jf: u8, k: libc::c_long| statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, jf, k as u32);
        let refuse = |errno: i32| statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | errno as u32);
        // The lower half of an argument.
        let half = if cfg!(target_endian = "big") { 4 } else { 0 };
        let argument = |n: usize| load(std::mem::offset_of!(libc::seccomp_data, args) + 8 * n + half);
        let mut program = Vec::new();
        for &protocol in &self.no_netlink {
            program.extend([
                load(0),
                equal(5, libc::SYS_socket),
                argument(0),
                equal(3, libc::AF_NETLINK.into()),
                argument(2),
                equal(1, protocol.into()),
                refuse(libc::EPROTONOSUPPORT),
            ]);
        }
        program.push(load(0));
        for &(call, errno) in &self.denied {
            program.extend([equal(1, call), refuse(errno)]);
        }
        if let Some(families) = &self.families {
            let count = families.len() as u8;
            program.extend([equal(count + 2, libc::SYS_socket), argument(0)]);
            for (to_the_end, &family) in (1..=count).rev().zip(families) {
                program.push(libc::sock_filter { jt: to_the_end, ..equal(0, family.into()) });
            }
            program.push(refuse(libc::EAFNOSUPPORT));
        }
        program.push(statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW));
        program
    }
}

fn install(filter: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: `program` points at `len` live instructions; the kernel copies them during the call.
    checked(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) }).map(drop)
}

/// Root's capabilities after exec are those of the bounding set.
fn drop_all_but(keep: &[u32]) -> io::Result<()> {
    for capability in (0..CAP_COUNT).filter(|capability| !keep.contains(capability)) {
        // SAFETY: PR_CAPBSET_DROP takes a capability's number and no pointer.
        match checked(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability) }) {
            Err(e) if e.raw_os_error() != Some(libc::EINVAL) => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

fn set_soft_limit(resource: libc::__rlimit_resource_t, soft: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live rlimit that the kernel fills.
    checked(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
    limit.rlim_cur = soft;
    // SAFETY: `limit` is a live rlimit that the kernel only reads.
    checked(unsafe { libc::setrlimit(resource, &raw const limit) }).map(drop)
}

fn set_limit(resource: libc::__rlimit_resource_t, limit: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: `limit` is a live rlimit that the kernel only reads.
    checked(unsafe { libc::setrlimit(resource, &raw const limit) }).map(drop)
}
