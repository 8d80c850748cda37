//! Measurements under load: the lock, the latency of an uninvolved publisher, memory.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{Result, daemon::Daemon, line};

/// The lock is measured in windows of this length.
const WINDOW: Duration = Duration::from_millis(100);
/// How long the measurement continues once the whole load runs.
const SETTLE: Duration = Duration::from_secs(1);

/// Runs a load, and prints its cost. Its return value, such as connections, is kept until the end. `asked` is the
/// memory in MiB that it may take, history included.
pub(super) fn press<T>(what: &str, daemon: &Daemon, asked: u32, run: impl FnOnce() -> Result<T>) -> Result<()> {
    let before = daemon.resident()?;
    daemon.forget_peak()?;
    longest_hold(daemon)?;
    let over = AtomicBool::new(false);
    let (latencies, holds) = thread::scope(|scope| {
        let publisher = scope.spawn(|| latencies(daemon, &over));
        let lock = scope.spawn(|| holds(daemon, &over));
        let kept = run();
        thread::sleep(SETTLE);
        over.store(true, Ordering::Relaxed);
        let measured = (publisher.join(), lock.join());
        drop(kept?);
        match measured {
            (Ok(latencies), Ok(holds)) => Result::Ok((latencies?, holds?)),
            _ => Err("a measuring thread has panicked".into()),
        }
    })?;
    let memory = (daemon.peak()? - before) / (1 << 20);
    println!("{what}");
    line("  longest hold of the lock, in processor time", &millis(quantile(&holds, 100)), "at most 1 ms");
    line("  the same, median of windows of 100 ms", &millis(quantile(&holds, 50)), "at most 1 ms");
    line("  publish of another client, 99th percentile", &millis(quantile(&latencies, 99)), "at most 5 ms");
    line("  memory at most, besides what there was", &format!("{memory} MiB"), &format!("at most {asked} MiB"));
    Ok(())
}

/// The latencies of a publisher that sends an event every two milliseconds, each answered before the next.
fn latencies(daemon: &Daemon, over: &AtomicBool) -> Result<Vec<Duration>> {
    let mut lines = Lines::connect(daemon)?;
    let mut latencies = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let reply = lines.ask(r#"{"publish":{"topic":"uninvolved","data":"x"}}"#)?;
        latencies.push(began.elapsed());
        if !reply.starts_with(r#"{"published""#) {
            return Err(reply.into());
        }
        thread::sleep(Duration::from_millis(2));
    }
    latencies.sort_unstable();
    Ok(latencies)
}

/// The longest hold of the lock in each window.
fn holds(daemon: &Daemon, over: &AtomicBool) -> Result<Vec<Duration>> {
    let mut holds = Vec::new();
    while !over.load(Ordering::Relaxed) {
        thread::sleep(WINDOW);
        holds.push(longest_hold(daemon)?);
    }
    holds.sort_unstable();
    Ok(holds)
}

/// The longest hold of the lock since the last query.
fn longest_hold(daemon: &Daemon) -> Result<Duration> {
    let mut socket = daemon.connect()?;
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: bus\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    socket.read_to_string(&mut response)?;
    let value = response.lines().find_map(|line| line.strip_prefix("sse_bus_lock_hold_seconds "));
    Ok(Duration::try_from_secs_f64(value.ok_or("there is no metric of the lock")?.trim().parse()?)?)
}

/// A percentile of sorted values.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// A connection to the local socket that waits for each reply.
pub(super) struct Lines(BufReader<UnixStream>);

impl Lines {
    pub(super) fn connect(daemon: &Daemon) -> Result<Lines> {
        Ok(Lines(BufReader::new(daemon.connect()?)))
    }

    /// Sends a request and returns the reply, both without line break.
    pub(super) fn ask(&mut self, request: &str) -> Result<String> {
        self.0.get_mut().write_all(format!("{request}\n").as_bytes())?;
        let mut reply = String::new();
        self.0.read_line(&mut reply)?;
        Ok(reply.trim_end().to_owned())
    }
}
