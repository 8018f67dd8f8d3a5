//! The operating system, as safe functions: the only folder of this crate where `unsafe` compiles.
//!
//! | file | system calls | why not through a library |
//! |---|---|---|
//! | `alarm` | none: std's `park_timeout` | a timer of async-io wakes a second thread whenever it is set |
//! | `batch` | `sendmmsg`, `recvmmsg` | std sends and receives one packet at a time, and no control messages |
//! | `bpf` | `bpf` | aya takes 400 kB on MIPS, and offers no batch reads, no map sizes and no link by interface index |
//! | `caps` | `capget`, `capset`, `prctl` | to drop privileges after start; std has nothing for it |
//! | `clock` | `clock_gettime` | std does not tell the CPU time of a thread, and panics on 32-bit machines from 2038 on |
//! | `fs` | `statfs`, `mount`, `flock` | to find or mount the BPF file system, and to lock what is pinned on it |
//! | `hardware_stamps` | `ioctl` | a network card takes stamps only when told to |
//! | `interfaces` | `if_nameindex`, `ioctl` | names and kinds of interfaces where no netlink socket is open |
//! | `limits` | `getrlimit`, `setrlimit` | locked memory, before the privilege to lift its limit is given up |
//! | `memory` | `membarrier`, `mallopt` | an order between our writes and running kernel programs; pages that are given back |
//! | `namespace` | `unshare` | std knows no namespaces |
//! | `netlink` | `bind`, `send`, `recvfrom` on `AF_NETLINK` | std knows no netlink sockets |
//! | `packet` | `bind`, `getsockname`, `send`, `recv`, `getsockopt` on `AF_PACKET` | std knows no packet sockets |
//! | `raw` | `recv` | std knows no raw sockets |
//! | `signals` | `sigprocmask`, `signalfd`, `read` | signals as a descriptor the executor can wait for |
//! | `socket` | `socket`, `setsockopt`, `bind` | std opens TCP and UDP only, and has few options |
//! | `tcp` | `listen` | std cannot set options between socket() and bind() |
//! | `timerfd` | defines `timerfd_*` on MIPS | async-io's timers never fire there otherwise |
//! | `timestamps` | `setsockopt` | std has no time stamps of packets |
#![allow(unsafe_code)]

pub mod alarm;
pub mod batch;
pub mod bpf;
pub mod caps;
pub mod clock;
pub mod fs;
pub mod hardware_stamps;
pub mod interfaces;
pub mod limits;
pub mod memory;
pub mod namespace;
pub mod netlink;
pub mod packet;
pub mod raw;
pub mod signals;
pub mod socket;
pub mod tcp;
mod timerfd;
pub mod timestamps;
