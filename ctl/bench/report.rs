//! The report of the measurements, for people and programs.

use std::{fmt::Write, time::Duration};

use serde::Serialize;

use super::{histogram::Histogram, load::Measurement};
use crate::{
    cli,
    exit::Failure,
    output::Output,
    table::wrapped,
    units::{count, size},
};

/// Minimum number of subscribers to report memory. Fewer use less than the error of the measurement.
const MIN_FOR_MEMORY: u64 = 100;

/// The report as JSON. Unknown figures are left out.
#[derive(Serialize)]
pub(super) struct Report {
    subscribers: u64,
    /// Bytes of data per event.
    size: u64,
    seconds: u64,
    /// The servers of the log, if it is on NATS.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    /// Time from publish to delivery with a single subscriber.
    latency_alone: Latency,
    /// Time from publish to delivery with all subscribers.
    latency: Latency,
    /// Throughput with as many events as possible.
    deliveries_per_second: u64,
    /// CPU time of the daemon with one event at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_us_per_delivery: Option<f64>,
    /// CPU time of the daemon with as many events as possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_us_per_delivery_saturated: Option<f64>,
    /// Memory of the daemon per subscriber, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_per_subscriber: Option<u64>,
}

#[derive(Serialize)]
struct Latency {
    p50_us: f64,
    p99_us: f64,
}

impl Report {
    pub(super) fn new(
        options: &cli::Bench,
        alone: &Measurement,
        paced: &Measurement,
        saturated: &Measurement,
        growth: Option<u64>,
        log: Option<String>,
    ) -> Report {
        let added = options.subscribers - 1;
        Report {
            subscribers: options.subscribers,
            size: options.size,
            seconds: options.duration.as_secs(),
            log,
            latency_alone: Latency::of(&alone.latency),
            latency: Latency::of(&paced.latency),
            deliveries_per_second: per_second(saturated.deliveries, saturated.took),
            cpu_us_per_delivery: micros_per(paced.cpu, paced.deliveries),
            cpu_us_per_delivery_saturated: micros_per(saturated.cpu, saturated.deliveries),
            memory_per_subscriber: growth.filter(|_| added >= MIN_FOR_MEMORY).map(|growth| growth / added),
        }
    }

    pub(super) fn print(&self, output: &Output) -> Result<(), Failure> {
        output.print(|| self.describe(output.width), self)?;
        Ok(())
    }

    fn describe(&self, width: Option<usize>) -> String {
        /// The column in which values begin.
        const INDENT: usize = 12;
        let Report { latency_alone: alone, latency: all, .. } = self;
        let subscribers = count(self.subscribers, "subscriber");
        let mut rows = vec![
            ("load", format!("{subscribers} over HTTP, events of {}", size(self.size))),
            ("latency", format!("{} to one subscriber, {} to all", alone.describe(), all.describe())),
            ("throughput", format!("{} deliveries per second", thousands(self.deliveries_per_second))),
        ];
        if let Some(servers) = &self.log {
            rows.insert(1, ("log", format!("on {servers}; without --nats it is in the memory of the daemon")));
        }
        if let Some((paced, saturated)) = self.cpu_us_per_delivery.zip(self.cpu_us_per_delivery_saturated) {
            let text = format!("{paced:.2} µs per delivery with one event at a time, {saturated:.2} µs at full load");
            rows.push(("cpu", text));
        }
        if let Some(bytes) = self.memory_per_subscriber {
            rows.push(("memory", format!("{} per subscriber", size(bytes))));
        }
        let mut text = String::new();
        for (name, value) in rows {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:<INDENT$}{}", wrapped(&value, INDENT, width));
        }
        text.truncate(text.trim_end().len());
        text
    }
}

impl Latency {
    fn of(histogram: &Histogram) -> Latency {
        Latency { p50_us: tenths(histogram.quantile_us(0.5)), p99_us: tenths(histogram.quantile_us(0.99)) }
    }

    /// Formats the median and the 99th percentile.
    fn describe(&self) -> String {
        format!("p50 {}, p99 {}", time(self.p50_us), time(self.p99_us))
    }
}

/// Rounds to one decimal.
fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Returns the microseconds per delivery, rounded to two decimals.
fn micros_per(total: Option<Duration>, number: u64) -> Option<f64> {
    let micros = total?.as_secs_f64() * 1e6 / number.max(1) as f64;
    Some((micros * 100.0).round() / 100.0)
}

fn per_second(number: u64, took: Duration) -> u64 {
    u64::try_from(u128::from(number) * 1_000_000_000 / took.as_nanos().max(1)).unwrap_or(u64::MAX)
}

fn time(micros: f64) -> String {
    if micros < 1e3 { format!("{micros:.0} µs") } else { format!("{:.1} ms", micros / 1e3) }
}

/// Formats a number with thousands separators.
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
        assert_eq!(micros_per(Some(Duration::from_secs(1)), 1000), Some(1000.0));
        assert_eq!(micros_per(None, 1000), None);
        assert_eq!(per_second(300, Duration::from_millis(1500)), 200);
    }
}
