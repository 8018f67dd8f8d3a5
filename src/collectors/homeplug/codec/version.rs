//! VS_SW_VER (0xA000): chip and firmware of a Qualcomm adapter, or of its boot loader.
//!
//! Status at 20, device class at 21, length of the text at 22, text at 23. Behind the room for the text come a reserved
//! byte and the chip's identity; how much room there is depends on the firmware, so the identity is looked for in three
//! places and believed where it is a known one. Numbers of open-plc-utils.

#![deny(clippy::indexing_slicing)]

use super::{Mme, text};
use crate::bytes::{le32, slice, take};
use crate::error::Malformed;

/// What a Qualcomm adapter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The chip, or its class if that is not known.
    pub chip: Chip,
    /// Name and version of the firmware, as the adapter has it.
    pub firmware: String,
    /// The firmware does not run: this is the chip's boot loader, which has no network.
    pub is_boot_loader: bool,
}

/// A chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chip {
    /// One with a name.
    Known(&'static str),
    /// The device class of one without.
    Class(u8),
}

impl std::fmt::Display for Chip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Chip::Known(name) => f.write_str(name),
            Chip::Class(class) => write!(f, "class {class:#04x}"),
        }
    }
}

/// Room for the text: of boot loaders and chips before AR7400, of some, and of all others.
const ROOMS: [usize; 3] = [64, 128, 253];
/// What a boot loader calls itself.
const BOOT_LOADER: &str = "BootLoader";

/// Chips by identity.
const IDENTITIES: [(u32, &str); 15] = [
    (0x0000_0042, "INT6000"),
    (0x0000_6300, "INT6300"),
    (0x0000_6400, "INT6400"),
    (0x0000_7400, "AR7400"),
    (0x001c_fc00, "QCA7420"),
    (0x001c_fcfc, "QCA7420"),
    (0x001b_58ec, "QCA6410"),
    (0x001b_58bc, "QCA6411"),
    (0x001b_58ac, "QCA7006AQ"),
    (0x001b_58dc, "QCA7000"),
    (0x001b_589c, "QCA7000"),
    (0x001b_587c, "QCA7005"),
    (0x0f00_1d1a, "QCA7450"),
    (0x0e00_1d1a, "QCA7451"),
    (0x001d_4c00, "QCA7500"),
];
/// The last one's other identity.
const QCA7500_TOO: u32 = 0x001d_4c0f;

/// Reads an answer; none if the adapter says that it failed.
///
/// # Errors
/// An answer that ends before the text does.
pub fn read(mme: &Mme<'_>) -> Result<Option<Version>, Malformed> {
    let (frame, at) = (mme.frame, mme.payload);
    let [status, class, length] = take(frame, at, "version header")?;
    if status != 0 {
        return Ok(None);
    }
    let start = at + 3;
    // The length counts the NUL or it does not, and what is behind the NUL may be anything.
    let firmware = text(slice(frame, start, length.into(), "version text")?);
    let is_boot_loader = firmware == BOOT_LOADER;
    let identity = |room| {
        let identity = le32(frame, start + room + 1, "chip identity").ok()?;
        let identity = if identity == QCA7500_TOO { 0x001d_4c00 } else { identity };
        IDENTITIES.iter().find(|(known, _)| *known == identity).map(|(_, name)| *name)
    };
    let identity = ROOMS.iter().find_map(|room| identity(*room));
    Ok(Some(Version { chip: chip(class, identity, is_boot_loader), firmware, is_boot_loader }))
}

/// The chip of a device class; those that share one are told apart by their identity.
fn chip(class: u8, identity: Option<&'static str>, is_boot_loader: bool) -> Chip {
    if is_boot_loader {
        // Classes of boot loaders are others, and shared by more chips.
        return match (class, identity) {
            (5, Some("INT6400")) => Chip::Known("AR6405"),
            (_, Some(name)) => Chip::Known(name),
            (class, None) => Chip::Class(class),
        };
    }
    let of_class = |names: &[&'static str]| {
        // The first stands for the class where the identity says nothing.
        let told = identity.filter(|name| names.contains(name));
        told.or(names.first().copied()).map_or(Chip::Class(class), Chip::Known)
    };
    match class {
        0x01 => Chip::Known("INT6000"),
        0x02 => Chip::Known("INT6300"),
        0x03 => Chip::Known("INT6400"),
        0x04 => Chip::Known("AR7400"),
        0x05 => Chip::Known("AR6405"),
        0x20 => of_class(&["QCA7420", "QCA7450", "QCA7451"]),
        0x21 => of_class(&["QCA6410", "QCA6411", "QCA7006AQ"]),
        0x22 => of_class(&["QCA7000", "QCA7005"]),
        0x30 => Chip::Known("QCA7500"),
        class => Chip::Class(class),
    }
}
