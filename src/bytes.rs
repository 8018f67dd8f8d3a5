//! Bounds-checked reads from byte buffers: the only way codecs look at bytes from outside.
//!
//! Every read names the field it is for and the byte order it expects; a short buffer becomes
//! [`Malformed::Truncated`], never a panic.

use crate::error::Malformed;

/// Copies `N` bytes that start at `offset`; `what` names the field in the error.
pub fn take<const N: usize>(buf: &[u8], offset: usize, what: &'static str) -> Result<[u8; N], Malformed> {
    slice(buf, offset, N, what)?.try_into().map_err(|_| Malformed::Value { what, offset })
}

/// Borrows `len` bytes that start at `offset`; `what` names the field in the error.
pub fn slice<'a>(buf: &'a [u8], offset: usize, len: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
    offset.checked_add(len).and_then(|end| buf.get(offset..end)).ok_or(Malformed::Truncated {
        what,
        offset,
        needed: len,
        got: buf.len(),
    })
}

/// Reads a big-endian (network order) 16-bit number.
pub fn be16(buf: &[u8], offset: usize, what: &'static str) -> Result<u16, Malformed> {
    take(buf, offset, what).map(u16::from_be_bytes)
}

/// Reads a big-endian (network order) 32-bit number.
pub fn be32(buf: &[u8], offset: usize, what: &'static str) -> Result<u32, Malformed> {
    take(buf, offset, what).map(u32::from_be_bytes)
}

/// Reads a little-endian 16-bit number, as powerline messages have it.
pub fn le16(buf: &[u8], offset: usize, what: &'static str) -> Result<u16, Malformed> {
    take(buf, offset, what).map(u16::from_le_bytes)
}

/// Reads a little-endian 32-bit number, as powerline messages have it.
pub fn le32(buf: &[u8], offset: usize, what: &'static str) -> Result<u32, Malformed> {
    take(buf, offset, what).map(u32::from_le_bytes)
}

/// Reads a little-endian 64-bit number, as powerline messages have it.
pub fn le64(buf: &[u8], offset: usize, what: &'static str) -> Result<u64, Malformed> {
    take(buf, offset, what).map(u64::from_le_bytes)
}

/// Reads a 16-bit number in the byte order of this machine, as netlink headers have it.
pub fn ne16(buf: &[u8], offset: usize, what: &'static str) -> Result<u16, Malformed> {
    take(buf, offset, what).map(u16::from_ne_bytes)
}

/// Reads a 32-bit number in the byte order of this machine, as netlink headers have it.
pub fn ne32(buf: &[u8], offset: usize, what: &'static str) -> Result<u32, Malformed> {
    take(buf, offset, what).map(u32::from_ne_bytes)
}

/// Reads a 64-bit number in the byte order of this machine, as eBPF maps have it.
pub fn ne64(buf: &[u8], offset: usize, what: &'static str) -> Result<u64, Malformed> {
    take(buf, offset, what).map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_buffer_says_which_field_is_missing_and_where() {
        let error = be32(&[1, 2, 3], 1, "address").unwrap_err();
        assert_eq!(error, Malformed::Truncated { what: "address", offset: 1, needed: 4, got: 3 });
        assert_eq!(error.to_string(), "address needs 4 bytes at offset 1, the message has 3");
    }

    #[test]
    fn an_offset_near_the_end_of_memory_does_not_overflow() {
        assert!(take::<4>(&[0; 8], usize::MAX - 1, "field").is_err());
    }

    #[test]
    fn the_byte_order_is_the_one_in_the_name() {
        assert_eq!(be16(&[0x12, 0x34], 0, "f"), Ok(0x1234));
        assert_eq!(be32(&[0, 0, 1, 2], 0, "f"), Ok(0x102));
        assert_eq!(le16(&[0x34, 0x12], 0, "f"), Ok(0x1234));
        assert_eq!(le32(&[2, 1, 0, 0], 0, "f"), Ok(0x102));
        assert_eq!(le64(&[2, 1, 0, 0, 0, 0, 0, 0], 0, "f"), Ok(0x102));
        assert_eq!(ne32(&7u32.to_ne_bytes(), 0, "f"), Ok(7));
        assert_eq!(ne64(&7u64.to_ne_bytes(), 0, "f"), Ok(7));
    }
}
