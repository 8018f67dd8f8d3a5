//! VS_NW_INFO (0xA038): the networks an adapter is in, its peers there and the rates to them.
//!
//! Each network's block is followed at once by its own stations. Version 0 has one byte for a rate and version 1 two; the
//! adapter itself is not in its own list. Layouts of open-plc-utils and of captures; see the tests.

#![deny(clippy::indexing_slicing)]

use std::fmt;

use super::Mme;
use crate::bytes::{le16, take};
use crate::error::Malformed;
use crate::names::Mac;

/// A logical network as one adapter sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Network identifier: 54 bits, and the security level in bits 5 and 4 of the last byte.
    pub nid: [u8; 7],
    /// Short network identifier, 0 to 15.
    pub snid: u8,
    /// Terminal equipment identifier of the adapter that answered; 0 if it is not associated.
    pub tei: u8,
    /// Role of the adapter that answered.
    pub role: Role,
    /// The central coordinator.
    pub cco: Mac,
    /// Its terminal equipment identifier, where it is told.
    pub cco_tei: Option<u8>,
    /// Peers of the adapter that answered.
    pub stations: Vec<Station>,
}

/// A peer of an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Station {
    /// Its address.
    pub mac: Mac,
    /// Its terminal equipment identifier, where it is told.
    pub tei: Option<u8>,
    /// The first Ethernet device behind it, if one is known.
    pub bridged: Option<Mac>,
    /// Average rate on the power line from the adapter to its peer, in Mbit/s after error correction; 0 if idle.
    pub tx: u16,
    /// The same from the peer to the adapter.
    pub rx: u16,
    /// Which pair of wires each direction uses; only version 1 tells.
    pub coupling: Option<(Coupling, Coupling)>,
}

/// Which pair of wires a chip with two uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coupling {
    /// Line and neutral.
    Primary,
    /// The second pair.
    Alternate,
}

impl Coupling {
    /// Its name, as plcstat has it, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Coupling::Primary => "primary",
            Coupling::Alternate => "alternate",
        }
    }
}

/// What an adapter does in its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A station.
    Station,
    /// Proxy coordinator.
    Proxy,
    /// Central coordinator.
    Coordinator,
    /// A role there is no name for.
    Other(u8),
}

impl From<u8> for Role {
    fn from(role: u8) -> Self {
        match role {
            0 => Role::Station,
            1 => Role::Proxy,
            2 => Role::Coordinator,
            other => Role::Other(other),
        }
    }
}

impl fmt::Display for Role {
    /// STA, PCO, CCO, or the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Station => f.write_str("STA"),
            Role::Proxy => f.write_str("PCO"),
            Role::Coordinator => f.write_str("CCO"),
            Role::Other(number) => number.fmt(f),
        }
    }
}

/// Where the fields of a network and of a station lie, and how many bytes either has.
struct Layout {
    network: usize,
    snid: usize,
    tei: usize,
    role: usize,
    cco: usize,
    cco_tei: usize,
    count: usize,
    station: usize,
    bda: usize,
    tx: usize,
    rx: usize,
    /// Where the coupling lies; rates have two bytes if there is one.
    coupling: Option<usize>,
}

const VERSION_0: Layout = Layout {
    network: 18,
    snid: 7,
    tei: 8,
    role: 9,
    cco: 10,
    cco_tei: 16,
    count: 17,
    station: 15,
    bda: 7,
    tx: 13,
    rx: 14,
    coupling: None,
};
const VERSION_1: Layout = Layout {
    network: 32,
    snid: 9,
    tei: 10,
    role: 15,
    cco: 16,
    cco_tei: 22,
    count: 26,
    station: 24,
    bda: 10,
    tx: 16,
    rx: 20,
    coupling: Some(18),
};

/// Offset in the message of DATA_LEN, and of what it counts: a reserved byte, the number of networks and all blocks.
const DATA_LEN: usize = 2;
const DATA: usize = 4;

/// Reads the networks of an answer in the layout of its own version, and adds them to `networks`.
///
/// # Errors
/// The first thing that is wrong. What could be read stands in `networks` nevertheless: all before the place where a
/// message ends too early, and the stations around one with an address that no adapter can have.
pub fn read(mme: &Mme<'_>, networks: &mut Vec<Network>) -> Result<(), Malformed> {
    let payload = mme.payload;
    if mme.version == 0 {
        return blocks(mme.frame, payload, &VERSION_0, networks);
    }
    // What lies behind the length that the message has by its own account is padding, whatever the counts say.
    let length = usize::from(le16(mme.frame, payload + DATA_LEN, "length of the networks")?);
    let end = payload + DATA + length;
    blocks(mme.frame.get(..end).unwrap_or(mme.frame), payload + DATA + 1, &VERSION_1, networks)
}

fn blocks(frame: &[u8], mut at: usize, layout: &Layout, networks: &mut Vec<Network>) -> Result<(), Malformed> {
    let [count] = take(frame, at, "number of networks")?;
    at += 1;
    let mut first_problem = None;
    for _ in 0..count {
        let byte = |offset, what| take(frame, at + offset, what).map(|[byte]: [u8; 1]| byte);
        let network = Network {
            nid: take(frame, at, "network identifier")?,
            snid: byte(layout.snid, "short network identifier")?,
            tei: byte(layout.tei, "terminal equipment identifier")?,
            role: byte(layout.role, "role")?.into(),
            cco: Mac(take(frame, at + layout.cco, "coordinator")?),
            cco_tei: Some(byte(layout.cco_tei, "identifier of the coordinator")?),
            stations: Vec::new(),
        };
        let stations = byte(layout.count, "number of stations")?;
        at += layout.network;
        networks.push(network);
        for _ in 0..stations {
            let station = station(frame, at, layout)?;
            if !may_be_adapter(station.mac) {
                first_problem.get_or_insert(Malformed::Value { what: "address of a station", offset: at });
            } else if let Some(network) = networks.last_mut() {
                network.stations.push(station);
            }
            at += layout.station;
        }
    }
    first_problem.map_or(Ok(()), Err)
}

fn station(frame: &[u8], at: usize, layout: &Layout) -> Result<Station, Malformed> {
    let bridged = Mac(take(frame, at + layout.bda, "bridged address")?);
    let [tei] = take(frame, at + 6, "identifier of a station")?;
    let mut station = Station {
        mac: Mac(take(frame, at, "address of a station")?),
        tei: Some(tei),
        bridged: may_be_adapter(bridged).then_some(bridged),
        tx: 0,
        rx: 0,
        coupling: None,
    };
    let Some(coupling) = layout.coupling else {
        let [tx, rx] = take(frame, at + layout.tx, "rates of a station")?;
        (station.tx, station.rx) = (tx.into(), rx.into());
        return Ok(station);
    };
    station.tx = le16(frame, at + layout.tx, "rate to a station")?;
    station.rx = le16(frame, at + layout.rx, "rate from a station")?;
    let [coupling] = take(frame, at + coupling, "coupling")?;
    // The reserved bytes that end a record must be there, too, for it to be whole.
    take::<2>(frame, at + layout.rx + 2, "end of a station")?;
    let pair = |bits| if bits == 0 { Coupling::Primary } else { Coupling::Alternate };
    station.coupling = Some((pair(coupling & 0x0f), pair(coupling >> 4)));
    Ok(station)
}

/// Whether an address can be that of one device: padding, groups and everybody cannot.
pub fn may_be_adapter(mac: Mac) -> bool {
    mac != Mac([0; 6]) && !mac.is_multicast()
}
