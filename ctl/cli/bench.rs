//! The command line of `sse-busctl bench`.

use clap::Args;

use crate::exit;

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl bench
  sse-busctl bench --subscribers 100 --seconds 3 --json"))]
pub(crate) struct Bench {
    /// Number of subscribers over HTTP, all in this process
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=50_000),
        env = "SSE_BUS_BENCH_SUBSCRIBERS")]
    pub(crate) subscribers: u64,
    /// Duration of the measurement, in seconds
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600),
        env = "SSE_BUS_BENCH_SECONDS")]
    pub(crate) seconds: u64,
    /// Bytes of data per event
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1 << 20),
        env = "SSE_BUS_BENCH_SIZE")]
    pub(crate) size: u64,
}
