//! The families of the `traffic` collector.
//!
//! The first four are mezoura's, names, labels and type kept: its dashboards go on working. They only grow, so
//! `rate()` works on them although they are called gauges.

use crate::metrics::{Desc, Kind};

const HOST: &[&str] = &["mac", "hostname", "ip"];

/// Bytes to a host.
pub static DOWNLOAD: Desc = Desc {
    name: "node_nat_traffic_download",
    kind: Kind::Gauge,
    labels: HOST,
    help: "Bytes from the internet to a LAN host, counted with Ethernet headers.",
};
/// Packets to a host.
pub static DOWNLOAD_PKTS: Desc = Desc {
    name: "node_nat_traffic_download_pkts",
    kind: Kind::Gauge,
    labels: HOST,
    help: "Packets from the internet to a LAN host.",
};
/// Bytes from a host.
pub static UPLOAD: Desc = Desc {
    name: "node_nat_traffic_upload",
    kind: Kind::Gauge,
    labels: HOST,
    help: "Bytes from a LAN host to the internet, counted with Ethernet headers.",
};
/// Packets from a host.
pub static UPLOAD_PKTS: Desc = Desc {
    name: "node_nat_traffic_upload_pkts",
    kind: Kind::Gauge,
    labels: HOST,
    help: "Packets from a LAN host to the internet.",
};
/// Addresses in the kernel's tables.
pub static HOSTS: Desc = Desc {
    name: "gatemeter_traffic_hosts",
    kind: Kind::Gauge,
    labels: &["family"],
    help: "LAN addresses in the kernel's table, those without a known name included.",
};
/// Entries of each table.
pub static HOSTS_LIMIT: Desc = Desc {
    name: "gatemeter_traffic_hosts_limit",
    kind: Kind::Gauge,
    labels: &[],
    help: "LAN addresses that the kernel's table can hold, for each address family.",
};
/// Addresses without a name.
pub static UNKNOWN_HOSTS: Desc = Desc {
    name: "gatemeter_traffic_unknown_hosts",
    kind: Kind::Gauge,
    labels: &[],
    help: "LAN addresses whose MAC address has no known name.",
};
/// Evictions.
pub static EVICTED: Desc = Desc {
    name: "gatemeter_traffic_evicted_hosts_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Idle LAN addresses that made room for others; their counts begin again from 0 if they come back.",
};
/// Packets that could not be accounted.
pub static UNCOUNTED_PACKETS: Desc = Desc {
    name: "gatemeter_traffic_uncounted_packets_total",
    kind: Kind::Counter,
    labels: &["reason"],
    help: "Packets between LAN and internet that no host was charged for, because the table was full or the frame cut off.",
};
/// Bytes that could not be accounted.
pub static UNCOUNTED_BYTES: Desc = Desc {
    name: "gatemeter_traffic_uncounted_bytes_total",
    kind: Kind::Counter,
    labels: &["reason"],
    help: "Bytes of the packets that no host was charged for.",
};
/// Hooks in use.
pub static ATTACHED: Desc = Desc {
    name: "gatemeter_traffic_interface_attached",
    kind: Kind::Gauge,
    labels: &["interface", "hook"],
    help: "Whether traffic is counted on an interface (1) or it is missing or refused (0), and by which kernel hook.",
};
/// Lost events.
pub static OVERRUNS: Desc = Desc {
    name: "gatemeter_traffic_network_overruns_total",
    kind: Kind::Counter,
    labels: &[],
    help: "How many times events about interfaces and addresses came faster than they could be taken in; all are listed again then.",
};
/// Whether counts outlive the daemon.
pub static PINNED: Desc = Desc {
    name: "gatemeter_traffic_pinned",
    kind: Kind::Gauge,
    labels: &[],
    help: "Whether counting goes on and counts are kept while the daemon is not running (1) or not (0).",
};

/// All of them, in the order of output.
pub static ALL: &[&Desc] = &[
    &DOWNLOAD,
    &DOWNLOAD_PKTS,
    &UPLOAD,
    &UPLOAD_PKTS,
    &HOSTS,
    &HOSTS_LIMIT,
    &UNKNOWN_HOSTS,
    &EVICTED,
    &UNCOUNTED_PACKETS,
    &UNCOUNTED_BYTES,
    &ATTACHED,
    &OVERRUNS,
    &PINNED,
];
