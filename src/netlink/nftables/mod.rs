//! nf_tables: requests for what there is, transactions that change it, and the answers read back.
//!
//! Bytes to values and back only; [`super::transport`] carries them. All numbers inside attributes are in network
//! order. Dumps do not mark nested attributes as such, so what is nested is known from the schema. Sources:
//! linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h, and libnftnl for what user data holds.

pub mod batch;
pub mod expression;
pub mod read;

use super::build::Datagram;

pub use batch::Batch;
pub use expression::Expression;

/// `NFNL_SUBSYS_NFTABLES`, the upper byte of each message type.
const SUBSYSTEM: u16 = 10;
/// `NFNLGRP_NFTABLES`, the events of all changes, as a bit mask.
pub const GROUP: u32 = 1 << 6;

const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const DUMP: u16 = libc::NLM_F_DUMP as u16;

/// `enum nf_tables_msg_types`.
mod kind {
    pub const NEW_TABLE: u8 = 0;
    pub const GET_TABLE: u8 = 1;
    pub const DELETE_TABLE: u8 = 2;
    pub const NEW_CHAIN: u8 = 3;
    pub const GET_CHAIN: u8 = 4;
    pub const DELETE_CHAIN: u8 = 5;
    pub const NEW_RULE: u8 = 6;
    pub const GET_RULE: u8 = 7;
    pub const DELETE_RULE: u8 = 8;
    pub const NEW_SET: u8 = 9;
    pub const GET_SET: u8 = 10;
    pub const NEW_ELEMENT: u8 = 12;
    pub const GET_ELEMENT: u8 = 13;
    pub const DELETE_ELEMENT: u8 = 14;
    pub const NEW_GENERATION: u8 = 15;
    pub const GET_GENERATION: u8 = 16;
    pub const NEW_OBJECT: u8 = 18;
    pub const GET_OBJECT: u8 = 19;
    pub const NEW_FLOWTABLE: u8 = 22;
    pub const GET_FLOWTABLE: u8 = 23;
}

/// `NFTA_TABLE_*`.
mod table {
    pub const NAME: u16 = 1;
    pub const FLAGS: u16 = 2;
    pub const USE: u16 = 3;
    pub const HANDLE: u16 = 4;
    pub const USERDATA: u16 = 6;
    pub const OWNER: u16 = 7;
}

/// `NFTA_CHAIN_*` and `NFTA_HOOK_*`.
mod chain {
    pub const TABLE: u16 = 1;
    pub const HANDLE: u16 = 2;
    pub const NAME: u16 = 3;
    pub const HOOK: u16 = 4;
    pub const POLICY: u16 = 5;
    pub const USE: u16 = 6;
    pub const TYPE: u16 = 7;
    pub const USERDATA: u16 = 12;
    pub const HOOK_NUMBER: u16 = 1;
    pub const HOOK_PRIORITY: u16 = 2;
}

/// `NFTA_RULE_*`.
mod rule {
    pub const TABLE: u16 = 1;
    pub const CHAIN: u16 = 2;
    pub const HANDLE: u16 = 3;
    pub const EXPRESSIONS: u16 = 4;
    pub const USERDATA: u16 = 7;
}

/// `NFTA_SET_*` and `NFTA_SET_DESC_*`.
mod set {
    pub const TABLE: u16 = 1;
    pub const NAME: u16 = 2;
    pub const FLAGS: u16 = 3;
    pub const KEY_TYPE: u16 = 4;
    pub const KEY_LENGTH: u16 = 5;
    pub const DESCRIPTION: u16 = 9;
    pub const ID: u16 = 10;
    pub const HANDLE: u16 = 16;
    pub const EXPRESSION: u16 = 17;
    pub const DESCRIPTION_SIZE: u16 = 1;
}

/// `NFTA_SET_ELEM_LIST_*` and `NFTA_SET_ELEM_*`.
mod element {
    pub const LIST_TABLE: u16 = 1;
    pub const LIST_SET: u16 = 2;
    pub const LIST_ELEMENTS: u16 = 3;
    pub const KEY: u16 = 1;
    pub const EXPRESSION: u16 = 7;
    pub const EXPRESSIONS: u16 = 11;
}

/// `NFTA_OBJ_*`.
mod object {
    pub const TABLE: u16 = 1;
    pub const NAME: u16 = 2;
    pub const TYPE: u16 = 3;
    pub const DATA: u16 = 4;
}

/// `NFTA_FLOWTABLE_*`.
mod flowtable {
    pub const TABLE: u16 = 1;
    pub const NAME: u16 = 2;
    pub const FLAGS: u16 = 7;
}

/// `NFTA_LIST_ELEM`, each entry of any list.
const LIST_ENTRY: u16 = 1;
/// `NFTA_DATA_VALUE`, the bytes of a key or a constant.
const DATA_VALUE: u16 = 1;
/// `NFT_OBJECT_COUNTER`.
const OBJECT_COUNTER: u32 = 1;

/// The owner's socket alone may change the table (kernel 5.12).
pub const TABLE_OWNER: u32 = 2;
/// The table outlives the socket of its owner (kernel 6.9).
pub const TABLE_PERSIST: u32 = 4;
/// `NFT_SET_EVAL`: packets add elements and run their expressions.
pub const SET_EVAL: u32 = 0x20;

/// The family of a table (`NFPROTO_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// Both IP families.
    Inet = 1,
    /// IPv4.
    Ip = 2,
    /// ARP.
    Arp = 3,
    /// One device.
    Netdev = 5,
    /// Bridges.
    Bridge = 7,
    /// IPv6.
    Ip6 = 10,
}

impl Family {
    /// All of them, as nft lists them.
    pub const ALL: [Family; 6] = [Family::Ip, Family::Ip6, Family::Inet, Family::Arp, Family::Bridge, Family::Netdev];

    /// The word nft has for it.
    pub fn word(self) -> &'static str {
        match self {
            Family::Inet => "inet",
            Family::Ip => "ip",
            Family::Arp => "arp",
            Family::Netdev => "netdev",
            Family::Bridge => "bridge",
            Family::Ip6 => "ip6",
        }
    }

    /// The family that nft has this word for.
    pub fn from_word(word: &str) -> Option<Family> {
        Self::ALL.into_iter().find(|family| family.word() == word)
    }

    fn from_number(number: u8) -> Option<Family> {
        Self::ALL.into_iter().find(|family| *family as u8 == number)
    }
}

/// What a counter has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Count {
    /// Bytes, with IP headers and without Ethernet's.
    pub bytes: u64,
    /// Packets; an aggregated one counts once.
    pub packets: u64,
}

impl std::ops::Add for Count {
    type Output = Count;

    fn add(self, more: Count) -> Count {
        Count { bytes: self.bytes.wrapping_add(more.bytes), packets: self.packets.wrapping_add(more.packets) }
    }
}

/// `struct nfgenmsg`: family, version 0, resource 0.
fn fixed(family: Option<Family>) -> [u8; 4] {
    [family.map_or(0, |family| family as u8), 0, 0, 0]
}

fn message_type(kind: u8) -> u16 {
    SUBSYSTEM << 8 | u16::from(kind)
}

fn request(
    kind: u8,
    flags: u16,
    sequence: u32,
    family: Option<Family>,
    content: impl FnOnce(&mut Datagram),
) -> Vec<u8> {
    let mut datagram = Datagram::new();
    content(datagram.message(message_type(kind), REQUEST | flags, sequence, &fixed(family)));
    datagram.finish()
}

/// Asks for the number of the ruleset's generation: the cheapest question there is.
pub fn get_generation(sequence: u32) -> Vec<u8> {
    request(kind::GET_GENERATION, 0, sequence, None, |_| {})
}

/// Asks for one table.
pub fn get_table(sequence: u32, family: Family, name: &str) -> Vec<u8> {
    request(kind::GET_TABLE, 0, sequence, Some(family), |message| {
        message.text(table::NAME, name);
    })
}

/// Asks for one chain.
pub fn get_chain(sequence: u32, family: Family, table: &str, name: &str) -> Vec<u8> {
    request(kind::GET_CHAIN, 0, sequence, Some(family), |message| {
        message.text(chain::TABLE, table).text(chain::NAME, name);
    })
}

/// Asks for one set, without its elements.
pub fn get_set(sequence: u32, family: Family, table: &str, name: &str) -> Vec<u8> {
    request(kind::GET_SET, 0, sequence, Some(family), |message| {
        message.text(set::TABLE, table).text(set::NAME, name);
    })
}

/// Asks for the elements of a set, one after another.
pub fn dump_elements(sequence: u32, family: Family, table: &str, set: &str) -> Vec<u8> {
    request(kind::GET_ELEMENT, DUMP, sequence, Some(family), |message| {
        message.text(element::LIST_TABLE, table).text(element::LIST_SET, set);
    })
}

/// Asks for the rules of a table, of a chain, or of the whole ruleset. Where the table or the chain is missing there
/// are simply none.
pub fn dump_rules(sequence: u32, table: Option<(Family, &str)>, chain: Option<&str>) -> Vec<u8> {
    request(kind::GET_RULE, DUMP, sequence, table.map(|(family, _)| family), |message| {
        if let Some((_, table)) = table {
            message.text(rule::TABLE, table);
        }
        if let Some(chain) = chain {
            message.text(rule::CHAIN, chain);
        }
    })
}

/// Asks for the named counters of a table, or of all.
pub fn dump_counters(sequence: u32, table: Option<(Family, &str)>) -> Vec<u8> {
    request(kind::GET_OBJECT, DUMP, sequence, table.map(|(family, _)| family), |message| {
        if let Some((_, table)) = table {
            message.text(object::TABLE, table);
        }
        message.be32(object::TYPE, OBJECT_COUNTER);
    })
}

/// Asks for all flow tables.
pub fn dump_flowtables(sequence: u32) -> Vec<u8> {
    request(kind::GET_FLOWTABLE, DUMP, sequence, None, |_| {})
}

#[cfg(test)]
mod tests;
