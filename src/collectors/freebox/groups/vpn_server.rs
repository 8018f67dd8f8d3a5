//! VPN servers of the box and who is connected: `vpn`, `vpn/connection`, `vpn/NAME/config`.

use super::super::json::Node;
use super::super::table::{Family, Form, Kind, Make, Record};
use super::{Context, Group, MAX_MORE, Replies, counter, family, gauge, id_in_path, of, per_host};
use crate::metrics::Value;

/// Read once a minute at most.
pub static GROUP: Group = Group {
    name: "vpnsrv",
    always: false,
    pace: 60,
    right: None,
    families: FAMILIES,
    forms: FORMS,
    first: |_| &["vpn/", "vpn/connection/"],
    more,
    records,
};

const OF: Kind = Kind::VpnServer;
const USER: Kind = Kind::VpnConnection;
const CONNECTION: &[&str] = &["id", "user", "server"];
const CONNECTION_OF: &[&str] = &["id", "user", "vpn"];

static FAMILIES: &[Family] = &[
    family(
        gauge(
            "freebox_vpn_server_state_code",
            &["server", "type"],
            "State of a VPN server: 0 stopped, starting or stopping, 1 started, 99 error.",
        ),
        &[of(OF, "state", STATE, &["name", "type"])],
    ),
    family(
        gauge("freebox_vpn_server_enabled", &["server", "type"], "Whether a VPN server is to run (1) or not (0)."),
        &[of(OF, "^enabled", Make::Flag, &["name", "type"])],
    ),
    family(
        gauge(
            "freebox_vpn_server_connections",
            &["server", "authenticated"],
            "Connections to a VPN server, by whether the user is known.",
        ),
        &[
            of(OF, "#0", Make::Number, &["name", "=false"]),
            of(OF, "auth_connection_count", Make::Known, &["name", "=true"]),
        ],
    ),
    per_host(
        counter(
            "freebox_vpn_server_connection_bytes_total",
            &["id", "user", "server", "direction"],
            "Bytes from a VPN user (rx) and to one (tx) since the connection began.",
        ),
        &[
            of(USER, "rx_bytes", Make::Known, &["id", "user", "vpn", "=rx"]),
            of(USER, "tx_bytes", Make::Known, &["id", "user", "vpn", "=tx"]),
        ],
    ),
    per_host(
        gauge(
            "freebox_vpn_server_connection_authenticated",
            CONNECTION,
            "Whether the user of a VPN connection is known (1) or not (0).",
        ),
        &[of(USER, "authenticated", Make::Flag, CONNECTION_OF)],
    ),
    per_host(
        gauge(
            "freebox_vpn_server_connection_auth_timestamp_seconds",
            CONNECTION,
            "When the user of a VPN connection was recognised, in seconds since 1970.",
        ),
        &[of(USER, "auth_time", Make::Known, CONNECTION_OF)],
    ),
];

const STATE: Make = Make::Code(&[("started", 1), ("error", 99)], 0);

static FORMS: &[Form] = &[
    Form {
        of: OF,
        measure: "vpn_server",
        tags: &[
            ("vpn_type", "type", Make::Text),
            ("vpn_name", "name", Make::Text),
            ("vpn_port", "^port|^port_nat", Make::Text),
            ("vpn_ip_start", "^ip_start", Make::Text),
            ("vpn_ip_end", "^ip_end", Make::Text),
            ("vpn_ip6_start", "^ip6_start", Make::Text),
            ("vpn_ip6_end", "^ip6_end", Make::Text),
        ],
        rows: &[
            ("vpnsrv_state", "state", STATE),
            ("vpnsrv_connection_count", "connection_count", Make::Number),
            ("vpnsrv_auth_connection_count", "auth_connection_count", Make::Number),
            ("vpnsrv_enabled", "^enabled", Make::Flag),
        ],
    },
    Form {
        of: USER,
        measure: "vpn_server",
        tags: &[
            ("conn_id", "id", Make::Text),
            ("conn_user", "user", Make::Text),
            ("vpn_name", "vpn", Make::Text),
            ("conn_src_ip", "src_ip", Make::Text),
            ("conn_local_ip", "local_ip", Make::Text),
        ],
        rows: &[
            ("vpnsrv_conn_authenticated", "authenticated", Make::Flag),
            ("vpnsrv_conn_auth_time", "auth_time", Make::Number),
            ("vpnsrv_conn_rx_bytes", "rx_bytes", Make::Number),
            ("vpnsrv_conn_tx_bytes", "tx_bytes", Make::Number),
        ],
    },
];

fn more(replies: &Replies) -> Vec<String> {
    let path = |server| format!("vpn/{}/config/", id_in_path(server, "name").as_deref().unwrap_or("none"));
    replies.items(0).take(MAX_MORE).map(path).collect()
}

fn records<'a>(replies: &'a Replies, _: &'a Context, out: &mut Vec<Record<'a>>) {
    for (index, server) in replies.items(0).enumerate() {
        let count = |field: &str| match server.at(field)?.number()? {
            Value::Unsigned(count) => Some(count),
            Value::Float(_) => None,
        };
        let mut record = Record::of(OF, server).in_parent(replies.result(index + 2));
        let unknown = count("connection_count").zip(count("auth_connection_count"));
        record.numbers[0] = unknown.map(|(all, known)| Value::Unsigned(all.saturating_sub(known)));
        out.push(record);
    }
    out.extend(replies.items(1).map(|user: Node<'a>| Record::of(USER, user)));
}
