//! Conntrack over netlink: entries of a dump or an event, totals, and a filter for events
//! (linux/netfilter/nfnetlink_conntrack.h, linux/netfilter/nf_conntrack_common.h).
//!
//! All numbers below the attribute headers are in network order. What the kernel leaves out is left out here, too: an
//! update tells the TCP state only where it changed, and counters are missing where accounting is off.

use std::net::IpAddr;

use super::{Message, known, tail};
use crate::bytes::{be16, be32, take};
use crate::classic_bpf::{jump, step};
use crate::error::Malformed;

/// The multicast groups of entries that are new, changed and gone, as a bit mask with group 1 as the lowest bit.
pub const GROUP_NEW: u32 = 1;
/// See [`GROUP_NEW`].
pub const GROUP_UPDATE: u32 = 1 << 1;
/// See [`GROUP_NEW`].
pub const GROUP_DESTROY: u32 = 1 << 2;

/// `IPCTNL_MSG_CT_*` of the subsystem `NFNL_SUBSYS_CTNETLINK`, which is the upper byte.
const NEW: u16 = 0x0100;
const GET: u16 = 0x0101;
const DELETE: u16 = 0x0102;
const GET_STATS: u16 = 0x0105;

/// `struct nfgenmsg`: family 1, version 1, resource 2. Family 0 means all.
const NFGENMSG: [u8; 4] = [0; 4];

/// `enum ctattr_type` and those nested in it.
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_COUNTERS_ORIG: u16 = 9;
const CTA_COUNTERS_REPLY: u16 = 10;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_TUPLE_ZONE: u16 = 3;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_PROTO_ICMP_ID: u16 = 4;
const CTA_PROTO_ICMP_TYPE: u16 = 5;
const CTA_PROTO_ICMP_CODE: u16 = 6;
const CTA_PROTO_ICMPV6_ID: u16 = 7;
const CTA_PROTO_ICMPV6_TYPE: u16 = 8;
const CTA_PROTO_ICMPV6_CODE: u16 = 9;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
const CTA_COUNTERS_PACKETS: u16 = 1;
const CTA_COUNTERS_BYTES: u16 = 2;
const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
const CTA_STATS_GLOBAL_MAX_ENTRIES: u16 = 2;

/// `enum ip_conntrack_status`: the other end has answered.
const SEEN_REPLY: u32 = 1 << 1;
/// The kernel takes it for lasting: a TCP handshake that is over, or UDP that goes on.
const ASSURED: u32 = 1 << 2;
/// It is being removed.
const DYING: u32 = 1 << 9;
/// Its packets pass by in a flowtable, in software or in hardware.
const OFFLOAD: u32 = 1 << 14;
const HW_OFFLOAD: u32 = 1 << 15;

/// The addresses and ports of one direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Who sends.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Source and destination port; for ICMP the identifier, and type and code in one number; 0 where there is none.
    pub ports: [u16; 2],
}

/// What a flow has moved in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// Packets; an aggregated one counts once.
    pub packets: u64,
    /// Bytes, with IP headers.
    pub bytes: u64,
}

/// States of a TCP connection (`enum tcp_conntrack`), told by the packets that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpState {
    /// Nobody has answered.
    SynSent = 1,
    /// Half open.
    SynRecv = 2,
    /// Open.
    Established = 3,
    /// One side has closed.
    FinWait = 4,
    /// One side has closed, which the other has acknowledged.
    CloseWait = 5,
    /// Both sides have closed.
    LastAck = 6,
    /// Both sides have closed and know it of each other.
    TimeWait = 7,
    /// Reset.
    Close = 8,
    /// Both sides have called at the same time.
    SynSent2 = 9,
}

impl TcpState {
    const ALL: [TcpState; 9] = [
        TcpState::SynSent,
        TcpState::SynRecv,
        TcpState::Established,
        TcpState::FinWait,
        TcpState::CloseWait,
        TcpState::LastAck,
        TcpState::TimeWait,
        TcpState::Close,
        TcpState::SynSent2,
    ];

    /// The state of a number in netlink; none for one that no kernel uses.
    fn from_number(number: u8) -> Option<TcpState> {
        Self::ALL.into_iter().find(|state| *state as u8 == number)
    }

    /// The state by the name it has in /proc/net/nf_conntrack.
    pub fn from_name(name: &str) -> Option<TcpState> {
        const NAMES: [&str; 9] = [
            "SYN_SENT",
            "SYN_RECV",
            "ESTABLISHED",
            "FIN_WAIT",
            "CLOSE_WAIT",
            "LAST_ACK",
            "TIME_WAIT",
            "CLOSE",
            "SYN_SENT2",
        ];
        NAMES.iter().position(|known| *known == name).and_then(|at| Self::ALL.get(at).copied())
    }
}

/// One flow, as far as a message tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Tells flows of the same addresses and ports apart that follow each other; 0 if the kernel does not say.
    pub id: u32,
    /// Its conntrack zone, 0 by default.
    pub zone: u16,
    /// The direction of its first packet.
    pub original: Tuple,
    /// The direction of answers, with the addresses that NAT has put in.
    pub reply: Tuple,
    /// Whether anybody has answered.
    pub replied: bool,
    /// Whether it is being removed.
    pub dying: bool,
    /// Whether its packets pass by in a flowtable.
    pub offloaded: bool,
    /// Its TCP state; none for other protocols, and where it has not changed.
    pub tcp: Option<TcpState>,
    /// What it has moved in the original direction and back; none if that is not counted.
    pub moved: Option<[Moved; 2]>,
}

/// A message about a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It is there: new, changed, or part of a dump.
    Known(Entry),
    /// It is gone.
    Gone(Entry),
}

/// How full the kernel's table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Flows in it.
    pub entries: u32,
    /// Flows it has room for; 0 if the kernel does not say.
    pub max: u32,
}

/// Asks for all flows of IPv4 and IPv6.
pub fn dump(sequence: u32) -> Vec<u8> {
    super::request(GET, (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16, sequence, &NFGENMSG)
}

/// Asks for [`Stats`].
pub fn stats(sequence: u32) -> Vec<u8> {
    super::request(GET_STATS, libc::NLM_F_REQUEST as u16, sequence, &NFGENMSG)
}

/// Decodes a message of a dump or an event; nothing for a message that is about no flow, and for a flow of neither IPv4
/// nor IPv6.
pub fn decode(message: &Message<'_>) -> Result<Option<Event>, Malformed> {
    match message.kind {
        NEW => Ok(entry(message.body)?.map(Event::Known)),
        DELETE => Ok(entry(message.body)?.map(Event::Gone)),
        _ => Ok(None),
    }
}

/// Decodes the answer to [`stats`].
pub fn decode_stats(message: &Message<'_>) -> Result<Option<Stats>, Malformed> {
    if message.kind != GET_STATS {
        return Ok(None);
    }
    let mut stats = Stats::default();
    for attribute in known(tail(message.body, NFGENMSG.len(), "conntrack attributes")?) {
        match attribute.kind {
            CTA_STATS_GLOBAL_ENTRIES => stats.entries = be32(attribute.value, 0, "number of flows")?,
            CTA_STATS_GLOBAL_MAX_ENTRIES => stats.max = be32(attribute.value, 0, "most flows")?,
            _ => {}
        }
    }
    Ok(Some(stats))
}

fn entry(body: &[u8]) -> Result<Option<Entry>, Malformed> {
    let (mut original, mut reply) = (None, None);
    let (mut id, mut zone, mut status, mut tcp) = (0, 0, 0, None);
    let (mut sent, mut answered) = (None, None);
    for attribute in known(tail(body, NFGENMSG.len(), "conntrack attributes")?) {
        let value = attribute.value;
        match attribute.kind {
            CTA_TUPLE_ORIG => {
                let (tuple, own_zone) = tuple(value)?;
                original = tuple;
                zone = own_zone.unwrap_or(zone);
            }
            CTA_TUPLE_REPLY => reply = tuple(value)?.0,
            CTA_STATUS => status = be32(value, 0, "flow status")?,
            CTA_PROTOINFO => tcp = tcp_state(value)?,
            CTA_COUNTERS_ORIG => sent = moved(value)?,
            CTA_COUNTERS_REPLY => answered = moved(value)?,
            CTA_ID => id = be32(value, 0, "flow identifier")?,
            CTA_ZONE => zone = be16(value, 0, "flow zone")?,
            _ => {}
        }
    }
    let Some(original) = original else { return Ok(None) };
    // Without a reply tuple there is no NAT to know of: answers come from where the first packet went.
    let [from, to] = original.ports;
    let plain = Tuple { source: original.destination, destination: original.source, ports: [to, from], ..original };
    Ok(Some(Entry {
        id,
        zone,
        original,
        reply: reply.unwrap_or(plain),
        replied: status & SEEN_REPLY != 0,
        dying: status & DYING != 0,
        offloaded: status & (OFFLOAD | HW_OFFLOAD) != 0,
        tcp,
        moved: sent.zip(answered).map(|(sent, answered)| [sent, answered]),
    }))
}

/// Addresses, protocol and ports of one direction, and its zone if it has one of its own.
fn tuple(buf: &[u8]) -> Result<(Option<Tuple>, Option<u16>), Malformed> {
    let (mut source, mut destination, mut zone) = (None, None, None);
    let (mut protocol, mut ports) = (0, [0; 2]);
    for attribute in known(buf) {
        match attribute.kind {
            CTA_TUPLE_IP => {
                for attribute in known(attribute.value) {
                    let value = attribute.value;
                    match attribute.kind {
                        CTA_IP_V4_SRC => source = Some(take::<4>(value, 0, "IPv4 source")?.into()),
                        CTA_IP_V4_DST => destination = Some(take::<4>(value, 0, "IPv4 destination")?.into()),
                        CTA_IP_V6_SRC => source = Some(take::<16>(value, 0, "IPv6 source")?.into()),
                        CTA_IP_V6_DST => destination = Some(take::<16>(value, 0, "IPv6 destination")?.into()),
                        _ => {}
                    }
                }
            }
            CTA_TUPLE_PROTO => (protocol, ports) = transport(attribute.value)?,
            CTA_TUPLE_ZONE => zone = Some(be16(attribute.value, 0, "tuple zone")?),
            _ => {}
        }
    }
    let ends = source.zip(destination);
    Ok((ends.map(|(source, destination)| Tuple { source, destination, protocol, ports }), zone))
}

fn transport(buf: &[u8]) -> Result<(u8, [u16; 2]), Malformed> {
    let (mut protocol, [mut from, mut to]) = (0, [0; 2]);
    for attribute in known(buf) {
        let value = attribute.value;
        match attribute.kind {
            CTA_PROTO_NUM => [protocol] = take(value, 0, "protocol number")?,
            CTA_PROTO_SRC_PORT => from = be16(value, 0, "source port")?,
            CTA_PROTO_DST_PORT => to = be16(value, 0, "destination port")?,
            CTA_PROTO_ICMP_ID | CTA_PROTO_ICMPV6_ID => from = be16(value, 0, "ICMP identifier")?,
            CTA_PROTO_ICMP_TYPE | CTA_PROTO_ICMPV6_TYPE => {
                let [kind] = take(value, 0, "ICMP type")?;
                to |= u16::from(kind) << 8;
            }
            CTA_PROTO_ICMP_CODE | CTA_PROTO_ICMPV6_CODE => {
                let [code] = take(value, 0, "ICMP code")?;
                to |= u16::from(code);
            }
            _ => {}
        }
    }
    Ok((protocol, [from, to]))
}

fn tcp_state(buf: &[u8]) -> Result<Option<TcpState>, Malformed> {
    let Some(tcp) = known(buf).find(|attribute| attribute.kind == CTA_PROTOINFO_TCP) else { return Ok(None) };
    let Some(state) = known(tcp.value).find(|attribute| attribute.kind == CTA_PROTOINFO_TCP_STATE) else {
        return Ok(None);
    };
    let [number] = take(state.value, 0, "TCP state")?;
    Ok(TcpState::from_number(number))
}

fn moved(buf: &[u8]) -> Result<Option<Moved>, Malformed> {
    let (mut packets, mut bytes) = (None, None);
    for attribute in known(buf) {
        let number = || take(attribute.value, 0, "flow counter").map(u64::from_be_bytes);
        match attribute.kind {
            CTA_COUNTERS_PACKETS => packets = Some(number()?),
            CTA_COUNTERS_BYTES => bytes = Some(number()?),
            _ => {}
        }
    }
    Ok(packets.zip(bytes).map(|(packets, bytes)| Moved { packets, bytes }))
}

/// A socket filter that lets pass, of the events of a subscription, those after which a flow counts otherwise: all that
/// begin a flow, changes by which somebody answers for the first time, a TCP connection opens, or the second of its
/// sides closes, and the ends of flows that had not closed before. A TCP connection makes three events then instead of
/// seven, and what has closed makes no burst of events when the kernel clears it away, which it does once a minute.
///
/// It looks for attributes with the extensions of classic BPF for netlink, which search from the offset in the
/// accumulator for the type in the index register and answer with an offset, or 0 (linux/filter.h).
pub fn event_filter() -> [libc::sock_filter; 33] {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_ABS;
    const NUMBER: u32 = libc::BPF_LD | libc::BPF_IMM;
    const INDEX: u32 = libc::BPF_LDX | libc::BPF_IMM;
    const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    const FIND: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_NLATTR) as u32;
    const FIND_INSIDE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_NLATTR_NEST) as u32;
    const FIRST_ATTRIBUTE: u32 = (super::HEADER_BYTES + NFGENMSG.len()) as u32;
    const VALUE: u32 = super::ATTRIBUTE_HEADER_BYTES as u32;
    // Places in the program, by the number of the instruction.
    const HAS_NO_STATE: u8 = 22;
    const PASS: u8 = 31;
    const DROP: u8 = 32;

    // A load takes the bytes as a number in network order, and the header is in that of this machine.
    let header = |number: u16| u32::from(u16::from_be_bytes(number.to_ne_bytes()));
    [
        step(LOAD | libc::BPF_H, 6),
        jump(1, ANY_BIT, header(libc::NLM_F_CREATE as u16), PASS, 2),
        step(NUMBER, FIRST_ATTRIBUTE),
        step(INDEX, u32::from(CTA_PROTOINFO)),
        step(LOAD | libc::BPF_W, FIND),
        jump(5, EQUAL, 0, HAS_NO_STATE, 6),
        step(INDEX, u32::from(CTA_PROTOINFO_TCP)),
        step(LOAD | libc::BPF_W, FIND_INSIDE),
        jump(8, EQUAL, 0, PASS, 9),
        step(INDEX, u32::from(CTA_PROTOINFO_TCP_STATE)),
        step(LOAD | libc::BPF_W, FIND_INSIDE),
        jump(11, EQUAL, 0, PASS, 12),
        step(libc::BPF_MISC | libc::BPF_TAX, 0),
        step(LOAD | libc::BPF_H, 4),
        jump(14, EQUAL, header(NEW), 15, 19),
        // A TCP connection has another state.
        step(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, VALUE),
        jump(16, EQUAL, TcpState::Established as u32, PASS, 17),
        jump(17, EQUAL, TcpState::LastAck as u32, PASS, 18),
        jump(18, EQUAL, TcpState::Close as u32, PASS, DROP),
        // It ends. One that is reset before anybody has answered ends without a change before it.
        step(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, VALUE),
        jump(20, EQUAL, TcpState::LastAck as u32, DROP, 21),
        jump(21, EQUAL, TcpState::TimeWait as u32, DROP, PASS),
        // Something without a TCP state, or whose state has not changed. What is assured has been answered before.
        step(LOAD | libc::BPF_H, 4),
        jump(23, EQUAL, header(NEW), 24, PASS),
        step(NUMBER, FIRST_ATTRIBUTE),
        step(INDEX, u32::from(CTA_STATUS)),
        step(LOAD | libc::BPF_W, FIND),
        jump(27, EQUAL, 0, PASS, 28),
        step(libc::BPF_MISC | libc::BPF_TAX, 0),
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_IND, VALUE),
        jump(30, ANY_BIT, ASSURED, DROP, PASS),
        step(libc::BPF_RET | libc::BPF_K, u32::MAX),
        step(libc::BPF_RET | libc::BPF_K, 0),
    ]
}

#[cfg(test)]
mod tests;
