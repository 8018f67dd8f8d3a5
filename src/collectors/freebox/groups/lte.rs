//! The 4G link beside the line: `connection/lte/config`, from API 10 on `connection/lte/aggregation` and `backup`.

use super::super::table::{Family, Form, Kind, Make, Record, Row};
use super::{Context, Group, Replies, family, gauge, info, nothing_more, of};

/// Read once a minute at most.
pub static GROUP: Group = Group {
    name: "lte",
    always: false,
    pace: 60,
    right: None,
    families: FAMILIES,
    forms: FORMS,
    first: |version| match version {
        0..10 => &["connection/lte/config/"],
        _ => &["connection/lte/aggregation/", "connection/lte/backup/", "connection/aggregation/"],
    },
    more: nothing_more,
    records,
};

const OF: Kind = Kind::Lte;
const LINK: &[&str] = &["link"];
const LINK_OF: &[&str] = &["@1"];
const BAND: &[&str] = &["link", "band"];
const BAND_OF: &[&str] = &["@1", "band"];

static FAMILIES: &[Family] = &[
    family(
        gauge("freebox_lte_enabled", LINK, "Whether 4G is on (1) or not (0)."),
        &[of(OF, "enabled", Make::Flag, LINK_OF)],
    ),
    family(
        gauge("freebox_lte_connected", LINK, "Whether 4G is connected (1) or not (0)."),
        &[of(OF, "state", Make::Is("connected"), LINK_OF)],
    ),
    family(
        gauge("freebox_lte_pdn_up", LINK, "Whether the packet network of 4G is up (1) or not (0)."),
        &[of(OF, "network.pdn_up", Make::Flag, LINK_OF)],
    ),
    family(
        gauge("freebox_lte_radio_associated", LINK, "Whether the radio has a cell (1) or not (0)."),
        &[of(OF, "radio.associated", Make::Flag, LINK_OF)],
    ),
    family(
        gauge("freebox_lte_radio_signal_level", LINK, "Level of the radio signal, in bars."),
        &[of(OF, "radio.signal_level", Make::Number, LINK_OF)],
    ),
    family(
        gauge("freebox_lte_radio_ue_active", LINK, "Whether the radio is active (1) or not (0)."),
        &[of(OF, "radio.ue_active", Make::Flag, LINK_OF)],
    ),
    family(
        info("freebox_lte_radio_info", &["link", "plmn", "gcid"], "Network and cell of the radio."),
        &[of(OF, "radio", Make::One, &["@1", "radio.plmn", "radio.gcid"])],
    ),
    family(
        gauge("freebox_lte_band_enabled", BAND, "Whether a radio band is in use (1) or not (0)."),
        &[of(Kind::LteBand, "enabled", Make::Flag, BAND_OF)],
    ),
    family(
        gauge("freebox_lte_band_bandwidth_hertz", BAND, "Width of a radio band, in hertz."),
        &[of(Kind::LteBand, "bandwidth*1000000", Make::Known, BAND_OF)],
    ),
    family(
        gauge("freebox_lte_band_pci", BAND, "Physical cell identity of a radio band."),
        &[of(Kind::LteBand, "pci", Make::Number, BAND_OF)],
    ),
    family(
        gauge("freebox_lte_band_rsrp_dbm", BAND, "Received power of the reference signal of a radio band, in dBm."),
        &[of(Kind::LteBand, "rsrp", Make::Number, BAND_OF)],
    ),
    family(
        gauge("freebox_lte_band_rsrq_db", BAND, "Quality of the reference signal of a radio band, in dB."),
        &[of(Kind::LteBand, "rsrq", Make::Number, BAND_OF)],
    ),
    family(
        gauge("freebox_lte_band_rssi_dbm", BAND, "Strength of the signal of a radio band, in dBm."),
        &[of(Kind::LteBand, "rssi", Make::Number, BAND_OF)],
    ),
    family(
        gauge("freebox_lte_sim_present", LINK, "Whether there is a SIM card (1) or not (0)."),
        &[of(OF, "sim.present", Make::Flag, LINK_OF)],
    ),
    family(
        gauge("freebox_lte_sim_pin_locked", LINK, "Whether the SIM card waits for its PIN (1) or not (0)."),
        &[of(OF, "sim.pin_locked", Make::Flag, LINK_OF)],
    ),
    family(
        gauge("freebox_lte_sim_puk_locked", LINK, "Whether the SIM card waits for its PUK (1) or not (0)."),
        &[of(OF, "sim.puk_locked", Make::Flag, LINK_OF)],
    ),
    family(
        gauge("freebox_lte_sim_pin_attempts_remaining", LINK, "How many wrong PINs are left."),
        &[of(OF, "sim.pin_remaining", Make::Number, LINK_OF)],
    ),
    family(
        gauge("freebox_lte_sim_puk_attempts_remaining", LINK, "How many wrong PUKs are left."),
        &[of(OF, "sim.puk_remaining", Make::Number, LINK_OF)],
    ),
    family(
        gauge(
            "freebox_lte_tunnel_connected",
            &["path"],
            "Whether a path of the aggregation, lte or xdsl, is connected (1) or not (0).",
        ),
        &[of(Kind::LteTunnel, "connected", Make::Flag, &["@0"])],
    ),
    family(
        gauge(
            "freebox_lte_tunnel_rate_bytes_per_second",
            &["path", "direction"],
            "Rate used on a path of the aggregation, in bytes per second.",
        ),
        &[
            of(Kind::LteTunnel, "rx_used_rate", Make::Known, &["@0", "=down"]),
            of(Kind::LteTunnel, "tx_used_rate", Make::Known, &["@0", "=up"]),
        ],
    ),
    family(
        gauge(
            "freebox_lte_tunnel_max_rate_bytes_per_second",
            &["path", "direction"],
            "Rate that a path of the aggregation can carry, in bytes per second.",
        ),
        &[
            of(Kind::LteTunnel, "rx_max_rate", Make::Known, &["@0", "=down"]),
            of(Kind::LteTunnel, "tx_max_rate", Make::Known, &["@0", "=up"]),
        ],
    ),
];

const MEDIA: Row = ("conn_media", "=lte", Make::Text);
/// Two answers have taken the place of one: the tag tells them apart.
const LTE_LINK: Row = ("lte_link", "@0", Make::Text);

static FORMS: &[Form] = &[
    Form {
        of: OF,
        measure: "",
        tags: &[MEDIA, LTE_LINK],
        rows: &[("lte_enabled", "enabled", Make::Flag), ("lte_state", "state", Make::Is("connected"))],
    },
    Form {
        of: OF,
        measure: "",
        tags: &[
            MEDIA,
            LTE_LINK,
            ("lte_net_ipv4", "network.ipv4", Make::Text),
            ("lte_net_ipv6", "network.ipv6", Make::Text),
        ],
        rows: &[("lte_net_pdn_up", "network.pdn_up", Make::Flag)],
    },
    Form {
        of: OF,
        measure: "",
        tags: &[MEDIA, LTE_LINK, ("lte_radio_gcid", "radio.gcid", Make::Text)],
        rows: &[
            ("lte_radio_associated", "radio.associated", Make::Flag),
            ("lte_radio_plmn", "radio.plmn", Make::Number),
            ("lte_radio_signal_level", "radio.signal_level", Make::Number),
            ("lte_radio_ue_active", "radio.ue_active", Make::Flag),
        ],
    },
    Form {
        of: Kind::LteBand,
        measure: "",
        tags: &[("band", "band", Make::Text), LTE_LINK],
        rows: &[
            ("lte_rband_enabled", "enabled", Make::Flag),
            ("lte_rband_bandwidth", "bandwidth", Make::Number),
            ("lte_rband_pci", "pci", Make::Number),
            ("lte_rband_rsrp", "rsrp", Make::Number),
            ("lte_rband_rsrq", "rsrq", Make::Number),
            ("lte_rband_rssi", "rssi", Make::Number),
        ],
    },
    Form {
        of: Kind::LteSim,
        measure: "",
        tags: &[MEDIA, LTE_LINK, ("sim_iccid", "sim.iccid", Make::Text)],
        rows: &[
            ("lte_sim", "sim.present", Make::Flag),
            ("lte_sim_pin_locked", "sim.pin_locked", Make::Flag),
            ("lte_sim_pin_remaining", "sim.pin_remaining", Make::Number),
            ("lte_sim_puk_locked", "sim.puk_locked", Make::Flag),
            ("lte_sim_puk_remaining", "sim.puk_remaining", Make::Number),
        ],
    },
];

fn records<'a>(replies: &'a Replies, context: &'a Context, out: &mut Vec<Record<'a>>) {
    for (index, link) in ["aggregation", "backup"].into_iter().enumerate() {
        let Some(node) = replies.result(index) else { continue };
        let tag = if context.version < 10 { "" } else { link };
        let named = |record: Record<'a>| {
            let mut record = record.word(tag);
            record.words[1] = link.into();
            record
        };
        out.push(named(Record::of(OF, node)));
        let bands = node.at("radio.bands").into_iter().flat_map(|bands| bands.items());
        out.extend(bands.map(|band| named(Record::of(Kind::LteBand, band))));
        out.push(named(Record::of(Kind::LteSim, node)));
    }
    let tunnel = replies.result(if context.version < 10 { 0 } else { 2 }).and_then(|node| node.at("tunnel"));
    out.extend(
        tunnel
            .into_iter()
            .flat_map(|node| node.members())
            .map(|(path, node)| Record::of(Kind::LteTunnel, node).word(path)),
    );
}
