//! Instructions of classic BPF, for programs by which a socket tells the kernel what to leave out (linux/filter.h).
//!
//! `code` is a sum of libc's `BPF_*`, `k` the number that the instruction is about.

/// An instruction behind which the next one follows.
pub const fn step(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// A comparison that stands at `at` and goes on at `yes` or, if it does not hold, at `no`: numbers of instructions, the
/// first 0, both behind `at`.
pub const fn jump(at: u8, code: u32, k: u32, yes: u8, no: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: yes - at - 1, jf: no - at - 1, k }
}
