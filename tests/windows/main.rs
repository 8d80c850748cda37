//! Windows: the real `sse-busd.exe` and `sse-busctl.exe`, checked by what they print, send and log.
//!
//! `tests/run windows` runs them under Wine; on Windows `cargo test --test windows` does. Behaviour common to all
//! systems is tested in `tests/e2e`: these tests cover what Windows does differently. Wine lets two processes serve one
//! pipe, so two daemons that start at the same instant cannot be tested here.
#![cfg(windows)]

use std::{fs, process::Command, time::Instant};

use sse_bus_support::harness::{Daemon, PATIENCE, Pipe, Process, Sandbox, until};

#[test]
fn both_codecs_and_http_share_the_pipe() {
    let daemon = Daemon::start(&[]);
    let mut lines = daemon.pipe();
    assert!(lines.ask(r#"{"subscribe":{"filters":["t/*"]}}"#)["subscribed"].is_object());
    let mut frames = daemon.spawn_ctl(&["subscribe", "t/*", "--count", "3", "--format", "data"]);
    until("two subscribers", || (daemon.request_locally("GET", "/status", "").1["subscribers"] == 2).then_some(()));

    let binary = daemon.ctl(&["publish", "t/binary", "frames"]).ok();
    assert_eq!(binary.json()[0]["subscribers"], 2);
    let json = daemon.pipe().ask(r#"{"publish":{"topic":"t/json","data":"lines"}}"#);
    assert_eq!(json["published"]["subscribers"], 2, "{json}");
    let (status, http) = daemon.request_locally("POST", "/events/t/http", "requests");
    assert_eq!((status, &http["subscribers"]), (202, &2.into()), "{http}");

    for data in ["frames", "lines", "requests"] {
        assert_eq!(lines.event(), data);
        assert_eq!(frames.line(), data);
    }
    frames.finish().ok();
}

#[test]
fn bytes_written_before_a_client_disconnects_are_not_lost() {
    let daemon = Daemon::start(&[]);
    for round in 0..10 {
        daemon.pipe().send(&format!("{{\"publish\":{{\"topic\":\"t\",\"data\":\"{round}\",\"ack\":\"none\"}}}}\n"));
        daemon.ctl(&["publish", "t", "--ack", "none", &format!("{round}, too")]).ok();
    }
    let all = until("all are in history", || {
        let run = daemon.ctl(&["history", "t", "--format", "data"]).ok();
        (run.stdout.lines().count() == 20).then_some(run.stdout)
    });
    for round in 0..10 {
        assert!(all.lines().any(|line| line == round.to_string()), "{round} is lost\n{all}");
    }
}

#[test]
fn large_and_many_events_pass_the_pipe_complete_and_in_order() {
    let daemon = Daemon::start(&[]);
    let mut lines = daemon.pipe();
    lines.ask(r#"{"subscribe":{"filters":["**"]}}"#);
    let large = "x".repeat(200_000);
    lines.ask(&format!(r#"{{"publish":{{"topic":"t","data":"{large}"}}}}"#));
    assert_eq!(lines.event(), large);

    let mut publish = daemon.spawn_ctl(&["publish", "t", "--lines"]);
    let numbers = (0..10_000).fold(String::new(), |all, number| format!("{all}{number}\r\n"));
    publish.feed(numbers.as_bytes());
    assert_eq!(publish.finish().ok().json()[0]["accepted"], 10_000);
    for number in 0..10_000 {
        assert_eq!(lines.event(), number.to_string());
    }
}

#[test]
fn a_stream_on_the_port_needs_a_token_and_carries_events() {
    let daemon = Daemon::start(&[]);
    daemon.curl("/events/t", "refused", &[]);
    daemon.wait_for_file("refused", r#""code":"denied""#);

    let token = daemon.ctl(&["token", "create", "--json", "--name", "curl", "--scope", "subscribe"]).ok().json();
    let header = format!("Authorization: Bearer {}", token[0]["token"].as_str().unwrap());
    daemon.curl("/events/t?client=tab", "stream", &[&header]);
    let waited = daemon.ctl(&["publish", "t", "one\ntwo", "--wait-for", "1", "--timeout", "20s"]).ok();
    let id = waited.json()[0]["id"].as_str().unwrap().to_owned();
    daemon.wait_for_file("stream", &format!("\nid: {id}\ndata: one\ndata: two\n\n"));
    // The stream ends soon after its token is revoked.
    daemon.ctl(&["token", "revoke", "curl"]).ok();
    until("no client is connected", || daemon.ctl(&["clients"]).ok().json().is_empty().then_some(()));
}

#[test]
fn clients_are_shown_reached_and_kicked() {
    let daemon = Daemon::start(&[]);
    let mut tab = daemon.spawn_ctl(&["subscribe", "t", "--client", "tab", "--no-reconnect", "--format", "data"]);
    let clients = until("the client is there", || {
        Some(daemon.ctl(&["clients"]).ok().json()).filter(|clients| !clients.is_empty())
    });
    assert_eq!((&clients[0]["name"], &clients[0]["via"]), (&"tab".into(), &"binary".into()));
    daemon.ctl(&["send", "tab", "only you"]).ok();
    assert_eq!(tab.line(), "only you");
    assert_eq!(daemon.ctl(&["kick", "tab"]).ok().json()[0]["connections"], 1);
    tab.finish().ends_with(1).says("closed");
    daemon.ctl(&["send", "tab", "nobody"]).ends_with(4);
}

#[test]
fn durable_events_survive_a_killed_daemon_and_subscribers_resume() {
    let mut daemon = Daemon::start(&["--history", "disk"]);
    let mut subscriber = daemon.spawn_ctl(&["subscribe", "t", "--format", "data"]);
    daemon.ctl(&["publish", "t", "before", "--ack", "durable", "--wait-for", "1", "--timeout", "20s"]).ok();
    daemon.ctl(&["publish", "t", "retained", "--retain"]).ok();
    assert_eq!([subscriber.line(), subscriber.line()], ["before", "retained"]);
    daemon.kill();
    daemon.start_again();

    let history = daemon.ctl(&["history", "t", "--format", "data"]).ok();
    assert_eq!(history.stdout, "before\nretained\n");
    daemon.ctl(&["publish", "t", "after", "--wait-for", "1", "--timeout", "20s"]).ok();
    assert_eq!(subscriber.line(), "after");
    let ids: Vec<_> = daemon.ctl(&["history", "t"]).ok().json().iter().map(|event| event["id"].clone()).collect();
    assert!(ids.len() == 3 && ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
}

/// Needs the program built from `tests/windows/ctrl_c.c`. (Wine has no Ctrl-Break to press.)
#[test]
#[ignore = "needs a program that presses Ctrl-C, named by SSE_BUS_TEST_CTRL_C"]
fn ctrl_c_ends_the_daemon_once_streams_are_drained() {
    let ctrl_c = std::env::var_os("SSE_BUS_TEST_CTRL_C").expect("SSE_BUS_TEST_CTRL_C names no program");
    let mut daemon = Daemon::start(&[]);
    let mut lines = daemon.pipe();
    lines.ask(r#"{"subscribe":{"filters":["t"]}}"#);
    daemon.ctl(&["publish", "t", "last"]).ok();
    let asked = Instant::now();
    let pressed = Command::new(&ctrl_c).arg(daemon.pid().to_string()).status().unwrap();
    assert_eq!(pressed.code(), Some(0));
    assert_eq!(daemon.wait(), Some(0));
    assert!(asked.elapsed() < PATIENCE / 2, "{:?}", asked.elapsed());
    assert_eq!(lines.event(), "last");
    assert_eq!(lines.line(), None);
    assert!(daemon.log().contains("stopped"), "{}", daemon.log());
}

#[test]
fn a_second_daemon_for_a_pipe_names_the_first() {
    let daemon = Daemon::start(&[]);
    let second = daemon.sandbox.busd(&["--socket", &daemon.sandbox.pipe()]);
    let holder = format!("already running: PID {}, socket {}, URL http://", daemon.pid(), daemon.sandbox.pipe());
    Process::start(second).finish().ends_with(1).says(&holder);
}

#[test]
fn without_a_flag_the_pipe_is_named_after_the_user() {
    let sandbox = Sandbox::new();
    let name = sandbox.name();
    let mut busd = sandbox.busd(&[]);
    busd.env("USERNAME", &name);
    let _daemon = Process::start(busd);
    let pipe = format!(r"\\.\pipe\sse-bus-{name}");
    let mut pipe = until("the daemon answers", || Pipe::open(&pipe));
    assert!(pipe.ask(r#"{"status":{}}"#)["status"].is_object());
    let mut status = sandbox.busctl(&["status"]);
    status.env("USERNAME", &name).env_remove("SSE_BUS_SOCKET");
    Process::start(status).finish().ok();
    // A missing daemon is reported.
    let mut nobody = sandbox.busctl(&["status"]);
    nobody.env("USERNAME", "nobody-of-this-name").env_remove("SSE_BUS_SOCKET");
    Process::start(nobody).finish().ends_with(3).says("no daemon");
}

#[test]
fn commands_run_in_the_shell_of_windows() {
    let daemon = Daemon::start(&[]);
    daemon.ctl(&["publish", "t", "--every", "10ms", "--count", "1", "--exec", "echo from cmd"]).ok();
    let command = "echo %SSE_BUS_TOPIC% %SSE_BUS_DATA%";
    let run = daemon.ctl(&["subscribe", "t", "--since", "all", "--count", "1", "--exec", command]).ok();
    assert_eq!(run.stdout.trim_end(), "t from cmd");
}

#[test]
fn the_service_is_a_task_that_runs_this_daemon_for_this_user() {
    let sandbox = Sandbox::new();
    let mut install = sandbox.busctl(&["service", "install", "--print", "--listen", "127.0.0.1:7800"]);
    install.env("USERNAME", "anna").env("USERDOMAIN", "HOME").env_remove("SSE_BUS_SOCKET");
    let printed = Process::start(install).finish().ok().stdout;
    let daemon = std::path::absolute(env!("CARGO_BIN_EXE_sse-busd")).unwrap();
    for text in [
        r"<UserId>HOME\anna</UserId>",
        &format!(r#""{}" --listen 127.0.0.1:7800"#, daemon.display()),
        r"AppData\Local\sse-bus\service.xml",
        "schtasks /Create",
    ] {
        assert!(printed.contains(text), "{text} is not in\n{printed}");
    }
}

#[test]
fn a_configuration_is_checked() {
    let sandbox = Sandbox::new();
    let check = |text: &str| {
        fs::write(sandbox.path("config.toml"), text).unwrap();
        let mut busd = sandbox.command(env!("CARGO_BIN_EXE_sse-busd"));
        busd.args(["--check", "--config", "config.toml"]);
        Process::start(busd).finish()
    };
    check("socket = '\\\\.\\pipe\\mine'\r\nhistory = \"disk\"\r\n").ok();
    check("lissten = \"127.0.0.1:1\"\r\n").ends_with(2).says("lissten");
}
