//! The operating system, as safe functions: the only folder of this crate where `unsafe` compiles.
//!
//! | file | system calls | why not through a library |
//! |---|---|---|
//! | `caps` | `capget`, `capset`, `prctl` | to drop privileges after start; std has nothing for it |
//! | `limits` | `getrlimit`, `setrlimit` | aya tries it only when a map is refused, and by then the privilege is given up |
//! | `netlink` | `socket`, `bind`, `send`, `recv` on `AF_NETLINK` | std knows no netlink sockets |
//! | `signals` | `sigprocmask`, `signalfd`, `read` | signals as a descriptor the executor can wait for |
//! | `tcp` | `socket`, `setsockopt`, `bind`, `listen` | std cannot set options between socket() and bind() |
#![allow(unsafe_code)]

pub mod bpf;
pub mod caps;
pub mod clock;
pub mod fs;
pub mod limits;
pub mod netlink;
pub mod signals;
pub mod tc;
pub mod tcp;
#[cfg(all(target_arch = "mips", target_env = "musl"))]
mod timerfd;
