//! The command line as a person sees it, on terminals of several widths, and what it says about mistakes.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::{Daemon, Process, Run};

/// Runs a script on a terminal, with `ctl` for `sse-busctl`. Stdout contains stderr as well.
fn on_terminal(daemon: &Daemon, columns: usize, script: &str) -> Run {
    let mut terminal = daemon.sandbox.command("script");
    let script =
        format!("stty cols {columns} rows 40; ctl() {{ {} \"$@\"; }}; {script}", env!("CARGO_BIN_EXE_sse-busctl"));
    terminal
        .args(["-qec", &script, "/dev/null"])
        .env("SSE_BUS_SOCKET", daemon.sandbox.socket())
        .env("SHELL", "/bin/sh");
    terminal.env("TERM", "xterm").env("TZ", "UTC").env("NO_COLOR", "1");
    let mut run = Process::start(terminal).finish();
    run.stdout = run.stdout.replace("\r\n", "\n");
    run
}

/// The time of an event as `HH:MM:SS`, some hours later than in UTC.
fn clock(event: &Value, hours: u64) -> String {
    let seconds = event["time"].as_u64().unwrap() / 1000 + hours * 3600;
    format!("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

#[test]
fn events_are_shown_with_their_time() {
    let daemon = Daemon::start(&[]);
    daemon.publish("build/web?type=done", "ok");
    let event = daemon.ctl(&["history"]).ok().json().remove(0);
    let (utc, local) = (clock(&event, 0), clock(&event, 2));
    let run = on_terminal(&daemon, 80, "export TZ=XYZ-2; ctl history; ctl sub -s all -n 1; ctl history --utc").ok();
    let line = |time: &str| format!("{time}  build/web [done]  ok\n");
    let wanted = [&line(&local), "sse-busctl: subscribed to **\n", &line(&local), &line(&format!("{utc}Z"))].concat();
    assert_eq!(run.stdout, wanted, "{run}");
    let relative = on_terminal(&daemon, 80, "ctl history --relative").ok();
    assert!(
        relative.stdout.starts_with("now  build/web") || relative.stdout.contains("s ago  build/web"),
        "{relative}"
    );
    daemon.ctl(&["history", "--utc", "--relative"]).ends_with(2);
}

#[test]
fn a_worker_shows_its_progress_on_a_terminal_only() {
    let daemon = Daemon::start(&[]);
    daemon.ctl(&["consumer", "create", "q", "jobs/**"]).ok();
    let jobs = |number: usize| (0..number).for_each(|_| drop(daemon.publish("jobs/a", "x")));
    jobs(2);
    // Long enough for two progress lines.
    let run = on_terminal(&daemon, 100, "ctl work q -n 2 --exec 'echo out; sleep 0.6'").ok();
    let lines: Vec<_> = run.stdout.split(['\n', '\r']).map(|line| line.trim_start_matches("\x1b[K")).collect();
    assert!(lines.iter().any(|line| line.starts_with("1 done, 1 in flight")), "{run}");
    assert_eq!(lines.iter().filter(|line| **line == "out").count(), 2, "{run}");
    assert!(lines.iter().any(|line| line.starts_with("sse-busctl: 2 done in")), "{run}");
    jobs(1);
    let run = daemon.ctl(&["work", "q", "-n", "1", "--exec", "sleep 0.6"]).ok();
    assert!(run.stderr.starts_with("sse-busctl: 1 done in") && run.stderr.lines().count() == 1, "{run}");
    jobs(1);
    let run = on_terminal(&daemon, 100, "ctl work q -q -n 1 --exec 'sleep 0.6'").ok();
    assert_eq!(run.stdout, "", "{run}");
    let run = on_terminal(&daemon, 100, "ctl consumer list; ctl dead list q; ctl consumer show q").ok();
    assert!(run.stdout.starts_with("NAME  FILTERS  PENDING"), "{run}");
    assert!(run.stdout.contains("no dead letters\nconsumer   q\n"), "{run}");
}

#[test]
fn every_format_can_be_chosen_everywhere() {
    let daemon = Daemon::start(&[]);
    daemon.publish("t", "ok");
    let piped = |args: &[&str]| daemon.ctl(args).ok().stdout;
    assert!(piped(&["history", "--format", "text"]).ends_with("  t  ok\n"));
    assert!(piped(&["topics", "-f", "text"]).starts_with("TOPIC"));
    assert!(piped(&["status", "--format", "text"]).starts_with("daemon    sse-busd"));
    let run = on_terminal(&daemon, 80, "ctl topics -f json; ctl status --config -f json").ok();
    assert!(run.json().len() > 10, "one value a line\n{run}");
    assert_eq!(run.json()[1], json!({"key": "config", "value": null, "source": run.json()[1]["source"]}));

    daemon
        .ctl(&["history", "--json", "--format", "data"])
        .ends_with(2)
        .says("--json cannot be used with --format data");
    daemon.ctl(&["topics", "--json", "-f", "text"]).ends_with(2).says("--json cannot be used with --format text");
    daemon.ctl(&["topics", "--format", "sse"]).ends_with(2).says("is for events");
    daemon.ctl(&["subscribe", "--exec", "true", "--format", "data"]).ends_with(2).says("is for events");
    assert_eq!(piped(&["history", "--json", "-f", "json"]), piped(&["history"]));
    // An option overrides a variable.
    let with = |name, value, args: &[&str]| {
        let mut busctl = daemon.sandbox.busctl(args);
        busctl.env(name, value);
        Process::start(busctl).finish().ok().stdout
    };
    assert_eq!(with("SSE_BUS_JSON", "1", &["history", "-f", "data"]), "ok\n");
    assert_eq!(with("SSE_BUS_FORMAT", "data", &["history"]), "ok\n");
    assert_eq!(with("SSE_BUS_FORMAT", "data", &["topics"]), piped(&["topics"]));
    assert_eq!(with("SSE_BUS_FORMAT", "data", &["history", "--json"]), piped(&["history"]));
}

#[test]
fn a_start_can_be_a_time() {
    let daemon = Daemon::start(&[]);
    daemon.publish("t", "first");
    let first = daemon.ctl(&["history"]).ok().json().remove(0)["time"].as_u64().unwrap();
    crate::harness::until("another millisecond", || (sse_bus::time::unix_now() > first).then_some(()));
    daemon.publish("t", "second");
    let second = daemon.ctl(&["history"]).ok().json().remove(1)["time"].as_u64().unwrap();
    let since = |text: &str| daemon.ctl(&["history", "--since", text, "--format", "data"]).ok().stdout;
    assert_eq!(since(&first.to_string()), "first\nsecond\n");
    assert_eq!(since(&second.to_string()), "second\n");
    assert_eq!(since(&(first / 1000).to_string()), "first\nsecond\n");
    for text in ["1970-01-02", "2026-01-01T00:00Z", "2026-01-01 00:00:00"] {
        assert_eq!(since(text), "first\nsecond\n", "{text}");
    }
    let live = daemon.ctl(&["sub", "t", "-s", &second.to_string(), "-n", "1", "-f", "data"]).ok();
    assert_eq!(live.stdout, "second\n");
    daemon.ctl(&["history", "-s", "2999-01-01"]).ends_with(2).says("in the future");
}

#[test]
fn short_names_and_default_filters_work() {
    let daemon = Daemon::start(&[]);
    daemon.ctl(&["pub", "build/web", "ok", "-t", "done"]).ok();
    daemon.ctl(&["pub", "deploy", "ok"]).ok();
    assert_eq!(daemon.ctl(&["sub", "-s", "all", "-n", "2", "-f", "data"]).ok().stdout, "ok\nok\n");
    assert_eq!(daemon.ctl(&["history", "-n", "1"]).ok().json()[0]["topic"], "deploy");
    let topics = daemon.ctl(&["topics", "build/**"]).ok().json();
    assert_eq!((topics.len(), &topics[0]["topic"]), (1, &json!("build/web")));
    assert!(on_terminal(&daemon, 80, "ctl topics nothing").ok().stdout.contains("no such topics"));
    assert_eq!(daemon.ctl(&["version"]).ok().stdout, daemon.ctl(&["--version"]).ok().stdout);
    let quiet = daemon.ctl(&["publish", "-q", "t", "x"]).ok();
    assert_eq!((&*quiet.stdout, &*quiet.stderr), ("", ""), "{quiet}");
    // The result of lines is a confirmation as well, unless something is missing in it.
    let quiet = |lines: &str| daemon.ctl_fed(&["publish", "-q", "t", "--lines"], lines.as_bytes());
    let run = quiet("a\nb\n").ok();
    assert_eq!((&*run.stdout, &*run.stderr), ("", ""), "{run}");
    let run = quiet("a\nb\0\n").ends_with(1).says("1 event accepted, 1 refused");
    assert_eq!(run.stdout, "");
    let run = daemon.ctl_fed(&["publish", "t", "--lines"], b"a\n").ok().says("1 event accepted");
    assert_eq!(run.stdout, "{\"accepted\":1,\"refused\":0}\n");
    let run = daemon.ctl_fed(&["publish", "t", "--lines", "--format", "text"], b"a\n").ok().says("1 event accepted");
    assert_eq!(run.stdout, "");
    daemon.ctl(&["send", "-q", "nobody", "x"]).ends_with(4).says("no client named");
    let quiet = on_terminal(&daemon, 80, "ctl sub -q -s all -n 1 -f data").ok();
    assert_eq!(quiet.stdout, "ok\n");
}

#[test]
fn a_token_can_be_captured() {
    let daemon = Daemon::start(&[]);
    let run = daemon.ctl(&["token", "create", "--name", "ci"]).ok();
    assert!(run.stdout.starts_with("ssebus_") && run.stdout.lines().count() == 1, "{run}");
    let json = daemon.ctl(&["token", "create", "--json"]).ok().json().remove(0);
    assert!(json["token"].as_str().unwrap().starts_with("ssebus_"), "{json}");
    let shown =
        on_terminal(&daemon, 200, "T=$(ctl token create --name ci2); ctl token create >token; wc -l <token").ok();
    assert!(shown.stdout.contains("(ci2) may publish and subscribe") && shown.stdout.ends_with("1\n"), "{shown}");
}

#[test]
fn near_misses_are_answered_with_what_was_meant() {
    let daemon = Daemon::start(&[]);
    daemon.ctl(&["listen"]).ends_with(2).says("'subscribe'");
    daemon.ctl(&["publish", "hello", "--typ", "done"]).ends_with(2).says("'--type'");
    daemon.ctl(&["publish", "hello", "good", "morning"]).ends_with(2).says("quote the data: 'good morning'");
    for (pattern, meant) in [("build/+/x", "build/*/x"), ("build.>", "build/**"), ("#", "**")] {
        for command in ["subscribe", "history", "topics", "url"] {
            daemon.ctl(&[command, pattern]).ends_with(2).says(&format!("did you mean `{meant}`?"));
        }
        daemon.ctl(&["token", "create", "--topic", pattern]).ends_with(2).says(meant);
    }
    assert_eq!(daemon.status()["published"], 0);
}

#[test]
fn a_pattern_that_the_shell_replaced_is_noticed() {
    let daemon = Daemon::start(&[]);
    let script = "mkdir build; touch build/a build/b; ctl subscribe build/* --timeout 1ms; ctl subscribe 'build/**' --timeout 1ms";
    let run = on_terminal(&daemon, 200, script).ends_with(5);
    let mut lines = run.stdout.lines();
    let files = "sse-busctl: subscribed to build/a build/b; these are files here: quote a pattern, such as 'build/**'";
    assert_eq!([lines.next(), lines.next()], [Some(files), Some("sse-busctl: subscribed to build/**")], "{run}");
}

#[test]
fn tables_fit_the_terminal() {
    let daemon = Daemon::start(&[]);
    let long = "build/products/web/frontend/deployments/production";
    daemon.publish(long, "x");
    daemon.publish("t", "x");
    daemon.ctl(&["publish", "建设/网页", "x"]).ok();
    let _subscriber = daemon.stream(&format!("/events/{long}?client=a-client-with-a-rather-long-name"));
    for (columns, has_whole) in [(40, false), (80, false), (200, true)] {
        let run = on_terminal(&daemon, columns, "ctl topics; ctl clients; ctl status --config").ok();
        if columns > 40 {
            let doctor = on_terminal(&daemon, columns, "ctl doctor").ok().stdout;
            let is_message = |line: &&str| ["ok", "unknown"].iter().any(|state| line.starts_with(state));
            assert!(doctor.lines().filter(is_message).all(|line| line.chars().count() <= columns), "{doctor}");
        }
        for line in run.stdout.lines() {
            // Each of the Chinese characters takes two columns.
            let width = line.chars().count() + line.chars().filter(|c| ('\u{4e00}'..'\u{9fff}').contains(c)).count();
            assert!(width <= columns, "{width} columns: {line}\n{run}");
        }
        assert_eq!(run.stdout.contains(long), has_whole, "{run}");
        assert!(run.stdout.contains("build/") && run.stdout.contains("duction"), "both ends are shown\n{run}");
    }
    // Through a pipe the width is unlimited, unless a variable sets it.
    let mut topics = daemon.sandbox.busctl(&["topics", "-f", "text"]);
    topics.env_remove("COLUMNS");
    assert!(Process::start(topics).finish().ok().stdout.contains(long));
    let mut topics = daemon.sandbox.busctl(&["topics", "-f", "text"]);
    topics.env("COLUMNS", "40");
    let run = Process::start(topics).finish().ok();
    assert!(run.stdout.contains('…') && run.stdout.lines().all(|line| line.chars().count() <= 40), "{run}");
}

#[test]
fn sentences_are_wrapped_between_words() {
    let daemon = Daemon::start(&[]);
    let _tab = daemon.stream("/events/t?client=tab%20one");
    daemon.ctl(&["kick", "tab one", "--for", "1h"]).ok();
    let script = "ctl kick nobody; ctl publish t x --wait-for 3 --timeout 1ms; ctl status; ctl doctor";
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (narrow, wide) = (on_terminal(&daemon, 40, script).stdout, on_terminal(&daemon, 80, script).stdout);
    for (text, columns) in [(&narrow, 40), (&wide, 80)] {
        let plain = text.replace("\u{1b}[32m", "").replace("\u{1b}[33m", "").replace("\u{1b}[36m", "");
        for line in plain.replace("\u{1b}[0m", "").lines().map(|line| line.trim_end_matches('\r')) {
            // A long word, such as a path, and a command to copy are not broken.
            let has_long_word = line.split_whitespace().any(|word| word.len() > columns - 12);
            let is_whole = has_long_word || line.trim_start().starts_with("sudo ");
            assert!(line.chars().count() <= columns || is_whole, "{columns}: {line:?}\n{text}");
        }
    }
    assert!(words(&narrow).len() > 150, "{narrow}");
    let sentence = words("no client named `nobody` is connected; see `sse-busctl clients`");
    assert!(words(&narrow).windows(sentence.len()).any(|words| *words == *sentence), "{narrow}");
}

#[test]
fn durations_sizes_and_places_are_written_one_way() {
    let sandbox = crate::harness::Sandbox::new();
    let state = sandbox.path("state").display().to_string();
    let daemon = Daemon::start_at(sandbox, &["--no-config", "--history", "disk", "--state-dir", &state]);
    let run = on_terminal(&daemon, 200, "ctl status; ctl doctor; ctl status --config").ok();
    assert!(run.stdout.contains("history   0 events on disk, 0 B of 256 MiB"), "{run}");
    assert!(run.stdout.contains("history        0 events on disk, "), "{run}");
    assert!(run.stdout.contains(r#""1d""#), "{run}");
    let mut all = String::new();
    for program in [env!("CARGO_BIN_EXE_sse-busctl"), env!("CARGO_BIN_EXE_sse-busd")] {
        let commands: &[&[&str]] = if program.ends_with("ctl") {
            &[&["publish"], &["subscribe"], &["history"], &["bench"], &["token", "create"], &["service", "logs"]]
        } else {
            &[&[]]
        };
        for command in commands {
            let mut help = daemon.sandbox.command(program);
            help.args(*command).arg("--help").env("SSE_BUS_LISTEN", "127.0.0.1:1").env("SSE_BUS_SOCKET", "/secret");
            let help = Process::start(help).finish().ok();
            // The lines of the daemon's help are wrapped.
            let _ = writeln!(all, "{}", help.stdout.split_whitespace().collect::<Vec<_>>().join(" "));
            assert!(help.stdout.contains("[env: SSE_BUS_SOCKET]"), "a variable without its value\n{help}");
        }
    }
    for part in ["<DUR>", "<S>", "<BYTES>", "[env: SSE_BUS_LISTEN=", "/secret"] {
        assert!(!all.contains(part), "{part}\n{all}");
    }
    for part in ["[env: SSE_BUS_LISTEN]", "[env: SSE_BUS_SUBSCRIBE_SINCE]", "<DURATION>", "<SIZE>"] {
        assert!(all.contains(part), "{part}\n{all}");
    }
}
