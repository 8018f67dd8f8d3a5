//! The telephone: `call/account` from API 10 on, `call/log`.

use super::super::json::Node;
use super::super::table::{Family, Form, Kind, Make, Record};
use super::{Context, Group, Replies, family, gauge, info, nothing_more, of, per_host};
use crate::metrics::Value;

/// Read every five minutes at most.
pub static GROUP: Group = Group {
    name: "call",
    always: false,
    pace: 300,
    right: Some("calls"),
    families: FAMILIES,
    forms: FORMS,
    first: |version| match version {
        0..10 => &["call/log/"],
        _ => &["call/log/", "call/account/"],
    },
    more: nothing_more,
    records,
};

static FAMILIES: &[Family] = &[
    family(
        gauge("freebox_calls", &["type"], "Calls in the log: missed, accepted, outgoing."),
        &[of(Kind::CallType, "#0", Make::Number, &["@0"])],
    ),
    family(
        gauge("freebox_call_last_timestamp_seconds", &["type"], "When the newest call was, in seconds since 1970."),
        &[of(Kind::CallType, "#1", Make::Number, &["@0"])],
    ),
    per_host(
        info("freebox_call_account_info", &["number"], "Number of the telephone."),
        &[of(Kind::Account, "phone_number", Make::One, &["phone_number"])],
    ),
];

static FORMS: &[Form] = &[
    Form {
        of: Kind::Account,
        measure: "call",
        tags: &[("phone_number", "phone_number", Make::Text)],
        rows: &[("call_phone_number", "phone_number", Make::Text)],
    },
    Form {
        of: Kind::Call,
        measure: "call",
        tags: &[
            ("call", "id", Make::Text),
            ("call_number", "number", Make::Text),
            ("call_name", "name", Make::Text),
            ("call_type", "type", Make::Text),
            ("call_line_id", "line_id", Make::Text),
            ("call_contact_id", "contact_id", Make::Text),
        ],
        rows: &[
            ("call_duration", "duration", Make::Number),
            ("call_datetime", "datetime", Make::Number),
            ("call_contact_id", "contact_id", Make::Number),
        ],
    },
];

fn records<'a>(replies: &'a Replies, _: &'a Context, out: &mut Vec<Record<'a>>) {
    out.extend(replies.result(1).map(|account| Record::of(Kind::Account, account)));
    // No answer is not an empty log.
    let kinds = if matches!(replies.0.first(), Some(Some(_))) { &["missed", "accepted", "outgoing"][..] } else { &[] };
    for kind in kinds.iter().copied() {
        let of_kind = |call: &Node<'_>| call.at("type").and_then(Node::text).as_deref() == Some(kind);
        let calls = || replies.items(0).filter(of_kind);
        let time = |call: Node<'_>| match call.at("datetime")?.number()? {
            Value::Unsigned(time) => Some(time),
            Value::Float(_) => None,
        };
        let mut record = Record::new(Kind::CallType).word(kind).counted(&[calls().count() as u64]);
        record.numbers[1] = calls().filter_map(time).max().map(Value::Unsigned);
        out.push(record);
    }
    out.extend(replies.items(0).map(|call| Record::of(Kind::Call, call)));
}
