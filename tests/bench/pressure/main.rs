//! The bus under pressure: the cost of subscribers that do not read, floods and unauthenticated peers for other
//! clients.
//!
//! `cargo bench --bench pressure [-- NAME...]`, where a name is one of `snapshot`, `losses`, `latest`, `unicast`,
//! `name`, `feeds`, `most`, `large`, `past`, `topics`, `rest`, `strangers`. Each prints the longest time that the bus was
//! locked, the publish latency of an uninvolved client, and memory. All of them take less than four minutes.
//!
//! The lock is measured by the metric `sse_bus_lock_hold_seconds`, in processor time of the thread that holds it, so that
//! other work on the machine is not counted. The publish latency is real time, and counts it.

#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod rows;

#[cfg(target_os = "linux")]
use sse_bus_support::measured::{self as daemon, Result};

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("this benchmark reads /proc, which only Linux has");
}

#[cfg(target_os = "linux")]
fn main() -> Result<()> {
    let all: &[(&str, daemon::Benchmark)] = &[
        ("snapshot", rows::snapshot),
        ("losses", rows::losses),
        ("latest", rows::latest),
        ("unicast", rows::unicast),
        ("name", rows::name),
        ("feeds", rows::feeds),
        ("most", rows::most),
        ("large", rows::large),
        ("past", rows::past),
        ("topics", rows::topics),
        ("rest", rows::rest),
        ("strangers", rows::strangers),
    ];
    daemon::run(all, || {
        daemon::raise_limit()?;
        println!("{:<66} {:>12}  asked", "what", "figure");
        Ok(())
    })
}

/// Prints a figure and its target.
#[cfg(target_os = "linux")]
fn line(what: &str, figure: &str, asked: &str) {
    println!("{what:<66} {figure:>12}  {asked}");
}
