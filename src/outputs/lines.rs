//! Pages to line formats: InfluxDB's line protocol, and Graphite's plaintext protocol with tags.
//!
//! Points are written as they are: `ROOT_MEASURE,TAGS FIELD=VALUE` for InfluxDB, `ROOT.MEASURE.FIELD;TAGS VALUE TIME` for
//! Graphite. A page without points is written from its families: the family's name is the measurement with a field
//! `value`, as InfluxDB itself stores what Prometheus sends it, or the path; labels are tags. Numbers have no suffix, so
//! InfluxDB stores floats; what neither can store (NaN, infinite) and tags without a value are left out.
//!
//! Sources: "InfluxDB line protocol reference" (docs.influxdata.com, 1.x) and "Carbon: feeding in your data", "Graphite
//! tag support" (graphite.readthedocs.io). InfluxDB takes a backslash in a tag literally unless it stands before what can
//! be escaped, where it has no way to be written: it becomes a slash there.

use std::fmt::Write as _;

use super::prometheus::push_value;
use crate::metrics::{Field, Page, Part, Value};

/// Which of the two formats is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// InfluxDB's line protocol, without time stamps.
    Influx,
    /// Graphite's plaintext protocol, with this time on all lines, in seconds since 1970.
    Graphite(u64),
}

/// Appends every point of `page` to `out`, or every sample if it does not speak in points.
pub fn encode(page: &Page, format: Lines, out: &mut String) {
    for point in page.points() {
        line(format, (point.root, point.measure), point.field, &mut point.tags(), point.value, out);
    }
    if page.speaks_points() {
        return;
    }
    for family in page.families() {
        let field = if format == Lines::Influx { "value" } else { "" };
        for sample in family.samples() {
            let value = Field::Number(sample.value);
            let mut bound = String::new();
            if let Part::Bucket(le) = sample.part {
                push_value(le.into(), &mut bound);
            }
            let labels = sample.labels().map(|(name, value)| (name as &str, value));
            let mut tags = labels.chain([("le", bound.as_str())]);
            line(format, (family.desc.name, sample.part.suffix()), field, &mut tags, value, out);
        }
    }
}

fn line<'a>(
    format: Lines,
    (root, measure): (&str, &str),
    field: &str,
    tags: &mut (dyn Iterator<Item = (&'a str, &'a str)> + '_),
    value: Field<'_>,
    out: &mut String,
) {
    if matches!(value, Field::Number(Value::Float(value)) if !value.is_finite()) {
        return;
    }
    let (joint, separator, escape): (_, _, fn(&str, &mut String)) = match format {
        Lines::Influx => ('_', ',', influx_word),
        Lines::Graphite(_) => ('.', ';', graphite_word),
    };
    out.push_str(root);
    // The parts of a histogram bring their own.
    if !measure.is_empty() && !measure.starts_with('_') {
        out.push(joint);
    }
    out.push_str(measure);
    if format != Lines::Influx && !field.is_empty() {
        out.push(joint);
        graphite_word(field, out);
    }
    for (name, value) in tags.filter(|(_, value)| !value.is_empty()) {
        out.push(separator);
        escape(name, out);
        out.push('=');
        escape(value, out);
    }
    out.push(' ');
    if format == Lines::Influx {
        influx_word(field, out);
        out.push('=');
    }
    match (value, format) {
        (Field::Number(value), _) => push_value(value, out),
        (Field::Text(text), Lines::Influx) => influx_string(text, out),
        (Field::Text(text), Lines::Graphite(_)) => graphite_word(text, out),
    }
    if let Lines::Graphite(time) = format {
        // Writing to a String cannot fail.
        let _ = write!(out, " {time}");
    }
    out.push('\n');
}

/// A tag's name or value, or a field's name.
fn influx_word(text: &str, out: &mut String) {
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ',' | '=' | ' ' => out.extend(['\\', character]),
            _ if character.is_control() => out.push_str("\\ "),
            '\\' if characters.peek().is_none_or(|next| matches!(next, ',' | '=' | ' ') || next.is_control()) => {
                out.push('/');
            }
            _ => out.push(character),
        }
    }
}

fn influx_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            // It may stand in a string, but not for those who read line by line.
            _ if character.is_control() => out.push(' '),
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// Graphite has no escapes: what would end the word is replaced.
fn graphite_word(text: &str, out: &mut String) {
    out.extend(text.chars().enumerate().map(|(index, character)| match character {
        ';' => '_',
        // Not at the start of a tag's value.
        '~' if index == 0 => '_',
        _ if character.is_whitespace() || character.is_control() => '_',
        _ => character,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Desc, Kind, LabelSet};

    const HOSTS: Desc = Desc { name: "lan_bytes_total", kind: Kind::Counter, labels: &["name", "ip"], help: "Hosts." };
    const LOAD: Desc = Desc { name: "load", kind: Kind::Gauge, labels: &[], help: "Load." };

    fn encoded(page: &Page, format: Lines) -> String {
        let mut out = String::new();
        encode(page, format, &mut out);
        out
    }

    #[test]
    fn families_are_measurements_with_a_value() {
        let mut page = Page::with_points();
        let labels = page.labels(&[&"Zoé's pc, blue=1; x", &""]);
        page.family(&HOSTS);
        page.sample(labels, u64::MAX);
        page.single(&LOAD, f64::NAN);
        assert_eq!(
            encoded(&page, Lines::Influx),
            "lan_bytes_total,name=Zoé's\\ pc\\,\\ blue\\=1;\\ x value=18446744073709551615\n"
        );
        assert_eq!(
            encoded(&page, Lines::Graphite(1700000000)),
            "lan_bytes_total;name=Zoé's_pc,_blue=1__x 18446744073709551615 1700000000\n"
        );
    }

    #[test]
    fn a_histogram_is_told_part_by_part_under_the_names_of_prometheus() {
        const RTT: Desc = Desc { name: "rtt_seconds", kind: Kind::Histogram, labels: &["ip"], help: "RTT." };
        let mut page = Page::with_points();
        let ip = page.labels(&[&"192.0.2.1"]);
        page.family(&RTT);
        page.histogram(ip, &[0.1], &[2, 1], 0.5);
        assert_eq!(
            encoded(&page, Lines::Influx),
            "rtt_seconds_bucket,ip=192.0.2.1,le=0.1 value=2\nrtt_seconds_bucket,ip=192.0.2.1,le=+Inf value=3\n\
             rtt_seconds_sum,ip=192.0.2.1 value=0.5\nrtt_seconds_count,ip=192.0.2.1 value=3\n"
        );
        assert!(encoded(&page, Lines::Graphite(17)).starts_with("rtt_seconds_bucket;ip=192.0.2.1;le=0.1 2 17\n"));
    }

    #[test]
    fn points_take_the_place_of_families() {
        let mut page = Page::with_points();
        page.single(&LOAD, 1u64);
        let tags = page.labels(&[&"port", &1, &"host", &""]);
        page.point("freebox", "switch", tags, "speed", -1.0);
        page.text_point("freebox", "", LabelSet::NONE, "wan", "say \"a\\b\"\nc");
        assert_eq!(encoded(&page, Lines::Influx).lines().count(), 2);
        let all = page.labels(&[&"api", &"v 6"]);
        page.set_common_tags(all);
        assert_eq!(
            encoded(&page, Lines::Influx),
            "freebox_switch,api=v\\ 6,port=1 speed=-1\nfreebox,api=v\\ 6 wan=\"say \\\"a\\\\b\\\" c\"\n"
        );
        assert_eq!(
            encoded(&page, Lines::Graphite(17)),
            "freebox.switch.speed;api=v_6;port=1 -1 17\nfreebox.wan;api=v_6 say_\"a\\b\"_c 17\n"
        );
    }

    #[test]
    fn a_page_that_speaks_in_points_and_has_none_writes_nothing() {
        let mut page = Page::with_points();
        page.single(&LOAD, 1u64);
        page.set_common_tags(LabelSet::NONE);
        assert_eq!(encoded(&page, Lines::Influx), "");
        page.clear();
        page.single(&LOAD, 1u64);
        assert_eq!(encoded(&page, Lines::Influx), "load value=1\n");
    }

    #[test]
    fn a_backslash_never_escapes_what_ends_a_tag() {
        for (text, want) in
            [("a\\b", "a\\b"), ("a\\", "a/"), ("a\\,b", "a/\\,b"), ("\\\\ ", "\\/\\ "), ("a\nb", "a\\ b")]
        {
            let mut out = String::new();
            influx_word(text, &mut out);
            assert_eq!(out, want, "{text}");
        }
    }
}
