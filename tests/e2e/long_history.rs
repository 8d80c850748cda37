//! History on disk that is larger than the part in memory: all of it is read, in bounded memory.

use std::{fs, io::Write as _};

use rustix::process::Signal;

use crate::harness::{Daemon, Sandbox};

const EVENTS: usize = 12_000;
/// Bytes of each event: 60 MB in all.
const SIZE: usize = 5000;
/// MiB of memory that the daemon may use to serve it.
const RESIDENT: f64 = 32.0;

fn data(n: usize) -> String {
    format!("{n:0>SIZE$}")
}

/// A daemon with a long history: topic `t/N`, N from 0 to 9, in turn.
fn filled() -> Daemon {
    let flags = ["--no-config", "--history", "disk", "--history-bytes", "1GiB"];
    let daemon = Daemon::start_at(Sandbox::new(), &flags);
    let mut publishing = daemon.spawn_ctl(&["publish", "--jsonl"]);
    let mut stdin = publishing.take_stdin();
    for n in 0..EVENTS {
        writeln!(stdin, r#"{{"topic":"t/{}","data":"{}"}}"#, n % 10, data(n)).unwrap();
    }
    drop(stdin);
    publishing.finish().ok();
    daemon.publish("end", "end");
    daemon
}

fn resident(daemon: &Daemon) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
    kib.unwrap().parse::<f64>().unwrap() / 1024.0
}

#[test]
fn all_of_a_long_history_is_served_in_bounded_memory() {
    let mut daemon = filled();
    // The allocator may keep what a burst of publishes has freed.
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    daemon.start_again();

    // Concurrently, from different positions; one pauses for a while.
    let mut slow = daemon.stream("/events?since=all");
    let mut whole = daemon.stream("/events/t/*?since=all");
    let mut half = None;
    for n in 0..EVENTS {
        let event = whole.event();
        assert_eq!(event.data, data(n));
        if n == EVENTS / 2 {
            half = Some(daemon.stream_with("/events?topic=t/*&topic=end", &[("Last-Event-ID", &event.id)]));
        }
    }
    let mut slow_gets = std::iter::from_fn(|| Some(slow.event())).filter(|event| event.data.len() == SIZE);
    assert!((0..EVENTS).all(|n| slow_gets.next().unwrap().data == data(n)));
    let half = half.unwrap().data(EVENTS / 2);
    assert!(half.iter().eq((EVENTS / 2 + 1..EVENTS).map(data).chain(["end".into()]).collect::<Vec<_>>().iter()));
    let number = |data: &str| data.trim_start_matches('0').parse::<usize>().unwrap_or(0);
    let some = daemon.ctl(&["history", "t/3"]).ok().json();
    assert!(some.iter().map(|event| number(event["data"].as_str().unwrap())).eq((3..EVENTS).step_by(10)));
    let latest = daemon.stream("/events/t/*?since=latest").data(10);
    assert!(latest.iter().map(|data| number(data)).eq(EVENTS - 10..EVENTS));
    let resident = resident(&daemon);
    eprintln!("{resident:.1} MiB");
    assert!(resident < RESIDENT, "{resident} MiB");
}

#[test]
fn a_subscriber_that_falls_behind_continues_from_disk() {
    let daemon = filled();
    let mut slow = daemon.stream("/events/more?client=slow");
    let mut publishing = daemon.spawn_ctl(&["publish", "more", "--lines"]);
    let mut stdin = publishing.take_stdin();
    for n in 0..10_000 {
        writeln!(stdin, "{}", data(n)).unwrap();
    }
    drop(stdin);
    publishing.finish().ok();
    for n in 0..10_000 {
        let event = slow.event();
        assert_eq!((event.kind.as_deref(), event.data), (None, data(n)));
    }
}
