//! Any text as a label value: the page has exactly the lines it should have in both formats, and JSON and HTML have the
//! text as it is.

#![no_main]

use gatemeter::metrics::{Desc, Kind, MAX_LABEL_BYTES, Page};
use gatemeter::outputs::prometheus::{Dialect, encode};
use gatemeter::outputs::tables;
use libfuzzer_sys::fuzz_target;

static FAMILY: Desc = Desc { name: "family", kind: Kind::Gauge, labels: &["name"], help: "Help." };

fuzz_target!(|value: &str| {
    let mut page = Page::new();
    let labels = page.labels(&[&value]);
    page.family(&FAMILY);
    page.sample(labels, 1u64);
    for dialect in [Dialect::Text, Dialect::OpenMetrics] {
        let mut out = String::new();
        encode(&page, dialect, &mut out);
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines.len(), 3, "{out}");
        let inside = lines[2].strip_prefix("family{name=\"").and_then(|rest| rest.strip_suffix("\"} 1"));
        let inside = inside.expect("the sample's frame");
        assert!(inside.len() <= 2 * MAX_LABEL_BYTES);
        // Every quote inside is escaped: an even number of backslashes never stands before it.
        let mut escaped = false;
        for character in inside.chars() {
            assert!(escaped || character != '"', "{out}");
            assert!(!character.is_control() || character == '\t', "{out:?}");
            escaped = character == '\\' && !escaped;
        }
        assert!(!escaped, "{out}");
    }
    let wanted = [("family", "title")];
    let (mut json, mut html) = (String::new(), String::new());
    tables::json(&page, &wanted, &mut json);
    tables::html(&page, &wanted, &mut html);
    let read: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    let name = page.families().next().and_then(|family| family.samples().next()).and_then(|sample| sample.labels().next());
    assert_eq!(read[0]["rows"][0][0].as_str(), name.map(|(_, value)| value));
    assert!(!json.contains(['<', '\u{2028}', '\u{2029}']), "{json}");
    // A table of two rows with two cells each, and no other tag.
    assert_eq!(html.matches('<').count(), 14, "{html}");
});
