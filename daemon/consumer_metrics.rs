//! Metrics of all consumers together, and of each one, with its name as the label: of the first [`CONSUMERS_MAX`] by name.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use sse_bus::protocol::ConsumerInfo;

/// Maximum number of consumers with metrics of their own.
pub(crate) const CONSUMERS_MAX: usize = 100;

/// What all consumers have together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WorkTotals {
    pub(crate) consumers: u64,
    pub(crate) workers: u64,
    /// Deliveries in flight.
    pub(crate) in_flight: u64,
    /// Dead letters.
    pub(crate) dead: u64,
}

/// Encodes the metrics of all consumers, and of some.
#[derive(Debug)]
pub(crate) struct ConsumerCollector(pub(crate) WorkTotals, pub(crate) Vec<ConsumerInfo>);

/// The name of a metric, its description, and its value.
type Metric<T> = (&'static str, &'static str, fn(&ConsumerInfo) -> T);

const GAUGES: [Metric<u64>; 5] = [
    ("consumer_pending", "Events that wait for their first delivery, a lower bound", |info| info.pending),
    ("consumer_in_flight", "Deliveries in flight", |info| info.in_flight),
    ("consumer_waiting", "Events that wait to be delivered again", |info| info.waiting),
    ("consumer_dead_letters", "Dead letters", |info| info.dead),
    ("consumer_workers", "Workers", |info| info.workers),
];

const COUNTERS: [Metric<u64>; 6] = [
    ("consumer_delivered", "Deliveries, repeated ones included", |info| info.delivered),
    ("consumer_redelivered", "Deliveries of an event that was delivered before", |info| info.redelivered),
    ("consumer_acknowledged", "Events done", |info| info.acknowledged),
    ("consumer_died", "Events that became dead letters", |info| info.died),
    ("consumer_expired", "Events whose TTL ended before their first delivery", |info| info.expired),
    ("consumer_missed", "Events that history evicted before they were done", |info| info.missed),
];

impl Collector for ConsumerCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let ConsumerCollector(totals, consumers) = self;
        let gauges = [
            ("consumers", "Consumers", totals.consumers),
            ("workers", "Workers of consumers", totals.workers),
            ("deliveries_in_flight", "Deliveries in flight of all consumers", totals.in_flight),
            ("dead_letters", "Dead letters of all consumers", totals.dead),
        ];
        for (name, help, value) in gauges {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        if consumers.is_empty() {
            return Ok(());
        }
        for (name, help, value) in GAUGES {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for info in consumers {
                let value = ConstGauge::new(i64::try_from(value(info)).unwrap_or(i64::MAX));
                value.encode(metric.encode_family(&label(info))?)?;
            }
        }
        let help = "Age of the oldest event that is not done";
        let mut metric = encoder.encode_descriptor("consumer_oldest_seconds", help, None, MetricType::Gauge)?;
        for info in consumers {
            let value = ConstGauge::new(info.oldest_ms.unwrap_or(0) as f64 / 1000.0);
            value.encode(metric.encode_family(&label(info))?)?;
        }
        for (name, help, value) in COUNTERS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for info in consumers {
                ConstCounter::new(value(info)).encode(metric.encode_family(&label(info))?)?;
            }
        }
        Ok(())
    }
}

fn label(info: &ConsumerInfo) -> [(&'static str, &str); 1] {
    [("consumer", &info.name)]
}
