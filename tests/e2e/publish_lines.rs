//! `publish --lines` and `--jsonl`: real logs, refused lines, a daemon that disconnects, endless input.

use std::{fmt::Write as _, fs, io::Write as _, thread};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Daemon, until};

/// A realistic log: UTF-8 of all kinds, empty lines, long lines, both line ends.
fn log() -> Vec<String> {
    (0..4000)
        .map(|n| match n % 10 {
            0 => String::new(),
            1 => format!("{n} 日本語 ünïcödé 🚌🚏 \u{202e}rtl\u{200b}"),
            2 => format!("{n} {}", "long ".repeat(if n % 100 == 2 { 2000 } else { 40 })),
            3 => format!("  {n}\tindented: with a colon "),
            4 => format!("{{\"n\":{n},\"q\":\"\\\"\\\\\"}}"),
            5 => format!("\x1b[31m{n}\x1b[0m"),
            6 => format!(": {n}"),
            _ => format!("2026-01-01T00:00:{n:02}Z INFO request handled status=200"),
        })
        .collect()
}

#[test]
fn every_line_of_a_log_reaches_three_curls_in_order() {
    let daemon = Daemon::start(&[]);
    let curls = [(); 3].map(|()| daemon.spawn_curl("/events/log/app"));
    daemon.wait_for_subscribers(3);
    let lines = log();
    // Every seventh line ends in CRLF.
    let mut text = String::new();
    for (n, line) in lines.iter().enumerate() {
        let _ = write!(text, "{line}{}", if n % 7 == 0 { "\r\n" } else { "\n" });
    }
    let run = daemon.ctl_fed(&["publish", "log/app", "--lines"], text.as_bytes()).ok();
    assert_eq!(run.json(), [json!({"accepted": 4000, "refused": 0})]);
    assert_eq!(run.stderr, "4000 events accepted\n");

    let past = daemon.ctl(&["history", "log/app"]).ok().json();
    let mut wanted = String::new();
    for (line, event) in lines.iter().zip(&past) {
        let _ = write!(wanted, "id: {}\ndata: {line}\n\n", event["id"].as_str().unwrap());
    }
    for curl in curls {
        let got = curl.stdout.wait("all lines", |bytes, _| {
            // After the first position.
            let start = bytes.windows(2).position(|two| two == b"\n\n")? + 2;
            (bytes.len() - start >= wanted.len()).then(|| String::from_utf8(bytes[start..].to_vec()).unwrap())
        });
        let first = got.lines().zip(wanted.lines()).find(|(got, wanted)| got != wanted);
        assert!(got == wanted, "curl differs at {first:?}");
    }
}

#[test]
fn refused_lines_are_reported_by_number_and_the_others_are_published() {
    let daemon = Daemon::configured("[limits]\nevent_bytes = 100\n");
    let long = "x".repeat(101);
    let far_too_long = "x".repeat(5 << 20);
    let input =
        [&b"one\n"[..], b"\xff\n", long.as_bytes(), b"\nfour\n", far_too_long.as_bytes(), b"\na\0b\nlast"].concat();
    let run = daemon.ctl_fed(&["publish", "t", "--lines"], &input).ends_with(7);
    assert_eq!(run.json(), [json!({"accepted": 3, "refused": 4})]);
    for message in ["line 2: ", "line 3: ", "line 5: ", "line 6: ", "3 events accepted, 4 refused"] {
        assert!(run.stderr.contains(message), "{run}");
    }
    assert_eq!(daemon.ctl(&["history", "t", "--format", "data"]).ok().stdout, "one\nfour\nlast\n");
}

#[test]
fn json_lines_carry_the_fields_of_events() {
    let daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events?format=json");
    let input = concat!(
        r#"{"topic":"a","data":"x","type":"done"}"#,
        "\n",
        r#"{"data":{"n": [1, 2]},"retain":true}"#,
        "\n",
        "{not json\n",
        r#"{"data":"quiet","ack":"none"}"#,
        "\n",
        r#"{"data":"x","colour":"red"}"#,
    );
    let run = daemon.ctl_fed(&["publish", "t", "--jsonl"], input.as_bytes()).ends_with(1);
    assert_eq!(run.json(), [json!({"accepted": 3, "refused": 2})]);
    let run = run.says("line 3: ").says("line 5: ").says("colour");
    drop(run);
    let events: Vec<_> = (0..3).map(|_| stream.event().json()).collect();
    assert_eq!((&events[0]["topic"], &events[0]["type"]), (&json!("a"), &json!("done")));
    assert_eq!((&events[1]["topic"], &events[1]["data"]), (&json!("t"), &json!("{\"n\": [1, 2]}")));
    assert_eq!(events[2]["data"], "quiet");
    assert_eq!(daemon.status()["retained"], 1);
    // Each line may name its own topic.
    daemon.ctl_fed(&["publish", "--jsonl"], b"{\"topic\":\"a\"}\n").ok();
    let lines = b"{\"topic\":\"a\"}\n{\"topic\":\"a\",\"to\":\"nobody\"}\n";
    daemon.ctl_fed(&["publish", "--jsonl"], lines).ends_with(4).says("1 without a connected client");
    daemon.ctl_fed(&["publish", "a", "--jsonl"], b"[]\n").ends_with(1).says("an object with `data`");
    daemon.ctl_fed(&["publish", "--jsonl"], b"{\"data\":\"x\"}\n").ends_with(1).says("no `topic`");
}

#[test]
fn lines_are_published_as_they_arrive_and_a_signal_ends_the_input() {
    let daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events/t");
    let mut tail = daemon.spawn_ctl(&["publish", "t", "--lines"]);
    for n in 0..3 {
        tail.feed(format!("{n}\n").as_bytes());
        assert_eq!(stream.event().data, n.to_string());
    }
    tail.signal(Signal::TERM);
    until("the publisher has disconnected", || (daemon.status()["publishers"] == 0).then_some(()));
    tail.finish().ok().says("3 events accepted");
}

#[test]
fn with_no_reconnect_a_lost_daemon_is_reported_and_nothing_is_resent() {
    let mut daemon = Daemon::start(&[]);
    let mut publishing = daemon.spawn_ctl(&["publish", "t", "--lines", "--no-reconnect"]);
    let mut stdin = publishing.take_stdin();
    // Endless input, until writing fails.
    let feeder = thread::spawn(move || {
        let mut sent = 0_u64;
        while stdin.write_all(format!("{sent}\n").as_bytes()).is_ok() {
            sent += 1;
        }
        sent
    });
    until("some are published", || (daemon.status()["published"].as_u64() > Some(1000)).then_some(()));
    daemon.kill();
    daemon.start_again();
    let run = publishing.finish();
    let sent = feeder.join().unwrap();
    let run = run.ends_with(1).says("without a reply, starting with line").says("closed the connection");
    let accepted = run.json()[0]["accepted"].as_u64().unwrap();
    assert!((1..=sent).contains(&accepted), "{accepted} of {sent}");
    assert!(run.stderr.contains(&format!("{accepted} events accepted")), "{run}");
    assert_eq!(daemon.status()["published"], 0, "a line was sent again");
}

#[test]
fn input_of_any_length_is_read_in_constant_memory() {
    const MIB: usize = 200;
    let daemon = Daemon::start(&["--history-budget", "1MiB", "--history-bytes", "1MiB"]);
    let mut publishing = daemon.spawn_ctl(&["publish", "t", "--lines", "--ack", "none"]);
    let mut stdin = publishing.take_stdin();
    let line = [&vec![b'x'; (32 << 10) - 1][..], b"\n"].concat();
    for _ in 0..MIB * 32 {
        stdin.write_all(&line).unwrap();
    }
    for pid in [publishing.pid(), daemon.pid()] {
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kib < 64 << 10, "process {pid} had {kib} KiB");
    }
    drop(stdin);
    publishing.finish().ok().says(&format!("{} events accepted", MIB * 32));
}

#[test]
fn an_unknown_client_is_reported_for_each_line() {
    let daemon = Daemon::start(&[]);
    let run = daemon.ctl_fed(&["publish", "t", "--lines", "--to", "nobody"], b"1\n2\n").ends_with(4);
    run.says("2 without a connected client");
    assert_eq!(daemon.ctl(&["history", "t"]).ok().stdout, "");
}

#[test]
fn invalid_bytes_are_replaced_on_request() {
    let daemon = Daemon::start(&[]);
    let run = daemon.ctl_fed(&["publish", "t", "--lines", "--lossy"], b"caf\xe9\nok\n").ok();
    assert_eq!(run.json(), [json!({"accepted": 2, "refused": 0})]);
    daemon.ctl_fed(&["publish", "t", "--jsonl", "--lossy"], b"{\"data\":\"\xff\"}\n").ok();
    daemon.ctl_fed(&["publish", "t", "--lossy"], b"\xc3(").ok();
    let past = daemon.ctl(&["history", "t", "--format", "data"]).ok().stdout;
    assert_eq!(past, "caf\u{fffd}\nok\n\u{fffd}\n\u{fffd}(\n");
    let run = daemon.ctl_fed(&["publish", "t", "--lines"], b"ok\ncaf\xe9\n").ends_with(1);
    run.says("line 2: it is not UTF-8 after byte 3; --lossy");
}

#[test]
fn utf16_is_named_and_ends_the_command() {
    let daemon = Daemon::start(&[]);
    let text = |mark: &str, bytes: fn(u16) -> [u8; 2]| {
        format!("{mark}one\r\ntwo\r\n").encode_utf16().flat_map(bytes).collect::<Vec<u8>>()
    };
    for input in [
        text("\u{feff}", u16::to_le_bytes),
        text("\u{feff}", u16::to_be_bytes),
        text("", u16::to_le_bytes),
        text("", u16::to_be_bytes),
    ] {
        let run = daemon.ctl_fed(&["publish", "t", "--lines"], &input).ends_with(1).says("UTF-16").says("iconv");
        assert_eq!(run.json(), [json!({"accepted": 0, "refused": 0})], "{run}");
    }
}

#[test]
fn the_time_to_reconnect_is_an_option() {
    let mut daemon = Daemon::start(&[]);
    let lost = |daemon: &mut Daemon, retry_for: &str| {
        let mut publishing = daemon.spawn_ctl(&["publish", "t", "--lines", "--retry-for", retry_for]);
        publishing.feed(b"1\n");
        until("one event", || (daemon.status()["published"] == 1).then_some(()));
        daemon.kill();
        publishing.stderr.wait_for("reconnecting");
        publishing
    };
    // Shorter than the default; the process must end while its stdin is open.
    let publishing = lost(&mut daemon, "200ms");
    publishing.stderr.wait_for("1 event accepted");
    publishing.finish().ends_with(3);
    daemon.start_again();
    let mut publishing = lost(&mut daemon, "forever");
    daemon.start_again();
    publishing.stderr.wait_for("reconnected");
    publishing.feed(b"2\n");
    publishing.finish().ok().says("2 events accepted");
    daemon.ctl(&["publish", "t", "--lines", "--retry-for", "soon"]).ends_with(2);
}
