//! The rows of a table: one for each load, with the figures of all servers and the ratios to the others.

use crate::{
    Result,
    bus::Bus,
    jetstream::JetStream,
    median,
    queue::{Server, Store, latencies, throughput},
    redis::Redis,
};

const ROUNDS: usize = 5;
/// Loads: workers, jobs in flight of each, and jobs of a round. Fewer if each is synced.
const LOADS: [(usize, usize, usize); 4] = [(1, 1, 10_000), (4, 1, 10_000), (1, 100, 50_000), (4, 100, 50_000)];
const LATENCIES: usize = 2_000;
/// The part of the jobs of a round if each batch of them is synced.
const SYNCED: usize = 10;

pub(crate) fn run(store: Store) -> Result<()> {
    let bus = Bus::start(store)?;
    let (redis, jetstream) = (Redis::start(store)?, JetStream::start(store)?);
    let servers: [Option<&dyn Server>; 3] =
        [Some(&bus), redis.as_ref().map(|server| server as &dyn Server), jetstream.as_ref().map(|server| server as _)];
    let (title, asked) = match store {
        Store::Memory => ("in memory, jobs/s", "at least Redis"),
        Store::Disk => ("on disk, synced later, jobs/s", "at least JetStream"),
        Store::Synced => ("on disk, synced first, jobs/s", "–"),
    };
    println!("{title:<34} {:>9} {:>9} {:>9} {:>8} {:>11}", "sse-busd", "Redis", "JetStream", "÷ Redis", "÷ JetStream");
    let part = if store == Store::Synced { SYNCED } else { 1 };
    for (workers, slots, jobs) in LOADS {
        let what = format!("{workers} {}, {slots} in flight", if workers == 1 { "worker" } else { "workers" });
        let rounds = rounds(servers, |server, queue| throughput(server, queue, jobs / part, workers, slots))?;
        row(&what, &rounds, 0, asked);
    }
    let rounds = rounds(servers, |server, queue| {
        let times = latencies(server, queue, LATENCIES / part)?;
        Ok([times.len() / 2, times.len() * 99 / 100].map(|at| times[at].as_secs_f64() * 1e6))
    })?;
    for (at, name) in ["p50", "p99"].into_iter().enumerate() {
        let one = rounds.each_ref().map(|figures| figures.iter().map(|of| of[at]).collect());
        row(&format!("from publish to take, µs, {name}"), &one, 1, "–");
    }
    println!();
    Ok(())
}

/// Runs rounds in turn on each server that is present. Returns the figures of each.
fn rounds<T>(servers: [Option<&dyn Server>; 3], run: impl Fn(&dyn Server, &str) -> Result<T>) -> Result<[Vec<T>; 3]> {
    let mut figures = [const { Vec::new() }; 3];
    for round in 0..ROUNDS {
        for (server, figures) in servers.iter().zip(&mut figures) {
            if let Some(server) = server {
                figures.push(run(*server, &format!("jobs{round}"))?);
            }
        }
    }
    Ok(figures)
}

/// Prints the medians, and the median ratios of rounds.
fn row(what: &str, rounds: &[Vec<f64>; 3], digits: usize, asked: &str) {
    let figure =
        |of: &Vec<f64>| if of.is_empty() { "absent".into() } else { format!("{:.digits$}", median(of.clone())) };
    let ratio = |other: &Vec<f64>| {
        let ratios: Vec<f64> = rounds[0].iter().zip(other).map(|(ours, other)| ours / other).collect();
        if ratios.is_empty() { "–".into() } else { format!("{:.2}", median(ratios)) }
    };
    let [ours, redis, jetstream] = rounds.each_ref().map(figure);
    let (by_redis, by_jetstream) = (ratio(&rounds[1]), ratio(&rounds[2]));
    println!("{what:<34} {ours:>9} {redis:>9} {jetstream:>9} {by_redis:>8} {by_jetstream:>11}  {asked}");
}
