//! Many packets in one system call, sent and received, with nothing allocated for any of them.
//!
//! Control messages (cmsg(3)) are written and handed out as the kernel has them, not as C libraries dress them: a header
//! of length (as wide as a pointer), level and type (4 bytes each), native order, and all aligned to a pointer.

mod receive;
mod send;

pub use receive::{ReceiveBatch, Received};
pub use send::{Packet, SendBatch, Sent};

/// The most packets a system call takes (UIO_MAXIOV).
const MOST: usize = 1024;

/// Room for `N` bytes of control messages.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy)]
struct Control<const N: usize>([u8; N]);

/// As many headers as there are packets, and a vector of one piece for each.
fn headers(count: usize) -> (Vec<libc::mmsghdr>, Vec<libc::iovec>) {
    // SAFETY: the header is numbers and pointers, for which all bits zero is a value. Fields that only some C libraries
    // have, to fill up what the kernel takes for one wider number, are zero by that, as they must be.
    let header = unsafe { std::mem::zeroed::<libc::mmsghdr>() };
    let vector = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    (vec![header; count], vec![vector; count])
}
