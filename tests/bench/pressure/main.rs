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
type Benchmark = fn() -> Result<()>;

#[cfg(target_os = "linux")]
fn main() -> Result<()> {
    let all: [(&str, Benchmark); 12] = [
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
    // Cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let Some(unknown) = wanted.iter().find(|name| all.iter().all(|(known, _)| known != name)) {
        return Err(format!("no benchmark `{unknown}`; there are {}", all.map(|(name, _)| name).join(", ")).into());
    }
    daemon::raise_limit()?;
    println!("{:<66} {:>12}  asked", "what", "figure");
    for (name, run) in all {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            run().map_err(|error| format!("{name}: {error}"))?;
        }
    }
    Ok(())
}

/// Prints a figure and its target.
#[cfg(target_os = "linux")]
fn line(what: &str, figure: &str, asked: &str) {
    println!("{what:<66} {figure:>12}  {asked}");
}
