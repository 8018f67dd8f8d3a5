//! What outputs see of a page: its families with their samples, and its points.

use super::samples::Read;
use super::{Desc, Kind, LabelSet, Page, Part, Value};

/// One family of a page.
pub struct FamilyView<'a> {
    pub(super) page: &'a Page,
    /// Its description.
    pub desc: &'static Desc,
    pub(super) bounds: &'static [f64],
    pub(super) samples: Read<'a>,
}

impl<'a> FamilyView<'a> {
    /// The family's samples, in the order they were written.
    pub fn samples(&self) -> impl Iterator<Item = SampleView<'a>> {
        let (page, names, bounds) = (self.page, self.desc.labels, self.bounds);
        let mut parts = Parts { is_histogram: self.desc.kind == Kind::Histogram, bounds, at: 0 };
        self.samples.clone().map(move |(first, value)| {
            let labels = LabelSet { first, len: names.len() as u16 };
            SampleView { page, names, labels, value, part: parts.next() }
        })
    }

    /// Whether it has no samples.
    pub fn is_empty(&self) -> bool {
        self.values().next().is_none()
    }

    /// The values of its samples, in that order.
    pub fn values(&self) -> impl Iterator<Item = Value> + use<'a> {
        self.samples.clone().map(|(_, value)| value)
    }

    /// Whether this family has the very label sets of another one of its page, in the same order.
    pub fn is_beside(&self, other: &FamilyView<'a>) -> bool {
        let sets = |family: &FamilyView<'a>| family.samples.clone().map(|(first, _)| first);
        self.desc.labels == other.desc.labels && sets(self).eq(sets(other))
    }
}

/// What one sample after the other is to its family.
struct Parts {
    is_histogram: bool,
    bounds: &'static [f64],
    /// The place in a histogram: buckets, one without a bound, sum and count.
    at: usize,
}

impl Parts {
    fn next(&mut self) -> Part {
        if !self.is_histogram {
            return Part::Whole;
        }
        let beyond = self.at.checked_sub(self.bounds.len());
        self.at += 1;
        match beyond {
            None => Part::Bucket(self.bounds.get(self.at - 1).copied().unwrap_or(f64::INFINITY)),
            Some(0) => Part::Bucket(f64::INFINITY),
            Some(1) => Part::Sum,
            Some(_) => {
                self.at = 0;
                Part::Count
            }
        }
    }
}

/// One sample of a family.
pub struct SampleView<'a> {
    page: &'a Page,
    names: &'static [&'static str],
    labels: LabelSet,
    /// Its value, in the family's unit.
    pub value: Value,
    /// What it is to the family.
    pub part: Part,
}

impl<'a> SampleView<'a> {
    /// Label names with their values, in output order.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        self.names.iter().copied().zip(self.page.values(self.labels))
    }
}

/// What a point says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Field<'a> {
    /// A number.
    Number(Value),
    /// A text.
    Text(&'a str),
}

/// One field of one measurement, under a name that is not a family's.
pub struct Point<'a> {
    pub(super) page: &'a Page,
    /// First part of the measurement's name.
    pub root: &'static str,
    /// Its second part; empty if it has none.
    pub measure: &'static str,
    pub(super) tags: LabelSet,
    /// Name of the field.
    pub field: &'a str,
    /// Its value.
    pub value: Field<'a>,
}

impl<'a> Point<'a> {
    /// Tag names with their values, in output order.
    pub fn tags(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let page = self.page;
        let pairs = |set: LabelSet| (set.first..set.first + u32::from(set.len)).step_by(2);
        pairs(page.common_tags()).chain(pairs(self.tags)).map(|index| (page.label(index), page.label(index + 1)))
    }
}
