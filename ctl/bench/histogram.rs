//! Counts durations in buckets whose width is at most 1/32 of their value, in constant memory.

use std::time::Duration;

/// The binary logarithm of the number of buckets per doubling.
const BITS: u32 = 5;

#[derive(Default)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(super) fn add(&mut self, duration: Duration) {
        let index = bucket(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
        self.total += 1;
    }

    /// Returns a quantile in microseconds, or 0 if there are no durations. The median is `quantile_us(0.5)`.
    pub(super) fn quantile_us(&self, quantile: f64) -> f64 {
        let mut left = self.total as f64 * quantile;
        for (index, count) in self.counts.iter().enumerate() {
            left -= *count as f64;
            if left <= 0.0 && *count > 0 {
                return middle(index) / 1e3;
            }
        }
        0.0
    }
}

fn bucket(nanos: u64) -> usize {
    let doublings = (u64::BITS - nanos.leading_zeros()).saturating_sub(BITS + 1);
    ((doublings as usize) << BITS) + (nanos >> doublings) as usize
}

/// Returns the middle of a bucket, in nanoseconds.
fn middle(index: usize) -> f64 {
    let doublings = (index >> BITS).saturating_sub(1);
    let first = ((index - (doublings << BITS)) as f64) * (1_u64 << doublings) as f64;
    first + ((1_u64 << doublings) - 1) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_accurate_to_the_width_of_a_bucket() {
        let mut histogram = Histogram::default();
        assert!(histogram.quantile_us(0.5).abs() < f64::EPSILON);
        (1..=1000).for_each(|micros| histogram.add(Duration::from_micros(micros)));
        for (part, micros) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0), (0.001, 1.0)] {
            let found = histogram.quantile_us(part);
            assert!((found / micros - 1.0).abs() < 1.0 / 32.0, "{part}: {found} for {micros}");
        }
    }

    #[test]
    fn buckets_are_contiguous() {
        let mut last = 0;
        for nanos in 0..100_000 {
            let index = bucket(nanos);
            assert!(index == last || index == last + 1, "{nanos}");
            assert!((middle(index) - nanos as f64).abs() <= nanos as f64 / 64.0 + 0.5, "{nanos}: {}", middle(index));
            last = index;
        }
        assert!(bucket(u64::MAX) < 2048);
    }
}
