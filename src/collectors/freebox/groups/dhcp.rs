//! The DHCP server and its leases: `dhcp/config`, `dhcp/dynamic_lease`.

use super::super::table::{Family, Form, Kind, Make, Record};
use super::{Context, Group, Replies, family, gauge, info, nothing_more, of, per_host};

/// Read once a minute at most.
pub static GROUP: Group = Group {
    name: "dhcp",
    always: false,
    pace: 60,
    right: None,
    families: FAMILIES,
    forms: FORMS,
    first: |_| &["dhcp/config/", "dhcp/dynamic_lease/"],
    more: nothing_more,
    records,
};

const OF: Kind = Kind::Dhcp;
const MAC: &[&str] = &["mac"];

static FAMILIES: &[Family] = &[
    family(
        gauge("freebox_dhcp_enabled", &[], "Whether the DHCP server is on (1) or not (0)."),
        &[of(OF, "enabled", Make::Flag, &[])],
    ),
    family(
        gauge("freebox_dhcp_sticky_assign", &[], "Whether a host gets the same address again (1) or not (0)."),
        &[of(OF, "sticky_assign", Make::Flag, &[])],
    ),
    family(
        gauge("freebox_dhcp_always_broadcast", &[], "Whether all answers are sent to everybody (1) or not (0)."),
        &[of(OF, "always_broadcast", Make::Flag, &[])],
    ),
    family(
        info(
            "freebox_dhcp_info",
            &["gateway", "netmask", "range_start", "range_end", "dns"],
            "What the DHCP server hands out.",
        ),
        &[of(OF, "", Make::One, &["gateway", "netmask", "ip_range_start", "ip_range_end", "@0"])],
    ),
    family(gauge("freebox_dhcp_leases", &[], "Leases in use."), &[of(Kind::LeaseCount, "#0", Make::Number, &[])]),
    per_host(
        gauge("freebox_dhcp_lease_static", MAC, "Whether a lease is reserved for its host (1) or not (0)."),
        &[of(Kind::Lease, "is_static", Make::Flag, MAC)],
    ),
    per_host(
        gauge("freebox_dhcp_lease_active", MAC, "Whether the host of a lease is active (1) or not (0)."),
        &[of(Kind::Lease, "host.active", Make::Flag, MAC)],
    ),
    per_host(
        gauge("freebox_dhcp_lease_reachable", MAC, "Whether the host of a lease can be reached (1) or not (0)."),
        &[of(Kind::Lease, "host.reachable", Make::Flag, MAC)],
    ),
    per_host(
        gauge(
            "freebox_dhcp_lease_refresh_timestamp_seconds",
            MAC,
            "When a lease was last renewed, in seconds since 1970.",
        ),
        &[of(Kind::Lease, "refresh_time", Make::Known, MAC)],
    ),
    per_host(
        gauge(
            "freebox_dhcp_lease_assign_timestamp_seconds",
            MAC,
            "When a lease was first given, in seconds since 1970.",
        ),
        &[of(Kind::Lease, "assign_time", Make::Known, MAC)],
    ),
    per_host(
        gauge(
            "freebox_dhcp_lease_last_reachable_timestamp_seconds",
            MAC,
            "When the host of a lease was last reached, in seconds since 1970.",
        ),
        &[of(Kind::Lease, "host.last_time_reachable", Make::Known, MAC)],
    ),
    per_host(
        gauge("freebox_dhcp_lease_remaining_seconds", MAC, "How long a lease still holds, in seconds."),
        &[of(Kind::Lease, "lease_remaining", Make::Known, MAC)],
    ),
    per_host(
        info("freebox_dhcp_lease_info", &["mac", "ip", "hostname", "name"], "Address and names of a lease."),
        &[of(Kind::Lease, "", Make::One, &["mac", "ip", "hostname", "host.primary_name"])],
    ),
];

static FORMS: &[Form] = &[
    Form {
        of: OF,
        measure: "dhcp",
        tags: &[
            ("dhcp_gateway", "gateway", Make::Text),
            ("dhcp_ip_range_start", "ip_range_start", Make::Text),
            ("dhcp_ip_range_end", "ip_range_end", Make::Text),
            ("dhcp_netmask", "netmask", Make::Text),
            ("dhcp_dns", "dns", Make::Join),
        ],
        rows: &[
            ("dhcp_enabled", "enabled", Make::Flag),
            ("dhcp_sticky_assign", "sticky_assign", Make::Flag),
            ("dhcp_always_broadcast", "always_broadcast", Make::Flag),
        ],
    },
    Form {
        of: Kind::Lease,
        measure: "dhcp",
        tags: &[
            ("client_mac", "mac", Make::Text),
            ("client_hostname", "hostname", Make::Text),
            ("client_ip", "ip", Make::Text),
            ("client_primary_name", "host.primary_name", Make::Text),
        ],
        rows: &[
            ("dhcp_lease_static", "is_static", Make::Flag),
            ("dhcp_lease_refresh_time", "refresh_time", Make::Number),
            ("dhcp_lease_assign_time", "assign_time", Make::Number),
            ("dhcp_lease_remaining_time", "lease_remaining", Make::Number),
            ("dhcp_lease_active", "host.active", Make::Flag),
            ("dhcp_lease_reachable", "host.reachable", Make::Flag),
            ("dhcp_lease_last_time_reachable", "host.last_time_reachable", Make::Number),
        ],
    },
    Form { of: Kind::LeaseCount, measure: "dhcp", tags: &[], rows: &[("dhcp_lease_count", "#0", Make::Number)] },
];

fn records<'a>(replies: &'a Replies, _: &'a Context, out: &mut Vec<Record<'a>>) {
    if let Some(config) = replies.result(0) {
        let servers = config.at("dns").into_iter().flat_map(|list| list.items()).filter_map(|server| server.text());
        let servers: Vec<_> = servers.filter(|server| !server.trim().is_empty()).collect();
        out.push(Record::of(OF, config).word(servers.join(",")));
    }
    out.extend(replies.items(1).map(|lease| Record::of(Kind::Lease, lease)));
    if let Some(Some(_)) = replies.0.get(1) {
        out.push(Record::new(Kind::LeaseCount).counted(&[replies.items(1).count() as u64]));
    }
}
