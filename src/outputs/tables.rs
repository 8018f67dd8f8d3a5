//! Chosen families of a page as tables, for people and for what is drawn for them: JSON rows and HTML rows.
//!
//! Families that have the same label sets stand side by side in one table, as columns behind the labels, so that what
//! a label says is written once. What JSON has no number for (NaN, infinite) is `null` there.

use std::fmt::Write as _;

use super::prometheus::push_value;
use crate::metrics::{FamilyView, Kind, Page, Value};
use crate::words::{Html, push_quoted};

/// A family that is wanted, by name, and what people call it.
pub type Wanted = (&'static str, &'static str);

/// Appends the tables of a page, as a JSON array of
/// `{"labels":[NAME,...],"columns":[FAMILY,...],"rows":[[LABEL,...,VALUE,...],...]}`.
pub fn json(page: &Page, wanted: &[Wanted], out: &mut String) {
    out.push('[');
    for (at, table) in tables(page, wanted).iter().enumerate() {
        let Some(first) = table.first() else { continue };
        out.push_str(comma(at));
        out.push_str("{\"labels\":[");
        strings(first.desc.labels.iter().copied(), out);
        out.push_str("],\"columns\":[");
        strings(table.iter().map(|family| family.desc.name), out);
        out.push_str("],\"rows\":[");
        let mut columns: Vec<_> = table.iter().map(FamilyView::values).collect();
        for (row, sample) in first.samples().enumerate() {
            out.push_str(comma(row));
            out.push('[');
            strings(sample.labels().map(|(_, value)| value), out);
            for (column, values) in columns.iter_mut().enumerate() {
                out.push_str(comma(first.desc.labels.len() + column));
                number(values.next(), out);
            }
            out.push(']');
        }
        out.push_str("]}");
    }
    out.push(']');
}

/// Appends the tables of a page as HTML. A family that is there for its labels alone has no column.
pub fn html(page: &Page, wanted: &[Wanted], out: &mut String) {
    for table in tables(page, wanted) {
        let Some(first) = table.first() else { continue };
        out.push_str("<table><tr>");
        let columns = || table.iter().filter(|family| family.desc.kind != Kind::Info);
        let title = |name| wanted.iter().find(|(family, _)| *family == name).map_or(name, |(_, title)| *title);
        for head in first.desc.labels.iter().copied().chain(columns().map(|family| title(family.desc.name))) {
            let _ = write!(out, "<th scope=\"col\">{}</th>", Html(head));
        }
        out.push_str("</tr>\n");
        let mut values: Vec<_> = columns().map(FamilyView::values).collect();
        for sample in first.samples() {
            out.push_str("<tr>");
            for (_, value) in sample.labels() {
                let _ = write!(out, "<td>{}</td>", Html(value));
            }
            for values in &mut values {
                out.push_str("<td>");
                values.next().into_iter().for_each(|value| push_value(value, out));
                out.push_str("</td>");
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</table>\n");
    }
}

/// The wanted families that have samples, those with the same label sets together.
fn tables<'a>(page: &'a Page, wanted: &[Wanted]) -> Vec<Vec<FamilyView<'a>>> {
    let mut tables: Vec<Vec<FamilyView<'a>>> = Vec::new();
    for family in page.families().filter(|family| wanted.iter().any(|(name, _)| *name == family.desc.name)) {
        if family.is_empty() {
            continue;
        }
        match tables.iter_mut().find(|table| table.first().is_some_and(|first| first.is_beside(&family))) {
            Some(table) => table.push(family),
            None => tables.push(vec![family]),
        }
    }
    tables
}

fn strings<'a>(texts: impl Iterator<Item = &'a str>, out: &mut String) {
    for (at, text) in texts.enumerate() {
        out.push_str(comma(at));
        push_quoted(text, out);
    }
}

/// What stands before the element at this place.
fn comma(place: usize) -> &'static str {
    if place == 0 { "" } else { "," }
}

fn number(value: Option<Value>, out: &mut String) {
    match value {
        Some(Value::Float(value)) if !value.is_finite() => out.push_str("null"),
        Some(value) => push_value(value, out),
        None => out.push_str("null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Desc, LabelSet};

    const IP: &[&str] = &["ip", "client"];
    static FLOWS: Desc = Desc { name: "flows", kind: Kind::Gauge, labels: IP, help: "Flows." };
    static STATUS: Desc = Desc { name: "status", kind: Kind::Gauge, labels: IP, help: "Status." };
    static SEEN: Desc = Desc { name: "seen", kind: Kind::Gauge, labels: IP, help: "Seen." };
    static INFO: Desc = Desc { name: "host_info", kind: Kind::Info, labels: IP, help: "Info." };
    static UP: Desc = Desc { name: "up", kind: Kind::Gauge, labels: &[], help: "Up." };
    static NONE: Desc = Desc { name: "none", kind: Kind::Gauge, labels: IP, help: "None." };
    const WANTED: &[Wanted] =
        &[("flows", "flows"), ("status", "online"), ("seen", ""), ("host_info", ""), ("up", "up & well"), ("none", "")];

    fn page(name: &str) -> Page {
        let mut page = Page::new();
        let (a, b) = (page.labels(&[&"192.0.2.1", &name]), page.labels(&[&"192.0.2.2", &"tv"]));
        for (desc, values) in [(&FLOWS, [7.0, f64::NAN]), (&STATUS, [1.0, 0.0])] {
            page.family(desc);
            page.sample(a, values[0]);
            page.sample(b, values[1]);
        }
        page.family(&SEEN);
        page.sample(b, u64::MAX);
        page.family(&INFO);
        page.sample(b, 1u64);
        page.family(&NONE);
        page.family(&UP);
        page.sample(LabelSet::NONE, 0.25);
        page
    }

    fn written(name: &str, write: fn(&Page, &[Wanted], &mut String)) -> String {
        let mut out = String::new();
        write(&page(name), WANTED, &mut out);
        out
    }

    #[test]
    fn families_with_the_same_label_sets_are_columns_of_one_table() {
        assert_eq!(
            written("pc", json),
            "[{\"labels\":[\"ip\",\"client\"],\"columns\":[\"flows\",\"status\"],\
             \"rows\":[[\"192.0.2.1\",\"pc\",7,1],[\"192.0.2.2\",\"tv\",null,0]]},\
             {\"labels\":[\"ip\",\"client\"],\"columns\":[\"seen\",\"host_info\"],\
             \"rows\":[[\"192.0.2.2\",\"tv\",18446744073709551615,1]]},\
             {\"labels\":[],\"columns\":[\"up\"],\"rows\":[[0.25]]}]"
        );
    }

    #[test]
    fn families_that_are_not_wanted_are_left_out() {
        let mut out = String::new();
        json(&page("pc"), &[], &mut out);
        assert_eq!(out, "[]");
    }

    #[test]
    fn a_strangers_name_is_text_in_both_forms() {
        let name = "</script><img src=x onerror=\"a\">&'\\\u{2028}\u{2029}";
        let text = written(name, json);
        assert!(!text.contains(['<', '\u{2028}', '\u{2029}']), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read[0]["rows"][0][1], name);
        let text = written(name, html);
        assert!(
            text.contains(
                "<td>&lt;/script&gt;&lt;img src=x onerror=&quot;a&quot;&gt;&amp;&#39;\\\u{2028}\u{2029}</td>"
            )
        );
        assert_eq!((text.matches("<table>").count(), text.matches("<img").count()), (3, 0), "{text}");
    }

    #[test]
    fn people_get_titles_and_no_column_that_is_always_1() {
        let text = written("pc", html);
        assert!(
            text.contains("<th scope=\"col\">client</th><th scope=\"col\">flows</th><th scope=\"col\">online</th>")
        );
        assert!(text.contains("<th scope=\"col\">up &amp; well</th></tr>\n<tr><td>0.25</td></tr>"), "{text}");
        assert!(!text.contains("host_info"), "{text}");
    }
}
