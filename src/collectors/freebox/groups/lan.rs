//! Hosts of the LAN: `lan/browser/interfaces`, then `lan/browser/NAME` of those with hosts.

use super::super::json::Node;
use super::super::table::{Family, Form, Kind, Make, Record};
use super::{Context, Group, MAX_MORE, Replies, family, gauge, id_in_path, info, of, per_host};
use crate::metrics::Value;

/// Read once a minute at most.
pub static GROUP: Group = Group {
    name: "lan",
    always: false,
    pace: 60,
    right: None,
    families: FAMILIES,
    forms: FORMS,
    first: |_| &["lan/browser/interfaces/"],
    more,
    records,
};

const OF: Kind = Kind::Host;
const HOST: &[&str] = &["mac", "interface"];
const HOST_OF: &[&str] = &["l2ident.id", "^name"];
const FAMILY: &[&str] = &["mac", "family"];
const FAMILY_OF: &[&str] = &["l2ident.id", "@0"];

static FAMILIES: &[Family] = &[
    family(
        gauge("freebox_lan_hosts", &["interface"], "Hosts that the box knows behind an interface."),
        &[of(Kind::Interface, "host_count", Make::Known, &["name"])],
    ),
    per_host(
        gauge("freebox_lan_host_reachable", HOST, "Whether a host can be reached (1) or not (0)."),
        &[of(OF, "reachable", Make::Flag, HOST_OF)],
    ),
    per_host(
        gauge("freebox_lan_host_persistent", HOST, "Whether a host is remembered for ever (1) or not (0)."),
        &[of(OF, "persistent", Make::Flag, HOST_OF)],
    ),
    per_host(
        gauge(
            "freebox_lan_host_first_activity_timestamp_seconds",
            HOST,
            "When a host was first seen, in seconds since 1970.",
        ),
        &[of(OF, "first_activity", Make::Known, HOST_OF)],
    ),
    per_host(
        gauge(
            "freebox_lan_host_last_activity_timestamp_seconds",
            HOST,
            "When a host was last active, in seconds since 1970.",
        ),
        &[of(OF, "last_activity", Make::Known, HOST_OF)],
    ),
    per_host(
        gauge(
            "freebox_lan_host_last_reachable_timestamp_seconds",
            HOST,
            "When a host was last reached, in seconds since 1970.",
        ),
        &[of(OF, "last_time_reachable", Make::Known, HOST_OF)],
    ),
    per_host(
        gauge(
            "freebox_lan_host_l3_active",
            FAMILY,
            "Whether any address of a host is active (1) or not (0), by address family.",
        ),
        &[of(Kind::HostFamily, "#0", Make::Number, FAMILY_OF)],
    ),
    per_host(
        gauge("freebox_lan_host_addresses", FAMILY, "Addresses of a host, by address family."),
        &[of(Kind::HostFamily, "#1", Make::Number, FAMILY_OF)],
    ),
    per_host(
        info(
            "freebox_lan_host_info",
            &["mac", "interface", "name", "type", "vendor", "ipv4", "ipv6"],
            "Names and addresses of a host.",
        ),
        &[of(OF, "", Make::One, &["l2ident.id", "^name", "primary_name", "host_type", "vendor_name", "@1", "@2"])],
    ),
];

static FORMS: &[Form] = &[
    Form {
        of: Kind::Interface,
        measure: "lan",
        tags: &[("lan_iface", "name", Make::Text)],
        rows: &[("lanhost_count", "host_count", Make::Number)],
    },
    Form {
        of: OF,
        measure: "lan",
        tags: &[
            ("lan_type", "host_type", Make::Lower),
            // freebox-monitoring writes a space where there is no name.
            ("lan_primary_name", "primary_name|= ", Make::Text),
            ("lan_vendor", "vendor_name", Make::Fold(12)),
            ("lan_*", "l2ident.id", Make::Text),
            ("lan_iface", "^name", Make::Text),
            ("lan_ipv4", "@1", Make::Text),
            ("lan_ipv6", "@2", Make::Text),
        ],
        rows: &[
            ("lanhost_reachable", "reachable", Make::Flag),
            ("lanhost_first_activity", "first_activity", Make::Number),
            ("lanhost_last_activity", "last_activity", Make::Number),
            ("lanhost_last_time_reachable", "last_time_reachable", Make::Number),
            ("lanhost_persistent", "persistent", Make::Flag),
            ("lanhost_ipv4_active", "#0", Make::Number),
            ("lanhost_ipv4_count", "#1", Make::Number),
            ("lanhost_ipv6_active", "#2", Make::Number),
            ("lanhost_ipv6_count", "#3", Make::Number),
        ],
    },
];

fn has_hosts(interface: &Node<'_>) -> bool {
    interface.at("host_count").and_then(Node::truth).unwrap_or(false)
}

fn more(replies: &Replies) -> Vec<String> {
    let path = |interface| format!("lan/browser/{}/", id_in_path(interface, "name").as_deref().unwrap_or("none"));
    replies.items(0).filter(has_hosts).take(MAX_MORE).map(path).collect()
}

fn records<'a>(replies: &'a Replies, _: &'a Context, out: &mut Vec<Record<'a>>) {
    let mut asked = 0;
    for interface in replies.items(0) {
        out.push(Record::of(Kind::Interface, interface));
        if has_hosts(&interface) {
            asked += 1;
            replies.items(asked).for_each(|host| push_host(host, interface, out));
        }
    }
}

fn push_host<'a>(host: Node<'a>, interface: Node<'a>, out: &mut Vec<Record<'a>>) {
    let kind = host.at("l2ident.type").and_then(Node::text).unwrap_or("mac_address".into());
    let mut record = Record::of(OF, host).in_parent(Some(interface)).word(kind);
    for (index, family) in ["ipv4", "ipv6"].into_iter().enumerate() {
        let (mut count, mut last, mut any) = (0, 0, false);
        let addresses = host.at("l3connectivities").into_iter().flat_map(|list| list.items());
        for address in addresses.filter(|address| address.at("af").and_then(Node::text).as_deref() == Some(family)) {
            let active = address.at("active").and_then(Node::truth).unwrap_or(false);
            (count, last, any) = (count + 1, u64::from(active), any | active);
            if let (Some(word), Some(text)) = (record.words.get_mut(index + 1), address.at("addr").and_then(Node::text))
            {
                *word = text;
            }
        }
        if count > 0 {
            for (place, number) in record.numbers.iter_mut().skip(2 * index).zip([last, count]) {
                *place = Some(Value::Unsigned(number));
            }
            out.push(Record::of(Kind::HostFamily, host).word(family).counted(&[any.into(), count]));
        }
    }
    out.push(record);
}
