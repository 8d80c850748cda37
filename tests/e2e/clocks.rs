//! Jumps of the time of day, and a stopped process: ages and deadlines use a monotonic clock; the time of day is only
//! shown.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::harness::{Daemon, EventStream, Process, Sandbox, until};

const TEN_YEARS_MS: u64 = 10 * 365 * 24 * 3600 * 1000;

/// A time of day that a test sets, for processes started with it. A change takes effect at once.
pub(crate) struct TimeOfDay {
    library: PathBuf,
    file: PathBuf,
}

impl TimeOfDay {
    pub(crate) fn at(sandbox: &Sandbox) -> TimeOfDay {
        // Debian installs the library in the folder of the architecture.
        let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
        let library = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|library| library.exists());
        let library = library.expect("the package faketime is not installed");
        let time = TimeOfDay { library, file: sandbox.path("time of day") };
        time.set("+0");
        time
    }

    /// Sets the offset from the machine's time of day.
    pub(crate) fn set(&self, offset: &str) {
        // Atomically, so that no process reads half of it.
        let new = self.file.with_extension("new");
        fs::write(&new, offset).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    pub(crate) fn give_to(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
}

/// A daemon that sees this time of day.
fn daemon(flags: &[&str]) -> (Daemon, TimeOfDay) {
    let sandbox = Sandbox::new();
    let time = TimeOfDay::at(&sandbox);
    let socket = sandbox.socket().display().to_string();
    let usual = ["--no-config", "--listen", "127.0.0.1:0", "--socket", &socket];
    let flags = usual.iter().chain(flags).map(ToString::to_string).collect();
    (Daemon::of_command(sandbox, flags, |busd| time.give_to(busd)), time)
}

/// Events of a topic since a point in time, each as its sequence number and its time of day.
fn past(daemon: &Daemon, topic: &str, since: &str) -> Vec<(u64, u64)> {
    let history = daemon.ctl(&["history", topic, "--since", since]).ok();
    let events = history.json();
    let seq = |id: &str| id.rsplit_once('-').unwrap().1.parse().unwrap();
    events.iter().map(|event| (seq(event["id"].as_str().unwrap()), event["time"].as_u64().unwrap())).collect()
}

#[test]
#[ignore = "needs faketime: sets the time of day of single processes"]
fn a_clock_that_jumps_ten_years_in_either_direction_only_changes_the_times_shown() {
    let (daemon, time) = daemon(&["--history-age", "1h"]);
    let began = Instant::now();
    let mut stream = daemon.stream("/events/t?format=json&since=now");
    let mut lines = daemon.lines();
    lines.ask(r#"{"subscribe":{"filters":["t"],"since":"now"}}"#);
    let mut idle = [daemon.stream("/events/idle"), daemon.stream_locally("/events/idle")];
    for stream in &mut idle {
        assert!(stream.line().unwrap().unwrap().starts_with("retry: "));
    }
    daemon.publish("kept?retain=true&ttl=1h", "kept");

    let mut ids = Vec::new();
    let mut times = Vec::new();
    // Each jump is ten or twenty years.
    for offset in ["+0", "+3650d", "-3650d", "+3650d", "+0"] {
        time.set(offset);
        let id = daemon.publish("t", offset);
        let event = stream.event();
        assert_eq!(event.id, id);
        times.push(event.json()["time"].as_u64().unwrap());
        assert_eq!(lines.event()["data"], offset);
        ids.push(id);

        // No event has expired, neither by age nor by TTL, and `--since 10m` still covers all.
        assert_eq!(past(&daemon, "t", "10m").len(), ids.len(), "after {offset}");
        assert_eq!(past(&daemon, "t", "all").len(), ids.len(), "after {offset}");
        assert_eq!(daemon.stream("/events/kept").data(1), ["kept"], "after {offset}");
        let uptime = daemon.status()["uptime_ms"].as_u64().unwrap();
        assert!(uptime <= began.elapsed().as_millis() as u64 + 60_000, "up for {uptime} ms after {offset}");
        // A client that reconnects resumes where it left off.
        let last = [("Last-Event-ID", ids[0].as_str())];
        let mut again = daemon.stream_with("/events/t", &last);
        assert_eq!(again.data(ids.len() - 1).len(), ids.len() - 1);
        // The command line sees the same time, and accepts times in its future.
        for args in [&["status"][..], &["clients"], &["topics"]] {
            let mut busctl = daemon.sandbox.busctl(args);
            time.give_to(&mut busctl);
            Process::start(busctl).finish().ok();
        }
    }
    let seqs: Vec<u64> = ids.iter().map(|id| id.rsplit_once('-').unwrap().1.parse().unwrap()).collect();
    assert!(seqs.is_sorted_by(|a, b| a < b), "{ids:?}");
    let epochs: BTreeSet<_> = ids.iter().map(|id| id.rsplit_once('-').unwrap().0).collect();
    assert_eq!(epochs.len(), 1, "{ids:?}");
    // The clock did jump.
    assert!(times[1] > times[0] + TEN_YEARS_MS - 60_000, "{times:?}");
    assert!(times[2] + TEN_YEARS_MS - 60_000 < times[0], "{times:?}");
    assert!(times[4].abs_diff(times[0]) < 60_000, "{times:?}");

    // Heartbeats continue, in the future and in the past.
    for offset in ["+3650d", "-3650d"] {
        time.set(offset);
        idle.iter_mut().for_each(heartbeat);
    }
}

/// Reads the next line and checks that it is a heartbeat.
fn heartbeat(stream: &mut EventStream) {
    // The interval is less than PATIENCE. The position may have moved.
    loop {
        let line = stream.line().unwrap().unwrap();
        match &*line {
            ":\n" => return,
            position => assert!(position == "\n" || position.starts_with("id: "), "{position:?}"),
        }
    }
}

#[test]
#[ignore = "needs faketime: sets the time of day of single processes"]
fn a_start_with_the_clock_ten_years_ahead_deletes_nothing() {
    let (mut daemon, time) = daemon(&["--history", "disk", "--history-age", "1h"]);
    daemon.publish("t", "before");
    daemon.publish("kept?retain=true&ttl=1h", "kept");
    let mut expected = vec!["before"];
    for (offset, data) in [("+3650d", "ahead"), ("-3650d", "behind"), ("+0", "right")] {
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.wait(), Some(0));
        time.set(offset);
        daemon.start_again_as(|busd| time.give_to(busd));
        daemon.publish("t", data);
        expected.push(data);
        let history = daemon.ctl(&["history", "t"]).ok().json();
        assert_eq!(history.iter().map(|event| &event["data"]).collect::<Vec<_>>(), expected, "at {offset}");
        assert_eq!(past(&daemon, "t", "10m").len(), expected.len(), "at {offset}");
        assert_eq!(daemon.stream("/events/kept").data(1), ["kept"], "at {offset}");
    }
}

#[test]
#[ignore = "needs faketime: sets the time of day of single processes"]
fn events_expire_on_time_also_after_the_clock_was_set_back() {
    let (daemon, time) = daemon(&["--history-age", "1s"]);
    daemon.publish("aged", "x");
    daemon.publish("kept?retain=true&ttl=1s", "x");
    time.set("-3650d");
    let topic = |name: &str| {
        let topics = daemon.get("/topics").json();
        topics.as_array().unwrap().iter().find(|topic| topic["topic"] == name).cloned().unwrap()
    };
    until("the event is too old", || (topic("aged")["events"] == 0).then_some(()));
    until("the retained event has expired", || past(&daemon, "kept", "latest").is_empty().then_some(()));
}

#[test]
fn streams_continue_after_the_process_was_suspended() {
    let daemon = Daemon::start(&[]);
    let mut streams = [daemon.stream("/events/t"), daemon.stream_locally("/events/t")];
    let mut lines = daemon.lines();
    lines.ask(r#"{"subscribe":{"filters":["t"]}}"#);
    let (mut busy, mut idle) = (daemon.lines(), daemon.stream("/events/idle"));
    assert!(idle.line().unwrap().unwrap().starts_with("retry: "));
    busy.ask(r#"{"publish":{"topic":"t","data":"before"}}"#);

    daemon.signal(Signal::STOP);
    let stopped = Instant::now();
    // Bytes sent meanwhile wait in the kernel, and so does a connection.
    busy.send(r#"{"publish":{"topic":"t","data":"meanwhile"}}"#);
    let waiting = UnixStream::connect(daemon.sandbox.socket()).unwrap();
    until("four seconds have passed", || (stopped.elapsed() > Duration::from_secs(4)).then_some(()));
    daemon.signal(Signal::CONT);
    assert!(busy.reply()["published"].is_object());
    crate::harness::Lines::new(waiting).ask(r#"{"publish":{"topic":"t","data":"after"}}"#);
    for stream in &mut streams {
        assert_eq!(stream.data(3), ["before", "meanwhile", "after"]);
    }
    for data in ["before", "meanwhile", "after"] {
        assert_eq!(lines.event()["data"], data);
    }
    heartbeat(&mut idle);
}
