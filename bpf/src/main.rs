//! The kernel side of traffic accounting: who of the LAN exchanged how much with the internet.
//!
//! One program runs where packets come in from the LAN and may only add upload of a LAN source; one runs where they
//! leave towards the LAN and may only add download of a LAN destination. Neither changes or judges a packet: both
//! always answer "next". What is the LAN and what is local is said by the daemon, per interface, in [`GM_CONFIG`].
//!
//! Three things keep it cheap and portable, and the tests hold them:
//! - no search whose end the verifier must try (the rules' place is computed), so it follows 14,000 instructions;
//! - no call of a function of ours and no atomic, which JITs of 32-bit machines lack: all is inlined, and what two CPUs
//!   count lies apart;
//! - every read is aligned if two bytes (NET_IP_ALIGN) lie in front of the frame.
//!
//! That each pointer read here is valid is not left to comments: the kernel's verifier proves it before the program runs.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod classify;
#[allow(dead_code)]
mod layout;

use core::cell::UnsafeCell;
use core::hint::cold_path;
use core::mem::MaybeUninit;
use core::ptr::read_volatile;

use aya_ebpf::bindings::{__sk_buff, BPF_F_NO_PREALLOC, BPF_NOEXIST};
use aya_ebpf::helpers::generated::bpf_skb_load_bytes;
use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::{PerCpuArray, PerCpuHashMap};
use aya_ebpf::programs::TcContext;

use layout::*;

#[map(name = "gm_hosts4")]
static HOSTS4: PerCpuHashMap<[u32; KEY4 / 4], [u64; VALUE / 8]> =
    PerCpuHashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);
#[map(name = "gm_hosts6")]
static HOSTS6: PerCpuHashMap<[u32; KEY6 / 4], [u64; VALUE / 8]> =
    PerCpuHashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);
#[map(name = "gm_uncounted")]
static UNCOUNTED: PerCpuArray<[u64; UNCOUNTED_VALUE / 8]> = PerCpuArray::with_max_entries(UNCOUNTED_ENTRIES, 0);

/// What the daemon says about each interface, in words (see `layout`); written by it while packets flow.
#[repr(transparent)]
struct Config(UnsafeCell<[u32; CONFIG / 4]>);
// SAFETY: the program only reads it, one word at a time, and takes every value as possible.
unsafe impl Sync for Config {}
#[unsafe(no_mangle)]
static GM_CONFIG: Config = Config(UnsafeCell::new([0; CONFIG / 4]));

/// Go on to the next program or filter (TC_ACT_UNSPEC, TCX_NEXT).
const NEXT: i32 = -1;
const ETH_LEN: u32 = 14;
const TAG_LEN: u32 = 4;
const IPV4: u16 = 0x0800u16.to_be();
const IPV6: u16 = 0x86ddu16.to_be();
const VLAN: u16 = 0x8100u16.to_be();
const QINQ: u16 = 0x88a8u16.to_be();
const TCP: u8 = 6;
const UDP: u8 = 17;

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Where packets come in from the LAN.
#[classifier]
pub fn gatemeter_in(ctx: TcContext) -> i32 {
    account::<true>(ctx.skb.skb);
    NEXT
}

/// Where packets go out to the LAN.
#[classifier]
pub fn gatemeter_out(ctx: TcContext) -> i32 {
    account::<false>(ctx.skb.skb);
    NEXT
}

/// Counts a packet of one direction. `data + 34` is the end of an IPv4 header without options, `data + 54` that of an
/// IPv6 header; the peer is judged first, because most of what is not counted is known by it.
#[inline(always)]
fn account<const UP: bool>(skb: *mut __sk_buff) {
    let data = unsafe { (*skb).data } as usize;
    let end = unsafe { (*skb).data_end } as usize;
    if data + 34 <= end {
        let ethertype = unsafe { *((data + 12) as *const u16) };
        if ethertype == IPV4 {
            let source = unsafe { *((data + 26) as *const u32) };
            let destination = unsafe { *((data + 30) as *const u32) };
            let (host, peer) = if UP { (source, destination) } else { (destination, source) };
            if classify::never_internet4(peer) {
                return;
            }
            let mac = mac::<UP>(data);
            return tail4::<UP>(skb, host, peer, mac, Tags::NONE);
        } else if ethertype == IPV6 {
            if data + 54 <= end {
                let (host, peer) = if UP { (data + 22, data + 38) } else { (data + 38, data + 22) };
                let peer = words(peer);
                if classify::never_internet6(peer) {
                    return;
                }
                let mac = mac::<UP>(data);
                return tail6::<UP>(skb, words(host), peer, mac, Tags::NONE);
            }
        } else if ethertype != VLAN && ethertype != QINQ {
            return;
        }
    }
    unusual::<UP>(skb)
}

#[inline(always)]
fn words(at: usize) -> [u32; 4] {
    let at = at as *const u32;
    unsafe { [*at, *at.add(1), *at.add(2), *at.add(3)] }
}

/// The host's MAC in an Ethernet header at `at`, as the two key words that end in zero padding.
///
/// Read in the largest parts that are aligned when two bytes (NET_IP_ALIGN) lie in front of the frame, which is what
/// verifiers of processors without unaligned access insist on.
#[inline(always)]
fn mac<const UP: bool>(at: usize) -> [u32; 2] {
    if UP {
        let first = unsafe { *((at + 6) as *const u32) };
        let last = unsafe { *((at + 10) as *const u16) } as u32;
        [first, if cfg!(target_endian = "little") { last } else { last << 16 }]
    } else {
        let first = unsafe { *(at as *const u16) } as u32;
        let last = unsafe { *((at + 2) as *const u32) };
        if cfg!(target_endian = "little") {
            [first | last << 16, last >> 16]
        } else {
            [first << 16 | last >> 16, last << 16]
        }
    }
}

/// Copies bytes of the packet, wherever they lie; `None` if the packet ends before.
#[inline(always)]
fn load<T: Copy>(skb: *mut __sk_buff, offset: u32) -> Option<T> {
    let mut into = MaybeUninit::<T>::uninit();
    let refused = unsafe { bpf_skb_load_bytes(skb.cast(), offset, into.as_mut_ptr().cast(), size_of::<T>() as u32) };
    if refused == 0 { Some(unsafe { into.assume_init() }) } else { None }
}

/// Counts a frame with tags in its payload, or whose headers do not lie in the linear part: what it looks at is loaded.
#[inline(always)]
fn unusual<const UP: bool>(skb: *mut __sk_buff) {
    cold_path();
    let Some([a, b, c]) = load::<[u16; 3]>(skb, if UP { 6 } else { 0 }) else { return };
    let (a, b, c) = (a as u32, b as u32, c as u32);
    let mac = if cfg!(target_endian = "little") { [a | b << 16, c] } else { [a << 16 | b, c << 16] };
    let mut tags = Tags::NONE;
    let mut ethertype;
    loop {
        ethertype = match load::<u16>(skb, 12 + tags.len) {
            Some(ethertype) => ethertype,
            None => return,
        };
        if (ethertype != VLAN && ethertype != QINQ) || tags.len == 2 * TAG_LEN {
            break;
        }
        if tags.len == 0 {
            tags.first = match load::<u16>(skb, ETH_LEN) {
                Some(tag) => tag,
                None => return,
            };
        }
        tags.len += TAG_LEN;
    }
    let start = ETH_LEN + tags.len;
    if ethertype == IPV4 {
        let Some([source, destination]) = load::<[u32; 2]>(skb, start + 12) else {
            return uncounted(TRUNCATED, 1, unsafe { (*skb).len } as u64);
        };
        let (host, peer) = if UP { (source, destination) } else { (destination, source) };
        if !classify::never_internet4(peer) {
            tail4::<UP>(skb, host, peer, mac, tags);
        }
    } else if ethertype == IPV6 {
        let Some([source, destination]) = load::<[[u32; 4]; 2]>(skb, start + 8) else {
            return uncounted(TRUNCATED, 1, unsafe { (*skb).len } as u64);
        };
        let (host, peer) = if UP { (source, destination) } else { (destination, source) };
        if !classify::never_internet6(peer) {
            tail6::<UP>(skb, host, peer, mac, tags);
        }
    }
}

/// Adds an entry of an older table to the one in use; run by the daemon, never attached.
///
/// Only a program can do that while packets flow: an update from user space replaces what it has not seen. The made-up
/// frame is: address family (4 or 6, 32 bits), key (padded to the IPv6 key), value; see `layout`. Answers 0 if the entry
/// found room.
#[classifier]
pub fn gatemeter_add(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    let Some(family) = load::<u32>(skb, ADD_FAMILY as u32) else { return 1 };
    let Some(value) = load::<[u64; VALUE / 8]>(skb, ADD_VALUE as u32) else { return 1 };
    let done = if family == 4 {
        let Some(key) = load::<[u32; KEY4 / 4]>(skb, ADD_KEY as u32) else { return 1 };
        merge(&HOSTS4, &key, &value)
    } else {
        let Some(key) = load::<[u32; KEY6 / 4]>(skb, ADD_KEY as u32) else { return 1 };
        merge(&HOSTS6, &key, &value)
    };
    !done as i32
}

#[inline(always)]
fn merge<const K: usize>(
    table: &PerCpuHashMap<[u32; K], [u64; VALUE / 8]>,
    key: &[u32; K],
    value: &[u64; VALUE / 8],
) -> bool {
    if table.insert(key, value, BPF_NOEXIST as u64).is_ok() {
        return true;
    }
    let Some(into) = table.get_ptr_mut(key) else { return false };
    unsafe { (*into)[0] += value[0] };
    unsafe { (*into)[1] += value[1] };
    unsafe { (*into)[2] += value[2] };
    unsafe { (*into)[3] += value[3] };
    true
}

/// Hides from the compiler that a number is 0 or 1: it would make a branch of the multiplication, and the verifier
/// follow both ways to the end.
#[inline(always)]
fn opaque(mut number: u32) -> u32 {
    unsafe { core::arch::asm!("/* {0} */", inout(reg) number, options(pure, nomem, nostack)) };
    number
}

/// The rules for the interface a packet goes through.
#[derive(Clone, Copy)]
struct Rules(*const u32);

impl Rules {
    /// The rules in force for this packet's interface, if it is accounted.
    #[inline(always)]
    fn of(skb: *mut __sk_buff) -> Option<Rules> {
        let ifindex = unsafe { (*skb).ifindex };
        let start = GM_CONFIG.0.get() as *const u32;
        let active = opaque(unsafe { read_volatile(start.add(ACTIVE)) } & 1);
        let block = unsafe { start.add(BLOCKS + active as usize * BLOCK_WORDS) };
        let place = ifindex.wrapping_mul(unsafe { read_volatile(block.add(BLOCK_MULTIPLIER)) }) >> 24;
        let table = unsafe { block.add(BLOCK_TABLE) } as *const u8;
        let slot = unsafe { read_volatile(table.add(place as usize)) } as usize & (SLOTS - 1);
        let rules = Rules(unsafe { block.add(BLOCK_RULES + slot * RULES_WORDS) });
        if rules.word(RULES_IFINDEX) == ifindex { Some(rules) } else { None }
    }

    #[inline(always)]
    fn word(self, word: usize) -> u32 {
        unsafe { read_volatile(self.0.add(word)) }
    }

    /// Whether the packet's outermost VLAN is accounted on a VLAN device of its own. `tag` is the first tag in the
    /// payload, 0 for none; a tag in the metadata is outside of it.
    #[inline(always)]
    fn skip(self, skb: *mut __sk_buff, tag: u16) -> bool {
        if self.word(RULES_SKIPS) == 0 {
            return false;
        }
        let id = if unsafe { (*skb).vlan_present } != 0 {
            unsafe { (*skb).vlan_tci }
        } else if tag != 0 {
            u16::from_be(tag) as u32
        } else {
            return false;
        } & 0xfff;
        self.word(RULES_SKIP + (id / 32) as usize) >> (id % 32) & 1 != 0
    }

    #[inline(always)]
    fn lan4(self, address: u32) -> bool {
        self.in_list4(address, RULES_LAN4_LEN, LAN, RULES_LAN4)
    }

    #[inline(always)]
    fn local4(self, address: u32) -> bool {
        self.in_list4(address, RULES_LOCAL4_LEN, LOCAL, RULES_LOCAL4)
    }

    #[inline(always)]
    fn lan6(self, address: [u32; 4]) -> bool {
        self.in_list6(address, RULES_LAN6_LEN, LAN, RULES_LAN6)
    }

    #[inline(always)]
    fn local6(self, address: [u32; 4]) -> bool {
        self.in_list6(address, RULES_LOCAL6_LEN, LOCAL, RULES_LOCAL6)
    }

    #[inline(always)]
    fn in_list4(self, address: u32, len: usize, most: usize, start: usize) -> bool {
        let len = self.word(len) as usize;
        let mut i = 0;
        while i < most {
            if i >= len {
                return false;
            }
            let at = start + 2 * i;
            if classify::within4(address, self.word(at), self.word(at + 1)) {
                return true;
            }
            i += 1;
        }
        false
    }

    #[inline(always)]
    fn in_list6(self, address: [u32; 4], len: usize, most: usize, start: usize) -> bool {
        let len = self.word(len) as usize;
        let mut i = 0;
        while i < most {
            if i >= len {
                return false;
            }
            let at = start + 8 * i;
            let network = [self.word(at), self.word(at + 1), self.word(at + 2), self.word(at + 3)];
            let mask = [self.word(at + 4), self.word(at + 5), self.word(at + 6), self.word(at + 7)];
            if classify::within6(address, network, mask) {
                return true;
            }
            i += 1;
        }
        false
    }
}

/// VLAN tags found in the payload.
#[derive(Clone, Copy)]
struct Tags {
    /// Their bytes.
    len: u32,
    /// The first one's control information as in the frame; 0 for none.
    first: u16,
}

impl Tags {
    const NONE: Tags = Tags { len: 0, first: 0 };
}

/// Counts a packet whose peer may be the internet, if the rules of its interface say so.
#[inline(always)]
fn tail4<const UP: bool>(skb: *mut __sk_buff, host: u32, peer: u32, mac: [u32; 2], tags: Tags) {
    let Some(rules) = Rules::of(skb) else { return };
    if !rules.lan4(host) || rules.local4(peer) || rules.skip(skb, tags.first) {
        return;
    }
    let (bytes, packets) = amount(skb, rules, tags, false);
    add::<3, UP>(&HOSTS4, &[host, mac[0], mac[1]], bytes, packets);
}

/// Likewise over IPv6.
#[inline(always)]
fn tail6<const UP: bool>(skb: *mut __sk_buff, host: [u32; 4], peer: [u32; 4], mac: [u32; 2], tags: Tags) {
    let Some(rules) = Rules::of(skb) else { return };
    if !rules.lan6(host) || rules.local6(peer) || rules.skip(skb, tags.first) {
        return;
    }
    let (bytes, packets) = amount(skb, rules, tags, true);
    add::<6, UP>(&HOSTS6, &[host[0], host[1], host[2], host[3], mac[0], mac[1]], bytes, packets);
}

/// What the packet counts, bytes and packets. Tags are left out wherever they are, so that it does not matter whether
/// the hardware took them off.
#[inline(always)]
fn amount(skb: *mut __sk_buff, rules: Rules, tags: Tags, ipv6: bool) -> (u64, u64) {
    let len = unsafe { (*skb).len } as u64 - tags.len as u64;
    if rules.word(RULES_WIRE) != 0 {
        let segments = unsafe { (*skb).gso_segs };
        if segments > 1 {
            cold_path();
            let headers = headers(skb, ETH_LEN + tags.len, ipv6) - tags.len;
            return classify::on_the_wire(len, segments, headers);
        }
    }
    (len, 1)
}

/// Bytes up to the payload of TCP or UDP, from the start of the frame; `start` is where the IP header is. Of another
/// protocol, only the headers before it.
#[inline(always)]
fn headers(skb: *mut __sk_buff, start: u32, ipv6: bool) -> u32 {
    let mut protocol;
    let mut at;
    if ipv6 {
        protocol = load::<u8>(skb, start + 6).unwrap_or(0xff);
        at = start + 40;
        let mut i = 0;
        while i < 8 {
            let Some([next, len]) = load::<[u8; 2]>(skb, at) else { break };
            let Some(size) = classify::extension_len(protocol, len) else { break };
            protocol = next;
            at += size;
            i += 1;
        }
    } else {
        protocol = load::<u8>(skb, start + 9).unwrap_or(0xff);
        at = start + (load::<u8>(skb, start).unwrap_or(0x45) as u32 & 0xf) * 4;
    }
    if protocol == TCP {
        at += (load::<u8>(skb, at + 12).unwrap_or(0x50) as u32 >> 4) * 4;
    } else if protocol == UDP {
        at += 8;
    }
    at
}

#[inline(always)]
fn add<const K: usize, const UP: bool>(
    table: &PerCpuHashMap<[u32; K], [u64; VALUE / 8]>,
    key: &[u32; K],
    bytes: u64,
    packets: u64,
) {
    let (b, p) = if UP { (UP_BYTES, UP_PACKETS) } else { (DOWN_BYTES, DOWN_PACKETS) };
    if let Some(value) = table.get_ptr_mut(key) {
        unsafe { (*value)[b] += bytes };
        unsafe { (*value)[p] += packets };
        return;
    }
    cold_path();
    let first = if UP { [0, bytes, 0, packets] } else { [bytes, 0, packets, 0] };
    if table.insert(key, first, BPF_NOEXIST as u64).is_ok() {
        return;
    }
    // Another CPU was first, or there is no room.
    if let Some(value) = table.get_ptr_mut(key) {
        unsafe { (*value)[b] += bytes };
        unsafe { (*value)[p] += packets };
        return;
    }
    uncounted(TABLE_FULL, packets, bytes);
}

#[inline(always)]
fn uncounted(entry: u32, packets: u64, bytes: u64) {
    if let Some(value) = UNCOUNTED.get_ptr_mut(entry) {
        unsafe { (*value)[0] += packets };
        unsafe { (*value)[1] += bytes };
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
