//! `sse-busctl request` and `reply`, over the local socket and with `--url`.

use serde_json::json;

use crate::{
    harness::{Daemon, Process, until},
    remote::url,
};

/// Runs a test over the local socket, then over HTTP.
fn over_each_transport(test: impl Fn(&Daemon, &[&str])) {
    let daemon = Daemon::start(&[]);
    test(&daemon, &[]);
    test(&daemon, &["--url", &url(&daemon)]);
}

fn reply(daemon: &Daemon, before: &[&str], args: &[&str]) -> Process {
    let process = daemon.spawn_ctl(&[before, &["reply"], args].concat());
    until("the responder", || (daemon.get("/clients").json()[0]["role"] == "responder").then_some(()));
    process
}

fn end(daemon: &Daemon, process: Process) {
    process.signal(rustix::process::Signal::TERM);
    process.finish().ok();
    until("its end", || (daemon.get("/clients").json() == json!([])).then_some(()));
}

#[test]
fn the_output_of_the_command_is_the_reply() {
    over_each_transport(|daemon, before| {
        let sum = r#"read a b; echo "$((a + b)) $SSE_BUS_TOPIC $SSE_BUS_TYPE""#;
        let calc = reply(daemon, before, &["math/*", "--exec", sum, "--client", "calc"]);
        let request = |args: &[&str]| daemon.ctl(&[before, &["request"], args].concat());
        assert_eq!(request(&["math/sum", "1 2", "--type", "ask"]).ok().stdout, "3 math/sum ask\n");
        let run = daemon.ctl_fed(&[before, &["request", "math/sum", "--json"]].concat(), b"4 5\n").ok();
        assert_eq!(run.json(), [json!({ "data": "9 math/sum ", "responder": "calc" })]);
        end(daemon, calc);
    });
}

#[test]
fn the_exit_code_of_a_failed_request_shows_why() {
    over_each_transport(|daemon, before| {
        let request = |args: &[&str]| daemon.ctl(&[before, &["request"], args].concat());
        request(&["math/sum", "", "--timeout", "1h"]).ends_with(4).says("no_responder");
        let calc = reply(daemon, before, &["**", "--exec", "read -r command; eval \"$command\"", "-j", "2"]);
        request(&["a", "exit 3"]).ends_with(1).says("the command failed (exit status: 3)").says("responder_failed");
        // The command and its children end with the time of the request.
        request(&["a", "sleep 600; echo late", "--timeout", "300ms"]).ends_with(5).says("timed_out");
        calc.stderr.wait_for("did not end in the time of the request");
        request(&["a", "printf '\\377'"]).ends_with(1).says("not UTF-8");
        request(&["a//b", ""]).ends_with(2).says("topic");
        // Nothing else was answered meanwhile.
        assert_eq!(request(&["a", "printf 'two\\nlines\\n\\n'"]).ok().stdout, "two\nlines\n\n");
        calc.signal(rustix::process::Signal::KILL);
        calc.finish();
        until("its end", || (daemon.get("/clients").json() == json!([])).then_some(()));
    });
}

#[test]
fn requests_are_answered_at_the_same_time() {
    over_each_transport(|daemon, before| {
        // Each command ends once the other one has begun.
        let folder = daemon.sandbox.path(if before.is_empty() { "local" } else { "http" });
        std::fs::create_dir(&folder).unwrap();
        let both = format!(
            "cd {}; touch $$; while test $(ls | wc -l) -lt 2; do sleep 0.02; done; echo both",
            folder.display()
        );
        let calc = reply(daemon, before, &["a", "--exec", &both, "-j", "2"]);
        let requests = [0, 1].map(|_| daemon.spawn_ctl(&["request", "a", ""]));
        for request in requests {
            assert_eq!(request.finish().ok().stdout, "both\n");
        }
        end(daemon, calc);
    });
}

#[test]
fn after_a_signal_the_requests_that_it_has_are_answered() {
    let daemon = Daemon::start(&[]);
    let fifo = daemon.sandbox.path("go");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let calc = reply(&daemon, &[], &["a", "--exec", &format!("cat {}; echo done", fifo.display())]);
    let request = daemon.spawn_ctl(&["request", "a", ""]);
    // The command has begun once the other end of the pipe opens.
    let pipe = std::fs::File::options().write(true).open(&fifo).unwrap();
    calc.signal(rustix::process::Signal::TERM);
    // It takes no further requests.
    until("the end of the offer", || {
        let run = daemon.ctl(&["request", "a", "", "--timeout", "20ms"]);
        run.stderr.contains("no_responder").then_some(())
    });
    drop(pipe);
    assert_eq!(request.finish().ok().stdout, "done\n");
    calc.finish().ok();
}

#[test]
fn a_responder_reconnects_after_a_restart() {
    for over_http in [false, true] {
        let sandbox = crate::harness::Sandbox::new();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let socket = sandbox.socket().display().to_string();
        let flags = ["--no-config", "--listen", &address, "--socket", &socket].map(str::to_owned);
        let mut daemon = Daemon::of_command(sandbox, flags.into(), |_| {});
        let address = url(&daemon);
        let before = if over_http { vec!["--url", &address] } else { Vec::new() };
        let calc = reply(&daemon, &before, &["a", "--exec", "cat"]);
        daemon.kill();
        calc.stderr.wait_for("reconnecting");
        daemon.start_again();
        calc.stderr.wait_for("reconnected");
        assert_eq!(daemon.ctl(&["request", "a", "x"]).ok().stdout, "x\n");
        end(&daemon, calc);
    }
}
