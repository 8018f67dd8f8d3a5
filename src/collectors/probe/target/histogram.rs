//! How many round trips lie below each of some bounds.

use std::time::Duration;

/// The least bound, in nanoseconds; each further one is twice the one before, as in smokeping_prober.
const LEAST: u64 = 50_000;

/// The bounds, in seconds: 50 us to 26.2144 s.
pub const BOUNDS: [f64; 20] = {
    let mut bounds = [0.0; 20];
    let mut at = 0;
    while at < bounds.len() {
        // Divided, and not multiplied by a fraction: the quotient is the nearest number to what it stands for.
        bounds[at] = (LEAST << at) as f64 / 1e9;
        at += 1;
    }
    bounds
};

/// The counts between the bounds, and the sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Above the bound before and not above this one; the last is above all.
    pub counts: [u64; BOUNDS.len() + 1],
    /// In nanoseconds.
    pub sum: u128,
}

impl Histogram {
    /// Adds a round trip.
    pub fn add(&mut self, rtt: Duration) {
        let nanos = rtt.as_nanos();
        let at = (0..BOUNDS.len()).find(|at| nanos <= u128::from(LEAST << at)).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(nanos);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_counts_at_the_first_bound_that_it_is_not_above() {
        let mut histogram = Histogram::default();
        for nanos in [0, 50_000, 50_001, 100_000, 26_214_400_000, 26_214_400_001] {
            histogram.add(Duration::from_nanos(nanos));
        }
        assert_eq!((histogram.counts[0], histogram.counts[1], histogram.counts[2]), (2, 2, 0));
        assert_eq!((histogram.counts[19], histogram.counts[20]), (1, 1));
        assert_eq!((BOUNDS[0], BOUNDS[1], BOUNDS[19]), (0.000_05, 0.000_1, 26.214_4));
    }
}
