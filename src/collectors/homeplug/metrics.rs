//! The families this collector writes. The first three are homeplug_exporter's.

use crate::metrics::{Desc, Kind};

/// Labels of what is about an adapter and one of its peers.
const PEER: &[&str] = &["device_addr", "nid", "peer_addr"];
/// The same with the outcome of what was counted.
const RESULT: &[&str] = &["device_addr", "nid", "peer_addr", "result"];

/// Networks.
pub static NETWORK_INFO: Desc = Desc {
    name: "homeplug_network_info",
    kind: Kind::Gauge,
    labels: &["device_addr", "nid", "snid", "tei", "role", "cco_addr", "cco_tei"],
    help: "Logical network information: a powerline network that an adapter is in, and its role there; always 1.",
};
/// Rates to peers.
pub static TX_RATE: Desc = Desc {
    name: "homeplug_station_tx_rate_bytes",
    kind: Kind::Gauge,
    labels: PEER,
    help: "Average PHY Tx data rate from an adapter to a peer, in bytes per second at 1024 x 1024 / 8 for each Mbit/s.",
};
/// Rates from peers.
pub static RX_RATE: Desc = Desc {
    name: "homeplug_station_rx_rate_bytes",
    kind: Kind::Gauge,
    labels: PEER,
    help: "Average PHY Rx data rate from a peer to an adapter, in bytes per second at 1024 x 1024 / 8 for each Mbit/s.",
};
/// The rates as they are.
pub static PHY_RATE: Desc = Desc {
    name: "homeplug_link_phy_rate_bytes_per_second",
    kind: Kind::Gauge,
    labels: &["device_addr", "nid", "peer_addr", "direction"],
    help: "Average PHY rate of an adapter to (tx) and from (rx) a peer, in bytes per second; 8 times it are bits; 0 if idle.",
};
/// Peers.
pub static STATION_INFO: Desc = Desc {
    name: "homeplug_station_info",
    kind: Kind::Info,
    labels: &["device_addr", "nid", "peer_addr", "tei", "bridged_addr", "tx_coupling", "rx_coupling"],
    help: "A peer of an adapter, the first Ethernet device behind it, and the pair of wires used in each direction.",
};
/// Adapters.
pub static DEVICE_INFO: Desc = Desc {
    name: "homeplug_device_info",
    kind: Kind::Info,
    labels: &["device_addr", "chip", "firmware"],
    help: "Chip and firmware of an adapter.",
};
/// Time since an adapter was switched on.
pub static UPTIME: Desc = Desc {
    name: "homeplug_device_uptime_seconds",
    kind: Kind::Gauge,
    labels: &["device_addr"],
    help: "Time since an adapter was switched on, in seconds; only Broadcom's tell.",
};
/// Packets sent.
pub static TX_MPDUS: Desc = Desc {
    name: "homeplug_link_tx_mpdus_total",
    kind: Kind::Counter,
    labels: RESULT,
    help: "Packets (MPDUs) an adapter sent to a peer that were acked, collided or failed.",
};
/// Packets received.
pub static RX_MPDUS: Desc = Desc {
    name: "homeplug_link_rx_mpdus_total",
    kind: Kind::Counter,
    labels: RESULT,
    help: "Packets (MPDUs) an adapter received from a peer that were acked or failed.",
};
/// Blocks sent.
pub static TX_BLOCKS: Desc = Desc {
    name: "homeplug_link_tx_phy_blocks_total",
    kind: Kind::Counter,
    labels: RESULT,
    help: "PHY blocks of 520 bytes an adapter sent to a peer that passed or failed.",
};
/// Blocks received.
pub static RX_BLOCKS: Desc = Desc {
    name: "homeplug_link_rx_phy_blocks_total",
    kind: Kind::Counter,
    labels: RESULT,
    help: "PHY blocks of 520 bytes an adapter received from a peer that passed or failed.",
};
/// Bit errors.
pub static RX_BIT_ERRORS: Desc = Desc {
    name: "homeplug_link_rx_bit_errors_total",
    kind: Kind::Counter,
    labels: RESULT,
    help: "Bit errors before correction in PHY blocks from a peer that passed or failed.",
};

/// Interfaces.
pub static UP: Desc = Desc {
    name: "homeplug_up",
    kind: Kind::Gauge,
    labels: &["interface"],
    help: "Whether any adapter answered on an interface (1) or not (0).",
};
/// Adapters that answer.
pub static DEVICE_UP: Desc = Desc {
    name: "homeplug_device_up",
    kind: Kind::Gauge,
    labels: &["device_addr"],
    help: "Whether an adapter answered in the last walk (1), or only in an earlier one or not at all (0).",
};
/// When adapters answered.
pub static LAST_SEEN: Desc = Desc {
    name: "homeplug_device_last_seen_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &["device_addr"],
    help: "When an adapter last answered, in seconds since 1970; absent if it never did.",
};
/// Peers of an adapter.
pub static STATIONS: Desc = Desc {
    name: "homeplug_device_stations",
    kind: Kind::Gauge,
    labels: &["device_addr"],
    help: "Peers of an adapter, in all its networks.",
};
/// Adapters without firmware.
pub static BOOT_LOADERS: Desc = Desc {
    name: "homeplug_boot_loaders",
    kind: Kind::Gauge,
    labels: &[],
    help: "Adapters on this side that are stuck in their boot loader: they have no address and no network.",
};
/// Questions.
pub static REQUESTS: Desc =
    Desc { name: "homeplug_requests_total", kind: Kind::Counter, labels: &[], help: "Messages sent to adapters." };
/// Answers.
pub static ANSWERS: Desc = Desc {
    name: "homeplug_answers_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Answers of adapters that were used.",
};
/// What was not used.
pub static REJECTED: Desc = Desc {
    name: "homeplug_rejected_total",
    kind: Kind::Counter,
    labels: &["reason"],
    help: "Answers, or adapters and stations in them, that were not used, by the reason.",
};
/// What was not looked at.
pub static DROPPED: Desc = Desc {
    name: "homeplug_frames_dropped_total",
    kind: Kind::Counter,
    labels: &["interface"],
    help: "Frames that came as answers and were not looked at, because they were too many.",
};

/// All of them, in the order of output.
pub static ALL: &[&Desc] = &[
    &NETWORK_INFO,
    &TX_RATE,
    &RX_RATE,
    &PHY_RATE,
    &STATION_INFO,
    &DEVICE_INFO,
    &UPTIME,
    &TX_MPDUS,
    &RX_MPDUS,
    &TX_BLOCKS,
    &RX_BLOCKS,
    &RX_BIT_ERRORS,
    &UP,
    &DEVICE_UP,
    &LAST_SEEN,
    &STATIONS,
    &BOOT_LOADERS,
    &REQUESTS,
    &ANSWERS,
    &REJECTED,
    &DROPPED,
];
