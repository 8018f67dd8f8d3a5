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

// One slot, in 32-bit words: the interface, which of the two rule sets counts, and both rule sets.
/// Word of a slot that holds the interface index; 0 is a free slot.
pub const SLOT_IFINDEX: usize = 0;
/// Word of a slot that says which rule set is in force, 0 or 1.
pub const SLOT_ACTIVE: usize = 1;
/// Word of a slot at which the first rule set starts.
pub const SLOT_RULES: usize = 2;
/// Words of a slot.
pub const SLOT_WORDS: usize = SLOT_RULES + 2 * RULES_WORDS;
/// Size of the whole configuration in bytes.
pub const CONFIG: usize = SLOTS * SLOT_WORDS * 4;

/// LAN prefixes per family and rule set.
pub const LAN: usize = 16;
/// Local prefixes per family and rule set.
pub const LOCAL: usize = 32;

// One rule set, in 32-bit words.
/// 1 to count each segment of an aggregated packet with its own headers, 0 to count packets as the interface does.
pub const RULES_WIRE: usize = 0;
/// Number of IPv4 LAN prefixes.
pub const RULES_LAN4_LEN: usize = 1;
/// Number of IPv4 local prefixes.
pub const RULES_LOCAL4_LEN: usize = 2;
/// Number of IPv6 LAN prefixes.
pub const RULES_LAN6_LEN: usize = 3;
/// Number of IPv6 local prefixes.
pub const RULES_LOCAL6_LEN: usize = 4;
/// 1 if any VLAN is to be skipped.
pub const RULES_SKIPS: usize = 5;
/// IPv4 LAN prefixes: network word, mask word.
pub const RULES_LAN4: usize = 6;
/// IPv4 local prefixes: network word, mask word.
pub const RULES_LOCAL4: usize = RULES_LAN4 + 2 * LAN;
/// IPv6 LAN prefixes: four network words, four mask words.
pub const RULES_LAN6: usize = RULES_LOCAL4 + 2 * LOCAL;
/// IPv6 local prefixes: four network words, four mask words.
pub const RULES_LOCAL6: usize = RULES_LAN6 + 8 * LAN;
/// One bit per VLAN id: word id / 32, bit id % 32.
pub const RULES_SKIP: usize = RULES_LOCAL6 + 8 * LOCAL;
/// Words of a rule set.
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
