//! Samples in few bytes each, since a page has thousands and the daemon keeps two pages of every collector.
//!
//! A sample is a head and a value. Both are numbers of as many bytes as they need, seven bits in each, the lowest first.
//! The two lowest bits of the head say what the value is; the others, how far the sample's label set is from where that
//! of the sample before ends, of which most are next to each other: 0, -1, 1, -2 and so on as 0, 1, 2, 3.

use super::Value;

/// The value is a whole number.
const UNSIGNED: u64 = 0;
/// It is a fraction whose eight bytes stand there.
const FLOAT: u64 = 1;
/// It is a fraction that is a whole number, as most ratios of a quiet network are.
const WHOLE: u64 = 2;

/// Up to here every whole number is a fraction without loss.
const MOST_WHOLE: f64 = (1u64 << 53) as f64;

/// The samples of a page, end to end.
#[derive(Debug, Default)]
pub(super) struct Samples {
    bytes: Vec<u8>,
    count: usize,
    /// Where the label set of the next sample is if it follows the last one.
    expected: u32,
}

impl Samples {
    /// Forgets all of them and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// Gives back memory that a larger page has needed.
    pub(super) fn fit(&mut self) {
        if let Some(room) = super::page::surplus(self.bytes.len(), self.bytes.capacity()) {
            self.bytes.shrink_to(room);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Where the next one will stand. It can be read from there if it was begun there.
    pub(super) fn begin(&mut self) -> usize {
        self.expected = 0;
        self.bytes.len()
    }

    /// Adds one with the label set that begins here and has so many values.
    pub(super) fn push(&mut self, first: u32, labels: u32, value: Value) {
        let away = first.wrapping_sub(self.expected).cast_signed();
        let away = (away << 1 ^ away >> 31).cast_unsigned();
        self.expected = first.wrapping_add(labels);
        self.count += 1;
        let head = u64::from(away) << 2;
        match value {
            Value::Unsigned(value) => {
                self.number(head | UNSIGNED);
                self.number(value);
            }
            // Not for -0, which is no less than 0 and not the same.
            Value::Float(value) if (0.0..=MOST_WHOLE).contains(&value) && is_whole(value) => {
                self.number(head | WHOLE);
                self.number(value as u64);
            }
            Value::Float(value) => {
                self.number(head | FLOAT);
                self.bytes.extend_from_slice(&value.to_bits().to_le_bytes());
            }
        }
    }

    fn number(&mut self, mut value: u64) {
        while value > 0x7f {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// Adds those of another page, whose label sets are now counted from `base`, behind these; returns where they stand.
    pub(super) fn append(&mut self, other: &Samples, base: u32) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.count += other.count;
        self.expected = other.expected.wrapping_add(base);
        at
    }

    /// Those that were begun at `start` and end at `end`, if label sets have so many values and are counted from `base`.
    pub(super) fn read(&self, start: usize, end: usize, labels: u32, base: u32) -> Read<'_> {
        Read { rest: self.bytes.get(start..end).unwrap_or_default(), expected: base, labels }
    }

    /// Where the last one ends.
    pub(super) fn end(&self) -> usize {
        self.bytes.len()
    }
}

fn is_whole(value: f64) -> bool {
    (value as u64 as f64).to_bits() == value.to_bits()
}

/// Where the label set of each sample begins, and its value.
#[derive(Debug, Clone)]
pub(super) struct Read<'a> {
    rest: &'a [u8],
    expected: u32,
    labels: u32,
}

impl Read<'_> {
    fn number(&mut self) -> Option<u64> {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
            shift += 7;
        }
    }
}

impl Iterator for Read<'_> {
    type Item = (u32, Value);

    fn next(&mut self) -> Option<(u32, Value)> {
        let head = self.number()?;
        let value = match head & 3 {
            UNSIGNED => Value::Unsigned(self.number()?),
            WHOLE => Value::Float(self.number()? as f64),
            _ => {
                let (bytes, rest) = self.rest.split_first_chunk::<8>()?;
                self.rest = rest;
                Value::Float(f64::from_bits(u64::from_le_bytes(*bytes)))
            }
        };
        let away = (head >> 2) as u32;
        let first = self.expected.wrapping_add(away >> 1 ^ (away & 1).wrapping_neg());
        self.expected = first.wrapping_add(self.labels);
        Some((first, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_was_added_bit_by_bit() {
        let values = [
            Value::Unsigned(0),
            Value::Unsigned(127),
            Value::Unsigned(128),
            Value::Unsigned(u64::MAX),
            Value::Float(0.0),
            Value::Float(-0.0),
            Value::Float(1.0),
            Value::Float(0.1),
            Value::Float(-1.0),
            Value::Float(MOST_WHOLE),
            Value::Float(1e300),
            Value::Float(f64::INFINITY),
            Value::Float(f64::NAN),
            Value::Float(f64::MIN_POSITIVE),
        ];
        let bits = |value| match value {
            Value::Unsigned(value) => (0, value),
            Value::Float(value) => (1, value.to_bits()),
        };
        for labels in [0u32, 1, 3] {
            let mut samples = Samples::default();
            let mut added = Vec::new();
            for (start, step) in [(0u32, labels), (7, 2 * labels), (u32::MAX, 0), (1 << 31, labels)] {
                let at = samples.begin();
                let firsts = (0u32..).map(|n| step.wrapping_mul(n).wrapping_add(start));
                let all: Vec<_> = firsts.zip(values).collect();
                all.iter().for_each(|(first, value)| samples.push(*first, labels, *value));
                added.push((at, samples.end(), all));
            }
            assert_eq!(samples.len(), 4 * values.len());
            for (start, end, all) in added {
                let read: Vec<_> = samples.read(start, end, labels, 0).map(|(at, value)| (at, bits(value))).collect();
                assert_eq!(read, all.iter().map(|(at, value)| (*at, bits(*value))).collect::<Vec<_>>());
                let moved = samples.read(start, end, labels, 5).map(|(at, _)| at.wrapping_sub(5));
                assert!(moved.eq(all.iter().map(|(at, _)| *at)));
            }
        }
    }

    #[test]
    fn a_small_count_beside_the_one_before_takes_two_bytes() {
        let mut samples = Samples::default();
        samples.begin();
        (0..100).for_each(|n| samples.push(2 * n, 2, Value::Unsigned(n.into())));
        assert_eq!(samples.end(), 200);
        samples.clear();
        samples.begin();
        samples.push(0, 2, Value::Float(0.25));
        assert_eq!((samples.len(), samples.end()), (1, 9));
    }
}
