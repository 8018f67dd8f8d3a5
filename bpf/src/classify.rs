//! What counts as the internet, and how long the headers of a packet are: pure functions without a kernel.
//!
//! Addresses come in as 32-bit words as they lie in memory (network order read natively); whoever needs their numeric
//! value converts, so that comparing against a prefix costs no byte swap.

/// True for IPv4 addresses that are never the internet, whatever the LAN looks like: "this network" 0/8, private
/// 10/8, 172.16/12 and 192.168/16 (RFC 1918), shared 100.64/10 (RFC 6598), loopback 127/8, link-local 169.254/16,
/// multicast 224/4 and reserved 240/4 with the broadcast address. The documentation ranges count as internet.
#[inline(always)]
pub fn never_internet4(word: u32) -> bool {
    let address = u32::from_be(word);
    let first = address >> 24;
    first >= 224
        || first == 10
        || address >> 16 == 0xc0a8
        || address >> 20 == 0xac1
        || first == 127
        || first == 0
        || address >> 16 == 0xa9fe
        || address >> 22 == 0x191
}

/// True for IPv6 addresses that are never the internet: unspecified, loopback and the embedded IPv4 ranges ::/96 and
/// ::ffff:0:0/96 (which no router forwards), link-local fe80::/10, unique local fc00::/7, multicast ff00::/8.
/// 64:ff9b::/96 counts: behind it is the IPv4 internet.
#[inline(always)]
pub fn never_internet6(words: [u32; 4]) -> bool {
    let high = u32::from_be(words[0]);
    if high == 0 {
        let third = u32::from_be(words[2]);
        return words[1] == 0 && (third == 0 || third == 0xffff);
    }
    // ff00::/8, fc00::/7 and fe80::/10 all lie at or above fc00::, where nothing of the internet is.
    high >> 24 == 0xff || high >> 25 == 0x7e || high >> 22 == 0x3fa
}

/// True if the address lies in the prefix.
#[inline(always)]
pub fn within4(address: u32, network: u32, mask: u32) -> bool {
    address & mask == network
}

/// True if the address lies in the prefix.
#[inline(always)]
pub fn within6(address: [u32; 4], network: [u32; 4], mask: [u32; 4]) -> bool {
    ((address[0] & mask[0]) ^ network[0])
        | ((address[1] & mask[1]) ^ network[1])
        | ((address[2] & mask[2]) ^ network[2])
        | ((address[3] & mask[3]) ^ network[3])
        == 0
}

/// Bytes and packets of an aggregated packet as it is on the wire: each of `segments` has its own copy of the
/// `headers` bytes, of which `len` holds one.
#[inline(always)]
pub fn on_the_wire(len: u64, segments: u32, headers: u32) -> (u64, u64) {
    (len + (segments as u64 - 1) * headers as u64, segments as u64)
}

/// Bytes of an IPv6 extension header of this protocol number, whose length field holds `len`; `None` if it is none.
#[inline(always)]
pub fn extension_len(protocol: u8, len: u8) -> Option<u32> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;
    match protocol {
        HOP_BY_HOP | ROUTING | DESTINATION => Some((len as u32 + 1) * 8),
        FRAGMENT => Some(8),
        AUTHENTICATION => Some((len as u32 + 2) * 4),
        _ => None,
    }
}
