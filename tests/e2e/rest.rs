//! A daemon at rest returns the memory that a flood needed.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::{
    harness::{Daemon, until},
    reload::reload,
};

/// MiB that are published, and then evicted.
const FLOOD: usize = 96;
/// MiB that may remain: other allocations of the daemon meanwhile.
const REMAINS: usize = 24;
/// Memory is returned within this time.
const REST: Duration = Duration::from_mins(1);

/// Resident memory of the daemon, in MiB.
fn resident(daemon: &Daemon) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    value.unwrap().parse::<usize>().unwrap() / 1024
}

#[test]
fn the_memory_of_a_flood_is_returned_within_a_minute_of_rest() {
    let wide = "history_budget = \"1GiB\"\nhistory_bytes = \"1GiB\"\n";
    let daemon = Daemon::configured(wide);
    let before = resident(&daemon);
    let mut lines = daemon.lines();
    let data = "x".repeat(32 << 10);
    for n in 0..FLOOD << 5 {
        lines.send(format!(r#"{{"publish":{{"topic":"flood","data":"{data}","ack":"none"}}}}"#));
        // Events that stay lie between evicted ones, so that no arena shrinks from its end.
        lines.send(format!(r#"{{"publish":{{"topic":"stays","data":"{n}","ack":"none"}}}}"#));
    }
    assert!(lines.ask(r#"{"status":{}}"#)["status"].is_object());
    let flooded = resident(&daemon);
    assert!(flooded > before + FLOOD, "{before} MiB before, {flooded} after the flood");
    reload(
        &daemon,
        &format!("{wide}[[topics]]\nmatch = \"flood\"\nhistory_events = 0\n"),
        "read the configuration again",
    );
    until("history evicts the flood", || (daemon.status()["history_bytes"].as_u64().unwrap() < 4 << 20).then_some(()));
    let rest = Instant::now();
    loop {
        let (now, rested) = (resident(&daemon), rest.elapsed());
        let figures = format!("{before} MiB before, {flooded} after the flood, {now} after {rested:.0?} of rest");
        if now < before + REMAINS {
            eprintln!("{figures}");
            return;
        }
        assert!(rested < REST, "{figures}");
        thread::sleep(Duration::from_millis(250));
    }
}
