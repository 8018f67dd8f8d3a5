//! The Ethernet switch: `switch/status`, then `switch/port/ID/stats` of each port.

use super::super::json::Node;
use super::super::table::{Family, Form, Kind, Make, Record};
use super::{Context, Group, MAX_MORE, Replies, counter, family, gauge, id_in_path, info, of, per_host};
use crate::metrics::Value;

/// Read every time: it has rates.
pub static GROUP: Group = Group {
    name: "switch",
    always: false,
    pace: 0,
    right: None,
    families: FAMILIES,
    forms: FORMS,
    first: |_| &["switch/status/"],
    more,
    records,
};

const OF: Kind = Kind::Port;
const PORT: &[&str] = &["port"];
const PORT_OF: &[&str] = &["id"];
const DIRECTION: &[&str] = &["port", "direction"];
const RX: &[&str] = &["id", "=rx"];
const TX: &[&str] = &["id", "=tx"];

static FAMILIES: &[Family] = &[
    family(
        gauge("freebox_switch_port_up", &["port", "name"], "Whether a switch port has a link (1) or not (0)."),
        &[of(OF, "link", Make::Is("up"), &["id", "name"])],
    ),
    family(
        gauge(
            "freebox_switch_port_full_duplex",
            &["port", "name"],
            "Whether a switch port sends and receives at once (1) or not (0).",
        ),
        &[of(OF, "duplex", Make::Is("full"), &["id", "name"])],
    ),
    family(
        gauge("freebox_switch_port_speed_bytes_per_second", PORT, "Speed of a switch port, in bytes per second."),
        &[of(OF, "speed*125000", Make::Known, PORT_OF)],
    ),
    family(
        info("freebox_switch_port_info", &["port", "name", "mode"], "Name and mode of a switch port."),
        &[of(OF, "", Make::One, &["id", "name", "mode"])],
    ),
    family(
        gauge("freebox_switch_port_hosts", PORT, "Hosts behind a switch port."),
        &[of(OF, "mac_list", Make::Count, PORT_OF)],
    ),
    family(
        gauge(
            "freebox_switch_port_rate_bytes_per_second",
            DIRECTION,
            "Rate into the box (rx) and out of it (tx) at a switch port, in bytes per second.",
        ),
        &[of(OF, "^rx_bytes_rate", Make::Known, RX), of(OF, "^tx_bytes_rate", Make::Known, TX)],
    ),
    family(
        counter(
            "freebox_switch_port_bytes_total",
            DIRECTION,
            "Bytes into the box (rx) and out of it (tx) at a switch port.",
        ),
        &[of(OF, "^rx_good_bytes", Make::Known, RX), of(OF, "^tx_bytes", Make::Known, TX)],
    ),
    family(
        counter(
            "freebox_switch_port_packets_total",
            DIRECTION,
            "Packets into the box (rx) and out of it (tx) at a switch port.",
        ),
        &[of(OF, "^rx_good_packets", Make::Known, RX), of(OF, "^tx_packets", Make::Known, TX)],
    ),
    family(
        counter("freebox_switch_port_receive_errors_total", PORT, "Packets with errors that came in at a switch port."),
        &[of(OF, "^rx_err_packets", Make::Known, PORT_OF)],
    ),
    family(
        counter("freebox_switch_port_receive_discards_total", PORT, "Packets that were dropped at a switch port."),
        &[of(OF, "^rx_discard_packets", Make::Known, PORT_OF)],
    ),
    family(
        counter("freebox_switch_port_transmit_collisions_total", PORT, "Collisions while a switch port sent."),
        &[of(OF, "^tx_collisions", Make::Known, PORT_OF)],
    ),
    per_host(
        info("freebox_switch_host_info", &["port", "mac", "hostname"], "Hosts behind a switch port."),
        &[of(Kind::PortHost, "mac", Make::One, &["^id", "mac", "hostname"])],
    ),
];

static FORMS: &[Form] = &[
    Form {
        of: Kind::PortHost,
        measure: "switch",
        tags: &[
            ("switch_port", "^id", Make::Text),
            ("mac", "mac", Make::Text),
            ("hostname", "hostname|=unknown", Make::Text),
        ],
        rows: &[("client_last_seen", "#0", Make::Number)],
    },
    Form {
        of: OF,
        measure: "switch",
        tags: &[
            ("switch_port", "id", Make::Text),
            ("switch_mode", "mode", Make::Text),
            ("switch_name", "name", Make::Text),
        ],
        rows: &[
            ("switch_link", "link", Make::Is("up")),
            ("switch_duplex", "duplex", Make::Is("full")),
            ("switch_speed", "speed", Make::Number),
            ("switch_client_count", "mac_list", Make::Count),
            ("switch_rx_bytes_rate", "^rx_bytes_rate", Make::Number),
            ("switch_tx_bytes_rate", "^tx_bytes_rate", Make::Number),
            ("switch_err_packets", "^rx_err_packets", Make::Number),
            ("switch_discard_packets", "^rx_discard_packets", Make::Number),
            ("switch_collisions", "^tx_collisions", Make::Number),
        ],
    },
    Form { of: Kind::PortCount, measure: "switch", tags: &[], rows: &[("switch_port_count", "#0", Make::Number)] },
];

/// Rate in bytes per second and bytes that came in over all ports; what a port does not know adds nothing.
pub fn upload(replies: &Replies) -> Option<(u64, u64)> {
    let ports = replies.items(0).count();
    let sum = |field: &str| {
        let value = |port: usize| match replies.result(port + 1)?.at(field)?.number()? {
            Value::Unsigned(value) => Some(value),
            Value::Float(_) => None,
        };
        (0..ports).filter_map(value).fold(0u64, u64::saturating_add)
    };
    (ports > 0).then(|| (sum("rx_bytes_rate"), sum("rx_good_bytes")))
}

fn more(replies: &Replies) -> Vec<String> {
    // A port without a usable id is asked for under one that there is not, so that all others keep their place.
    let path = |port: Node<'_>| format!("switch/port/{}/stats/", id_in_path(port, "id").as_deref().unwrap_or("none"));
    replies.items(0).take(MAX_MORE).map(path).collect()
}

fn records<'a>(replies: &'a Replies, context: &'a Context, out: &mut Vec<Record<'a>>) {
    let mut ports = 0;
    for (index, port) in replies.items(0).enumerate() {
        let hosts = port.at("mac_list").into_iter().flat_map(|list| list.items());
        out.extend(hosts.map(|host| Record::of(Kind::PortHost, host).in_parent(Some(port)).counted(&[context.now])));
        out.push(Record::of(OF, port).in_parent(replies.result(index + 1)));
        ports += 1;
    }
    if ports > 0 {
        out.push(Record::new(Kind::PortCount).counted(&[ports]));
    }
}
