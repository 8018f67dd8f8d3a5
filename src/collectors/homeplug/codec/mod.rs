//! HomePlug AV management messages (MMEs), bytes to values and back. No I/O.
//!
//! A frame is an Ethernet header (destination, source, EtherType in network order) and a message, whose numbers are
//! little-endian: version (MMV) at 14, type (MMTYPE) at 15, then by version and kind a fragment word and the maker's OUI.
//! Frames are padded with zeroes to 60 bytes and the padding is not delimited, so only counts and lengths say where a
//! message ends. [`read`] looks at the header alone; what a message says is read by the module of its family:
//! [`network`] and [`version`] and [`link`] for Qualcomm's own, [`standard`] for those of the specification,
//! [`mediaxtream`] for Broadcom's.

#![deny(clippy::indexing_slicing)]

pub mod link;
pub mod mediaxtream;
pub mod network;
pub mod standard;
pub mod version;

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a wrong index fails the test")]
mod tests;

use std::fmt;

use crate::bytes::{be16, le16, slice, take};
use crate::error::Malformed;
use crate::names::Mac;

/// EtherType of HomePlug AV, AV2 and Green PHY.
pub const HOMEPLUG: u16 = 0x88e1;
/// EtherType of Broadcom's Mediaxtream messages.
pub const MEDIAXTREAM: u16 = 0x8912;
/// Every Qualcomm adapter on the Ethernet side takes what is sent here, and none behind the power line.
pub const LOCAL: Mac = Mac([0x00, 0xb0, 0x52, 0, 0, 1]);
/// Everybody.
pub const BROADCAST: Mac = Mac([0xff; 6]);
/// The shortest frame, without its checksum; adapters ignore what is shorter.
pub const MIN_FRAME: usize = 60;
/// Offset of the message.
const MESSAGE: usize = 14;

/// Qualcomm Atheros, formerly Intellon.
const QUALCOMM: [u8; 3] = [0x00, 0xb0, 0x52];
/// Broadcom, formerly Gigle.
const BROADCOM: [u8; 3] = [0x00, 0x1f, 0x84];
/// By these 16 bytes a Mediaxtream adapter knows that it is to answer a discovery.
const SIGNATURE: [u8; 16] =
    [0xa3, 0x97, 0xa2, 0x55, 0x53, 0xbe, 0xf1, 0xfc, 0xf9, 0x79, 0x6b, 0x52, 0x14, 0x13, 0xe9, 0xe2];

/// CM_MME_ERROR.IND: an adapter does not know a type of message.
pub const ERROR: u16 = 0x6046;

/// What an adapter can be asked. All of them only read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// VS_NW_INFO, version 1: networks, stations and 16-bit rates.
    Networks1,
    /// VS_NW_INFO, version 0: the same with 8-bit rates, all that chips before AR7400 know.
    Networks0,
    /// VS_SW_VER: chip and firmware.
    Version,
    /// VS_LNK_STATS: counters of the link to one peer, in both directions.
    Link(Mac),
    /// CM_NW_INFO: the networks an adapter is in.
    StandardNetworks,
    /// CM_NW_STATS, version 2: 16-bit rates by peer.
    StandardRates2,
    /// CM_NW_STATS, version 1: 8-bit rates by peer.
    StandardRates1,
    /// CC_DISCOVER_LIST: stations and networks that an adapter hears; the one message every maker answers.
    Stations,
    /// Mediaxtream discovery.
    BroadcomDiscover,
    /// Mediaxtream network information.
    BroadcomNetworks,
    /// Mediaxtream rates by peer, in a network.
    BroadcomRates([u8; 7]),
    /// Mediaxtream station information: chip, firmware, uptime.
    BroadcomStation,
}

/// How a message introduces itself.
struct Header {
    ethertype: u16,
    version: u8,
    /// Of the request; the answer's is one more.
    kind: u16,
    oui: Option<[u8; 3]>,
}

impl Question {
    /// One of each kind.
    pub const KINDS: [Question; 12] = [
        Question::Networks1,
        Question::Networks0,
        Question::Version,
        Question::Link(BROADCAST),
        Question::StandardNetworks,
        Question::StandardRates2,
        Question::StandardRates1,
        Question::Stations,
        Question::BroadcomDiscover,
        Question::BroadcomNetworks,
        Question::BroadcomRates([0; 7]),
        Question::BroadcomStation,
    ];

    fn header(self) -> Header {
        let qualcomm = |version, kind| Header { ethertype: HOMEPLUG, version, kind, oui: Some(QUALCOMM) };
        let standard = |version, kind| Header { ethertype: HOMEPLUG, version, kind, oui: None };
        let broadcom = |version, kind| Header { ethertype: MEDIAXTREAM, version, kind, oui: Some(BROADCOM) };
        match self {
            Question::Networks1 => qualcomm(1, 0xa038),
            Question::Networks0 => qualcomm(0, 0xa038),
            Question::Version => qualcomm(0, 0xa000),
            Question::Link(_) => qualcomm(0, 0xa030),
            Question::StandardNetworks => standard(1, 0x6038),
            Question::StandardRates2 => standard(2, 0x6048),
            Question::StandardRates1 => standard(1, 0x6048),
            Question::Stations => standard(1, 0x0014),
            Question::BroadcomDiscover => broadcom(1, 0xa070),
            Question::BroadcomNetworks => broadcom(2, 0xa028),
            Question::BroadcomRates(_) => broadcom(2, 0xa02c),
            Question::BroadcomStation => broadcom(2, 0xa04c),
        }
    }

    /// One bit for each kind of question, whatever it is about.
    pub fn bit(self) -> u16 {
        1 << match self {
            Question::Networks1 => 0,
            Question::Networks0 => 1,
            Question::Version => 2,
            Question::Link(_) => 3,
            Question::StandardNetworks => 4,
            Question::StandardRates2 => 5,
            Question::StandardRates1 => 6,
            Question::Stations => 7,
            Question::BroadcomDiscover => 8,
            Question::BroadcomNetworks => 9,
            Question::BroadcomRates(_) => 10,
            Question::BroadcomStation => 11,
        }
    }

    /// Whether this is a question of that version and type, as refusals name it.
    pub fn is(self, version: u8, kind: u16) -> bool {
        let header = self.header();
        (header.version, header.kind) == (version, kind)
    }

    /// The frame that asks. `sequence` comes back in answers to Mediaxtream questions, other kinds have none.
    pub fn frame(self, source: Mac, destination: Mac, sequence: u8) -> [u8; MIN_FRAME] {
        let Header { ethertype, version, kind, oui } = self.header();
        let mut frame = Builder::new();
        frame.put(&destination.0);
        frame.put(&source.0);
        frame.put(&ethertype.to_be_bytes());
        frame.put(&[version]);
        frame.put(&kind.to_le_bytes());
        if version > 0 {
            // Not in fragments.
            frame.put(&[0, 0]);
        }
        frame.put(oui.as_ref().map_or(&[], |oui| &oui[..]));
        match self {
            // Reads (0) counters of both directions (2), the sum for one peer (0xf8).
            Question::Link(peer) => {
                frame.put(&[0, 2, link::PEER_SUM]);
                frame.put(&peer.0);
            }
            Question::BroadcomDiscover => {
                frame.put(&[sequence]);
                frame.put(&SIGNATURE);
            }
            // Only the networks it is a member of.
            Question::BroadcomNetworks => frame.put(&[sequence, 0, 0]),
            Question::BroadcomRates(nid) => {
                frame.put(&[sequence, 0]);
                frame.put(&nid);
            }
            Question::BroadcomStation => frame.put(&[sequence]),
            _ => {}
        }
        frame.bytes
    }
}

/// A frame that is filled from the front; all of them are far shorter than the shortest frame.
struct Builder {
    bytes: [u8; MIN_FRAME],
    length: usize,
}

impl Builder {
    fn new() -> Self {
        Builder { bytes: [0; MIN_FRAME], length: 0 }
    }

    fn put(&mut self, bytes: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(self.length).zip(bytes) {
            *to = *from;
        }
        self.length += bytes.len();
    }
}

/// A management message, its header read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mme<'a> {
    /// Who sent it.
    pub source: Mac,
    /// EtherType.
    pub ethertype: u16,
    /// Management message version.
    pub version: u8,
    /// Management message type.
    pub kind: u16,
    /// The maker whose message it is, if it is not of the specification.
    pub oui: Option<[u8; 3]>,
    /// The whole frame, so that errors name places in it.
    pub frame: &'a [u8],
    /// Where in the frame the message's own fields begin.
    pub payload: usize,
}

/// How a message fits a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It answers the question.
    Answer,
    /// It would, were it of the maker who was asked.
    Oui,
    /// It would, were it of the version that was asked for.
    Version,
    /// It has nothing to do with it.
    Other,
}

/// Reads the header of a frame.
///
/// # Errors
/// A frame that is too short, or of an EtherType that is not powerline's.
pub fn read(frame: &[u8]) -> Result<Mme<'_>, Malformed> {
    let source = Mac(take(frame, 6, "source address")?);
    let ethertype = be16(frame, 12, "EtherType")?;
    let [version] = take(frame, MESSAGE, "message version")?;
    let kind = le16(frame, MESSAGE + 1, "message type")?;
    // Vendor and manufacturer messages carry an OUI, behind the fragment word that version 0 does not have.
    let is_vendors = matches!(kind >> 13, 0b100 | 0b101);
    let (oui, payload) = match (ethertype, is_vendors, version) {
        (MEDIAXTREAM, ..) => (Some(19), 23),
        (HOMEPLUG, true, 0) => (Some(17), 20),
        (HOMEPLUG, true, _) => (Some(19), 22),
        (HOMEPLUG, false, 0) => (None, 17),
        (HOMEPLUG, false, _) => (None, 19),
        _ => return Err(Malformed::Value { what: "EtherType", offset: 12 }),
    };
    let oui = oui.map(|at| take(frame, at, "OUI")).transpose()?;
    slice(frame, payload, 0, "message")?;
    Ok(Mme { source, ethertype, version, kind, oui, frame, payload })
}

impl Mme<'_> {
    /// Whether this answers `question`, by its header.
    pub fn fit(&self, question: Question) -> Fit {
        let asked = question.header();
        if (self.ethertype, self.kind) != (asked.ethertype, asked.kind | 1) {
            return Fit::Other;
        }
        if self.oui != asked.oui {
            return Fit::Oui;
        }
        let fits = match question {
            Question::Networks1 | Question::Networks0 | Question::Version | Question::Link(_) => {
                self.version == asked.version
            }
            // An adapter may answer in the version it knows; what the fields are is told by the answer's own.
            _ => matches!(self.version, 1 | 2),
        };
        if fits { Fit::Answer } else { Fit::Version }
    }
}

/// Bytes in lower-case hexadecimal digits with colons, as homeplug_exporter writes addresses and network identifiers.
pub struct Colons<'a>(pub &'a [u8]);

impl fmt::Display for Colons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if n == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

/// Text of an adapter, up to its first NUL; what is not UTF-8 is replaced.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).trim_end().to_owned()
}
