//! What a rule is made of: its expressions, run in order until one does not match.

use super::{Count, DATA_VALUE, Datagram, LIST_ENTRY};

/// `NFTA_EXPR_*`.
pub(super) const NAME: u16 = 1;
pub(super) const DATA: u16 = 2;
/// `NFTA_COUNTER_*`.
pub(super) const COUNTER_BYTES: u16 = 1;
pub(super) const COUNTER_PACKETS: u16 = 2;
/// `NFTA_OBJREF_*`.
pub(super) const REFERENCE_TYPE: u16 = 1;
pub(super) const REFERENCE_NAME: u16 = 2;
/// `NFTA_IMMEDIATE_*`, `NFTA_DATA_VERDICT`, `NFTA_VERDICT_*`.
pub(super) const IMMEDIATE_REGISTER: u16 = 1;
pub(super) const IMMEDIATE_DATA: u16 = 2;
pub(super) const DATA_VERDICT: u16 = 2;
pub(super) const VERDICT_CODE: u16 = 1;
pub(super) const VERDICT_CHAIN: u16 = 2;
/// `NFT_RETURN` and `NFT_JUMP`, which count down from -1.
const RETURN: i32 = -5;
pub(super) const JUMP: i32 = -3;
/// `NFT_REG_VERDICT`.
const VERDICT_REGISTER: u32 = 0;
/// `IFNAMSIZ`: names of interfaces are compared with all the NULs behind them.
const IFNAME_BYTES: usize = 16;

/// The first of the four registers of 16 bytes.
pub const FIRST: u32 = 1;
/// The second.
pub const SECOND: u32 = 2;

/// What a packet is, apart from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Meta {
    /// `NFT_META_IIFNAME`: the name of the interface it came in by, 16 bytes.
    InputName = 6,
    /// `NFT_META_OIFNAME`: the name of the interface it goes out by, 16 bytes.
    OutputName = 7,
    /// `NFT_META_NFPROTO`: its family, one byte, [`super::Family::Ip`] or [`super::Family::Ip6`].
    Family = 15,
}

/// One expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// Loads what a packet is into the first register.
    Meta(Meta),
    /// Loads bytes of the network header into the first register.
    Network {
        /// Where they begin.
        offset: u32,
        /// How many there are.
        length: u32,
    },
    /// Puts those bits of the first register that the mask has into the second.
    Mask(Vec<u8>),
    /// Goes on only if a register begins with these bytes.
    Equals {
        /// [`FIRST`] or [`SECOND`].
        register: u32,
        /// What it must begin with.
        value: Vec<u8>,
    },
    /// Counts, from a value on.
    Counter(Count),
    /// Finds or adds the first register in a set and runs its counter.
    Update(&'static str),
    /// Ends the chain.
    Return,
    /// Goes through another chain first.
    Jump(String),
}

impl Expression {
    /// Goes on only if the first register holds the name of this interface.
    pub fn ifname(name: &str) -> Expression {
        let mut value = name.as_bytes().to_vec();
        value.resize(IFNAME_BYTES, 0);
        Expression::Equals { register: FIRST, value }
    }

    /// Goes on only if the first register begins with these bytes.
    pub fn equals(value: impl Into<Vec<u8>>) -> Expression {
        Expression::Equals { register: FIRST, value: value.into() }
    }

    /// Writes it as an entry of a list.
    pub(super) fn write_entry(&self, list: &mut Datagram) {
        list.nested(LIST_ENTRY, |entry| self.write(entry));
    }

    /// Writes it where only one can stand.
    pub(super) fn write(&self, out: &mut Datagram) {
        match self {
            Expression::Meta(key) => out.text(NAME, "meta").nested(DATA, |data| {
                data.be32(2, *key as u32).be32(1, FIRST);
            }),
            Expression::Network { offset, length } => out.text(NAME, "payload").nested(DATA, |data| {
                // NFT_PAYLOAD_NETWORK_HEADER is 1.
                data.be32(1, FIRST).be32(2, 1).be32(3, *offset).be32(4, *length);
            }),
            Expression::Mask(mask) => out.text(NAME, "bitwise").nested(DATA, |data| {
                data.be32(1, FIRST).be32(2, SECOND).be32(3, mask.len() as u32);
                data.nested(4, |value| {
                    value.attribute(DATA_VALUE, mask);
                });
                data.nested(5, |value| {
                    value.attribute(DATA_VALUE, &vec![0; mask.len()]);
                });
            }),
            Expression::Equals { register, value } => out.text(NAME, "cmp").nested(DATA, |data| {
                // NFT_CMP_EQ is 0.
                data.be32(1, *register).be32(2, 0).nested(3, |constant| {
                    constant.attribute(DATA_VALUE, value);
                });
            }),
            Expression::Counter(count) => out.text(NAME, "counter").nested(DATA, |data| {
                data.be64(COUNTER_BYTES, count.bytes).be64(COUNTER_PACKETS, count.packets);
            }),
            Expression::Update(set) => out.text(NAME, "dynset").nested(DATA, |data| {
                // NFT_DYNSET_OP_UPDATE is 1. The counter is that of the set, but kernels before 5.11 make elements
                // without one unless it is said here again; where both are said they must be the same.
                data.text(1, set).be32(3, 1).be32(4, FIRST).nested(7, |counter| {
                    Expression::Counter(Count::default()).write(counter);
                });
            }),
            Expression::Return => verdict(out, RETURN, None),
            Expression::Jump(chain) => verdict(out, JUMP, Some(chain)),
        };
    }
}

fn verdict<'a>(out: &'a mut Datagram, code: i32, chain: Option<&str>) -> &'a mut Datagram {
    out.text(NAME, "immediate").nested(DATA, |data| {
        data.be32(IMMEDIATE_REGISTER, VERDICT_REGISTER).nested(IMMEDIATE_DATA, |value| {
            value.nested(DATA_VERDICT, |verdict| {
                verdict.be32(VERDICT_CODE, code as u32);
                if let Some(chain) = chain {
                    verdict.text(VERDICT_CHAIN, chain);
                }
            });
        });
    })
}
