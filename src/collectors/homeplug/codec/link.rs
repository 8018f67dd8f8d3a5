//! VS_LNK_STATS (0xA030): what an adapter has counted on the link to one peer since it was switched on.
//!
//! Status at 20, direction at 21, link at 22, the peer's identifier at 23; then the counters of what was sent and of what
//! was received, as far as asked for, 64 bits each. Layout as plcstat reads it.

#![deny(clippy::indexing_slicing)]

use super::Mme;
use crate::bytes::{le64, take};
use crate::error::Malformed;

/// The link that stands for all links to a peer together.
pub const PEER_SUM: u8 = 0xf8;
/// Both directions.
const BOTH: u8 = 2;
/// Bytes of the counters of what was sent.
const TX_BYTES: usize = 40;

/// Counters of one link. A PHY block has 520 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The peer's terminal equipment identifier.
    pub tei: u8,
    /// Packets (MPDUs) sent that were acknowledged, collided and failed.
    pub tx_mpdus: [u64; 3],
    /// PHY blocks sent that passed and failed.
    pub tx_blocks: [u64; 2],
    /// Packets (MPDUs) received that were acknowledged and failed.
    pub rx_mpdus: [u64; 2],
    /// PHY blocks received that passed and failed.
    pub rx_blocks: [u64; 2],
    /// Bit errors in PHY blocks that passed and failed, before correction.
    pub rx_bit_errors: [u64; 2],
}

/// Reads an answer about both directions; none if the adapter says that it failed, or answers something else.
///
/// # Errors
/// An answer that ends before its counters do.
pub fn read(mme: &Mme<'_>) -> Result<Option<Link>, Malformed> {
    let (frame, at) = (mme.frame, mme.payload);
    let [status, direction, link, tei] = take(frame, at, "link header")?;
    if (status, direction, link) != (0, BOTH, PEER_SUM) {
        return Ok(None);
    }
    let (tx, rx) = (at + 4, at + 4 + TX_BYTES);
    let number = |start: usize, index: usize| le64(frame, start + 8 * index, "link counter");
    let pair = |start, first: usize| Ok([number(start, first)?, number(start, first + 1)?]);
    Ok(Some(Link {
        tei,
        tx_mpdus: [number(tx, 0)?, number(tx, 1)?, number(tx, 2)?],
        tx_blocks: pair(tx, 3)?,
        rx_mpdus: pair(rx, 0)?,
        rx_blocks: pair(rx, 2)?,
        rx_bit_errors: pair(rx, 4)?,
    }))
}
