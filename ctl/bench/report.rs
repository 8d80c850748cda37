//! What was measured, for people and for programs.

use std::{fmt::Write, time::Duration};

use serde::Serialize;

use super::{Part, histogram::Histogram};
use crate::{
    cli,
    exit::Failure,
    output::{Output, count, size},
};

/// Fewer subscribers use less memory than the measurement is off.
const ENOUGH_FOR_MEMORY: u64 = 100;

/// The figures, as they are printed for programs. Unknown ones are left out.
#[derive(Serialize)]
pub(super) struct Figures {
    subscribers: u64,
    /// Bytes of an event's data.
    size: u64,
    seconds: u64,
    /// From publish to delivery, to one subscriber that is alone.
    latency_alone: Latency,
    /// The same, to each of all.
    latency: Latency,
    /// With as many events as the bus takes.
    deliveries_per_second: u64,
    /// Of the daemon, one event at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_us_per_delivery: Option<f64>,
    /// Of the daemon, with as many events as it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_us_per_delivery_saturated: Option<f64>,
    /// Bytes of the daemon's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_per_subscriber: Option<u64>,
}

#[derive(Serialize)]
struct Latency {
    p50_us: f64,
    p99_us: f64,
}

impl Figures {
    pub(super) fn new(
        options: &cli::Bench,
        alone: &Part,
        paced: &Part,
        saturated: &Part,
        grown: Option<u64>,
    ) -> Figures {
        let more = options.subscribers - 1;
        Figures {
            subscribers: options.subscribers,
            size: options.size,
            seconds: options.seconds,
            latency_alone: Latency::of(&alone.latency),
            latency: Latency::of(&paced.latency),
            deliveries_per_second: a_second(saturated.deliveries, saturated.took),
            cpu_us_per_delivery: each(paced.cpu, paced.deliveries),
            cpu_us_per_delivery_saturated: each(saturated.cpu, saturated.deliveries),
            memory_per_subscriber: grown.filter(|_| more >= ENOUGH_FOR_MEMORY).map(|grown| grown / more),
        }
    }

    pub(super) fn tell(&self, output: &Output) -> Result<(), Failure> {
        output.say(|| self.describe(), self)?;
        Ok(())
    }

    fn describe(&self) -> String {
        let Figures { latency_alone: alone, latency: all, .. } = self;
        let subscribers = count(self.subscribers, "subscriber");
        let mut rows = vec![
            ("load", format!("{subscribers} over HTTP, events of {}", size(self.size))),
            ("latency", format!("{} to one subscriber, {} to all", alone.describe(), all.describe())),
            ("throughput", format!("{} deliveries a second", thousands(self.deliveries_per_second))),
        ];
        if let Some((paced, saturated)) = self.cpu_us_per_delivery.zip(self.cpu_us_per_delivery_saturated) {
            let text = format!("{paced:.2} µs a delivery one event at a time, {saturated:.2} µs at full load");
            rows.push(("cpu", text));
        }
        if let Some(bytes) = self.memory_per_subscriber {
            rows.push(("memory", format!("{} a subscriber", size(bytes))));
        }
        let mut text = String::new();
        for (name, value) in rows {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name:<12}{value}");
        }
        text.truncate(text.trim_end().len());
        text
    }
}

impl Latency {
    fn of(histogram: &Histogram) -> Latency {
        Latency { p50_us: tenths(histogram.quantile_us(0.5)), p99_us: tenths(histogram.quantile_us(0.99)) }
    }

    /// The median and the 99th percentile.
    fn describe(&self) -> String {
        format!("p50 {}, p99 {}", time(self.p50_us), time(self.p99_us))
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Microseconds of each, to a hundredth.
fn each(all: Option<Duration>, number: u64) -> Option<f64> {
    let micros = all?.as_secs_f64() * 1e6 / number.max(1) as f64;
    Some((micros * 100.0).round() / 100.0)
}

fn a_second(number: u64, took: Duration) -> u64 {
    u64::try_from(u128::from(number) * 1_000_000_000 / took.as_nanos().max(1)).unwrap_or(u64::MAX)
}

fn time(micros: f64) -> String {
    if micros < 1e3 { format!("{micros:.0} µs") } else { format!("{:.1} ms", micros / 1e3) }
}

/// A number with a comma at each thousand.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([time(12.4), time(999.0), time(1500.0)], ["12 µs", "999 µs", "1.5 ms"]);
        assert_eq!(each(Some(Duration::from_secs(1)), 1000), Some(1000.0));
        assert_eq!(each(None, 1000), None);
        assert_eq!(a_second(300, Duration::from_millis(1500)), 200);
    }
}
