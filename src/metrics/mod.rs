//! Metric families with typed, labelled samples: what collectors write and outputs read.
//!
//! A collector describes its families in a const table of [`Desc`] and fills one [`Page`] per collection. A page keeps
//! all label values in one string and all samples in one vector, and is cleared and filled again for the next
//! collection, so that a steady state allocates nothing and what it has is hardly more than what it needs. Label values
//! come from strangers (a DHCP client chooses its own name), so they are bounded and stripped of control characters here,
//! and escaped by each output's own rules.
//!
//! Line formats such as InfluxDB's can be written from families, too. A collector that takes another program's place has
//! names there that are not those of its families: it adds [`Point`]s, to a page that was made [`Page::with_points`],
//! and then the points are written instead of its families.
//!
//! Nothing here knows who collects or where the page goes.

mod page;
mod samples;
pub mod store;
mod view;

pub use page::{MAX_LABEL_BYTES, Page};
pub use view::{FamilyView, Field, Point, SampleView};

/// What a family's values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, or starts again from 0.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Always 1: the labels are the information; the name ends in `_info`.
    Info,
    /// How many of the measured values lie below each of some bounds, how many there are, and their sum.
    Histogram,
}

/// A metric family: name, type, label names in output order, and help text (which names the unit).
#[derive(Debug)]
pub struct Desc {
    /// Family name as it stands in the output, `_total` included.
    pub name: &'static str,
    /// What the values mean.
    pub kind: Kind,
    /// Label names, in output order.
    pub labels: &'static [&'static str],
    /// One sentence for people, with the unit.
    pub help: &'static str,
}

/// A sample's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// An exact count: printed as an integer, never through a float.
    Unsigned(u64),
    /// A measure in the family's unit.
    Float(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Value::Unsigned(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Unsigned(value.into())
    }
}

/// Label values stored once in a page, to be used by any number of its samples.
#[derive(Debug, Clone, Copy, Default)]
pub struct LabelSet {
    first: u32,
    len: u16,
}

impl LabelSet {
    /// The set of a sample without labels.
    pub const NONE: LabelSet = LabelSet { first: 0, len: 0 };
}

/// What a sample is to its family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    /// All there is.
    Whole,
    /// Of a histogram: how many values lie at or below this bound.
    Bucket(f64),
    /// Of a histogram: the sum of all values.
    Sum,
    /// Of a histogram: how many values there are.
    Count,
}

impl Part {
    /// What stands behind the family's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Part::Whole => "",
            Part::Bucket(_) => "_bucket",
            Part::Sum => "_sum",
            Part::Count => "_count",
        }
    }
}
