//! Takes apart what the build script has compressed into the program, of which a router's flash and memory are spared.

use flate2::{Decompress, FlushDecompress, Status};

/// What was compressed by deflate (RFC 1951), without head or tail, from so many bytes: a number in digits, as the build
/// script hands it on.
pub fn unpack(deflated: &[u8], length: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(length.parse().unwrap_or(0));
    // What the build has made is whole and fits.
    let done = Decompress::new(false).decompress_vec(deflated, &mut out, FlushDecompress::Finish);
    debug_assert!(matches!(done, Ok(Status::StreamEnd)), "{done:?}");
    out
}
