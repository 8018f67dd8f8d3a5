//! The families of the `clients` collector.
//!
//! The first four are network-metrics-exporter's, names, labels and type kept: its dashboards go on working.

use crate::metrics::{Desc, Kind};

const CLIENT: &[&str] = &["ip", "client"];
const DIRECTION: &[&str] = &["direction", "ip", "client"];

/// Bytes of a client.
pub static TRAFFIC: Desc = Desc {
    name: "client_traffic_bytes",
    kind: Kind::Gauge,
    labels: DIRECTION,
    help: "Bytes that a LAN client sent (tx) and received (rx) through the router, with IP headers and without Ethernet's; only grows.",
};
/// Bits per second of a client.
pub static RATE: Desc = Desc {
    name: "client_traffic_rate_bps",
    kind: Kind::Gauge,
    labels: DIRECTION,
    help: "Bits per second that a LAN client sent (tx) and received (rx) through the router between the last two readings.",
};
/// Connections of a client.
pub static CONNECTIONS: Desc = Desc {
    name: "client_active_connections",
    kind: Kind::Gauge,
    labels: CLIENT,
    help: "Connections of a LAN client that were answered and are not closing.",
};
/// Connections of a client without an answer.
pub static UNREPLIED: Desc = Desc {
    name: "client_unreplied_connections",
    kind: Kind::Gauge,
    labels: CLIENT,
    help: "Connections of a LAN client that nobody has answered so far, as those of a scan.",
};
/// Presence of a client.
pub static STATUS: Desc = Desc {
    name: "client_status",
    kind: Kind::Gauge,
    labels: CLIENT,
    help: "Whether a LAN client is there (1) or not (0).",
};
/// What is known of a client.
pub static INFO: Desc = Desc {
    name: "client_info",
    kind: Kind::Info,
    labels: &["ip", "client", "mac", "interface"],
    help: "Hardware address and interface of a LAN client; one mac joins the addresses of one device.",
};
/// When a client was there.
pub static LAST_SEEN: Desc = Desc {
    name: "client_last_seen_timestamp_seconds",
    kind: Kind::Gauge,
    labels: CLIENT,
    help: "When a LAN client was last known to be there, in seconds since 1970; absent if that is not known.",
};
/// Number of clients.
pub static CLIENTS: Desc = Desc {
    name: "gatemeter_clients",
    kind: Kind::Gauge,
    labels: &["family", "state"],
    help: "Addresses of LAN clients, by address family and by whether they are online or offline.",
};
/// Most clients kept.
pub static LIMIT: Desc = Desc {
    name: "gatemeter_clients_limit",
    kind: Kind::Gauge,
    labels: &[],
    help: "Addresses of LAN clients that are kept at most.",
};
/// Clients no longer kept.
pub static FORGOTTEN: Desc = Desc {
    name: "gatemeter_clients_forgotten_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Addresses of LAN clients that were forgotten because they were not seen for long or because there were too many.",
};

/// Where bytes come from.
pub static SOURCE: Desc = Desc {
    name: "gatemeter_clients_accounting_info",
    kind: Kind::Info,
    labels: &["source"],
    help: "Where the bytes of LAN clients come from: set, rules, conntrack or off.",
};
/// Elements of our sets.
pub static SET_ENTRIES: Desc = Desc {
    name: "gatemeter_clients_set_entries",
    kind: Kind::Gauge,
    labels: &["set"],
    help: "Addresses in each of our nftables sets; one that holds gatemeter_clients_limit of them counts no further client.",
};

/// How flows are read.
pub static FLOWS_INFO: Desc = Desc {
    name: "gatemeter_clients_flows_info",
    kind: Kind::Info,
    labels: &["mode"],
    help: "How connections are read: events follows them, dumps reads all of them each time, proc reads a file now and then.",
};
/// Flows of clients.
pub static FLOWS: Desc = Desc {
    name: "gatemeter_clients_flows",
    kind: Kind::Gauge,
    labels: &[],
    help: "Connections of all LAN clients together, closing ones left out; one between two clients counts once.",
};
/// Flows that rules and sets do not see.
pub static FLOWS_OFFLOADED: Desc = Desc {
    name: "gatemeter_clients_flows_offloaded",
    kind: Kind::Gauge,
    labels: &[],
    help: "Connections that pass by in a flowtable, whose bytes rules and sets do not see; as of the last reading of all.",
};
/// Flows that found no room.
pub static FLOWS_UNTRACKED: Desc = Desc {
    name: "gatemeter_clients_flows_untracked",
    kind: Kind::Gauge,
    labels: &[],
    help: "Connections of LAN clients beyond what can be kept, since the last reading of all.",
};
/// Readings of all flows.
pub static FLOW_READS: Desc = Desc {
    name: "gatemeter_clients_flow_reads_total",
    kind: Kind::Counter,
    labels: &[],
    help: "How many times all connections were read.",
};
/// Lost events.
pub static FLOW_OVERRUNS: Desc = Desc {
    name: "gatemeter_clients_flow_overruns_total",
    kind: Kind::Counter,
    labels: &[],
    help: "How many times events about connections came faster than they could be taken in; all are read again then.",
};

/// Lost events about the network.
pub static NETWORK_OVERRUNS: Desc = Desc {
    name: "gatemeter_clients_network_overruns_total",
    kind: Kind::Counter,
    labels: &[],
    help: "How many times events about interfaces, addresses and neighbours came faster than they could be taken in; all are listed again then.",
};
/// Lost events about the firewall.
pub static RULESET_OVERRUNS: Desc = Desc {
    name: "gatemeter_clients_ruleset_overruns_total",
    kind: Kind::Counter,
    labels: &[],
    help: "How many times events about nftables came faster than they could be taken in; what counts there is looked at again then.",
};

/// All of them, in the order of output.
pub static ALL: &[&Desc] = &[
    &TRAFFIC,
    &RATE,
    &CONNECTIONS,
    &UNREPLIED,
    &STATUS,
    &INFO,
    &LAST_SEEN,
    &CLIENTS,
    &LIMIT,
    &FORGOTTEN,
    &SOURCE,
    &SET_ENTRIES,
    &FLOWS_INFO,
    &FLOWS,
    &FLOWS_OFFLOADED,
    &FLOWS_UNTRACKED,
    &FLOW_READS,
    &FLOW_OVERRUNS,
    &NETWORK_OVERRUNS,
    &RULESET_OVERRUNS,
];
