//! Table entries and rules of the kernel program, bytes to values and back. No I/O.
//!
//! The layout is the program's own file, `bpf/src/layout.rs`. Counters and word counts are in the byte order of the
//! machine; addresses, MACs and masks are bytes as on the wire, which the program compares as it finds them.

#![deny(clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::bytes;
use crate::error::Malformed;

/// Sizes and offsets shared with the kernel program.
#[path = "../../../bpf/src/layout.rs"]
pub mod layout;

use layout::*;

/// Whose traffic an entry counts: a MAC under one address. In order, those of IPv4 come first, each family by address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostKey {
    /// IPv4 or IPv6 address.
    pub addr: IpAddr,
    /// Ethernet address, as in the frame.
    pub mac: [u8; 6],
}

/// What a host exchanged with the internet since its entry exists, seen from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Bytes to the host.
    pub download_bytes: u64,
    /// Packets to the host.
    pub download_packets: u64,
    /// Bytes from the host.
    pub upload_bytes: u64,
    /// Packets from the host.
    pub upload_packets: u64,
}

/// Packets and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Packets, as [`Count`] has them.
    pub packets: u64,
    /// Bytes, as [`Count`] has them.
    pub bytes: u64,
}

/// What a packet counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Count {
    /// What the interface itself counts: one packet, its bytes with the Ethernet header, without VLAN tags.
    #[default]
    L2,
    /// What is on the wire: each segment of an aggregated packet with its own headers.
    Wire,
}

/// Who is accounted on one interface, and who is not the internet to them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// IPv4 prefixes whose hosts are accounted on this interface.
    pub lan4: Vec<(Ipv4Addr, u8)>,
    /// IPv6 prefixes whose hosts are accounted on this interface.
    pub lan6: Vec<(Ipv6Addr, u8)>,
    /// IPv4 peers that are not the internet: every LAN prefix and the router's own addresses. `lan4` and the ranges
    /// that never are the internet need not be named.
    pub local4: Vec<(Ipv4Addr, u8)>,
    /// IPv6 peers that are not the internet, likewise.
    pub local6: Vec<(Ipv6Addr, u8)>,
    /// VLAN ids whose frames pass this interface but are accounted on a VLAN device of their own.
    pub skip_vlans: Vec<u16>,
    /// What a packet counts.
    pub count: Count,
}

impl Counters {
    /// Adds another count of the same host.
    pub fn add(&mut self, other: &Counters) {
        self.download_bytes = self.download_bytes.wrapping_add(other.download_bytes);
        self.download_packets = self.download_packets.wrapping_add(other.download_packets);
        self.upload_bytes = self.upload_bytes.wrapping_add(other.upload_bytes);
        self.upload_packets = self.upload_packets.wrapping_add(other.upload_packets);
    }
}

/// Decodes a key of the IPv4 or of the IPv6 table, told apart by its length.
pub fn key(raw: &[u8]) -> Result<HostKey, Malformed> {
    if raw.len() == KEY4 {
        let addr = Ipv4Addr::from(bytes::take::<4>(raw, 0, "IPv4 address of a host")?);
        Ok(HostKey { mac: bytes::take(raw, 4, "MAC of a host")?, addr: addr.into() })
    } else {
        let addr = Ipv6Addr::from(bytes::take::<16>(raw, 0, "IPv6 address of a host")?);
        Ok(HostKey { mac: bytes::take(raw, 16, "MAC of a host")?, addr: addr.into() })
    }
}

/// Encodes a key; its length says which table it belongs to.
pub fn key_bytes(key: &HostKey) -> Vec<u8> {
    let mut raw = Vec::with_capacity(KEY6);
    match key.addr {
        IpAddr::V4(addr) => raw.extend(addr.octets()),
        IpAddr::V6(addr) => raw.extend(addr.octets()),
    }
    raw.extend(key.mac);
    raw.extend([0, 0]);
    raw
}

/// The frame that makes the program add an entry of an older table to the one in use.
pub fn add_frame(key: &[u8], counters: &Counters) -> Vec<u8> {
    let mut frame = Words(vec![0; ADD]);
    frame.put(ADD_FAMILY, &(if key.len() == KEY4 { 4u32 } else { 6 }).to_ne_bytes());
    frame.put(ADD_KEY, key);
    let value = [
        (DOWN_BYTES, counters.download_bytes),
        (UP_BYTES, counters.upload_bytes),
        (DOWN_PACKETS, counters.download_packets),
        (UP_PACKETS, counters.upload_packets),
    ];
    for (index, number) in value {
        frame.put(ADD_VALUE + index * 8, &number.to_ne_bytes());
    }
    frame.0
}

/// Sums a value over the CPUs; `raw` holds one value per possible CPU.
pub fn counters(raw: &[u8]) -> Result<Counters, Malformed> {
    let mut sum = Counters::default();
    for cpu in raw.chunks(VALUE) {
        sum.add(&Counters {
            download_bytes: bytes::ne64(cpu, DOWN_BYTES * 8, "download bytes")?,
            download_packets: bytes::ne64(cpu, DOWN_PACKETS * 8, "download packets")?,
            upload_bytes: bytes::ne64(cpu, UP_BYTES * 8, "upload bytes")?,
            upload_packets: bytes::ne64(cpu, UP_PACKETS * 8, "upload packets")?,
        });
    }
    Ok(sum)
}

/// Sums an entry of the table of what could not be counted; `raw` holds one value per possible CPU.
pub fn amount(raw: &[u8]) -> Result<Amount, Malformed> {
    let mut sum = Amount::default();
    for cpu in raw.chunks(UNCOUNTED_VALUE) {
        sum.packets = sum.packets.wrapping_add(bytes::ne64(cpu, 0, "uncounted packets")?);
        sum.bytes = sum.bytes.wrapping_add(bytes::ne64(cpu, 8, "uncounted bytes")?);
    }
    Ok(sum)
}

/// How near to a carry a number must be to be read again: 256 MiB, more than a CPU moves between its two halves.
const CARRY: u32 = 1 << 28;

/// Whether any 64-bit number in `raw` may have been copied while a carry went from its low to its high half.
///
/// A 32-bit machine adds and copies the halves one after the other. The result can only be wrong (by 2^32) if the low
/// half is close to its wrap, so all other values need no second look.
pub fn may_be_torn(raw: &[u8]) -> bool {
    raw.chunks_exact(8).any(|number| match bytes::ne64(number, 0, "counter") {
        Ok(number) => {
            let low = number as u32;
            (number > u64::from(CARRY) && low < CARRY) || low >= u32::MAX - CARRY
        }
        Err(_) => false,
    })
}

/// Whether two copies of the same value, taken one after the other, prove each other whole: no number runs backwards
/// or leaps by 2^31, as a torn one would.
pub fn agree(first: &[u8], second: &[u8]) -> bool {
    first.len() == second.len()
        && first.chunks_exact(8).zip(second.chunks_exact(8)).all(|(first, second)| {
            let first = bytes::ne64(first, 0, "counter");
            let second = bytes::ne64(second, 0, "counter");
            matches!((first, second), (Ok(first), Ok(second)) if second.wrapping_sub(first) < 1 << 31)
        })
}

/// Why rules cannot be handed to the kernel program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadRules {
    /// A prefix longer than its address.
    Length {
        /// The prefix as written.
        prefix: String,
    },
    /// More prefixes than fit, after those that add nothing were left out.
    TooMany {
        /// Which list: `IPv4 LAN`, `local IPv6`...
        list: &'static str,
        /// How many are left.
        count: usize,
        /// How many fit.
        most: usize,
    },
}

impl std::fmt::Display for BadRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadRules::Length { prefix } => write!(f, "{prefix} is longer than an address"),
            BadRules::TooMany { list, count, most } => write!(f, "{count} {list} prefixes, at most {most} fit"),
        }
    }
}

/// The rules of one interface, ready for [`block`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedRules {
    ifindex: u32,
    words: Vec<u8>,
}

/// Encodes the rules of one interface as the program's configuration has them.
pub fn rules(ifindex: u32, rules: &Rules) -> Result<EncodedRules, BadRules> {
    let mut lan4 = Vec::new();
    let mut local4 = Vec::new();
    let mut lan6 = Vec::new();
    let mut local6 = Vec::new();
    for (addr, len) in &rules.lan4 {
        let prefix = prefix(addr.octets(), *len).ok_or_else(|| too_long(addr, *len))?;
        lan4.push(prefix);
        local4.push(prefix);
    }
    for (addr, len) in &rules.local4 {
        local4.push(prefix(addr.octets(), *len).ok_or_else(|| too_long(addr, *len))?);
    }
    for (addr, len) in &rules.lan6 {
        let prefix = prefix(addr.octets(), *len).ok_or_else(|| too_long(addr, *len))?;
        lan6.push(prefix);
        local6.push(prefix);
    }
    for (addr, len) in &rules.local6 {
        local6.push(prefix(addr.octets(), *len).ok_or_else(|| too_long(addr, *len))?);
    }
    local4.retain(|prefix| !NEVER_INTERNET4.iter().any(|never| covers(never, prefix)));
    local6.retain(|prefix| !NEVER_INTERNET6.iter().any(|never| covers(never, prefix)));
    reduce(&mut lan4);
    reduce(&mut lan6);
    reduce(&mut local4);
    reduce(&mut local6);

    let mut set = Words(vec![0; RULES_WORDS * 4]);
    set.number(RULES_IFINDEX, ifindex as usize);
    set.number(RULES_WIRE, (rules.count == Count::Wire) as usize);
    set.list(RULES_LAN4_LEN, RULES_LAN4, &lan4, LAN, "IPv4 LAN")?;
    set.list(RULES_LOCAL4_LEN, RULES_LOCAL4, &local4, LOCAL, "local IPv4")?;
    set.list(RULES_LAN6_LEN, RULES_LAN6, &lan6, LAN, "IPv6 LAN")?;
    set.list(RULES_LOCAL6_LEN, RULES_LOCAL6, &local6, LOCAL, "local IPv6")?;
    let mut skip = [0u32; 4096 / 32];
    for id in &rules.skip_vlans {
        if let Some(word) = skip.get_mut(usize::from(*id) / 32) {
            *word |= 1 << (id % 32);
            set.number(RULES_SKIPS, 1);
        }
    }
    for (i, word) in skip.iter().enumerate() {
        set.put((RULES_SKIP + i) * 4, &word.to_ne_bytes());
    }
    Ok(EncodedRules { ifindex, words: set.0 })
}

/// Writes the rules of all interfaces into the block of the configuration that is not in force; at most [`SLOTS`]
/// of them count. The block is in force once [`flip`] is written too.
pub fn block(image: &mut [u8], all: &[&EncodedRules]) {
    let mut block = Words(vec![0; BLOCK_WORDS * 4]);
    let multiplier = multiplier(all);
    block.number(BLOCK_MULTIPLIER, multiplier as usize);
    for (slot, rules) in all.iter().take(SLOTS).enumerate() {
        block.put(BLOCK_TABLE * 4 + place(rules.ifindex, multiplier), &[slot as u8]);
        block.put((BLOCK_RULES + slot * RULES_WORDS) * 4, &rules.words);
    }
    let at = (BLOCKS + (1 - active(image)) * BLOCK_WORDS) * 4;
    if let Some(room) = image.get_mut(at..at + block.0.len()) {
        room.copy_from_slice(&block.0);
    }
}

/// Puts the other block in force.
pub fn flip(image: &mut [u8]) {
    let next = 1 - active(image) as u32;
    if let Some(room) = image.get_mut(ACTIVE * 4..ACTIVE * 4 + 4) {
        room.copy_from_slice(&next.to_ne_bytes());
    }
}

fn active(image: &[u8]) -> usize {
    bytes::ne32(image, ACTIVE * 4, "active block").unwrap_or(0) as usize & 1
}

/// A factor that gives every interface a place of its own. For up to 16 interfaces in 256 places a few tries suffice;
/// should none do, the interface that lost its place is not accounted.
fn multiplier(all: &[&EncodedRules]) -> u32 {
    // The first one takes the low 8 bits of the index as they are, which tells small indexes apart at once.
    let mut multiplier = 1u32 << 24;
    for _ in 0..10_000 {
        let mut taken = [false; 256];
        let free = |rules: &&EncodedRules| {
            taken.get_mut(place(rules.ifindex, multiplier)).is_some_and(|taken| !std::mem::replace(taken, true))
        };
        if all.iter().all(free) {
            break;
        }
        multiplier = multiplier.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) | 1;
    }
    multiplier
}

fn place(ifindex: u32, multiplier: u32) -> usize {
    (ifindex.wrapping_mul(multiplier) >> 24) as usize
}

fn too_long(addr: &dyn std::fmt::Display, len: u8) -> BadRules {
    BadRules::Length { prefix: format!("{addr}/{len}") }
}

/// Network bytes and length of a prefix.
type Prefix<const N: usize> = ([u8; N], u8);

/// What the program takes as never the internet by itself; a prefix inside of these need not be listed.
const NEVER_INTERNET4: [Prefix<4>; 8] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 168, 0, 0], 16),
    ([224, 0, 0, 0], 3),
];
const NEVER_INTERNET6: [Prefix<16>; 3] = [
    ([0xfc, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 7),
    ([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 10),
    ([0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8),
];

fn mask<const N: usize>(len: u8) -> [u8; N] {
    let mut mask = [0; N];
    for (i, byte) in mask.iter_mut().enumerate() {
        let bits = (usize::from(len)).saturating_sub(i * 8).min(8);
        *byte = !(0xffu16 >> bits) as u8;
    }
    mask
}

fn masked<const N: usize>(addr: [u8; N], len: u8) -> [u8; N] {
    let mut network = addr;
    for (byte, mask) in network.iter_mut().zip(mask::<N>(len)) {
        *byte &= mask;
    }
    network
}

fn prefix<const N: usize>(addr: [u8; N], len: u8) -> Option<Prefix<N>> {
    (usize::from(len) <= N * 8).then(|| (masked(addr, len), len))
}

fn covers<const N: usize>(outer: &Prefix<N>, inner: &Prefix<N>) -> bool {
    outer.1 <= inner.1 && masked(inner.0, outer.1) == outer.0
}

/// Leaves out every prefix that lies in another.
fn reduce<const N: usize>(prefixes: &mut Vec<Prefix<N>>) {
    prefixes.sort_by_key(|(network, len)| (*len, *network));
    let mut kept: Vec<Prefix<N>> = Vec::new();
    for prefix in prefixes.iter() {
        if !kept.iter().any(|outer| covers(outer, prefix)) {
            kept.push(*prefix);
        }
    }
    *prefixes = kept;
}

/// A rule set being written, addressed by words.
struct Words(Vec<u8>);

impl Words {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(room) = self.0.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    fn number(&mut self, word: usize, value: usize) {
        self.put(word * 4, &(value as u32).to_ne_bytes());
    }

    fn list<const N: usize>(
        &mut self,
        len_word: usize,
        first: usize,
        prefixes: &[Prefix<N>],
        most: usize,
        list: &'static str,
    ) -> Result<(), BadRules> {
        if prefixes.len() > most {
            return Err(BadRules::TooMany { list, count: prefixes.len(), most });
        }
        self.number(len_word, prefixes.len());
        for (i, (network, len)) in prefixes.iter().enumerate() {
            let at = first * 4 + i * 2 * N;
            self.put(at, network);
            self.put(at + N, &mask::<N>(*len));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a wrong index fails the test")]
mod tests {
    use super::*;

    fn word(encoded: &EncodedRules, word: usize) -> u32 {
        bytes::ne32(&encoded.words, word * 4, "word").unwrap()
    }

    fn octets<const N: usize>(encoded: &EncodedRules, word: usize) -> [u8; N] {
        bytes::take(&encoded.words, word * 4, "octets").unwrap()
    }

    #[test]
    fn a_key_survives_the_way_there_and_back() {
        for addr in ["192.168.1.10", "2001:db8::10"] {
            let host = HostKey { mac: [1, 2, 3, 4, 5, 6], addr: addr.parse().unwrap() };
            let raw = key_bytes(&host);
            assert_eq!(raw.len(), if host.addr.is_ipv4() { KEY4 } else { KEY6 });
            assert_eq!(key(&raw), Ok(host));
        }
    }

    #[test]
    fn a_short_key_or_value_is_an_error() {
        assert!(key(&[0; KEY6 - 3]).is_err());
        assert!(key(&[]).is_err());
        assert!(counters(&[0; VALUE + 8]).is_err());
        assert!(amount(&[0; UNCOUNTED_VALUE - 1]).is_err());
    }

    #[test]
    fn what_each_cpu_counted_is_summed() {
        let mut raw = Vec::new();
        for cpu in 0..3u64 {
            let mut value = [0u64; VALUE / 8];
            value[DOWN_BYTES] = 1000 + cpu;
            value[UP_BYTES] = 100 + cpu;
            value[DOWN_PACKETS] = 10 + cpu;
            value[UP_PACKETS] = 1 + cpu;
            raw.extend(value.iter().flat_map(|number| number.to_ne_bytes()));
        }
        let expected = Counters { download_bytes: 3003, upload_bytes: 303, download_packets: 33, upload_packets: 6 };
        assert_eq!(counters(&raw), Ok(expected));
    }

    #[test]
    fn host_bits_of_a_prefix_are_dropped_and_its_mask_written_as_on_the_wire() {
        let rules = rules(
            7,
            &Rules {
                lan4: vec![("203.0.113.77".parse().unwrap(), 26)],
                lan6: vec![("2001:db8:1:2::9".parse().unwrap(), 60)],
                ..Rules::default()
            },
        )
        .unwrap();
        assert_eq!(word(&rules, RULES_IFINDEX), 7);
        assert_eq!((word(&rules, RULES_LAN4_LEN), word(&rules, RULES_LAN6_LEN)), (1, 1));
        assert_eq!(octets(&rules, RULES_LAN4), [203, 0, 113, 64, 255, 255, 255, 192]);
        let mut network6 = [0; 32];
        network6[..7].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, 1, 0]);
        network6[16..24].copy_from_slice(&[255, 255, 255, 255, 255, 255, 255, 0xf0]);
        assert_eq!(octets::<32>(&rules, RULES_LAN6), network6);
        // The LAN is local to itself.
        assert_eq!(octets::<8>(&rules, RULES_LOCAL4), octets::<8>(&rules, RULES_LAN4));
        assert_eq!(octets::<32>(&rules, RULES_LOCAL6), network6);
    }

    #[test]
    fn a_vlan_that_is_left_to_its_own_interface_has_the_bit_of_its_identifier() {
        let rules = |skip_vlans: &[u16]| {
            let skip_vlans = skip_vlans.to_vec();
            rules(1, &Rules { skip_vlans, ..Rules::default() }).unwrap()
        };
        let some = rules(&[17, 4095, 4096]);
        assert_eq!(
            (word(&some, RULES_SKIPS), word(&some, RULES_SKIP), word(&some, RULES_SKIP + 127)),
            (1, 1 << 17, 1 << 31)
        );
        assert_eq!((1..127).map(|at| word(&some, RULES_SKIP + at)).max(), Some(0));
        assert_eq!(word(&rules(&[]), RULES_SKIPS), 0);
    }

    #[test]
    fn prefixes_that_add_nothing_take_no_room() {
        let mut local4 = vec![("198.51.100.0".parse().unwrap(), 24), ("192.168.0.0".parse().unwrap(), 16)];
        local4.extend((0..100).map(|i| (Ipv4Addr::new(198, 51, 100, i), 32)));
        local4.extend((0..100).map(|i| (Ipv4Addr::new(10, i, 0, 1), 32)));
        let local6 = (0..100).map(|i| (Ipv6Addr::new(0xfd00, i, 0, 0, 0, 0, 0, 1), 128)).collect();
        let rules = rules(1, &Rules { local4, local6, ..Rules::default() }).unwrap();
        assert_eq!((word(&rules, RULES_LOCAL4_LEN), word(&rules, RULES_LOCAL6_LEN)), (1, 0));
    }

    #[test]
    fn more_prefixes_than_fit_or_too_long_ones_are_told() {
        let lan4 = (0..17).map(|i| (Ipv4Addr::new(10, i, 0, 0), 16)).collect();
        let error = rules(1, &Rules { lan4, ..Rules::default() }).unwrap_err();
        assert_eq!(error.to_string(), "17 IPv4 LAN prefixes, at most 16 fit");
        let local6 = vec![("2001:db8::".parse().unwrap(), 129)];
        let error = rules(1, &Rules { local6, ..Rules::default() }).unwrap_err();
        assert_eq!(error.to_string(), "2001:db8::/129 is longer than an address");
    }

    #[test]
    fn a_change_is_written_beside_what_is_in_force_and_then_takes_its_place() {
        let rules = |ifindex| rules(ifindex, &Rules::default()).unwrap();
        let mut image = vec![0; CONFIG];
        let (one, two) = (rules(1), rules(2));
        block(&mut image, &[&one]);
        assert_eq!(active(&image), 0);
        flip(&mut image);
        assert_eq!(active(&image), 1);
        let in_force = image[(BLOCKS + BLOCK_WORDS) * 4..].to_vec();
        block(&mut image, &[&one, &two]);
        assert_eq!(image[(BLOCKS + BLOCK_WORDS) * 4..], in_force, "what is in force must not change");
        flip(&mut image);
        assert_eq!(active(&image), 0);
    }

    #[test]
    fn interfaces_get_a_place_each_even_if_their_numbers_meet_in_the_low_byte() {
        let all: Vec<_> = (0..16).map(|i| rules(5 + i * 256, &Rules::default()).unwrap()).collect();
        let all: Vec<_> = all.iter().collect();
        let multiplier = multiplier(&all);
        let mut places: Vec<_> = all.iter().map(|rules| place(rules.ifindex, multiplier)).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 16);
    }

    #[test]
    fn only_numbers_close_to_a_carry_are_read_again() {
        let torn = |number: u64| may_be_torn(&number.to_ne_bytes());
        assert!(!torn(0) && !torn(1) && !torn(1 << 20) && !torn(0x1_8000_0000));
        assert!(torn(0xffff_fff0) && torn(0x1_0000_0010) && torn(0x5_ffff_ffff));
    }

    #[test]
    fn two_copies_agree_unless_one_of_them_was_torn() {
        let copy = |numbers: [u64; 2]| numbers.iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<_>>();
        assert!(agree(&copy([5, 7]), &copy([5, 1000])));
        assert!(!agree(&copy([5, 0x1_ffff_fff0]), &copy([5, 0x1_0000_0010])), "ran backwards");
        assert!(!agree(&copy([5, 0xffff_fff0]), &copy([5, 0x2_0000_0010])), "leapt");
        assert!(!agree(&copy([5, 7]), &copy([5, 7])[..8]));
    }
}
