//! One publisher floods the bus: others are served between its batches.

use std::{
    io::{ErrorKind, Write},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    harness::{Daemon, until},
    measure::{Latencies, alone, publish},
};

/// Rounds, of which the best counts.
const ROUNDS: usize = 3;
/// Events of the other publisher in each.
const EVENTS: usize = if cfg!(debug_assertions) { 300 } else { 600 };
/// What the scheduler may add where three threads want two processors; without optimization each turn takes ten times
/// as long.
const SLACK: Duration = Duration::from_millis(if cfg!(debug_assertions) { 20 } else { 1 });

/// Publishes as fast as the daemon accepts, and requests no replies.
fn flood(daemon: &Daemon, data: &str, stop: &AtomicBool) {
    let line = format!("{{\"publish\":{{\"topic\":\"flood\",\"data\":\"{data}\",\"ack\":\"none\"}}}}\n");
    let lines = line.repeat((256 << 10) / line.len());
    let mut socket = daemon.local();
    socket.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut rest = lines.as_bytes();
    while !stop.load(Ordering::Relaxed) {
        match socket.write(rest) {
            Ok(written) => rest = if written == rest.len() { lines.as_bytes() } else { &rest[written..] },
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

/// An event every few milliseconds, each answered before the next.
fn latencies(daemon: &Daemon) -> Latencies {
    let mut lines = daemon.lines();
    let one = |_| {
        thread::sleep(Duration::from_millis(1));
        publish(&mut lines)
    };
    Latencies::of((0..EVENTS).map(one).collect())
}

#[test]
fn a_flood_of_one_publisher_at_most_doubles_the_latency_of_another() {
    let _alone = alone();
    let daemon = Daemon::start(&[]);
    for (name, size) in [("small events", 20), ("events of 20 kB", 20_000)] {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let idle = latencies(&daemon);
            let stop = AtomicBool::new(false);
            let (under_flood, rate) = thread::scope(|scope| {
                let flooder = scope.spawn(|| flood(&daemon, &"x".repeat(size), &stop));
                let before = daemon.status()["published"].as_u64().unwrap();
                until("the flood has begun", || {
                    (daemon.status()["published"].as_u64().unwrap() > before + 1000).then_some(())
                });
                let (before, began) = (daemon.status()["published"].as_u64().unwrap(), Instant::now());
                let under_flood = latencies(&daemon);
                let events = daemon.status()["published"].as_u64().unwrap() - before;
                stop.store(true, Ordering::Relaxed);
                flooder.join().unwrap();
                (under_flood, events as f64 / began.elapsed().as_secs_f64())
            });
            let ratio = under_flood.p(99).as_secs_f64() / idle.p(99).as_secs_f64();
            eprintln!("{name}: idle {idle}; beside {rate:.0} events a second {under_flood}: {ratio:.2} times");
            rounds.push((idle.p(99), under_flood.p(99)));
        }
        assert!(rounds.iter().any(|(idle, under_flood)| *under_flood <= *idle * 2 + SLACK), "{name}: {rounds:.2?}");
    }
}
