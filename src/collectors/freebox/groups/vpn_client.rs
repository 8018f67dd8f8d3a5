//! The VPN client of the box: `vpn_client/config`, `vpn_client/status`.

use super::super::json::Node;
use super::super::table::{Family, Form, Kind, Make, Record};
use super::{Context, Group, Replies, counter, family, gauge, info, nothing_more, of};

/// Read once a minute at most.
pub static GROUP: Group = Group {
    name: "vpnclient",
    always: false,
    pace: 60,
    right: None,
    families: FAMILIES,
    forms: FORMS,
    first: |_| &["vpn_client/config/", "vpn_client/status/"],
    more: nothing_more,
    records,
};

const OF: Kind = Kind::VpnClient;
const DIRECTION: &[&str] = &["direction"];
const DOWN: &[&str] = &["=down"];
const UP: &[&str] = &["=up"];

static FAMILIES: &[Family] = &[
    family(
        gauge(
            "freebox_vpn_client_profile_active",
            &["id", "type", "description"],
            "Whether a profile of the VPN client is chosen (1) or not (0).",
        ),
        &[of(Kind::VpnProfile, "active", Make::Flag, &["id", "type", "description"])],
    ),
    family(
        gauge("freebox_vpn_client_enabled", &[], "Whether the VPN client is on (1) or not (0)."),
        &[of(OF, "enabled", Make::Flag, &[]), of(Kind::VpnClientOff, "enabled", Make::Flag, &[])],
    ),
    family(
        gauge("freebox_vpn_client_up", &[], "Whether the VPN client is connected (1) or not (0)."),
        &[of(OF, "state", Make::Is("up"), &[]), of(Kind::VpnClientOff, "=0", Make::Number, &[])],
    ),
    family(
        gauge(
            "freebox_vpn_client_last_error_code",
            &[],
            "Last error of the VPN client: 0 none, 1 internal, 2 authentication_failed, 3 auth_failed, 4 resolv_failed, \
             5 connect_timeout, 6 connect_failed, 7 setup_control_failed, 8 setup_call_failed, 9 protocol, \
             10 remote_terminated, 11 remote_disconnect, 999 another.",
        ),
        &[of(OF, "last_error", ERROR, &[])],
    ),
    family(
        info(
            "freebox_vpn_client_info",
            &["type", "id", "description", "state", "last_error", "ipv4"],
            "What the VPN client is connected to, and its last error.",
        ),
        &[of(
            OF,
            "",
            Make::One,
            &["type", "active_vpn", "active_vpn_description", "state", "last_error", "ipv4.ip_mask.ip"],
        )],
    ),
    family(
        gauge(
            "freebox_vpn_client_last_try_timestamp_seconds",
            &[],
            "When the VPN client last tried to connect, in seconds since 1970; 0 for never.",
        ),
        &[of(OF, "last_try", Make::Known, &[])],
    ),
    family(
        gauge(
            "freebox_vpn_client_last_up_timestamp_seconds",
            &[],
            "When the VPN client was last connected, in seconds since 1970; 0 for never.",
        ),
        &[of(OF, "last_up", Make::Known, &[])],
    ),
    family(
        gauge("freebox_vpn_client_next_try_seconds", &[], "Time until the VPN client tries again, in seconds."),
        &[of(OF, "next_try", Make::Known, &[])],
    ),
    family(
        gauge(
            "freebox_vpn_client_rate_bytes_per_second",
            DIRECTION,
            "Rate through the VPN client, in bytes per second.",
        ),
        &[of(OF, "stats.rate_down", Make::Known, DOWN), of(OF, "stats.rate_up", Make::Known, UP)],
    ),
    family(
        counter("freebox_vpn_client_bytes_total", DIRECTION, "Bytes through the VPN client since it was connected."),
        &[of(OF, "stats.bytes_down", Make::Known, DOWN), of(OF, "stats.bytes_up", Make::Known, UP)],
    ),
];

const ERROR: Make = Make::Code(
    &[
        ("none", 0),
        ("internal", 1),
        ("authentication_failed", 2),
        ("auth_failed", 3),
        ("resolv_failed", 4),
        ("connect_timeout", 5),
        ("connect_failed", 6),
        ("setup_control_failed", 7),
        ("setup_call_failed", 8),
        ("protocol", 9),
        ("remote_terminated", 10),
        ("remote_disconnect", 11),
    ],
    999,
);

static FORMS: &[Form] = &[
    Form {
        of: Kind::VpnProfile,
        measure: "vpn_client",
        tags: &[
            ("ivc", "id", Make::Text),
            ("ivc_type", "type", Make::Text),
            ("ivc_description", "description", Make::Text),
            ("ivc_username", "conf_pptp.username", Make::Text),
            ("ivc_mtu", "conf_wireguard.mtu", Make::Text),
            ("ivc_remote_host", "conf_pptp.remote_host|conf_wireguard.remote_addr", Make::Text),
            ("ivc_remote_port", "conf_wireguard.remote_port", Make::Text),
        ],
        rows: &[("vpnclient_state", "active", Make::Flag)],
    },
    Form {
        of: Kind::VpnClientOff,
        measure: "vpn_client",
        tags: &[],
        rows: &[("vpnconn_enabled", "=0", Make::Number), ("vpnconn_state", "=0", Make::Number)],
    },
    Form {
        of: OF,
        measure: "vpn_client",
        tags: &[
            ("type", "type", Make::Text),
            ("active_vpn_description", "active_vpn_description", Make::Text),
            ("active_vpn", "active_vpn", Make::Text),
            ("ipv4", "ipv4.ip_mask.ip", Make::Text),
            ("ipv4_mask", "ipv4.ip_mask.mask", Make::Text),
            ("ipv4_gateway", "ipv4.gateway", Make::Text),
            ("ipv4_domain", "ipv4.domain", Make::Text),
            ("ipv4_provider", "ipv4.provider", Make::Text),
            ("last_error_desc", "last_error", Make::Text),
        ],
        rows: &[
            ("vpnconn_enabled", "enabled", Make::Flag),
            ("vpnconn_state", "state", Make::Is("up")),
            ("vpnconn_last_try", "last_try", Make::Number),
            ("vpnconn_last_up", "last_up", Make::Number),
            ("vpnconn_next_try", "next_try", Make::Number),
            ("vpnconn_rate_up", "stats.rate_up", Make::Number),
            ("vpnconn_rate_down", "stats.rate_down", Make::Number),
            ("vpnconn_bytes_up", "stats.bytes_up", Make::Number),
            ("vpnconn_bytes_down", "stats.bytes_down", Make::Number),
            ("vpnconn_last_error", "last_error", ERROR),
        ],
    },
];

fn records<'a>(replies: &'a Replies, _: &'a Context, out: &mut Vec<Record<'a>>) {
    out.extend(replies.items(0).map(|profile: Node<'a>| Record::of(Kind::VpnProfile, profile)));
    if let Some(status) = replies.result(1) {
        let on = status.at("enabled").and_then(Node::truth).unwrap_or(false);
        out.push(Record::of(if on { OF } else { Kind::VpnClientOff }, status));
    }
}
