//! Any bytes as the answers of a box, as HTTP and as the JSON of every group: no panic, and no page that Prometheus or
//! InfluxDB would refuse.

#![no_main]

use gatemeter::collectors::freebox::groups::{self, Context, Replies, Upload};
use gatemeter::collectors::freebox::http::Reader;
use gatemeter::collectors::freebox::json::Doc;
use gatemeter::collectors::freebox::table::{write_families, write_points};
use gatemeter::metrics::{LabelSet, Page};
use gatemeter::outputs::lines::{self, Lines};
use gatemeter::outputs::prometheus::{Dialect, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // An answer is the same in whatever pieces it arrives.
    let read = |size: usize| {
        let mut reader = Reader::default();
        for piece in bytes.chunks(size) {
            if reader.push(piece)? {
                break;
            }
        }
        reader.finish()
    };
    let whole = read(bytes.len().max(1));
    assert_eq!(read(1), whole);
    let Some(group) = bytes.first().and_then(|first| groups::ALL.get(usize::from(*first))) else { return };
    // The rest is several texts, with a zero byte between.
    let texts = bytes[1..].split(|byte| *byte == 0).take(8);
    let replies = Replies(texts.map(|text| Doc::parse(text.to_vec()).ok()).collect());
    let context = Context { version: 8, box_model: "fbxgw".into(), upload: Upload::Own, now: 1 };
    let mut records = Vec::new();
    (group.records)(&replies, &context, &mut records);
    for path in (group.more)(&replies) {
        assert!(path.bytes().all(|byte| byte.is_ascii_graphic()) && !path.contains(".."), "{path}");
    }
    let mut page = Page::with_points();
    write_families(&mut page, group.families, &records, true);
    write_points(&mut page, group.forms, &records);
    page.set_common_tags(LabelSet::NONE);
    let mut text = String::new();
    encode(&page, Dialect::Text, &mut text);
    let mut series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap().0).collect();
    let count = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), count, "{text}");
    for format in [Lines::Influx, Lines::Graphite(1)] {
        let mut text = String::new();
        lines::encode(&page, format, &mut text);
        assert_eq!(text.lines().count(), page.points().count(), "{text}");
        for line in text.lines() {
            let words = line.replace("\\ ", "_");
            match format {
                // Within quotes there may be spaces.
                Lines::Influx => assert!(words.split(' ').count() == 2 || words.contains("=\""), "{line}"),
                Lines::Graphite(_) => assert_eq!(line.split(' ').count(), 3, "{line}"),
            }
        }
    }
});
