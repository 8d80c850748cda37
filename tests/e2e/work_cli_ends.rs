//! `sse-busctl work --exec`: commands that do not end in time, and the ends of workers.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::{
    harness::{Daemon, Process, until},
    work_cli::{consumer, ended, lines, outcomes, publish, wait_for, wait_for_lines, with_consumer},
};

#[test]
fn a_command_that_runs_too_long_ends_with_all_its_processes() {
    let daemon = with_consumer(&["--max-attempts", "1"]);
    publish(&daemon, &["x"]);
    let pids = daemon.sandbox.path("pids");
    // The second child ignores SIGTERM.
    let script = format!(
        "sleep 100 & echo $! >> '{0}'; (trap '' TERM; exec sleep 100) & echo $! >> '{0}'; echo $$ >> '{0}'; wait",
        pids.display()
    );
    let run = daemon.ctl(&["work", "q", "-n", "1", "--timeout", "200ms", "--exec", &script]).ok();
    run.says("ran longer than 200ms and was ended").says("0 done, 1 failed");
    for pid in lines(&pids) {
        until(&format!("the end of process {pid}"), || ended(pid.parse().unwrap()).then_some(()));
    }
    assert_eq!(outcomes(&daemon), [json!(0), json!(1), json!(0), json!(1)]);
}

/// A worker whose commands write a line to the file `started` and run until they are ended.
fn slow_worker(daemon: &Daemon, more: &[&str]) -> Process {
    let script =
        format!("echo \"$SSE_BUS_ATTEMPT $$\" >> '{}'; exec sleep 100", daemon.sandbox.path("started").display());
    daemon.spawn_ctl(&[&["work", "q", "--exec", &script], more].concat())
}

#[test]
fn after_a_signal_a_worker_waits_for_its_commands() {
    for signal in [Signal::TERM, Signal::INT] {
        let daemon = with_consumer(&[]);
        publish(&daemon, &["one", "two"]);
        let started = daemon.sandbox.path("started");
        let release = daemon.sandbox.path("release");
        let script =
            format!("echo >> '{}'; until test -e '{}'; do sleep 0.05; done", started.display(), release.display());
        let worker = daemon.spawn_ctl(&["work", "q", "--exec", &script]);
        wait_for_lines(&started, 1);
        worker.signal(signal);
        worker.stderr.wait_for("waiting up to 30s for 1 event");
        fs::write(&release, "").unwrap();
        let run = worker.finish().ok().says("1 done");
        assert!(!run.stderr.contains("failed"), "{run}");
        // The second was not started.
        assert_eq!(outcomes(&daemon), [json!(1), json!(1), json!(0), json!(0)]);
        assert_eq!(consumer(&daemon)["pending"], 1);
    }
}

#[test]
fn what_does_not_end_in_time_is_released_to_others_without_an_attempt() {
    let daemon = with_consumer(&["--backoff", "1h"]);
    publish(&daemon, &["x"]);
    let other = daemon.sandbox.path("other");
    let worker = slow_worker(&daemon, &["--grace", "0s"]);
    let started = wait_for_lines(&daemon.sandbox.path("started"), 1);
    let script = format!("echo $SSE_BUS_ATTEMPT > '{}'", other.display());
    let second = daemon.spawn_ctl(&["work", "q", "-n", "1", "--exec", &script]);
    wait_for(&daemon, "workers", 2);
    worker.signal(Signal::TERM);
    worker.finish().ok().says("0 done, 1 released");
    second.finish().ok();
    assert_eq!(lines(&other), ["1"]);
    let pid = started[0].split_once(' ').unwrap().1.parse().unwrap();
    assert!(ended(pid), "the command ends before its event is released");
    assert_eq!(outcomes(&daemon), [json!(1), json!(2), json!(0), json!(0)]);
}

#[test]
fn a_second_signal_ends_a_worker_and_its_commands_at_once() {
    let daemon = with_consumer(&[]);
    publish(&daemon, &["x"]);
    let worker = slow_worker(&daemon, &["-n", "1"]);
    let started = wait_for_lines(&daemon.sandbox.path("started"), 1);
    worker.signal(Signal::INT);
    worker.stderr.wait_for("waiting up to 30s");
    worker.signal(Signal::INT);
    worker.finish().ends_with(1).says("stopped after 0 of 1 deliveries");
    let pid = started[0].split_once(' ').unwrap().1.parse().unwrap();
    until("the end of the command", || ended(pid).then_some(()));
    wait_for(&daemon, "in_flight", 0);
    let run = daemon.ctl(&["work", "q", "-n", "1", "--exec", "echo $SSE_BUS_ATTEMPT"]).ok();
    assert_eq!(run.stdout, "1\n", "{run}");
}
