//! A page: what a collector fills at each collection, and how its label values are kept.

use std::fmt::{self, Write as _};
use std::ops::Range;

use super::samples::Samples;
use super::{Desc, FamilyView, Field, LabelSet, Point, Value};

/// Longest label value kept, in bytes; what is longer is cut at a character boundary.
pub const MAX_LABEL_BYTES: usize = 255;

#[derive(Debug)]
struct Family {
    desc: &'static Desc,
    /// Where the family's first sample stands; its last is where the next family begins.
    at: usize,
    /// The label value from which its label sets are counted.
    base: u32,
    /// Of a histogram, the bounds of its buckets but for the last, which has none.
    bounds: &'static [f64],
}

#[derive(Debug, Clone, Copy)]
struct PointEntry {
    root: &'static str,
    measure: &'static str,
    tags: LabelSet,
    /// Index of the field's name among the label values; a text stands behind it.
    field: u32,
    value: Option<Value>,
}

/// The families of one collector at one moment.
#[derive(Debug, Default)]
pub struct Page {
    /// All label values, end to end.
    text: String,
    /// Where each label value ends in `text`.
    ends: Vec<u32>,
    samples: Samples,
    families: Vec<Family>,
    points: Vec<PointEntry>,
    common_tags: LabelSet,
    /// Whether a label value has one of the characters that text formats escape.
    has_special: bool,
    wants_points: bool,
    speaks_points: bool,
}

impl Page {
    /// An empty page.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty page for a line format, which takes points.
    pub fn with_points() -> Self {
        Page { wants_points: true, ..Self::default() }
    }

    /// Whether points are to be added: nobody reads them otherwise.
    pub fn wants_points(&self) -> bool {
        self.wants_points
    }

    /// Empties the page and keeps its memory for the next collection.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.samples.clear();
        self.families.clear();
        self.points.clear();
        self.common_tags = LabelSet::NONE;
        self.has_special = false;
        self.speaks_points = false;
    }

    /// Gives back memory that a larger page has needed.
    pub fn fit(&mut self) {
        if let Some(room) = surplus(self.text.len(), self.text.capacity()) {
            self.text.shrink_to(room);
        }
        if let Some(room) = surplus(self.ends.len(), self.ends.capacity()) {
            self.ends.shrink_to(room);
        }
        self.samples.fit();
    }

    /// Adds everything that stands on another page, behind what stands here. No family may be on both.
    pub fn append(&mut self, other: &Page) {
        let (text, labels) = (self.text.len() as u32, self.ends.len() as u32);
        let moved = |set: LabelSet| LabelSet { first: set.first + labels, ..set };
        self.text.push_str(&other.text);
        self.ends.extend(other.ends.iter().map(|end| end + text));
        let samples = self.samples.append(&other.samples, labels);
        let moved_family = |family: &Family| Family { at: family.at + samples, base: family.base + labels, ..*family };
        self.families.extend(other.families.iter().map(moved_family));
        let points = other.points.iter();
        self.points.extend(points.map(|point| PointEntry {
            tags: moved(point.tags),
            field: point.field + labels,
            ..*point
        }));
        self.has_special |= other.has_special;
        self.speaks_points |= other.speaks_points;
    }

    /// Adds a point: a field with a number, in the measurement of this name, which has two parts. The tags are label
    /// values in pairs, a name and its value.
    pub fn point(
        &mut self,
        root: &'static str,
        measure: &'static str,
        tags: LabelSet,
        field: &str,
        value: impl Into<Value>,
    ) {
        let field = self.labels(&[&field]).first;
        self.points.push(PointEntry { root, measure, tags, field, value: Some(value.into()) });
    }

    /// Likewise with a text.
    pub fn text_point(&mut self, root: &'static str, measure: &'static str, tags: LabelSet, field: &str, text: &str) {
        let field = self.labels(&[&field, &text]).first;
        self.points.push(PointEntry { root, measure, tags, field, value: None });
    }

    /// Sets the tags that all points have before their own, in pairs. From then on the page speaks in points, even if
    /// there are none.
    pub fn set_common_tags(&mut self, tags: LabelSet) {
        (self.common_tags, self.speaks_points) = (tags, true);
    }

    /// The tags that all points have before their own, in pairs.
    pub(super) fn common_tags(&self) -> LabelSet {
        self.common_tags
    }

    /// Whether points are to be written instead of families.
    pub fn speaks_points(&self) -> bool {
        self.speaks_points || !self.points.is_empty()
    }

    /// The points, in the order they were added.
    pub fn points(&self) -> impl Iterator<Item = Point<'_>> {
        self.points.iter().map(|point| Point {
            page: self,
            root: point.root,
            measure: point.measure,
            tags: point.tags,
            field: self.label(point.field),
            value: point.value.map_or_else(|| Field::Text(self.label(point.field + 1)), Field::Number),
        })
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.families.is_empty()
    }

    /// How many samples the page holds.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Stores label values, in the order of the family's label names.
    pub fn labels(&mut self, values: &[&dyn fmt::Display]) -> LabelSet {
        let first = self.ends.len() as u32;
        for value in values {
            let start = self.text.len();
            // A Display that fails leaves the part it wrote; the sample is worth more than the error.
            let mut writer = LabelWriter { text: &mut self.text, start, has_special: &mut self.has_special };
            let _ = write!(writer, "{value}");
            self.ends.push(self.text.len() as u32);
        }
        LabelSet { first, len: values.len() as u16 }
    }

    /// Stored label values as they will be written, cut to size.
    pub fn values(&self, labels: LabelSet) -> impl Iterator<Item = &str> {
        (labels.first..).take(labels.len as usize).map(|index| self.label(index))
    }

    /// Stores label values of which the first are those of a set that is there, which need not be formatted again.
    pub fn labels_behind(&mut self, set: LabelSet, values: &[&dyn fmt::Display]) -> LabelSet {
        let first = self.ends.len() as u32;
        for index in set.first..set.first + u32::from(set.len) {
            let range = self.range(index);
            if self.text.get(range.clone()).is_some() {
                self.text.extend_from_within(range);
            }
            self.ends.push(self.text.len() as u32);
        }
        LabelSet { first, len: self.labels(values).len + set.len }
    }

    /// Whether no label value has a backslash, a quote or the end of a line, which text formats escape.
    pub fn is_plain(&self) -> bool {
        !self.has_special
    }

    /// Begins a family; the samples that follow belong to it. A family without samples is still announced.
    pub fn family(&mut self, desc: &'static Desc) {
        debug_assert!(self.families.iter().all(|family| family.desc.name != desc.name), "{} begun twice", desc.name);
        let at = self.samples.begin();
        self.families.push(Family { desc, at, base: 0, bounds: &[] });
    }

    /// Adds a sample with stored labels to the family begun last.
    pub fn sample(&mut self, labels: LabelSet, value: impl Into<Value>) {
        self.push(labels, value.into());
    }

    /// Adds a histogram to the family begun last: for each bound, ascending, how many values lie above the one before
    /// and not above it, then how many lie above all of them; and the sum of the values.
    pub fn histogram(&mut self, labels: LabelSet, bounds: &'static [f64], counts: &[u64], sum: f64) {
        debug_assert_eq!(bounds.len() + 1, counts.len(), "a count for each bound and one for all above");
        if let Some(family) = self.families.last_mut() {
            family.bounds = bounds;
        }
        let mut below = 0;
        for count in counts {
            below += count;
            self.push(labels, below.into());
        }
        self.push(labels, sum.into());
        self.push(labels, below.into());
    }

    fn push(&mut self, LabelSet { first, len }: LabelSet, value: Value) {
        debug_assert!(
            self.families.last().is_some_and(|family| family.desc.labels.len() == usize::from(len)),
            "the labels do not fit the family"
        );
        self.samples.push(first, len.into(), value);
    }

    /// Adds a family with a single sample that has no labels.
    pub fn single(&mut self, desc: &'static Desc, value: impl Into<Value>) {
        self.family(desc);
        self.sample(LabelSet::NONE, value);
    }

    /// Calls `each` for every family, in the order they were written.
    pub fn families(&self) -> impl Iterator<Item = FamilyView<'_>> {
        self.families.iter().enumerate().map(|(index, family)| {
            let end = self.families.get(index + 1).map_or(self.samples.end(), |next| next.at);
            let labels = family.desc.labels.len() as u32;
            let samples = self.samples.read(family.at, end, labels, family.base);
            FamilyView { page: self, desc: family.desc, bounds: family.bounds, samples }
        })
    }

    pub(super) fn label(&self, index: u32) -> &str {
        self.text.get(self.range(index)).unwrap_or("")
    }

    /// Where a label value stands in the text.
    fn range(&self, index: u32) -> Range<usize> {
        let index = index as usize;
        let end = self.ends.get(index).map_or(0, |end| *end as usize);
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize);
        start..end
    }
}

/// How much room to keep where much more is there than needed: a little more, so that the next page finds room.
pub(super) fn surplus(length: usize, capacity: usize) -> Option<usize> {
    let room = length + length / 8 + 16;
    (capacity > room + length / 4).then_some(room)
}

/// Writes one label value: bounded, and without control characters, which some parsers take for the end of input.
struct LabelWriter<'a> {
    text: &'a mut String,
    start: usize,
    has_special: &'a mut bool,
}

impl fmt::Write for LabelWriter<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        // Most are addresses and names, which may stand as they are.
        let is_simple = part.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\');
        if is_simple && self.text.len() - self.start + part.len() <= MAX_LABEL_BYTES {
            self.text.push_str(part);
            return Ok(());
        }
        for mut character in part.chars() {
            if character.is_control() && character != '\n' && character != '\t' {
                character = char::REPLACEMENT_CHARACTER;
            }
            *self.has_special |= matches!(character, '\\' | '"' | '\n');
            if self.text.len() - self.start + character.len_utf8() > MAX_LABEL_BYTES {
                return Err(fmt::Error);
            }
            self.text.push(character);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Kind;

    const HOSTS: Desc = Desc { name: "hosts", kind: Kind::Gauge, labels: &["name", "ip"], help: "Hosts." };
    const UP: Desc = Desc { name: "up", kind: Kind::Gauge, labels: &[], help: "Up." };

    fn labels_of(page: &Page) -> Vec<(String, String)> {
        let family = page.families().next().unwrap();
        family.samples().flat_map(|s| s.labels().map(|(n, v)| (n.into(), v.into())).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn label_values_come_back_in_order() {
        let mut page = Page::new();
        let a = page.labels(&[&"a", &1]);
        let b = page.labels(&[&"", &2]);
        page.family(&HOSTS);
        page.sample(a, 1u64);
        page.sample(b, 2u64);
        let got = labels_of(&page);
        let want = [("name", "a"), ("ip", "1"), ("name", ""), ("ip", "2")];
        assert_eq!(got, want.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_family_without_samples_is_still_announced() {
        let mut page = Page::new();
        page.family(&HOSTS);
        page.single(&UP, true);
        let counts: Vec<_> = page.families().map(|f| (f.desc.name, f.samples().count())).collect();
        assert_eq!(counts, [("hosts", 0), ("up", 1)]);
    }

    #[test]
    fn a_long_label_is_cut_at_a_character_boundary() {
        let mut page = Page::new();
        let set = page.labels(&[&"é".repeat(200), &""]);
        page.family(&HOSTS);
        page.sample(set, 0u64);
        assert_eq!(labels_of(&page)[0].1, "é".repeat(127));
    }

    #[test]
    fn control_characters_in_a_label_are_replaced() {
        let mut page = Page::new();
        let set = page.labels(&[&"a\0b\x1b[2Jc\r", &""]);
        page.family(&HOSTS);
        page.sample(set, 0u64);
        assert_eq!(labels_of(&page)[0].1, "a\u{fffd}b\u{fffd}[2Jc\u{fffd}");
    }

    #[test]
    fn labels_behind_a_set_begin_with_its_values() {
        let mut page = Page::new();
        page.labels(&[&"before"]);
        let first = page.labels(&[&"a"]);
        let both = page.labels_behind(first, &[&7]);
        page.family(&HOSTS);
        page.sample(both, 1u64);
        assert_eq!(labels_of(&page), [("name", "a"), ("ip", "7")].map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert!(page.is_plain());
        page.labels(&[&"a \"name\""]);
        assert!(!page.is_plain());
        page.clear();
        assert!(page.is_plain());
    }

    #[test]
    fn an_appended_page_stands_behind_what_was_there() {
        let mut behind = Page::with_points();
        let b = behind.labels(&[&"mac", &"x"]);
        behind.single(&UP, true);
        behind.point("box", "wifi", b, "rate", 7u64);
        behind.text_point("box", "", LabelSet::NONE, "name", "é");
        let mut page = Page::with_points();
        let a = page.labels(&[&"a", &"b"]);
        page.family(&HOSTS);
        page.sample(a, 1u64);
        page.append(&behind);
        let common = page.labels(&[&"all", &"1"]);
        page.set_common_tags(common);
        let counts: Vec<_> = page.families().map(|f| (f.desc.name, f.samples().count())).collect();
        assert_eq!(counts, [("hosts", 1), ("up", 1)]);
        let points: Vec<_> =
            page.points().map(|p| (p.measure, p.tags().collect::<Vec<_>>(), p.field, p.value)).collect();
        let wanted = [
            ("wifi", vec![("all", "1"), ("mac", "x")], "rate", Field::Number(Value::Unsigned(7))),
            ("", vec![("all", "1")], "name", Field::Text("é")),
        ];
        assert_eq!(points, wanted);
        page.clear();
        assert_eq!((page.points().count(), page.wants_points()), (0, true));
    }

    #[test]
    fn a_page_that_was_larger_gives_memory_back_and_one_as_large_as_before_keeps_it() {
        let mut page = Page::new();
        let mut fill = |count: u64| {
            page.clear();
            page.family(&HOSTS);
            for n in 0..count {
                let labels = page.labels(&[&"name", &n]);
                page.sample(labels, n);
            }
            page.fit();
            assert_eq!(labels_of(&page).len() as u64, 2 * count);
            [page.text.capacity(), page.ends.capacity()]
        };
        let large = fill(2000);
        assert_eq!(fill(2000), large);
        assert_eq!(fill(2010), large);
        assert!(fill(1000).iter().zip(large).all(|(small, large)| *small < large * 2 / 3));
    }

    #[test]
    fn a_cleared_page_keeps_its_memory() {
        let mut page = Page::new();
        for _ in 0..100 {
            page.labels(&[&"name", &"ip"]);
        }
        let capacity = page.text.capacity();
        page.clear();
        assert!(page.is_empty());
        assert_eq!(page.text.capacity(), capacity);
    }
}
