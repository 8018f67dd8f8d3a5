//! Pages to exposition text: the Prometheus text format 0.0.4 and OpenMetrics 1.0.0.
//!
//! Both are written by one walk over the page; they differ in the names of counters and info families, in how HELP is
//! escaped, and in the closing line. Sources: prometheus.io "Exposition formats" and the OpenMetrics 1.0
//! specification.

use std::fmt::Write as _;

use crate::metrics::{Desc, Kind, Page, Part, Value};

/// Which of the two text formats is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Prometheus text format 0.0.4.
    Text,
    /// OpenMetrics text format 1.0.0.
    OpenMetrics,
}

impl Dialect {
    /// The `Content-Type` of a page in this dialect.
    pub fn content_type(self) -> &'static str {
        match self {
            Dialect::Text => "text/plain; version=0.0.4; charset=utf-8",
            Dialect::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Appends every family of `page` to `out`.
pub fn encode(page: &Page, dialect: Dialect, out: &mut String) {
    encode_in_pieces(page, dialect, out, &mut |_| {});
}

/// Likewise; `pass_on` is called after each line and may take out what is there.
pub fn encode_in_pieces(page: &Page, dialect: Dialect, out: &mut String, pass_on: &mut dyn FnMut(&mut String)) {
    // What stands before each label value of a family's samples, and behind the last one.
    let (mut around, mut ends) = (String::new(), Vec::new());
    for family in page.families() {
        let (name, kind) = metadata(family.desc, dialect, page);
        out.push_str("# HELP ");
        out.push_str(name);
        out.push(' ');
        escape(family.desc.help, dialect == Dialect::OpenMetrics, out);
        out.push_str("\n# TYPE ");
        out.push_str(name);
        out.push(' ');
        out.push_str(kind);
        out.push('\n');
        around.clear();
        ends.clear();
        let mut separator = "{";
        for label in family.desc.labels {
            around.push_str(separator);
            around.push_str(label);
            around.push_str("=\"");
            ends.push(around.len());
            separator = "\",";
        }
        for sample in family.samples() {
            out.push_str(family.desc.name);
            out.push_str(sample.part.suffix());
            let mut at = 0;
            for ((_, value), end) in sample.labels().zip(&ends) {
                out.push_str(around.get(at..*end).unwrap_or_default());
                if page.is_plain() {
                    out.push_str(value);
                } else {
                    escape(value, true, out);
                }
                at = *end;
            }
            if let Part::Bucket(bound) = sample.part {
                out.push_str(separator);
                out.push_str("le=\"");
                push_value(bound.into(), out);
                out.push_str("\"} ");
            } else {
                out.push_str(if at > 0 { "\"} " } else { " " });
            }
            push_value(sample.value, out);
            out.push('\n');
            pass_on(out);
        }
    }
}

/// Appends what ends a whole exposition: OpenMetrics wants `# EOF`, the text format nothing.
pub fn finish(dialect: Dialect, out: &mut String) {
    if dialect == Dialect::OpenMetrics {
        out.push_str("# EOF\n");
    }
}

/// The name and type in HELP and TYPE lines. OpenMetrics names a counter without its `_total` and an info family
/// without its `_info`. Where a fixed name lacks the suffix, or another family of the page has the name without it, a
/// counter can only be `unknown` there and an info family a gauge, for a family's name may occur once.
fn metadata(desc: &Desc, dialect: Dialect, page: &Page) -> (&'static str, &'static str) {
    let short = |suffix| {
        let short = desc.name.strip_suffix(suffix)?;
        page.families().all(|family| family.desc.name != short).then_some(short)
    };
    match (dialect, desc.kind) {
        (Dialect::Text, Kind::Counter) => (desc.name, "counter"),
        (_, Kind::Histogram) => (desc.name, "histogram"),
        (_, Kind::Gauge) | (Dialect::Text, Kind::Info) => (desc.name, "gauge"),
        (Dialect::OpenMetrics, Kind::Counter) => match short("_total") {
            Some(name) => (name, "counter"),
            None => (desc.name, "unknown"),
        },
        (Dialect::OpenMetrics, Kind::Info) => match short("_info") {
            Some(name) => (name, "info"),
            None => (desc.name, "gauge"),
        },
    }
}

/// Label values escape the quote; HELP escapes it in OpenMetrics only.
fn escape(text: &str, quotes: bool, out: &mut String) {
    let mut rest = text;
    // By bytes: in UTF-8 none of these is part of another character.
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'\\' | b'\n') || byte == b'"' && quotes) {
        let (clean, tail) = rest.split_at(at);
        out.push_str(clean);
        let (special, tail) = tail.split_at(1);
        out.push_str(if special == "\n" { "\\n" } else { "\\" });
        if special != "\n" {
            out.push_str(special);
        }
        rest = tail;
    }
    out.push_str(rest);
}

/// Appends a number as both formats write it.
pub(super) fn push_value(value: Value, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Unsigned(value) => return push_unsigned(value, out),
        Value::Float(value) if value.is_nan() => out.write_str("NaN"),
        Value::Float(value) if value == f64::INFINITY => out.write_str("+Inf"),
        Value::Float(value) if value == f64::NEG_INFINITY => out.write_str("-Inf"),
        Value::Float(value) => write!(out, "{value}"),
    };
}

/// A page has thousands of them, and most are small: digit by digit that takes a fraction of what `write!` does.
fn push_unsigned(value: u64, out: &mut String) {
    let Ok(mut small) = u32::try_from(value) else {
        let _ = write!(out, "{value}");
        return;
    };
    let mut digits = [0; 10];
    let mut begin = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (small % 10) as u8;
        small /= 10;
        begin -= 1;
        if small == 0 {
            break;
        }
    }
    out.push_str(digits.get(begin..).and_then(|digits| str::from_utf8(digits).ok()).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: Desc = Desc {
        name: "lan_bytes_total",
        kind: Kind::Counter,
        labels: &["mac", "hostname"],
        help: "Bytes \"seen\"\\here,\nin bytes.",
    };
    const FIXED: Desc = Desc { name: "seed_count", kind: Kind::Counter, labels: &[], help: "A fixed name." };
    const BUILD: Desc = Desc { name: "app_build_info", kind: Kind::Info, labels: &["version"], help: "Build." };
    const LOAD: Desc = Desc { name: "load", kind: Kind::Gauge, labels: &[], help: "Load." };

    fn page() -> Page {
        let mut page = Page::new();
        let host = page.labels(&[&"AA:BB:CC:DD:EE:FF", &"a\"b\\c\nd} 1\nforged 2"]);
        let version = page.labels(&[&"0.1.0"]);
        page.family(&BYTES);
        page.sample(host, u64::MAX);
        page.single(&FIXED, 3u64);
        page.family(&BUILD);
        page.sample(version, 1u64);
        page.single(&LOAD, 0.25);
        page
    }

    fn encoded(dialect: Dialect) -> String {
        let mut out = String::new();
        encode(&page(), dialect, &mut out);
        finish(dialect, &mut out);
        out
    }

    #[test]
    fn text_format_escapes_hostile_labels_and_keeps_integers_exact() {
        assert_eq!(
            encoded(Dialect::Text),
            "# HELP lan_bytes_total Bytes \"seen\"\\\\here,\\nin bytes.\n\
             # TYPE lan_bytes_total counter\n\
             lan_bytes_total{mac=\"AA:BB:CC:DD:EE:FF\",hostname=\"a\\\"b\\\\c\\nd} 1\\nforged 2\"} 18446744073709551615\n\
             # HELP seed_count A fixed name.\n# TYPE seed_count counter\nseed_count 3\n\
             # HELP app_build_info Build.\n# TYPE app_build_info gauge\napp_build_info{version=\"0.1.0\"} 1\n\
             # HELP load Load.\n# TYPE load gauge\nload 0.25\n"
        );
    }

    #[test]
    fn openmetrics_names_families_without_suffix_and_ends_with_eof() {
        let text = encoded(Dialect::OpenMetrics);
        assert!(text.contains("# HELP lan_bytes Bytes \\\"seen\\\"\\\\here,\\nin bytes.\n# TYPE lan_bytes counter\n"));
        assert!(text.contains("\nlan_bytes_total{mac="));
        assert!(text.contains("# TYPE seed_count unknown\nseed_count 3\n"));
        assert!(text.contains("# TYPE app_build info\napp_build_info{version=\"0.1.0\"} 1\n"));
        assert!(text.ends_with("load 0.25\n# EOF\n"));
    }

    #[test]
    fn openmetrics_never_has_a_family_name_twice() {
        static SUM: Desc = Desc { name: "rtt_seconds_total", kind: Kind::Counter, labels: &[], help: "Sum." };
        static MEAN: Desc = Desc { name: "rtt_seconds", kind: Kind::Gauge, labels: &[], help: "Mean." };
        let mut page = Page::new();
        page.single(&SUM, 2u64);
        page.single(&MEAN, 0.5);
        let mut out = String::new();
        encode(&page, Dialect::OpenMetrics, &mut out);
        assert_eq!(
            out,
            "# HELP rtt_seconds_total Sum.\n# TYPE rtt_seconds_total unknown\nrtt_seconds_total 2\n\
             # HELP rtt_seconds Mean.\n# TYPE rtt_seconds gauge\nrtt_seconds 0.5\n"
        );
    }

    #[test]
    fn a_histogram_counts_up_to_each_bound_and_ends_with_sum_and_count() {
        static RTT: Desc = Desc { name: "rtt_seconds", kind: Kind::Histogram, labels: &["ip"], help: "RTT." };
        let mut page = Page::new();
        let ip = page.labels(&[&"192.0.2.1"]);
        page.family(&RTT);
        page.histogram(ip, &[0.00005, 0.1], &[1, 2, 3], 1.5);
        let mut out = String::new();
        encode(&page, Dialect::Text, &mut out);
        assert_eq!(
            out,
            "# HELP rtt_seconds RTT.\n# TYPE rtt_seconds histogram\n\
             rtt_seconds_bucket{ip=\"192.0.2.1\",le=\"0.00005\"} 1\n\
             rtt_seconds_bucket{ip=\"192.0.2.1\",le=\"0.1\"} 3\n\
             rtt_seconds_bucket{ip=\"192.0.2.1\",le=\"+Inf\"} 6\n\
             rtt_seconds_sum{ip=\"192.0.2.1\"} 1.5\nrtt_seconds_count{ip=\"192.0.2.1\"} 6\n"
        );
    }

    #[test]
    fn floats_outside_the_number_line_use_the_formats_words() {
        let mut out = String::new();
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e21, -0.5] {
            push_value(Value::Float(value), &mut out);
            out.push(' ');
        }
        assert_eq!(out, "NaN +Inf -Inf 1000000000000000000000 -0.5 ");
    }
}
