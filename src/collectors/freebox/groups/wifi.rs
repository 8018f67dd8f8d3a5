//! Access points: `wifi/ap`, then `wifi/ap/ID/stations` of those that are on.

use super::super::json::Node;
use super::super::table::{Family, Form, Kind, Make, Record};
use super::{Context, Group, MAX_MORE, Replies, counter, family, gauge, id_in_path, info, of, per_host};

/// Read once a minute at most.
pub static GROUP: Group = Group {
    name: "wifi",
    always: false,
    pace: 60,
    right: None,
    families: FAMILIES,
    forms: FORMS,
    first: |_| &["wifi/ap/"],
    more,
    records,
};

const OF: Kind = Kind::Ap;
const AP: &[&str] = &["ap"];
const AP_OF: &[&str] = &["id"];
const STATION: &[&str] = &["mac"];
const STATION_OF: &[&str] = &["mac"];

static FAMILIES: &[Family] = &[
    family(
        gauge("freebox_wifi_ap_active", &["ap", "name", "band"], "Whether an access point is on (1) or not (0)."),
        &[of(OF, "status.state", Make::Is("active"), &["id", "name", "config.band"])],
    ),
    family(
        info("freebox_wifi_ap_info", &["ap", "name", "band", "state"], "Name, band and state of an access point."),
        &[of(OF, "", Make::One, &["id", "name", "config.band", "status.state"])],
    ),
    family(
        gauge("freebox_wifi_channel_width_hertz", AP, "Width of the channel of an access point, in hertz."),
        &[of(OF, "^status.channel_width*1000000", Make::Known, AP_OF)],
    ),
    family(
        gauge("freebox_wifi_channel", &["ap", "channel_type"], "Channels of an access point; 0 for none."),
        &[
            of(OF, "^status.primary_channel", Make::Known, &["id", "=primary"]),
            of(OF, "^status.secondary_channel", Make::Known, &["id", "=secondary"]),
        ],
    ),
    family(
        gauge("freebox_wifi_stations", AP, "Stations connected to an access point."),
        &[of(OF, "#0", Make::Number, AP_OF)],
    ),
    per_host(
        counter(
            "freebox_wifi_station_bytes_total",
            &["mac", "direction"],
            "Bytes from a station (rx) and to it (tx) since it was connected.",
        ),
        &[
            of(Kind::Station, "rx_bytes", Make::Known, &["mac", "=rx"]),
            of(Kind::Station, "tx_bytes", Make::Known, &["mac", "=tx"]),
        ],
    ),
    per_host(
        gauge("freebox_wifi_station_signal_dbm", STATION, "Strength of a station's signal, in dBm."),
        &[of(Kind::Station, "signal", Make::Number, STATION_OF)],
    ),
    per_host(
        gauge("freebox_wifi_station_connected_seconds", STATION, "Time since a station was connected, in seconds."),
        &[of(Kind::Station, "conn_duration", Make::Known, STATION_OF)],
    ),
    per_host(
        gauge("freebox_wifi_station_inactive_seconds", STATION, "Time since a station was last heard of, in seconds."),
        &[of(Kind::Station, "inactive", Make::Known, STATION_OF)],
    ),
    per_host(
        info(
            "freebox_wifi_station_info",
            &["mac", "hostname", "ap", "bssid"],
            "Name of a station and what it is connected to.",
        ),
        &[of(Kind::Station, "", Make::One, &["mac", "hostname", "^id", "bssid"])],
    ),
];

static FORMS: &[Form] = &[
    Form {
        of: OF,
        measure: "wifi",
        tags: &[
            ("wifi_ap", "id", Make::Text),
            ("wifi_ap_name", "name", Make::Text),
            ("wifi_ap_band", "config.band", Make::Text),
        ],
        rows: &[
            ("wifi_state", "status.state", Make::Is("active")),
            ("wifi_channel_width", "^status.channel_width", Make::Text),
            ("wifi_primary_channel", "^status.primary_channel", Make::Number),
            ("wifi_secondary_channel", "^status.secondary_channel", Make::Number),
        ],
    },
    Form {
        of: Kind::Station,
        measure: "wifi",
        tags: &[
            ("wifi_ap", "^id", Make::Text),
            ("wifi_ap_name", "^name", Make::Text),
            ("wifi_station_hostname", "hostname", Make::Text),
            ("wifi_station_mac", "mac", Make::Text),
            ("wifi_station", "id", Make::Text),
            ("wifi_station_bssid", "bssid", Make::Text),
        ],
        rows: &[
            ("wifi_station_tx_bytes", "tx_bytes", Make::Number),
            ("wifi_station_rx_bytes", "rx_bytes", Make::Number),
            ("wifi_station_signal", "signal", Make::Number),
            ("wifi_station_conn_duration", "conn_duration", Make::Number),
            ("wifi_station_inactive", "inactive", Make::Number),
        ],
    },
];

/// Whether it is on: only then it has channels and stations.
fn is_active(ap: &Node<'_>) -> bool {
    ap.at("status.state").and_then(Node::text).as_deref() == Some("active")
}

fn more(replies: &Replies) -> Vec<String> {
    let path = |ap: Node<'_>| format!("wifi/ap/{}/stations/", id_in_path(ap, "id").as_deref().unwrap_or("none"));
    replies.items(0).filter(is_active).take(MAX_MORE).map(path).collect()
}

fn records<'a>(replies: &'a Replies, _: &'a Context, out: &mut Vec<Record<'a>>) {
    let mut asked = 1;
    for ap in replies.items(0) {
        let mut record = Record::of(OF, ap);
        if !is_active(&ap) {
            out.push(record);
            continue;
        }
        record.parent = Some(ap);
        if let Some(Some(answer)) = replies.0.get(asked) {
            // Without any, there is no result.
            record = record.counted(&[answer.root().at("result").map_or(0, |list| list.items().count()) as u64]);
        }
        out.push(record);
        out.extend(replies.items(asked).map(|station| Record::of(Kind::Station, station).in_parent(Some(ap))));
        asked += 1;
    }
}
