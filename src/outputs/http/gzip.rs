//! Gzip (RFC 1952) around flate2's deflate. Flate2's own framing counts the checksum with 16 kB of tables, which is
//! faster than a page needs and more than a router wants to hold.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// Magic, deflate, no flags, no time, nothing said of the effort, system unknown.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A page being compressed.
pub(super) struct Gzip {
    deflate: DeflateEncoder<Vec<u8>>,
    checksum: u32,
    length: u32,
}

impl Gzip {
    /// Begins a page that will take about `room` bytes.
    pub(super) fn new(room: usize) -> Gzip {
        let mut packed = Vec::with_capacity(room);
        packed.extend_from_slice(&HEAD);
        // Exposition text shrinks to a tenth even at the fastest level.
        Gzip { deflate: DeflateEncoder::new(packed, Compression::fast()), checksum: !0, length: 0 }
    }

    /// Adds a piece of the page.
    pub(super) fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        self.checksum = checksum(self.checksum, piece);
        self.length = self.length.wrapping_add(piece.len() as u32);
        self.deflate.write_all(piece)
    }

    /// The whole page, compressed.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        let mut packed = self.deflate.finish()?;
        packed.extend_from_slice(&(!self.checksum).to_le_bytes());
        packed.extend_from_slice(&self.length.to_le_bytes());
        Ok(packed)
    }
}

/// CRC-32 of 8 bits, with the polynomial of RFC 1952 section 8.
static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};

fn checksum(before: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(before, |sum, byte| TABLE[usize::from(sum as u8 ^ byte)] ^ sum >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(!checksum(!0, b"123456789"), 0xcbf4_3926);
    }
}
