//! `publish --lines` through restarts and crashes of the daemon: every line once.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::json;

use crate::{
    harness::{Daemon, Process, Run, Sandbox, until},
    restart::Sockets,
};

/// Feeds numbers to `publish --lines` through restarts, each after a signal. Returns the count, the run, and the numbers in
/// history.
fn lines_through_restarts(signals: &[Signal], ack: &str) -> (usize, Run, Vec<usize>) {
    let sandbox = Sandbox::new();
    let sockets = Sockets::inherited(&sandbox);
    let mut daemon = sockets.start(sandbox, "disk");
    let mut publishing = daemon.spawn_ctl(&["publish", "t", "--lines", "--ack", ack]);
    let mut stdin = publishing.take_stdin();
    let over = Arc::new(AtomicBool::new(false));
    let has_ended = over.clone();
    let feeder = thread::spawn(move || {
        let mut fed = 0;
        while !has_ended.load(Ordering::Relaxed) {
            stdin.write_all(format!("{fed}\n").as_bytes()).unwrap();
            fed += 1;
            thread::sleep(Duration::from_micros(500));
        }
        fed
    });
    let published = |daemon: &Daemon, least| {
        until("lines are published", || (daemon.status()["published"].as_u64() > Some(least)).then_some(()));
    };
    for (count, signal) in (1..).zip(signals) {
        published(&daemon, 200);
        daemon.signal(*signal);
        daemon.wait();
        until("it reconnects", || (publishing.stderr.text().matches("; reconnecting").count() >= count).then_some(()));
        daemon.start_again_as(|command| sockets.give(command));
        until("it has reconnected", || {
            (publishing.stderr.text().matches(": reconnected").count() >= count).then_some(())
        });
    }
    published(&daemon, 200);
    over.store(true, Ordering::Relaxed);
    let fed = feeder.join().unwrap();
    let run = publishing.finish().ok();
    assert_eq!(run.json(), [json!({"accepted": fed, "refused": 0})]);
    let history = daemon.ctl(&["history", "t", "--format", "data"]).ok().stdout;
    (fed, run, history.lines().map(|line| line.parse().unwrap()).collect())
}

#[test]
fn publish_lines_continues_after_a_restart_with_every_line_once() {
    let (fed, run, kept) = lines_through_restarts(&[Signal::TERM], "accepted");
    eprintln!("{fed} lines; {}", run.stderr);
    assert!(kept.iter().copied().eq(0..fed), "{fed} lines were fed, and there are\n{kept:?}");
}

#[test]
fn after_each_of_many_crashes_every_durable_line_is_there_once() {
    let (fed, run, kept) = lines_through_restarts(&[Signal::KILL; 8], "durable");
    eprintln!("{fed} lines; {}", run.stderr);
    assert!(kept.iter().copied().eq(0..fed), "{fed} lines were fed, and there are\n{kept:?}");
}

#[test]
fn after_a_crash_no_accepted_line_is_there_twice() {
    let (fed, run, kept) = lines_through_restarts(&[Signal::KILL; 3], "accepted");
    eprintln!("{} of {fed} lines were not on disk; {}", fed - kept.len(), run.stderr);
    assert!(kept.is_sorted_by(|a, b| a < b), "{fed} lines were fed, and there are\n{kept:?}");
}

/// `publish --lines` after its first line was published and its daemon killed.
fn one_line_and_no_daemon() -> (Daemon, Process) {
    let mut daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events/t");
    let mut publishing = daemon.spawn_ctl(&["publish", "t", "--lines"]);
    publishing.feed(b"1\n");
    assert_eq!(stream.event().data, "1");
    daemon.kill();
    publishing.stderr.wait_for("; reconnecting");
    (daemon, publishing)
}

#[test]
fn after_a_restart_replies_still_match_their_lines() {
    let (mut daemon, mut publishing) = one_line_and_no_daemon();
    daemon.start_again();
    // More than the lines that may wait for replies, and then one that is too large.
    let line = ["x".repeat(100_000), "\n".into()].concat();
    let input = [line.repeat(60), line.trim_end().repeat(3)].concat();
    let mut stdin = publishing.take_stdin();
    thread::spawn(move || stdin.write_all(input.as_bytes()));
    let run = publishing.finish().ends_with(7).says("line 62: ");
    assert_eq!(run.json(), [json!({"accepted": 61, "refused": 1})]);
}

#[test]
fn a_signal_ends_publish_lines_while_it_waits_for_a_daemon() {
    let (_daemon, publishing) = one_line_and_no_daemon();
    publishing.signal(Signal::INT);
    let run = publishing.finish().says("1 event accepted");
    // Depends on whether it has tried to reconnect yet.
    assert!(matches!(run.code, Some(1 | 3)), "{run}");
}
