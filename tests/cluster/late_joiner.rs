//! A node that starts later serves all of a long log, in bounded memory.

use std::{fs, io::Write as _};

use crate::{
    harness::{
        Daemon,
        nats::{NatsServer, node},
        until,
    },
    site::{BUS, chaos_seconds},
};

/// Events for each second of the chaos tests: a million in two and a half minutes, 200,000 in the usual run.
const EVENTS_A_SECOND: u64 = 6_667;
/// Bytes of each event.
const SIZE: usize = 300;
/// MiB of memory that the node may use to serve them.
const RESIDENT: f64 = 64.0;

/// The most memory that a daemon had since its start, in MiB.
fn peak(daemon: &Daemon) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    kib.unwrap().parse::<f64>().unwrap() / 1024.0
}

#[test]
#[ignore = "needs nats-server: it stores many events"]
fn a_fresh_node_serves_all_of_a_long_log_in_bounded_memory() {
    let events = (EVENTS_A_SECOND * chaos_seconds()).min(1_000_000) as usize;
    let server = NatsServer::start();
    let flags = ["--history-budget", "2GiB", "--history-bytes", "2GiB"];
    let first = node(&server.url(), BUS, "a", &flags);
    let mut publishing = first.spawn_ctl(&["publish", "t", "--lines"]);
    let mut stdin = publishing.take_stdin();
    let data = |number: usize| format!("{number:0>SIZE$}");
    for number in 0..events {
        writeln!(stdin, "{}", data(number)).unwrap();
    }
    drop(stdin);
    publishing.finish().ok();

    let fresh = node(&server.url(), BUS, "b", &flags);
    let idle = peak(&fresh);
    let mut whole = fresh.stream("/events/t?since=all");
    let mut half = None;
    for number in 0..events {
        let event = whole.event();
        assert!(event.kind.is_none() && event.data == data(number), "{event:?} instead of {number}");
        if number == events / 2 {
            half = Some(event.id);
        }
    }
    // From the middle as well, at both.
    let middle = half.unwrap();
    for node in [&first, &fresh] {
        let mut resumed = node.stream_with("/events/t", &[("Last-Event-ID", &middle)]);
        assert!((events / 2 + 1..events / 2 + 5_000).all(|number| resumed.event().data == data(number)));
    }
    // And what is published now, after all of it.
    first.publish("t", "now");
    assert_eq!(whole.event().data, "now");
    let used = peak(&fresh) - idle;
    println!("{events} events of {SIZE} bytes: {used:.1} MiB in addition to {idle:.1} MiB");
    assert!(used < RESIDENT, "{used:.1} MiB");
    until("its history is complete", || (fresh.get("/healthz").status == 200).then_some(()));
}
