//! Messages of the HomePlug AV specification itself, which chips of any maker answer: CM_NW_INFO, CM_NW_STATS,
//! CC_DISCOVER_LIST, CM_MME_ERROR. A count, and as many records.

#![deny(clippy::indexing_slicing)]

use super::network::{Network, Role, may_be_adapter};
use super::{ERROR, Mme};
use crate::bytes::{le16, take};
use crate::error::Malformed;
use crate::names::Mac;

/// Rates between an adapter and one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// The peer.
    pub mac: Mac,
    /// From the adapter to its peer, in Mbit/s.
    pub tx: u16,
    /// From the peer to the adapter, in Mbit/s.
    pub rx: u16,
}

/// A station that an adapter hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Its address.
    pub mac: Mac,
    /// Its terminal equipment identifier.
    pub tei: u8,
    /// It is in the adapter's own network.
    pub is_same_network: bool,
}

/// What an adapter did not understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Version of the message.
    pub version: u8,
    /// Type of the message.
    pub kind: u16,
}

/// Bytes of a network in CM_NW_INFO and of one in Mediaxtream's network information.
pub(super) const NETWORK_BYTES: usize = 18;
/// Bytes of a station in CC_DISCOVER_LIST.
const HEARD_BYTES: usize = 12;

/// Reads CM_NW_INFO and adds the networks to `networks`; their stations are not told.
///
/// # Errors
/// A message that ends too early; what comes before stands in `networks`.
pub fn networks(mme: &Mme<'_>, networks: &mut Vec<Network>) -> Result<(), Malformed> {
    records(mme, NETWORK_BYTES, |at| {
        networks.push(network(mme.frame, at, Role::from)?);
        Ok(())
    })
}

/// Identifier 7, short identifier, own identifier, role, coordinator 6: as CM_NW_INFO and Mediaxtream have it.
pub(super) fn network(frame: &[u8], at: usize, role: fn(u8) -> Role) -> Result<Network, Malformed> {
    let [snid, tei, number] = take(frame, at + 7, "network")?;
    Ok(Network {
        nid: take(frame, at, "network identifier")?,
        snid,
        tei,
        role: role(number),
        cco: Mac(take(frame, at + 10, "coordinator")?),
        cco_tei: None,
        stations: Vec::new(),
    })
}

/// Reads CM_NW_STATS; rates have two bytes from version 2 on.
///
/// # Errors
/// The first thing that is wrong; what could be read stands in `rates`.
pub fn rates(mme: &Mme<'_>, rates: &mut Vec<Rates>) -> Result<(), Malformed> {
    if mme.version < 2 {
        return records(mme, 8, |at| {
            let [tx, rx] = take(mme.frame, at + 6, "rates")?;
            push(rates, mme, at, tx.into(), rx.into())
        });
    }
    rates16(mme, u16::MAX, rates)
}

/// Records of an address and two 16-bit rates, of which the bits of `mask` count.
pub(super) fn rates16(mme: &Mme<'_>, mask: u16, rates: &mut Vec<Rates>) -> Result<(), Malformed> {
    records(mme, 10, |at| {
        let (tx, rx) = (le16(mme.frame, at + 6, "rate")?, le16(mme.frame, at + 8, "rate")?);
        push(rates, mme, at, tx & mask, rx & mask)
    })
}

fn push(rates: &mut Vec<Rates>, mme: &Mme<'_>, at: usize, tx: u16, rx: u16) -> Result<(), Malformed> {
    let mac = Mac(take(mme.frame, at, "address of a peer")?);
    if !may_be_adapter(mac) {
        return Err(Malformed::Value { what: "address of a peer", offset: at });
    }
    rates.push(Rates { mac, tx, rx });
    Ok(())
}

/// Reads the stations of CC_DISCOVER_LIST.
///
/// # Errors
/// The first thing that is wrong; what could be read stands in `heard`.
pub fn stations(mme: &Mme<'_>, heard: &mut Vec<Heard>) -> Result<(), Malformed> {
    records(mme, HEARD_BYTES, |at| {
        let mac = Mac(take(mme.frame, at, "address of a station")?);
        let [tei, same] = take(mme.frame, at + 6, "station")?;
        take::<4>(mme.frame, at + 8, "end of a station")?;
        if !may_be_adapter(mac) {
            return Err(Malformed::Value { what: "address of a station", offset: at });
        }
        heard.push(Heard { mac, tei, is_same_network: same == 1 });
        Ok(())
    })
}

/// Reads CM_MME_ERROR: reason, then version and type of what was not understood. None for any other message.
pub fn refusal(mme: &Mme<'_>) -> Option<Refusal> {
    if mme.kind != ERROR || mme.oui.is_some() {
        return None;
    }
    let [version] = take(mme.frame, mme.payload + 1, "refused version").ok()?;
    Some(Refusal { version, kind: le16(mme.frame, mme.payload + 2, "refused type").ok()? })
}

/// Calls `each` with the place of every record behind a count. One with an impossible value is passed over; the first
/// problem is the result.
fn records(mme: &Mme<'_>, bytes: usize, mut each: impl FnMut(usize) -> Result<(), Malformed>) -> Result<(), Malformed> {
    let [count] = take(mme.frame, mme.payload, "number of records")?;
    let mut first = Ok(());
    for n in 0..usize::from(count) {
        let done = each(mme.payload + 1 + n * bytes);
        let is_over = matches!(done, Err(Malformed::Truncated { .. }));
        first = first.and(done);
        if is_over {
            break;
        }
    }
    first
}
