//! `sse-busctl subscribe`: formats, conditions to end, commands for each event, and reconnecting.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Daemon, Process};

#[test]
fn events_are_printed_as_json_data_or_sse() {
    let daemon = Daemon::start(&[]);
    let id = daemon.publish("t?type=done", "two\nlines");
    let printed =
        |args: &[&str]| daemon.ctl(&[&["subscribe", "t", "--since", "all", "--count", "1"], args].concat()).ok().stdout;
    let json: Value = serde_json::from_str(&printed(&[])).unwrap();
    let time = &json["time"];
    assert_eq!(json, json!({"id": id, "topic": "t", "type": "done", "time": time, "data": "two\nlines"}));
    assert_eq!(printed(&["--json"]), printed(&["--format", "json"]));
    assert_eq!(printed(&["--format", "data"]), "two\nlines\n");
    assert_eq!(printed(&["--format", "sse"]), format!("id: {id}\nevent: done\ndata: two\ndata: lines\n\n"));
}

#[test]
fn it_ends_after_a_count_a_timeout_or_a_signal() {
    let daemon = Daemon::start(&[]);
    let counting = daemon.spawn_ctl(&["subscribe", "t", "--count", "2", "--format", "data"]);
    let mut asked = daemon.spawn_ctl(&["subscribe", "t", "--format", "data", "--client", "me"]);
    daemon.wait_for_subscribers(2);
    for data in ["1", "2", "3"] {
        daemon.publish("t", data);
    }
    assert_eq!(counting.finish().ok().stdout, "1\n2\n");
    let timed = daemon.ctl(&["subscribe", "t", "--since", "all", "--timeout", "1s", "--format", "data"]);
    assert_eq!(timed.ends_with(5).stdout, "1\n2\n3\n");
    assert_eq!([asked.line(), asked.line(), asked.line()], ["1", "2", "3"]);
    asked.signal(Signal::INT);
    asked.finish().ok();

    // A script that resumes from the last counted event misses nothing.
    let waiting = daemon.spawn_ctl(&["subscribe", "t", "--count", "2"]);
    daemon.wait_for_subscribers(1);
    waiting.signal(Signal::TERM);
    waiting.finish().ends_with(1).says("stopped after 0 of 2 events");
}

#[test]
fn a_command_runs_for_each_event_one_after_the_other() {
    let daemon = Daemon::start(&[]);
    let script = "echo \"$SSE_BUS_TOPIC $SSE_BUS_TYPE $SSE_BUS_DATA $(cat)\" >> out; \
                  [ -n \"$SSE_BUS_ID\" ] && [ \"$SSE_BUS_TIME\" -gt 0 ] && [ \"$SSE_BUS_DATA\" != bad ]";
    let running = daemon.spawn_ctl(&["subscribe", "t/*", "--count", "6", "--exec", script]);
    daemon.wait_for_subscribers(1);
    for (topic, data) in
        [("t/a?type=k", "1"), ("t/b", "2"), ("t/a", "bad"), ("t/a", "'; $(x)"), ("t/a", "bad"), ("t/a", "")]
    {
        daemon.publish(topic, data);
    }
    running.finish().ends_with(1).says("the command failed for 2 events").says("exit status: 1");
    let out = std::fs::read_to_string(daemon.sandbox.path("out")).unwrap();
    assert_eq!(out, "t/a k 1 1\nt/b  2 2\nt/a  bad bad\nt/a  '; $(x) '; $(x)\nt/a  bad bad\nt/a   \n");

    // Data too large for the environment is on stdin only.
    let large = "x".repeat(200_000);
    daemon.publish("large", &large);
    let script = "echo ${SSE_BUS_DATA-unset} $(wc -c)";
    let run = daemon.ctl(&["subscribe", "large", "--since", "all", "--count", "1", "--exec", script]).ok();
    assert_eq!(run.stdout, "unset 200000\n");
}

#[test]
fn it_reconnects_and_reports_a_restarted_daemon() {
    let mut daemon = Daemon::start(&[]);
    let mut subscribed = daemon.spawn_ctl(&["subscribe", "t", "--client", "me"]);
    let once = daemon.spawn_ctl(&["subscribe", "t", "--no-reconnect"]);
    daemon.wait_for_subscribers(2);
    daemon.publish("t", "before");
    let before: Value = serde_json::from_str(&subscribed.line()).unwrap();
    daemon.kill();
    once.finish().ends_with(1).says("closed the connection");
    subscribed.stderr.wait_for("reconnecting");
    daemon.start_again();
    subscribed.stderr.wait_for("reconnected");
    daemon.publish("t", "after");
    let gap: Value = serde_json::from_str(&subscribed.line()).unwrap();
    assert_eq!((&gap["topic"], &gap["type"]), (&json!("$gap"), &json!("$gap")));
    let data: Value = serde_json::from_str(gap["data"].as_str().unwrap()).unwrap();
    assert_eq!((&data["reason"], &data["from"]), (&json!("restarted"), &before["id"]));
    let after: Value = serde_json::from_str(&subscribed.line()).unwrap();
    assert_eq!(after["data"], "after");
    assert_eq!(daemon.get("/clients").json()[0]["name"], "me");
}

#[test]
fn it_resumes_after_a_clean_restart_without_a_gap() {
    let mut daemon = Daemon::start(&[]);
    let mut subscribed = daemon.spawn_ctl(&["subscribe", "t", "--format", "data"]);
    daemon.wait_for_subscribers(1);
    daemon.publish("t", "1");
    assert_eq!(subscribed.line(), "1");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    daemon.start_again();
    daemon.wait_for_subscribers(1);
    daemon.publish("t", "2");
    assert_eq!(subscribed.line(), "2");
    subscribed.stderr.wait_for("(restarted)");
}

#[test]
fn a_kicked_subscriber_reconnects_and_misses_nothing() {
    let daemon = Daemon::start(&[]);
    let mut subscribed = daemon.spawn_ctl(&["subscribe", "t", "--format", "data", "--client", "me"]);
    daemon.wait_for_subscribers(1);
    daemon.publish("t", "1");
    assert_eq!(subscribed.line(), "1");
    daemon.ctl(&["kick", "me"]).ok();
    daemon.publish("t", "while away");
    assert_eq!(subscribed.line(), "while away");
    subscribed.stderr.wait_for("reconnected");
}

#[test]
fn invalid_arguments_are_refused_and_not_retried() {
    let daemon = Daemon::start(&[]);
    daemon.ctl(&["subscribe", "a//b"]).ends_with(2).says("filter_invalid");
    daemon.ctl(&["subscribe", "t", "--since", "soon"]).ends_with(2).says("a time such as `14:00`");
    daemon.ctl(&["subscribe", "t", "--slow", "drop"]).ends_with(2).says("drop");
    daemon.ctl(&["subscribe", "t", "--count", "0"]).ends_with(2);
    let other = Daemon::configured("[limits]\nsubscribers = 0\n");
    other.ctl(&["subscribe", "t"]).ends_with(7).says("limit_subscribers");
}

#[test]
fn a_closed_stdout_ends_it_quietly() {
    let daemon = Daemon::start(&[]);
    let mut shell = daemon.sandbox.command("sh");
    let script = format!("{} subscribe t --format data | head -n 1", env!("CARGO_BIN_EXE_sse-busctl"));
    shell.args(["-c", &script]).env("SSE_BUS_SOCKET", daemon.sandbox.socket());
    let mut shell = Process::start(shell);
    daemon.wait_for_subscribers(1);
    daemon.publish("t", "1");
    assert_eq!(shell.line(), "1");
    // Printing the next event fails.
    crate::harness::until("it has ended", || {
        daemon.publish("t", "2");
        (daemon.status()["subscribers"] == 0).then_some(())
    });
    assert_eq!(shell.finish().ok().stderr, "");
}

#[test]
fn control_characters_are_escaped_on_a_terminal_and_kept_in_a_pipe() {
    let daemon = Daemon::start(&[]);
    // OSC with BEL, CSI as one character (C1), and a change of direction.
    let data = "a\x1b]0;title\x07b\u{9b}2Jc\u{202e}d\u{200b}e\nf";
    daemon.publish("t", data);
    let run = |format: &str| daemon.ctl(&["history", "t", "--since", "all", "--format", format]).ok().stdout;
    assert_eq!(run("data"), format!("{data}\n"));
    assert!(run("sse").contains("data: a\x1b]0;title\x07b"));
    let hidden = ['\x1b', '\x07', '\u{9b}', '\u{202e}', '\u{200b}'];
    for format in ["data", "sse", "json"] {
        let mut terminal = daemon.sandbox.command("script");
        let history = format!("{} history t --since all --format {format}", env!("CARGO_BIN_EXE_sse-busctl"));
        terminal.args(["-qec", &history, "/dev/null"]).env("SSE_BUS_SOCKET", daemon.sandbox.socket());
        let shown = Process::start(terminal).finish().ok().stdout;
        assert!(!shown.contains(hidden), "{format}: {shown:?}");
        let wanted = if format == "json" { "\\u009b2Jc\\u202ed\\u200be" } else { "<U+009B>2Jc<U+202E>d<U+200B>e\r\n" };
        assert!(shown.contains(wanted), "{format}: {shown:?}");
    }
}
