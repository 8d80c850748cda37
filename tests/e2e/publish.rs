//! `sse-busctl publish` with its options, one event at a time.

use std::{fs, process::Stdio};

use serde_json::json;

use crate::harness::{Daemon, Process, until};

#[test]
fn data_is_read_from_the_command_line_from_stdin_or_from_a_file() {
    let daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events/t");
    let file = daemon.sandbox.file("data", "file\r\n\n");
    let published = daemon.ctl(&["publish", "t", "given"]).ok().json().remove(0);
    daemon.ctl_fed(&["publish", "t"], b"stdin\n").ok();
    daemon.ctl_fed(&["publish", "t", "-"], b"dash\n\n").ok();
    daemon.ctl(&["publish", "t", "--file", &file]).ok();
    daemon.ctl(&["publish", "t", ""]).ok();
    daemon.ctl(&["publish", "t", "--", "--hyphens"]).ok();
    let first = stream.event();
    assert_eq!(published, json!({"id": first.id, "subscribers": 1}));
    assert_eq!(first.data, "given");
    assert_eq!(stream.data(5), ["stdin", "dash\n", "file\n\n", "", "--hyphens"]);
    daemon.ctl(&["publish", "t", "--file", "missing"]).ends_with(1).says("missing");
    daemon.ctl_fed(&["publish", "t"], b"ok \xff").ends_with(1).says("not UTF-8 after byte 3").says("--lossy");
    daemon.ctl_fed(&["publish", "t"], b"\xff\xfeh\0i\0").ends_with(1).says("UTF-16").says("iconv");
}

#[test]
fn the_fields_of_an_event_are_options() {
    let daemon = Daemon::start(&[]);
    daemon.ctl(&["publish", "t", "x", "--type", "done", "--retain", "--ttl", "1h"]).ok();
    let event = daemon.stream("/events/t").event();
    assert_eq!((event.kind.as_deref(), event.data.as_str()), (Some("done"), "x"));
    daemon.ctl(&["publish", "u", "x", "--retain", "--ttl", "1ms"]).ok();
    until("the TTL has passed", || {
        let past = daemon.ctl(&["history", "u"]).ok();
        past.stdout.is_empty().then_some(())
    });
    // Variables replace flags; empty ones do not.
    let mut busctl = daemon.sandbox.busctl(&["publish", "v", "x"]);
    busctl.env("SSE_BUS_PUBLISH_TYPE", "by variable").env("SSE_BUS_PUBLISH_TTL", "").env("SSE_BUS_PUBLISH_RETAIN", "");
    Process::start(busctl).finish().ok();
    assert_eq!(daemon.ctl(&["history", "v"]).ok().json()[0]["type"], "by variable");
}

#[test]
fn an_reply_is_awaited_unless_ack_is_none() {
    let daemon = Daemon::start(&[]);
    let accepted = daemon.ctl(&["publish", "t", "x", "--ack", "accepted"]).ok();
    assert_eq!(accepted.json().len(), 1);
    let none = daemon.ctl(&["publish", "t", "x", "--ack", "none"]).ok();
    assert_eq!(none.stdout, "");
    assert_eq!(daemon.ctl(&["history", "t"]).ok().json().len(), 2);
    daemon.ctl(&["publish", "t", "x", "--ack", "durable"]).ends_with(1).says("not_durable");
}

#[test]
fn wait_for_delays_the_publish_until_enough_subscribers_match() {
    let daemon = Daemon::start(&[]);
    let mut one = daemon.stream("/events/t");
    let other = daemon.stream("/events/other");
    let waiting = daemon.spawn_ctl(&["publish", "t", "x", "--wait-for", "2", "--timeout", "15s"]);
    // It follows presence events.
    daemon.wait_for_subscribers(3);
    assert_eq!(daemon.ctl(&["history", "t"]).ok().stdout, "");
    let mut two = daemon.stream("/events/*");
    let run = waiting.finish().ok();
    assert_eq!(run.json()[0]["subscribers"], 2);
    assert_eq!((one.data(1), two.data(1)), (vec!["x".into()], vec!["x".into()]));
    drop(other);
    // Enough subscribers are connected already.
    daemon.ctl(&["publish", "t", "y", "--wait-for", "2"]).ok();
    daemon.ctl(&["publish", "t", "y", "--wait-for"]).ok();
    daemon.ctl(&["publish", "--wait-for", "t", "y"]).ends_with(2).says("--wait-for=1");
}

#[cfg(target_os = "linux")]
#[test]
fn waiting_for_subscribers_is_reported_on_a_terminal() {
    use std::{fs::File, io::Read as _, process::Stdio};

    let daemon = Daemon::start(&[]);
    let (mut terminal, path) = crate::logs::terminal();
    let mut command = daemon.sandbox.busctl(&["publish", "t", "x", "--wait-for", "2"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::options().write(true).open(path).unwrap());
    let mut waiting = command.spawn().unwrap();
    let mut shown = String::new();
    while !shown.contains("waiting for 2 subscribers of t (0 of 2)") {
        let mut piece = [0; 4096];
        let read = terminal.read(&mut piece).unwrap();
        assert!(read > 0, "{shown}");
        shown += &String::from_utf8_lossy(&piece[..read]);
    }
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    daemon.ctl(&["publish", "t", "x", "--wait-for", "2", "--timeout", "0s"]).ends_with(4);
}

#[test]
fn publishing_without_subscribers_succeeds_unless_they_are_waited_for() {
    let daemon = Daemon::start(&[]);
    daemon.ctl(&["publish", "t", "x"]).ok();
    let run = daemon.ctl(&["publish", "t", "never", "--wait-for", "1", "--timeout", "100ms"]).ends_with(4);
    assert_eq!(run.says("nothing was published").stdout, "");
    assert_eq!(daemon.ctl(&["history", "t", "--format", "data"]).ok().stdout, "x\n");
}

#[test]
fn the_output_of_a_command_is_published_repeatedly() {
    let daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events/clock");
    let exec = "n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) > n; cat n";
    let run = daemon.ctl(&["publish", "clock", "--every", "10ms", "--count", "3", "--exec", exec]).ok();
    assert_eq!(run.json().len(), 3);
    assert_eq!(stream.data(3), ["1", "2", "3"]);
    daemon.ctl(&["publish", "clock", "same", "--every", "10ms", "--count", "2"]).ok();
    assert_eq!(stream.data(2), ["same", "same"]);
    let failing =
        ["publish", "clock", "--every", "10ms", "--count", "2", "--exec", "test -e m || { touch m; exit 3; }; echo ok"];
    daemon.ctl(&failing).ends_with(1).says("exit status: 3").says("1 event not published");
    assert_eq!(stream.data(1), ["ok"]);
}

#[test]
fn urls_are_one_line_for_other_programs() {
    let daemon = Daemon::start(&[]);
    let run = daemon.ctl(&["url", "build/é b"]).ends_with(2);
    run.says("not a topic");
    let run = daemon.ctl(&["url", "build/é%/**"]).ok();
    assert_eq!(run.stdout, format!("http://{}/events/build/%C3%A9%25/**\n", daemon.address));
    let mut curl = daemon.sandbox.command("curl");
    curl.args(["-sS", "-d", "x", &run.stdout.trim_end().replace("/**", "/a")]);
    Process::start(curl).finish().ok();
    assert_eq!(daemon.ctl(&["url", "--json"]).ok().json()[0], format!("http://{}", daemon.address));
    assert_eq!(daemon.ctl(&["history", "build/**"]).ok().json()[0]["topic"], "build/é%/a");
}

#[test]
fn history_is_printed_and_then_ends() {
    let daemon = Daemon::start(&["--history-events", "4"]);
    for n in 1..=6 {
        daemon.publish("t/a", n.to_string());
    }
    let second = daemon.publish("t/b", "b");
    let data = |args: &[&str]| daemon.ctl(&[&["history", "--format", "data"], args].concat()).ok().stdout;
    assert_eq!(data(&["t/*"]), "3\n4\n5\n6\nb\n");
    assert_eq!(data(&["t/a", "--limit", "2"]), "5\n6\n");
    assert_eq!(data(&["t/*", "--since", "latest"]), "6\nb\n");
    assert_eq!(data(&["t/**", "--since", &second]), "");
    assert_eq!(data(&["nothing/here"]), "");
    let sse = daemon.ctl(&["history", "t/b", "--format", "sse"]).ok().stdout;
    assert_eq!(sse, format!("id: {second}\ndata: b\n\n"));
    daemon.ctl(&["history", "t", "--since", "soon"]).ends_with(2).says("a time such as `14:00`");
}

/// Each exit code has one meaning.
#[test]
fn exit_codes_show_what_went_wrong() {
    let mut daemon = Daemon::configured("[limits]\nevent_bytes = 10\n");
    daemon.ctl(&["publish", "t", "x"]).ends_with(0);
    daemon.ctl(&["publish", "a//b", "x"]).ends_with(2).says("topic_invalid");
    daemon.ctl(&["publish"]).ends_with(2);
    daemon.ctl(&["dance"]).ends_with(2);
    daemon.ctl(&["publish", "t", "--every", "0s"]).ends_with(2);
    daemon.ctl(&["url", "a", "b"]).ends_with(2);
    daemon.ctl(&["publish", "t", "x", "--to", "nobody"]).ends_with(4);
    daemon.ctl(&["subscribe", "t", "--count", "1", "--timeout", "50ms"]).ends_with(5).says("0 of 1 events");
    daemon.ctl(&["publish", "t", "more than ten"]).ends_with(7).says("limit_event_bytes");
    daemon.kill();
    for command in [&["publish", "t", "x"][..], &["subscribe", "t"], &["status"], &["clients"], &["send", "c", "x"]] {
        let run = daemon.ctl(command).ends_with(3).says("no daemon").says("sse-busd");
        assert_eq!((run.stdout.as_str(), run.stderr.lines().count()), ("", 1), "{run}");
    }
    // Code 6, denied, takes two users.
}

#[test]
fn a_refused_user_gets_the_exit_code_for_denied() {
    use sse_bus::protocol::{ErrorCode, Refused, Reply, binary};
    let sandbox = crate::harness::Sandbox::new();
    fs::create_dir(sandbox.path("run")).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(sandbox.socket()).unwrap();
    let busctl = Process::start(sandbox.busctl(&["publish", "t", "x"]));
    let (mut peer, _) = listener.accept().unwrap();
    let mut frame = Vec::new();
    binary::encode(&Reply::Error(Refused::new(ErrorCode::Denied, "not you")), &mut frame).unwrap();
    std::io::Write::write_all(&mut peer, &frame).unwrap();
    busctl.finish().ends_with(6).says("not you");
}

#[test]
fn a_closed_stdout_is_not_a_failure() {
    let daemon = Daemon::start(&[]);
    for n in 0..50 {
        daemon.publish("t", n.to_string());
    }
    let mut shell = daemon.sandbox.command("sh");
    let script = format!("{} history t | head -n 1", env!("CARGO_BIN_EXE_sse-busctl"));
    shell.args(["-c", &script]).env("SSE_BUS_SOCKET", daemon.sandbox.socket());
    let run = Process::start(shell).finish().ok();
    assert_eq!((run.stdout.lines().count(), run.stderr.as_str()), (1, ""), "{run}");

    // A stdout that is closed from the start, and one that is full.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut status = daemon.sandbox.busctl(&["status"]);
    status.stdout(Stdio::from(writer));
    assert_eq!(Process::start_with_stdout(status).finish().ok().stderr, "");
    if cfg!(target_os = "linux") {
        let mut status = daemon.sandbox.busctl(&["status"]);
        status.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
        Process::start_with_stdout(status).finish().ends_with(1).says("cannot write the output");
    }
}

#[test]
fn a_misspelled_option_publishes_nothing() {
    let daemon = Daemon::start(&[]);
    daemon.ctl(&["publish", "t", "--retian"]).ends_with(2).says("'--retian' found").says("'--retain'");
    daemon.ctl(&["send", "me", "--topci"]).ends_with(2).says("'--topci' found").says("'--topic'");
    for data in [&["--", "--retian"][..], &["-5"], &["- item"], &["-- a rule"], &["---"]] {
        daemon.ctl(&[&["publish", "t"], data].concat()).ok();
    }
    let published = daemon.ctl(&["history", "t", "--since", "all", "--format", "data"]).ok().stdout;
    assert_eq!(published, "--retian\n-5\n- item\n-- a rule\n---\n");
}

/// As `nc -N` does.
#[test]
fn a_client_that_has_finished_sending_is_answered() {
    use std::{
        io::{Read, Write},
        net::Shutdown,
    };
    let daemon = Daemon::start(&[]);
    for _ in 0..50 {
        let mut socket = daemon.tcp();
        let head = format!("POST /events/t HTTP/1.1\r\nHost: {}\r\nContent-Length: 1\r\n\r\nx", daemon.address);
        socket.write_all(head.as_bytes()).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let mut response = String::new();
        socket.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 202"), "{response:?}");
    }
}

#[test]
fn a_byte_order_mark_at_the_start_of_stdin_is_skipped() {
    let daemon = Daemon::start(&[]);
    daemon.ctl_fed(&["publish", "t", "--lines"], "\u{feff}one\n\u{feff}two\n".as_bytes()).ok();
    daemon.ctl_fed(&["publish", "t", "--jsonl"], "\u{feff}{\"data\":\"three\"}\n".as_bytes()).ok();
    assert_eq!(daemon.ctl(&["history", "t", "--format", "data"]).ok().stdout, "one\n\u{feff}two\nthree\n");
}

#[test]
fn types_reserved_by_event_source_are_published_with_a_warning() {
    let daemon = Daemon::start(&[]);
    for kind in ["error", "open"] {
        let handler = format!("`on{kind}`");
        daemon.ctl(&["publish", "t", "x", "--type", kind]).ok().says(&handler);
        daemon.ctl_fed(&["publish", "t", "--lines", "--type", kind], b"x\n").ok().says(&handler);
        let line = format!("{{\"data\":\"x\",\"type\":\"{kind}\"}}\n");
        let run = daemon.ctl_fed(&["publish", "t", "--jsonl"], line.repeat(3).as_bytes()).ok().says(&handler);
        assert_eq!(run.stderr.matches(&handler).count(), 1, "once:\n{run}");
        daemon.ctl(&["send", "nobody", "x", "--type", kind]).ends_with(4).says(&handler);
    }
    assert_eq!(daemon.ctl(&["history", "t"]).ok().json().len(), 10);
    let run = daemon.ctl(&["publish", "t", "x", "--type", "errors"]).ok();
    assert!(!run.stderr.contains("EventSource"), "{run}");
}
