//! Sizes and offsets of everything the kernel program and the daemon share: constants only.
//!
//! Both sides include this very file, so a layout cannot differ between them. Whoever changes a number here raises
//! [`LAYOUT`], which names the directory the maps are pinned in: a daemon never reads counters of another layout.
//!
//! Numbers are in the byte order of the machine, addresses and MACs are bytes as on the wire.

/// Version of all that follows; pinned maps of another version are replaced.
pub const LAYOUT: u32 = 1;

/// Key of the IPv4 host table: address (4 bytes), MAC (6), padding (2, zero).
pub const KEY4: usize = 12;
/// Key of the IPv6 host table: address (16 bytes), MAC (6), padding (2, zero).
pub const KEY6: usize = 24;

/// Value of both host tables: four 64-bit numbers at the indexes below.
pub const VALUE: usize = 32;
/// Bytes to the host, index into the value.
pub const DOWN_BYTES: usize = 0;
/// Bytes from the host, index into the value.
pub const UP_BYTES: usize = 1;
/// Packets to the host, index into the value.
pub const DOWN_PACKETS: usize = 2;
/// Packets from the host, index into the value.
pub const UP_PACKETS: usize = 3;

/// Entries of the table of what could not be counted; each is packets, then bytes, 64 bits each.
pub const UNCOUNTED_ENTRIES: u32 = 2;
/// Size of one of these entries in bytes.
pub const UNCOUNTED_VALUE: usize = 16;
/// Entry of packets whose host found no room in its table.
pub const TABLE_FULL: u32 = 0;
/// Entry of IP packets that end inside their IP header.
pub const TRUNCATED: u32 = 1;

/// Interfaces that can be accounted at once.
pub const SLOTS: usize = 16;

// The configuration, in 32-bit words: which of two blocks is in force, then both blocks.
/// Word that says which block is in force, 0 or 1. The daemon writes the other one, then this.
pub const ACTIVE: usize = 0;
/// Word at which the first block starts.
pub const BLOCKS: usize = 1;
/// Size of the whole configuration in bytes.
pub const CONFIG: usize = (BLOCKS + 2 * BLOCK_WORDS) * 4;

// One block: how to find an interface's rules, then the rules of each. The program computes the place of the rules
// from what it reads instead of searching for it, which spares the verifier a path per slot.
/// Word that interface indexes are multiplied with (modulo 2^32); the top 8 bits of the product are the place in the
/// table of slots. Chosen by the daemon so that no two accounted interfaces meet.
pub const BLOCK_MULTIPLIER: usize = 0;
/// Word at which the table of slots starts: 256 bytes, each the slot of an interface or anything for none.
pub const BLOCK_TABLE: usize = 1;
/// Word at which the rules of the first slot start.
pub const BLOCK_RULES: usize = BLOCK_TABLE + 256 / 4;
/// Words of a block.
pub const BLOCK_WORDS: usize = BLOCK_RULES + SLOTS * RULES_WORDS;

/// LAN prefixes per family and slot.
pub const LAN: usize = 16;
/// Local prefixes per family and slot.
pub const LOCAL: usize = 32;

// The rules of one slot, in 32-bit words.
/// The interface they are for; 0 for a free slot.
pub const RULES_IFINDEX: usize = 0;
/// 1 to count each segment of an aggregated packet with its own headers, 0 to count packets as the interface does.
pub const RULES_WIRE: usize = 1;
/// 1 if any VLAN is to be skipped.
pub const RULES_SKIPS: usize = 2;
/// Number of IPv4 LAN prefixes.
pub const RULES_LAN4_LEN: usize = 3;
/// Number of IPv4 local prefixes.
pub const RULES_LOCAL4_LEN: usize = 4;
/// Number of IPv6 LAN prefixes.
pub const RULES_LAN6_LEN: usize = 5;
/// Number of IPv6 local prefixes.
pub const RULES_LOCAL6_LEN: usize = 6;
/// IPv4 LAN prefixes: network word, mask word.
pub const RULES_LAN4: usize = 7;
/// IPv4 local prefixes: network word, mask word.
pub const RULES_LOCAL4: usize = RULES_LAN4 + 2 * LAN;
/// IPv6 LAN prefixes: four network words, four mask words.
pub const RULES_LAN6: usize = RULES_LOCAL4 + 2 * LOCAL;
/// IPv6 local prefixes: four network words, four mask words.
pub const RULES_LOCAL6: usize = RULES_LAN6 + 8 * LAN;
/// One bit per VLAN id: word id / 32, bit id % 32.
pub const RULES_SKIP: usize = RULES_LOCAL6 + 8 * LOCAL;
/// Words of the rules of a slot.
pub const RULES_WORDS: usize = RULES_SKIP + 4096 / 32;

// The frame that carries an entry of an older table to the program that adds it, in bytes.
/// Offset of the address family, 4 or 6, 32 bits.
pub const ADD_FAMILY: usize = 0;
/// Offset of the key.
pub const ADD_KEY: usize = 4;
/// Offset of the value.
pub const ADD_VALUE: usize = ADD_KEY + KEY6;
/// Size of the frame.
pub const ADD: usize = ADD_VALUE + VALUE;

/// Name of the map of IPv4 hosts.
pub const HOSTS4_NAME: &str = "gm_hosts4";
/// Name of the map of IPv6 hosts.
pub const HOSTS6_NAME: &str = "gm_hosts6";
/// Name of the map of what could not be counted.
pub const UNCOUNTED_NAME: &str = "gm_uncounted";
/// Name of the program on ingress.
pub const PROGRAM_IN: &str = "gatemeter_in";
/// Name of the program on egress.
pub const PROGRAM_OUT: &str = "gatemeter_out";
/// Name of the program that adds an entry of an older table to the new one.
pub const PROGRAM_ADD: &str = "gatemeter_add";
/// Name of the map of the configuration: all zero in the object, so it lies in this section.
pub const CONFIG_NAME: &str = ".bss";
