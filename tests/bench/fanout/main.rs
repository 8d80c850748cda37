//! Fan-out at scale: the cost of a delivery as subscribers, topics and cores grow, the speed of replays, and the
//! resources left by reconnect storms, stalled readers and churn.
//!
//! `cargo bench --bench fanout [-- NAME...]`, where a name is one of `growth`, `cores`, `replay`, `storm`, `stalled`,
//! `cycles`. Each line has a figure, its ratio to another or a bound, and its target.
//!
//! Daemon and load run on one machine, on loopback. Costs are therefore given as processor time of the daemon, and
//! compared within one run, in alternating rounds, so that other work on the machine disturbs both sides. Every wait
//! has a timeout, and the daemon ends with the benchmark.

#[cfg(target_os = "linux")]
mod cores;
#[cfg(target_os = "linux")]
mod crowd;
#[cfg(target_os = "linux")]
mod cycles;
#[cfg(target_os = "linux")]
mod floor;
#[cfg(target_os = "linux")]
mod growth;
#[cfg(target_os = "linux")]
mod replay;
#[cfg(target_os = "linux")]
mod stalled;
#[cfg(target_os = "linux")]
mod storm;

#[cfg(target_os = "linux")]
use sse_bus_support::measured::{self as daemon, Result};

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("these benchmarks read /proc, which only Linux has");
}

#[cfg(target_os = "linux")]
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [floor::SERVE, sockets] = *arguments.iter().map(String::as_str).collect::<Vec<_>>() {
        daemon::raise_limit()?;
        return floor::serve(sockets);
    }
    let all: &[(&str, daemon::Benchmark)] = &[
        ("growth", growth::run),
        ("cores", cores::run),
        ("replay", replay::run),
        ("storm", storm::run),
        ("stalled", stalled::run),
        ("cycles", cycles::run),
    ];
    daemon::run(all, || {
        daemon::raise_limit()?;
        line("what", "figure", "ratio", "asked");
        Ok(())
    })
}

/// Prints a figure, its ratio to another, and its target.
#[cfg(target_os = "linux")]
fn line(what: &str, figure: &str, ratio: &str, asked: &str) {
    println!("{what:<66} {figure:>12} {ratio:>7}  {asked}");
}

/// The median of an odd number of figures.
#[cfg(target_os = "linux")]
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[cfg(target_os = "linux")]
fn mebibytes(bytes: i64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
