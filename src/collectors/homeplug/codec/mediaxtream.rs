//! Mediaxtream, the messages of Broadcom's chips (EtherType 0x8912), as pla-util reads them.

#![deny(clippy::indexing_slicing)]

use super::network::{Network, Role};
use super::standard::{self, Rates};
use super::{Mme, version::Chip};
use crate::bytes::{le32, take};
use crate::error::Malformed;

/// Where the station that answers a discovery is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// On the Ethernet side.
    Local,
    /// Behind the power line.
    Remote,
}

/// What a Broadcom adapter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Station {
    /// The chip, by the number of its design.
    pub chip: Option<Chip>,
    /// Version of the firmware: name, major, minor, build.
    pub firmware: [u8; 4],
    /// Seconds since it was switched on.
    pub uptime: u32,
}

/// Rates have 11 bits; above them stand beam forming, mode and kind of the peer.
const RATE_MASK: u16 = 0x07ff;
/// Bytes of a network in an answer.
const NETWORK_BYTES: usize = standard::NETWORK_BYTES + 1;

/// Reads the interface that an answer to a discovery came in by: two Ethernet ones, two of the power line, others.
///
/// # Errors
/// An answer that is empty.
pub fn discovered(mme: &Mme<'_>) -> Result<Side, Malformed> {
    let [interface] = take(mme.frame, mme.payload, "interface")?;
    Ok(if interface < 2 { Side::Local } else { Side::Remote })
}

/// Reads network information and adds the networks to `networks`; their stations are not told.
///
/// # Errors
/// A message that ends too early; what comes before stands in `networks`.
pub fn networks(mme: &Mme<'_>, networks: &mut Vec<Network>) -> Result<(), Malformed> {
    let [count] = take(mme.frame, mme.payload, "number of networks")?;
    for n in 0..usize::from(count) {
        let at = mme.payload + 1 + n * NETWORK_BYTES;
        networks.push(standard::network(mme.frame, at, role)?);
    }
    Ok(())
}

/// Roles have other numbers here: stations and coordinators without (0, 1) and with (2, 3) a network, and a station that
/// would take over as the coordinator (4).
fn role(number: u8) -> Role {
    match number {
        0 | 2 | 4 => Role::Station,
        1 | 3 => Role::Coordinator,
        other => Role::Other(other),
    }
}

/// Reads rates by peer.
///
/// # Errors
/// The first thing that is wrong; what could be read stands in `rates`.
pub fn rates(mme: &Mme<'_>, rates: &mut Vec<Rates>) -> Result<(), Malformed> {
    standard::rates16(mme, RATE_MASK, rates)
}

/// Reads station information.
///
/// # Errors
/// A message that ends too early.
pub fn station(mme: &Mme<'_>) -> Result<Station, Malformed> {
    let (frame, at) = (mme.frame, mme.payload);
    let chip = match le32(frame, at, "chip version")? {
        0x017f_024e | 0x117f_024e => Some(Chip::Known("BCM60500")),
        0x017f_024f | 0x117f_024f => Some(Chip::Known("BCM60333")),
        0x017f_025a => Some(Chip::Known("BCM60335")),
        _ => None,
    };
    // Versions of micro code, five bytes each, and a text of the boot loader lie in between.
    let [ucodes] = take(frame, at + 24, "number of micro codes")?;
    let uptime = at + 25 + 5 * usize::from(ucodes);
    let [text] = take(frame, uptime + 4, "length of the boot message")?;
    let firmware = le32(frame, uptime + 5 + usize::from(text), "firmware version")?;
    Ok(Station { chip, firmware: firmware.to_be_bytes(), uptime: le32(frame, uptime, "uptime")? })
}

impl Station {
    /// Version of the firmware as text.
    pub fn firmware(&self) -> String {
        let [name, major, minor, build] = self.firmware;
        format!("{name}.{major}.{minor}.{build}")
    }
}
