//! A queue while everything is killed at random: workers, and the daemon with its history on disk.
//!
//! Publishers and workers are Python programs of their own with journals, and `work_chaos/check.py`, which uses nothing of the
//! bus, verifies from the journals that no job is lost, and that none is done by a token that was not current.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    durable::FLAGS,
    harness::{Daemon, Sandbox, until},
    work_durable::{admin, create},
};

const WORKERS: usize = 8;

/// A script in the folder of this test.
fn script(daemon: &Daemon, name: &str) -> Command {
    let mut command = daemon.sandbox.command("python3");
    command.arg(format!("{}/tests/e2e/work_chaos/{name}", env!("CARGO_MANIFEST_DIR")));
    command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    command
}

/// A process, killed when dropped.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(daemon: &Daemon, name: &str, journal: &str, last: &str) -> Victim {
    let mut command = script(daemon, name);
    command.arg(daemon.sandbox.socket()).arg(daemon.sandbox.path(journal)).arg(last);
    Victim(command.spawn().unwrap())
}

fn show(daemon: &Daemon) -> Value {
    admin(daemon, "jobs", &json!("show"))["consumer"].take()
}

/// The ids of all dead letters.
fn dead(daemon: &Daemon) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    loop {
        let mut reply = admin(daemon, "jobs", &json!({"dead": {"after": ids.last()}}));
        let letters = reply["dead_letters"].take();
        let letters = letters.as_array().unwrap();
        if letters.is_empty() {
            return ids;
        }
        ids.extend(letters.iter().map(|letter| letter["id"].as_str().unwrap().to_owned()));
    }
}

/// Waits while workers and the daemon are killed, until `is_done`. The daemon is killed at most `kills` times, each after a
/// part of the jobs.
fn kill_at_random(daemon: &mut Daemon, workers: &mut [Victim], jobs: u64, kills: u64) -> (u64, u64) {
    let (mut killed_workers, mut killed_daemons, mut seed) = (0, 0, 0);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let (mut last_progress, mut last_change) = (0, Instant::now());
    loop {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let info = show(daemon);
        let finished = info["acknowledged"].as_u64().unwrap() + info["died"].as_u64().unwrap();
        let is_idle = ["pending", "in_flight", "waiting"].iter().all(|field| info[field] == 0);
        if is_idle && finished >= jobs && killed_daemons >= kills {
            return (killed_workers, killed_daemons);
        }
        if finished != last_progress {
            (last_progress, last_change) = (finished, Instant::now());
        }
        assert!(last_change.elapsed() < Duration::from_secs(20), "the queue is stuck: {info}");
        // An attempt that ends with its worker counts, so too many kills would make most jobs dead letters.
        seed += 1;
        let victim = (random >> 33) as usize % WORKERS;
        let journal = format!("worker-{victim}");
        drop(std::mem::replace(&mut workers[victim], start(daemon, "worker.py", &journal, &seed.to_string())));
        killed_workers += 1;
        if killed_daemons < kills && finished >= jobs * killed_daemons / kills {
            daemon.signal(Signal::KILL);
            daemon.wait();
            daemon.start_again();
            killed_daemons += 1;
        }
        // The pace of the kills, not a wait for something.
        thread::sleep(Duration::from_millis(150 + (random >> 50) % 200));
    }
}

#[test]
fn no_job_is_lost_while_workers_and_the_daemon_are_killed() {
    // Variables set more, such as 50000 and 20.
    let number = |name, usual| std::env::var(name).map_or(usual, |number| number.parse().unwrap());
    let (jobs, kills) = (number("SSE_BUS_TEST_JOBS", 3000), number("SSE_BUS_TEST_CRASHES", 5));
    let wide = ["--history-events", "1000000", "--history-bytes", "1GiB"];
    let mut daemon = Daemon::start_at(Sandbox::new(), &[&FLAGS[..], &wide].concat());
    let config = json!({"filters": ["jobs/*"], "ack_wait": "1s", "backoff": ["10ms", "100ms"]});
    create(&daemon, "jobs", &config);
    let began = Instant::now();
    let mut publisher = start(&daemon, "publisher.py", "publisher", &jobs.to_string());
    let mut workers: Vec<_> =
        (0..WORKERS).map(|n| start(&daemon, "worker.py", &format!("worker-{n}"), &format!("{n}000000"))).collect();
    let (killed_workers, killed_daemons) = kill_at_random(&mut daemon, &mut workers, jobs, kills);
    assert!(until("the publisher ends", || publisher.0.try_wait().unwrap()).success());
    until("all jobs are done or dead", || {
        let info = show(&daemon);
        ["pending", "in_flight", "waiting"].iter().all(|field| info[field] == 0).then_some(())
    });
    let took = began.elapsed();
    drop(workers);
    let info = show(&daemon);
    assert_eq!((&info["missed"], &info["expired"]), (&json!(0), &json!(0)), "{info}");

    let path = daemon.sandbox.path("dead");
    fs::write(&path, dead(&daemon).join("\n")).unwrap();
    let check = |more: &str| {
        let mut check = script(&daemon, "check.py");
        check.arg(&path).arg(daemon.sandbox.file("more", more)).arg(daemon.sandbox.path("publisher"));
        check.args((0..WORKERS).map(|n| daemon.sandbox.path(&format!("worker-{n}"))));
        let output = check.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), format!("{}{}", text(output.stdout), text(output.stderr)))
    };
    let (is_right, report) = check("");
    eprintln!("{report}killed workers: {killed_workers}, daemons: {killed_daemons}; in {took:?}");
    assert!(is_right, "{report}");
    // The checker finds faults.
    for (more, fault) in [
        ("published e-1", "is lost"),
        ("take e-1 f-1 1\ntake e-1 f-2 2\ndone ack e-1 f-1", "was not current"),
        ("done ack e-1 f-1\ndone ack e-1 f-2", "acknowledged twice"),
    ] {
        let (is_right, report) = check(more);
        assert!(!is_right && report.contains(fault), "{more}: {report}");
    }
}
