//! The command line of `sse-busctl bench`.

use std::time::Duration;

use clap::Args;

use super::values::{number, parse_bench_duration, parse_bench_size};
use crate::exit;

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl bench
  sse-busctl bench --subscribers 100 --duration 3s --json
  sse-busctl bench --nats nats://127.0.0.1:4222"))]
pub(crate) struct Bench {
    /// Number of subscribers over HTTP, all in this process
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = number::<u64>(1..=50_000),
        env = "SSE_BUS_BENCH_SUBSCRIBERS")]
    pub(crate) subscribers: u64,
    /// Duration of the measurement, in whole seconds
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_bench_duration, alias = "seconds",
        env = "SSE_BUS_BENCH_DURATION")]
    pub(crate) duration: Duration,
    /// Size of the data per event, such as `1KiB`
    #[arg(long, value_name = "SIZE", default_value = "200B", value_parser = parse_bench_size, env = "SSE_BUS_BENCH_SIZE")]
    pub(crate) size: u64,
    /// Measure a daemon whose log is on this NATS server, in streams of its own, which are removed at the end; credentials as for
    /// sse-busd, from SSE_BUS_NATS_CREDENTIALS and the like
    #[arg(long, value_name = "URL", env = "SSE_BUS_BENCH_NATS")]
    pub(crate) nats: Option<String>,
}
