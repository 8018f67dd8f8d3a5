//! The WAN connection and what carries it: `connection`, then `connection/ftth` or `connection/xdsl`.

use std::borrow::Cow;

use super::super::json::Node;
use super::super::table::{Family, Form, Kind, Make, Record, Row};
use super::{Context, Group, Replies, Upload, counter, family, gauge, info, of};

/// Read every time: it is what the collector is for.
pub static GROUP: Group = Group {
    name: "connection",
    always: true,
    pace: 0,
    right: None,
    families: FAMILIES,
    forms: FORMS,
    first: |_| &["connection/"],
    more,
    records,
};

const OF: Kind = Kind::Connection;
const DIRECTION: &[&str] = &["direction"];
const DOWN: &[&str] = &["=down"];
const UP: &[&str] = &["=up"];

static FAMILIES: &[Family] = &[
    family(
        counter(
            "freebox_connection_bytes_total",
            &["direction", "media"],
            "Bytes through the WAN since it was last connected.",
        ),
        &[of(OF, "bytes_down", Make::Known, &["=down", "@0"]), of(OF, "#1", Make::Known, &["=up", "@0"])],
    ),
    family(
        gauge("freebox_connection_rate_bytes_per_second", DIRECTION, "Rate through the WAN, in bytes per second."),
        &[of(OF, "rate_down", Make::Known, DOWN), of(OF, "#0", Make::Known, UP)],
    ),
    family(
        gauge(
            "freebox_connection_bandwidth_bytes_per_second",
            DIRECTION,
            "What the WAN can carry, in bytes per second.",
        ),
        &[of(OF, "bandwidth_down/8", Make::Known, DOWN), of(OF, "bandwidth_up/8", Make::Known, UP)],
    ),
    family(
        gauge("freebox_connection_up", &[], "Whether the WAN is connected (1) or not (0)."),
        &[of(OF, "state", Make::Is("up"), &[])],
    ),
    family(
        info(
            "freebox_connection_info",
            &["state", "media", "type", "ipv4", "ipv6"],
            "State, medium, protocol and addresses of the WAN.",
        ),
        &[of(OF, "", Make::One, &["state", "media", "type", "ipv4", "ipv6"])],
    ),
    family(
        gauge(
            "freebox_connection_ipv4_port_range_min",
            &[],
            "First port of the IPv4 address, which may be shared with other lines.",
        ),
        &[of(OF, "ipv4_port_range.0", Make::Known, &[])],
    ),
    family(
        gauge("freebox_connection_ipv4_port_range_max", &[], "Last port of the IPv4 address."),
        &[of(OF, "ipv4_port_range.1", Make::Known, &[])],
    ),
    family(
        gauge("freebox_connection_ftth_sfp_power_dbm", DIRECTION, "Light received (rx) and sent (tx), in dBm."),
        &[
            of(Kind::Ftth, "sfp_pwr_rx/100", Make::Number, &["=rx"]),
            of(Kind::Ftth, "sfp_pwr_tx/100", Make::Number, &["=tx"]),
        ],
    ),
    family(
        gauge("freebox_connection_ftth_sfp_alim_ok", &[], "Whether the optical module has power (1) or not (0)."),
        &[of(Kind::Ftth, "sfp_alim_ok", Make::Flag, &[])],
    ),
    family(
        gauge(
            "freebox_connection_ftth_sfp_has_power_report",
            &[],
            "Whether the optical module reports its light (1) or not (0).",
        ),
        &[of(Kind::Ftth, "sfp_has_power_report", Make::Flag, &[])],
    ),
    family(
        gauge("freebox_connection_ftth_sfp_has_signal", &[], "Whether the optical module has a signal (1) or not (0)."),
        &[of(Kind::Ftth, "sfp_has_signal", Make::Flag, &[])],
    ),
    family(
        gauge("freebox_connection_ftth_link", &[], "Whether the fibre has a link (1) or not (0)."),
        &[of(Kind::Ftth, "link", Make::Flag, &[])],
    ),
    family(
        info(
            "freebox_connection_ftth_sfp_info",
            &["model", "vendor", "serial", "link_type"],
            "The optical module, and whether the fibre is shared (pon) or not (p2p).",
        ),
        &[of(Kind::Ftth, "", Make::One, &["sfp_model", "sfp_vendor", "sfp_serial", "link_type"])],
    ),
    family(
        info(
            "freebox_connection_xdsl_info",
            &["status", "protocol", "modulation"],
            "State, protocol and modulation of the DSL line.",
        ),
        &[of(Kind::Xdsl, "", Make::One, &["status.status", "status.protocol", "status.modulation"])],
    ),
    family(
        gauge(
            "freebox_connection_xdsl_status_code",
            &[],
            "State of the DSL line: 0 down, 1 training, 2 started, 3 channel analysis, 4 message exchange, 5 showtime, \
             -1 disabled, 999 another.",
        ),
        &[of(Kind::Xdsl, "status.status", XDSL_STATUS, &[])],
    ),
    family(
        gauge("freebox_connection_xdsl_uptime_seconds", &[], "Time since the DSL line was synchronised, in seconds."),
        &[of(Kind::Xdsl, "status.uptime", Make::Known, &[])],
    ),
    family(
        gauge("freebox_connection_xdsl_attenuation_db", DIRECTION, "Attenuation of the DSL line, in dB."),
        &[
            of(Kind::Xdsl, "down.attn_10/10|down.attn", Make::Number, DOWN),
            of(Kind::Xdsl, "up.attn_10/10|up.attn", Make::Number, UP),
        ],
    ),
    family(
        gauge("freebox_connection_xdsl_snr_db", DIRECTION, "Signal to noise ratio of the DSL line, in dB."),
        &[
            of(Kind::Xdsl, "down.snr_10/10|down.snr", Make::Number, DOWN),
            of(Kind::Xdsl, "up.snr_10/10|up.snr", Make::Number, UP),
        ],
    ),
    family(
        gauge(
            "freebox_connection_xdsl_rate_bytes_per_second",
            DIRECTION,
            "Rate the DSL line is synchronised at, in bytes per second.",
        ),
        &[of(Kind::Xdsl, "down.rate*125", Make::Known, DOWN), of(Kind::Xdsl, "up.rate*125", Make::Known, UP)],
    ),
    family(
        gauge(
            "freebox_connection_xdsl_max_rate_bytes_per_second",
            DIRECTION,
            "Rate the DSL line could have, in bytes per second.",
        ),
        &[of(Kind::Xdsl, "down.maxrate*125", Make::Known, DOWN), of(Kind::Xdsl, "up.maxrate*125", Make::Known, UP)],
    ),
    family(
        counter(
            "freebox_connection_xdsl_errors_total",
            &["direction", "name"],
            "Errors of the DSL line: seconds with errors (es) and with many (ses), errors in cell headers (hec) and \
             checksums (crc), and corrected ones (fec).",
        ),
        &[
            of(Kind::Xdsl, "down.es", Make::Known, &["=down", "=es"]),
            of(Kind::Xdsl, "down.ses", Make::Known, &["=down", "=ses"]),
            of(Kind::Xdsl, "down.hec", Make::Known, &["=down", "=hec"]),
            of(Kind::Xdsl, "down.crc", Make::Known, &["=down", "=crc"]),
            of(Kind::Xdsl, "down.fec", Make::Known, &["=down", "=fec"]),
            of(Kind::Xdsl, "up.es", Make::Known, &["=up", "=es"]),
            of(Kind::Xdsl, "up.ses", Make::Known, &["=up", "=ses"]),
            of(Kind::Xdsl, "up.hec", Make::Known, &["=up", "=hec"]),
            of(Kind::Xdsl, "up.crc", Make::Known, &["=up", "=crc"]),
            of(Kind::Xdsl, "up.fec", Make::Known, &["=up", "=fec"]),
        ],
    ),
    family(
        counter(
            "freebox_connection_xdsl_retransmissions_total",
            &["direction", "kind", "result"],
            "Data units that G.INP or PhyR sent again, that were corrected by it, and that were not.",
        ),
        &[
            of(Kind::Xdsl, "down.rtx_tx", Make::Known, &["=down", "=ginp", "=sent"]),
            of(Kind::Xdsl, "down.rtx_c", Make::Known, &["=down", "=ginp", "=corrected"]),
            of(Kind::Xdsl, "down.rtx_uc", Make::Known, &["=down", "=ginp", "=uncorrected"]),
            of(Kind::Xdsl, "down.rxmt", Make::Known, &["=down", "=phyr", "=sent"]),
            of(Kind::Xdsl, "down.rxmt_corr", Make::Known, &["=down", "=phyr", "=corrected"]),
            of(Kind::Xdsl, "down.rxmt_uncorr", Make::Known, &["=down", "=phyr", "=uncorrected"]),
            of(Kind::Xdsl, "up.rtx_tx", Make::Known, &["=up", "=ginp", "=sent"]),
            of(Kind::Xdsl, "up.rtx_c", Make::Known, &["=up", "=ginp", "=corrected"]),
            of(Kind::Xdsl, "up.rtx_uc", Make::Known, &["=up", "=ginp", "=uncorrected"]),
            of(Kind::Xdsl, "up.rxmt", Make::Known, &["=up", "=phyr", "=sent"]),
            of(Kind::Xdsl, "up.rxmt_corr", Make::Known, &["=up", "=phyr", "=corrected"]),
            of(Kind::Xdsl, "up.rxmt_uncorr", Make::Known, &["=up", "=phyr", "=uncorrected"]),
        ],
    ),
];

const XDSL_STATUS: Make = Make::Code(
    &[
        ("down", 0),
        ("training", 1),
        ("started", 2),
        ("chan_analysis", 3),
        ("msg_exchange", 4),
        ("showtime", 5),
        ("disabled", -1),
    ],
    999,
);

const MEDIA: Row = ("conn_media", "@0", Make::Text);

static FORMS: &[Form] = &[
    Form {
        of: OF,
        measure: "",
        tags: &[MEDIA],
        rows: &[
            ("bytes_down", "bytes_down", Make::Number),
            ("bytes_up", "#1", Make::Number),
            ("rate_down", "rate_down", Make::Number),
            ("rate_up", "#0", Make::Number),
            ("bandwidth_down", "bandwidth_down", Make::Number),
            ("bandwidth_up", "bandwidth_up", Make::Number),
            ("state", "state", Make::Is("up")),
        ],
    },
    Form {
        of: Kind::WanUp,
        measure: "",
        tags: &[MEDIA],
        rows: &[
            ("wan_ipv4", "ipv4", Make::Text),
            ("wan_ipv4_port_range_min", "ipv4_port_range.0", Make::Number),
            ("wan_ipv4_port_range_max", "ipv4_port_range.1", Make::Number),
            ("wan_ipv6", "ipv6|=none", Make::Text),
        ],
    },
    Form {
        of: Kind::WanDown,
        measure: "",
        tags: &[MEDIA],
        rows: &[
            ("wan_ipv4", "=none", Make::Text),
            ("wan_ipv4_port_range_min", "=0", Make::Number),
            ("wan_ipv4_port_range_max", "=0", Make::Number),
            ("wan_ipv6", "=none", Make::Text),
        ],
    },
    Form {
        of: Kind::Ftth,
        measure: "",
        tags: &[
            MEDIA,
            ("sfp_model", "sfp_model", Make::Text),
            ("sfp_vendor", "@1", Make::Fold(12)),
            ("sfp_serial", "@2", Make::Text),
        ],
        rows: &[
            ("sfp_pwr_rx", "sfp_pwr_rx", Make::Number),
            ("sfp_pwr_tx", "sfp_pwr_tx", Make::Number),
            ("sfp_alim_ok", "sfp_alim_ok", Make::Flag),
            ("sfp_has_power_report", "sfp_has_power_report", Make::Flag),
            ("sfp_has_signal", "sfp_has_signal", Make::Flag),
        ],
    },
    Form {
        of: Kind::Xdsl,
        measure: "",
        tags: &[
            MEDIA,
            ("xdsl_status", "status.status", Make::Text),
            ("xdsl_modulation", "status.modulation", Make::Text),
            ("xdsl_protocol", "status.protocol", Make::Text),
        ],
        rows: &[
            ("xdsl_modulation", "@1", Make::Text),
            ("xdsl_uptime", "status.uptime", Make::Number),
            ("xdsl_status", "status.status", XDSL_STATUS),
            ("xdsl_down_es", "down.es", Make::Number),
            ("xdsl_down_attn", "down.attn", Make::Number),
            ("xdsl_down_snr", "down.snr", Make::Number),
            ("xdsl_down_rate", "down.rate", Make::Number),
            ("xdsl_down_hec", "down.hec", Make::Number),
            ("xdsl_down_crc", "down.crc", Make::Number),
            ("xdsl_down_ses", "down.ses", Make::Number),
            ("xdsl_down_fec", "down.fec", Make::Number),
            ("xdsl_down_maxrate", "down.maxrate", Make::Number),
            ("xdsl_down_rtx_tx", "down.rtx_tx|down.rxmt", Make::Number),
            ("xdsl_down_rtx_c", "down.rtx_c|down.rxmt_corr", Make::Number),
            ("xdsl_down_rtx_uc", "down.rtx_uc|down.rxmt_uncorr", Make::Number),
            ("xdsl_up_es", "up.es", Make::Number),
            ("xdsl_up_attn", "up.attn", Make::Number),
            ("xdsl_up_snr", "up.snr", Make::Number),
            ("xdsl_up_rate", "up.rate", Make::Number),
            ("xdsl_up_hec", "up.hec", Make::Number),
            ("xdsl_up_crc", "up.crc", Make::Number),
            ("xdsl_up_ses", "up.ses", Make::Number),
            ("xdsl_up_fec", "up.fec", Make::Number),
            ("xdsl_up_maxrate", "up.maxrate", Make::Number),
            ("xdsl_up_rtx_tx", "up.rtx_tx|up.rxmt", Make::Number),
            ("xdsl_up_rtx_c", "up.rtx_c|up.rxmt_corr", Make::Number),
            ("xdsl_up_rtx_uc", "up.rtx_uc|up.rxmt_uncorr", Make::Number),
        ],
    },
];

/// The medium; `down` while the WAN is not up, since the box then calls a fibre `xdsl`.
fn media<'a>(connection: Node<'a>) -> Cow<'a, str> {
    match text(connection, "state").as_ref() {
        "up" => match text(connection, "media") {
            media if media.is_empty() => "none".into(),
            media => media.to_ascii_lowercase().into(),
        },
        _ => "down".into(),
    }
}

fn text<'a>(node: Node<'a>, path: &str) -> Cow<'a, str> {
    node.at(path).and_then(Node::text).unwrap_or_default()
}

fn more(replies: &Replies) -> Vec<String> {
    let path = match replies.result(0).map(media).as_deref() {
        // Some firmware misspells it.
        Some("ftth" | "ffth") => "connection/ftth/",
        Some("xdsl") => "connection/xdsl/",
        _ => return Vec::new(),
    };
    vec![path.into()]
}

fn records<'a>(replies: &'a Replies, context: &'a Context, out: &mut Vec<Record<'a>>) {
    let Some(connection) = replies.result(0) else { return };
    let media = media(connection);
    let mut record = Record::of(OF, connection).word(media.clone());
    let own = |field| connection.at(field).and_then(Node::number);
    let (rate, bytes) = match context.upload {
        Upload::Switch(told) if media != "down" => told.map(|(rate, bytes)| (rate.into(), bytes.into())).unzip(),
        _ => (own("rate_up"), own("bytes_up")),
    };
    record.numbers = [rate, bytes, None, None];
    out.push(record);
    let wan = if media == "down" { Kind::WanDown } else { Kind::WanUp };
    out.push(Record::of(wan, connection).word(media.clone()));
    let Some(carrier) = replies.result(1) else { return };
    let mut record = Record::of(Kind::Ftth, carrier).in_parent(Some(connection)).word(media.clone());
    if media == "xdsl" {
        record.kind = Kind::Xdsl;
        record.words[1] =
            format!("{} ({})", text(carrier, "status.modulation"), text(carrier, "status.protocol")).into();
        if carrier.at("status.modulation").is_none() {
            record.words[1] = Cow::default();
        }
    } else if carrier.at("sfp_model").is_some() {
        record.words[1] = text(carrier, "sfp_vendor");
        record.words[2] = text(carrier, "sfp_serial");
    }
    out.push(record);
}
