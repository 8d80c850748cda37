//! History files of earlier versions are opened with all their events.
//!
//! `tests/golden/history-1` was written by a daemon of schema 1, which had no write-ahead file, and stopped cleanly.
//! `tests/golden/history-2` is of schema 2; a second daemon was killed while its last events were only in the
//! write-ahead file. Both kept five events of a topic, and the events of `lasting` have a TTL of a hundred years.
//! `tests/golden/history-3` is of schema 3, where each block was one row of the database and the file doubled when it
//! was full; its last events are only in the write-ahead file, too. `tests/golden/history-4` has the same events, in files of
//! schema 4, which had no consumers.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    durable::history,
    harness::{Daemon, Sandbox},
};

/// An age bound that the files never reach.
const FLAGS: [&str; 7] = ["--no-config", "--history", "disk", "--history-age", "87600000h", "--history-events", "5"];

/// A daemon that opens the files of a schema.
fn take_over(schema: u32) -> Daemon {
    let (sandbox, from) = (Sandbox::new(), format!("{}/tests/golden/history-{schema}", env!("CARGO_MANIFEST_DIR")));
    let to = sandbox.path("sse-bus");
    fs::DirBuilder::new().mode(0o700).create(&to).unwrap();
    for file in fs::read_dir(Path::new(&from)).unwrap() {
        let file = file.unwrap();
        let copy = to.join(file.file_name());
        fs::copy(file.path(), &copy).unwrap();
        fs::set_permissions(copy, fs::Permissions::from_mode(0o600)).unwrap();
    }
    Daemon::start_at(sandbox, &FLAGS)
}

/// Topic, number, type and data of all events except the bus's own; long data is shown as its length.
fn events(daemon: &Daemon) -> Vec<Value> {
    let shown = |event: &Value| {
        let (id, data) = (event["id"].as_str().unwrap(), event["data"].as_str().unwrap());
        let seq: u64 = id.rsplit('-').next().unwrap().parse().unwrap();
        assert!(event.get("headers").is_none(), "{event}");
        let data = if data.len() > 100 { json!(data.len()) } else { json!(data) };
        json!([seq, event["topic"], event["type"], data])
    };
    history(daemon, "**").iter().map(shown).collect()
}

/// The events that both files have.
fn common() -> Vec<Value> {
    vec![
        json!([2, "build/web", null, "ok"]),
        json!([5, "build/web", "done", "with a type"]),
        json!([8, "grüße/你好", null, "two\nlines"]),
        json!([17, "counted", null, "number 3"]),
        json!([20, "counted", null, "number 4"]),
        json!([23, "counted", null, "number 5"]),
        json!([26, "counted", null, "number 6"]),
        json!([29, "counted", null, "number 7"]),
        json!([32, "config/theme", null, "dark"]),
        json!([35, "config/old", null, "to be removed"]),
        json!([38, "config/old", null, ""]),
        json!([41, "lasting", null, "a hundred years"]),
        // Event 44 had a TTL of a second.
        json!([47, "large", null, 3000]),
    ]
}

fn retained(daemon: &Daemon) -> Vec<Value> {
    let topics: Vec<Value> = daemon.ctl(&["topics"]).ok().json();
    topics.iter().filter(|topic| topic["retained"] == true).map(|topic| topic["topic"].clone()).collect()
}

/// Opens the files of a schema and checks their events, now and after another restart, together with new ones.
fn check(schema: u32, expected: &[Value], theme: &str) {
    let mut daemon = take_over(schema);
    assert_eq!(events(&daemon), expected, "schema {schema}");
    // The files also have the bus's own events, which are live only today.
    assert_eq!(history(&daemon, "$sys/**"), [] as [Value; 0]);
    let topics: Vec<Value> = daemon.ctl(&["topics"]).ok().json();
    assert!(!topics.iter().any(|topic| topic["topic"] == "$sys/clients"), "{topics:?}");
    assert_eq!(daemon.status()["history_events"], expected.len(), "and not the event 44, which has expired");
    assert_eq!(retained(&daemon), ["config/theme"]);
    assert_eq!(daemon.stream("/events/config/**").event().data, theme);
    let file = fs::read(daemon.sandbox.path("sse-bus/history.redb")).unwrap();
    let mark = b"{\"schema\":5,";
    assert!(file.windows(mark.len()).any(|found| found == mark), "an earlier daemon would accept this file");

    // A new event has the next number, has headers, and is stored beside the old ones.
    let id = daemon.publish("new?header=key:7&ack=durable", "x");
    let seq: u64 = id.rsplit('-').next().unwrap().parse().unwrap();
    assert!(seq > 47, "{id}");
    for signal in [Signal::KILL, Signal::TERM] {
        daemon.signal(signal);
        daemon.wait();
        daemon.start_again();
        assert_eq!(history(&daemon, "new")[0]["headers"], json!({ "key": "7" }));
        let old: Vec<Value> = history(&daemon, "build/*").iter().map(|event| event["data"].clone()).collect();
        let expected: Vec<&Value> = expected.iter().filter(|event| event[1] == "build/web").map(|e| &e[3]).collect();
        assert_eq!(old.iter().collect::<Vec<_>>(), expected);
        assert_eq!(daemon.stream("/events/config/**").event().data, theme);
    }
}

#[test]
fn history_of_schema_1_is_opened_with_all_events() {
    check(1, &common(), "dark");
}

#[test]
fn history_of_schema_2_is_opened_with_all_events() {
    let mut expected = common();
    // Only in the write-ahead file.
    expected.extend([
        json!([50, "build/web", "tail", "only in the tail"]),
        json!([53, "config/theme", null, "light"]),
        json!([55, "lasting", null, "another hundred"]),
    ]);
    check(2, &expected, "light");
}

#[test]
fn history_of_schema_3_is_opened_with_all_events() {
    check_with_headers(3);
}

#[test]
fn history_of_schema_4_is_opened_with_all_events() {
    check_with_headers(4);
}

/// Opens the files of a schema that has headers.
fn check_with_headers(schema: u32) {
    let mut daemon = take_over(schema);
    for signal in [None, Some(Signal::KILL), Some(Signal::TERM)] {
        if let Some(signal) = signal {
            daemon.signal(signal);
            daemon.wait();
            daemon.start_again();
        }
        let shown = |event: &Value| {
            let data = event["data"].as_str().unwrap();
            let data = if data.len() > 100 { json!(data.len()) } else { json!(data) };
            json!([event["topic"], event["type"], event["headers"], data])
        };
        let events: Vec<Value> = history(&daemon, "**").iter().map(shown).collect();
        let mut expected = vec![
            json!(["build/web", null, null, "ok"]),
            json!(["build/web", "done", { "job": "7", "by": "ci" }, "with headers"]),
        ];
        expected.extend((3..8).map(|n| json!(["counted", null, null, format!("number {n}")])));
        expected.extend([
            json!(["large", null, null, 20_000]),
            json!(["config/theme", null, null, "dark"]),
            json!(["build/web", "tail", { "where": "tail" }, "only in the tail"]),
            json!(["config/theme", null, null, "light"]),
        ]);
        assert_eq!(events, expected, "schema {schema}, {signal:?}");
        assert_eq!(retained(&daemon), ["config/theme"]);
    }
    daemon.publish("new?ack=durable", "x");
    assert!(!daemon.sandbox.path("sse-bus/history.redb.new").exists());
}
