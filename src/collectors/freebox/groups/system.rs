//! The box itself: `system`, with its temperatures and fans in the shape of any version.

use super::super::json::Node;
use super::super::table::{Family, Form, Kind, Make, Record, Row};
use super::{Context, Group, Replies, family, gauge, info, nothing_more, of};

/// Read twice a minute at most.
pub static GROUP: Group = Group {
    name: "sys",
    always: false,
    pace: 30,
    right: None,
    families: FAMILIES,
    forms: FORMS,
    first: |_| &["system/"],
    more: nothing_more,
    records,
};

const OF: Kind = Kind::System;
const OLD: Kind = Kind::SystemOld;

static FAMILIES: &[Family] = &[
    family(
        gauge("freebox_system_uptime_seconds", &[], "Time since the box started, in seconds."),
        &[of(OF, "uptime_val", Make::Known, &[]), of(OLD, "uptime_val", Make::Known, &[])],
    ),
    family(
        gauge("freebox_system_authenticated", &[], "Whether the operator knows the box (1) or not (0)."),
        &[of(OF, "box_authenticated", Make::Flag, &[]), of(OLD, "box_authenticated", Make::Flag, &[])],
    ),
    family(
        gauge("freebox_system_disk_active", &[], "Whether the box's own disk is in use (1) or not (0)."),
        &[of(OF, "disk_status", Make::Is("active"), &[]), of(OLD, "disk_status", Make::Is("active"), &[])],
    ),
    family(
        info(
            "freebox_system_info",
            &["firmware", "serial", "mac", "board", "model", "model_name", "operator"],
            "What the box is and what runs on it.",
        ),
        &[
            of(
                OF,
                "",
                Make::One,
                &[
                    "firmware_version",
                    "serial",
                    "mac",
                    "board_name",
                    "model_info.name",
                    "model_info.pretty_name",
                    "model_info.net_operator",
                ],
            ),
            of(OLD, "", Make::One, &["firmware_version", "serial", "mac", "board_name", "@0", "box_model_name", "="]),
        ],
    ),
    family(
        gauge("freebox_system_hdd_slots", &[], "Slots for disks of one's own."),
        &[of(OF, "model_info.customer_hdd_slots", Make::Known, &[])],
    ),
    family(
        gauge(
            "freebox_system_internal_hdd_size",
            &[],
            "Size of the built-in disk as the box tells it, in an undocumented unit; 0 for none.",
        ),
        &[of(OF, "model_info.internal_hdd_size", Make::Known, &[])],
    ),
    family(
        gauge("freebox_system_temp_celsius", &["sensor", "name"], "Temperatures inside the box, in degrees Celsius."),
        &[
            of(Kind::FlatSensor, "", Make::Number, &["@0", "@0"]),
            of(Kind::Sensor, "value", Make::Number, &["id", "name"]),
        ],
    ),
    family(
        gauge("freebox_system_fan_rpm", &["fan", "name"], "Speed of the fans, in revolutions per minute."),
        &[
            of(Kind::FlatFan, "", Make::Known, &["=main", "=main"]),
            of(Kind::Fan, "value", Make::Known, &["id", "name"]),
        ],
    ),
];

const MAIN_SENSOR: &[Row] = &[("sensor", "=main", Make::Text), ("sensor_name", "=main", Make::Text)];
const ROWS: [Row; 4] = [
    ("sys_uptime", "uptime_val|=0", Make::Number),
    ("sys_authenticated", "box_authenticated", Make::Flag),
    ("firmware_version", "firmware_version", Make::Text),
    ("sys_disk_status", "disk_status", Make::Is("active")),
];

static FORMS: &[Form] = &[
    Form {
        of: OF,
        measure: "",
        tags: &[
            ("hw_firmware", "firmware_version", Make::Text),
            ("hw_serial", "serial", Make::Text),
            ("hw_mac", "mac", Make::Text),
            ("hw_model_pretty", "model_info.pretty_name", Make::Text),
            ("hw_model", "model_info.name", Make::Text),
            ("net_operator", "model_info.net_operator", Make::Text),
        ],
        rows: &[
            ROWS[0],
            ROWS[1],
            ROWS[2],
            ROWS[3],
            ("minfo_customer_hdd_slots", "model_info.customer_hdd_slots|=-1", Make::Number),
            ("minfo_internal_hdd_size", "model_info.internal_hdd_size|=-1", Make::Number),
        ],
    },
    Form {
        of: OLD,
        measure: "",
        tags: &[
            ("hw_firmware", "firmware_version", Make::Text),
            ("hw_serial", "serial", Make::Text),
            ("hw_mac", "=n/a", Make::Text),
            ("hw_model", "@0", Make::Text),
        ],
        rows: &ROWS,
    },
    Form { of: Kind::FlatFan, measure: "", tags: MAIN_SENSOR, rows: &[("sys_fan_rpm", "", Make::Number)] },
    Form { of: Kind::FlatSensor, measure: "", tags: MAIN_SENSOR, rows: &[("sys_temp_*", "", Make::Number)] },
    Form {
        of: Kind::Fan,
        measure: "",
        tags: &[("fan", "id", Make::Text), ("fan_name", "name", Make::Fold(usize::MAX))],
        rows: &[("sys_fan_rpm", "value", Make::Number)],
    },
    Form { of: Kind::FanCount, measure: "", tags: &[], rows: &[("sys_fan_count", "#0", Make::Number)] },
    Form {
        of: Kind::Sensor,
        measure: "",
        tags: &[("sensor", "id", Make::Text), ("sensor_name", "name", Make::Fold(usize::MAX))],
        rows: &[("sys_temp", "value", Make::Number)],
    },
    Form { of: Kind::SensorCount, measure: "", tags: &[], rows: &[("sys_temp_count", "#0", Make::Number)] },
];

/// The name of the board, which is a tag of all points.
pub fn board(replies: &Replies) -> Option<String> {
    Some(replies.result(0)?.at("board_name")?.text()?.into_owned())
}

fn records<'a>(replies: &'a Replies, context: &'a Context, out: &mut Vec<Record<'a>>) {
    let Some(node) = replies.result(0) else { return };
    out.push(match node.at("model_info") {
        Some(_) => Record::of(OF, node),
        None => Record::of(OLD, node).word(&*context.box_model),
    });
    // Old answers have one key for each sensor, and so have new boxes when they are asked by an old version.
    out.extend(node.at("fan_rpm").map(|fan| Record::of(Kind::FlatFan, fan)));
    let flat = node.members().filter_map(|(key, value)| Some((key.strip_prefix("temp_")?.to_owned(), value)));
    out.extend(flat.map(|(sensor, value)| Record::of(Kind::FlatSensor, value).word(sensor)));
    for (list, each, count) in [("fans", Kind::Fan, Kind::FanCount), ("sensors", Kind::Sensor, Kind::SensorCount)] {
        let Some(list) = node.at(list) else { continue };
        out.extend(list.items().map(|item: Node<'a>| Record::of(each, item)));
        out.push(Record::new(count).counted(&[list.items().count() as u64]));
    }
}
