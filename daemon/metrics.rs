//! Metrics for Prometheus: counters of the bus, which are read at each scrape, and measurements of the daemon.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeLabelSet, EncodeMetric,
        text::{encode_eof, encode_registry},
    },
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use sse_bus::{
    bus::Stats,
    protocol::{ConsumerInfo, ErrorCode, LogInfo},
};

use crate::{
    consumer_metrics::{ConsumerCollector, WorkTotals},
    log::Store,
    shared_bus::SharedBus,
};

/// The content type of [`Metrics::encode`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The beginning of each name.
const PREFIX: &str = "sse_bus";

/// All metrics.
pub(crate) struct Metrics {
    registry: Registry,
    publish_seconds: Histogram,
    refused: Family<Code, Counter<u64, AtomicU64>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

impl Metrics {
    pub(crate) fn new(bus: &SharedBus, store: Option<Arc<Store>>) -> Metrics {
        let mut registry = Registry::with_prefix(PREFIX);
        // From 1 µs to 0.26 s.
        let publish_seconds = Histogram::new(exponential_buckets(1e-6, 4.0, 10));
        let refused = Family::default();
        let help = "Time to publish the events of one read of a connection, including the wait for the bus";
        registry.register("publish_seconds", help, publish_seconds.clone());
        registry.register("refused", "Requests refused, by error code", refused.clone());
        if let Some(store) = &store {
            let help = "Time to write one batch of changes to disk";
            registry.register("history_commit_seconds", help, store.commits().clone());
        }
        registry.register_collector(Box::new(BusCollector { bus: bus.clone(), store }));
        Metrics { registry, publish_seconds, refused }
    }

    /// Records the time to publish a batch.
    pub(crate) fn published_in(&self, time: Duration) {
        self.publish_seconds.observe(time.as_secs_f64());
    }

    /// Counts a refused request.
    pub(crate) fn refused(&self, code: ErrorCode) {
        self.refused.get_or_create(&Code { code: code.as_str() }).inc();
    }

    /// Returns all metrics as text, and those of some consumers and of a log on NATS.
    pub(crate) fn encode(&self, totals: WorkTotals, consumers: Vec<ConsumerInfo>, log: Option<LogInfo>) -> String {
        let mut of_consumers = Registry::with_prefix(PREFIX);
        of_consumers.register_collector(Box::new(ConsumerCollector(totals, consumers)));
        let mut of_log = Registry::with_prefix(PREFIX);
        if let Some(log) = log {
            of_log.register_collector(Box::new(LogCollector(log)));
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &of_consumers))
            .and_then(|()| encode_registry(&mut text, &of_log))
            .and_then(|()| encode_eof(&mut text));
        text
    }
}

/// Collects the metrics of a log on NATS.
#[derive(Debug)]
struct LogCollector(LogInfo);

impl Collector for LogCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let LogInfo { last, lag, skipped, rewrites, error, .. } = &self.0;
        let gauges = [
            ("log_last", "Last number of the log on NATS, as far as this node knows", *last),
            ("log_lag", "Events of the log that this node has not applied", *lag),
            ("log_failing", "1 while the log cannot be used", error.is_some().into()),
        ];
        for (name, help, value) in gauges {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        let counters = [
            ("log_skipped", "Messages on the subjects of the bus that no node has published", *skipped),
            ("log_rewrites", "Times that the log has lost its newest events", *rewrites),
        ];
        for (name, help, value) in counters {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        Ok(())
    }
}

struct BusCollector {
    bus: SharedBus,
    store: Option<Arc<Store>>,
}

impl fmt::Debug for BusCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BusCollector")
    }
}

impl Collector for BusCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let failing = self.store.as_ref().is_some_and(|store| store.error().is_some());
        let (stats, now) = self.bus.look(|bus, _| (bus.stats(), bus.status()));
        let counters = [
            ("events_published", "Events accepted into the log", stats.published),
            ("published_bytes", "Bytes of data of the events accepted into the log", stats.published_bytes),
            ("events_delivered", "Events delivered to subscribers", stats.delivered),
            ("delivered_bytes", "Encoded bytes delivered to subscribers", stats.delivered_bytes),
            ("slow_disconnects", "Subscribers disconnected because they were slow", stats.slow_disconnects),
        ];
        for (name, help, value) in counters {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        let gauges = [
            ("subscribers", "Connected subscribers", now.subscribers),
            ("publishers", "Connected publishers", now.publishers),
            ("topics", "Known topics", now.topics),
            ("history_events", "Events in history", now.history_events),
            ("history_bytes", "Bytes that history costs", now.history_bytes),
            ("retained_events", "Retained events", now.retained),
            ("history_failing", "1 while history cannot be written to disk", failing.into()),
        ];
        for (name, help, value) in gauges {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        let help = "Longest time that the bus was locked since the last scrape";
        let metric = ConstGauge::new(self.bus.longest_hold().as_secs_f64());
        metric.encode(encoder.encode_descriptor("lock_hold_seconds", help, None, metric.metric_type())?)?;
        let mut gaps =
            encoder.encode_descriptor("gaps", "Gaps reported to subscribers, by reason", None, MetricType::Counter)?;
        for (reason, count) in Stats::GAP_REASONS.iter().zip(stats.gaps) {
            let label = [("reason", reason.as_str())];
            ConstCounter::new(count).encode(gaps.encode_family(&label)?)?;
        }
        Ok(())
    }
}
