//! The jobs of a consumer while nodes, servers and workers are killed at random.
//!
//! The workers and the checker are those of the same test for one machine, in `tests/e2e/work_chaos`: no job may be lost, and none
//! may be acknowledged by a token that was not current.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::json;

use crate::{
    harness::{Daemon, until},
    jobs::{admin, create, show},
    load::{self, Load, Outcome},
    site::{STREAM, Site, chaos_seconds},
};

const WORKERS: usize = 8;
/// Jobs published in a second.
const RATE: u64 = 100;

fn script(daemon: &Daemon, name: &str) -> Command {
    let mut command = daemon.sandbox.command("python3");
    command.arg(format!("{}/tests/e2e/work_chaos/{name}", env!("CARGO_MANIFEST_DIR")));
    command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    command
}

/// A worker, killed when dropped.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a worker at one of the nodes. All journals are in the folder of the first one.
fn start(site: &Site, number: usize, seed: u64) -> Worker {
    let mut command = script(&site.nodes[0], "worker.py");
    let node = &site.nodes[number % 2];
    command.arg(node.sandbox.socket()).arg(site.nodes[0].sandbox.path(&format!("worker-{number}")));
    Worker(command.arg(seed.to_string()).spawn().unwrap())
}

/// Kills something, and starts it again.
fn kill_something(site: &mut Site, workers: &mut [Worker], random: &mut Rng) {
    let pause = |random: &mut Rng| thread::sleep(Duration::from_millis(random.u64(100..1_000)));
    match random.usize(..8) {
        0 => {
            let node = random.usize(..2);
            println!("killing node {node}");
            site.nodes[node].kill();
            pause(random);
            site.nodes[node].start_again();
        }
        victim @ (1 | 2) => {
            let server = if victim == 1 { random.usize(..3) } else { site.servers.leader_of(STREAM) };
            println!("killing server {}", site.servers.servers[server].name());
            site.servers.servers[server].kill();
            pause(random);
            site.servers.servers[server].start_again();
            site.servers.wait_until_healthy();
        }
        // An attempt that ends with its worker counts: with too many kills most jobs would become dead letters.
        _ => {
            let victim = random.usize(..WORKERS);
            drop(std::mem::replace(&mut workers[victim], start(site, victim, random.u64(..))));
        }
    }
    pause(random);
}

/// Returns the ids of all dead letters.
fn dead(daemon: &Daemon) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    loop {
        let letters = admin(daemon, &json!({"dead": {"after": ids.last()}}));
        let letters = letters["dead_letters"].as_array().unwrap_or_else(|| panic!("{letters}"));
        if letters.is_empty() {
            return ids;
        }
        ids.extend(letters.iter().map(|letter| letter["id"].as_str().unwrap().to_owned()));
    }
}

#[test]
#[ignore = "needs cluster: it kills servers, nodes and workers"]
fn no_job_is_lost_while_workers_nodes_and_servers_are_killed() {
    let seconds = chaos_seconds();
    let mut site = Site::start();
    create(&site.nodes[0], &json!({"filters": ["jobs/*"], "ack_wait": "1s", "backoff": ["10ms", "100ms"]}));
    let events = usize::try_from(RATE * seconds / 2).unwrap();
    let load = |node: usize, name| Load {
        socket: site.nodes[node].sandbox.socket(),
        topic: "jobs/a",
        name,
        events,
        pace: Duration::from_secs(seconds) / events as u32,
    };
    let publishers = [load(0, "a"), load(1, "b")].map(load::repeated);
    let seed = fastrand::u64(..);
    println!("seed of the chaos: {seed}");
    let mut random = Rng::with_seed(seed);
    let mut workers: Vec<_> = (0..WORKERS).map(|number| start(&site, number, random.u64(..))).collect();
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        kill_something(&mut site, &mut workers, &mut random);
    }

    let outcomes: Vec<Outcome> =
        publishers.into_iter().flat_map(|publisher| publisher.join().unwrap()).map(|(_, outcome)| outcome).collect();
    let node = &site.nodes[0];
    until("all jobs are done or dead", || {
        let info = show(node);
        (info["pending"] == 0 && info["in_flight"] == 0).then_some(())
    });
    drop(workers);

    let published: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| if let Outcome::Published(id) = outcome { Some(format!("published {id}")) } else { None })
        .collect();
    assert_eq!(published.len(), outcomes.len(), "{outcomes:?}");
    let letters = node.sandbox.path("dead");
    fs::write(&letters, dead(node).join("\n")).unwrap();
    let mut check = script(node, "check.py");
    check.arg(&letters).arg(node.sandbox.file("published", &(published.join("\n") + "\n")));
    check.args((0..WORKERS).map(|number| node.sandbox.path(&format!("worker-{number}"))));
    let output = check.output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    println!("{report}");
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
}
