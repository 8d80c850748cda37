//! A daemon that accepts connections and never answers: every command gives up after a timeout, with one line.

use std::{
    os::unix::net::{UnixListener, UnixStream},
    time::Instant,
};

use rustix::process::Signal;
use sse_bus::limits::REPLY;

use crate::{
    durable,
    harness::{Daemon, Process, Sandbox, until},
};

/// Every command that queries the daemon.
const COMMANDS: [&[&str]; 14] = [
    &["status"],
    &["status", "--config"],
    &["clients"],
    &["topics"],
    &["url", "build/**"],
    &["kick", "phone"],
    &["history", "**"],
    &["subscribe", "**"],
    &["send", "phone", "hi"],
    &["publish", "t", "hi"],
    &["publish", "t", "hi", "--ack", "durable"],
    &["publish", "t", "hi", "--wait-for", "1"],
    &["publish", "t", "--lines"],
    &["token", "list"],
];

#[test]
fn commands_give_up_on_a_suspended_daemon_but_streams_and_durable_publishes_wait() {
    let daemon = Daemon::start_at(Sandbox::new(), &durable::FLAGS);
    let mut listens = daemon.spawn_ctl(&["subscribe", "t"]);
    daemon.wait_for_subscribers(1);
    let publishes = daemon.spawn_ctl(&["publish", "t", "x", "--every", "10ms", "--ack", "durable"]);
    listens.line();
    daemon.suspend();

    let began = Instant::now();
    let mut asking: Vec<Process> = COMMANDS.iter().map(|command| daemon.spawn_ctl(command)).collect();
    asking.iter_mut().zip(COMMANDS).filter(|(_, command)| command.contains(&"--lines")).for_each(|(process, _)| {
        process.feed(b"a line\n");
    });
    // More than the socket buffers hold.
    let large = daemon.sandbox.file("large", vec![b'x'; 3 << 20]);
    asking.push(daemon.spawn_ctl(&["publish", "t", "--file", &large]));
    let socket = daemon.sandbox.socket().display().to_string();
    for process in asking {
        let run = process.finish().ends_with(5).says(&format!("the daemon at {socket} does not answer within 10s"));
        assert!(
            run.stderr.contains("; run `sse-busctl doctor` to find out why") && run.stderr.lines().count() == 1,
            "{run}"
        );
        assert_eq!(run.stdout, "", "{run}");
    }
    assert!(began.elapsed() >= REPLY);

    let so_far = [&listens, &publishes].map(|process| process.stdout.text().len());
    daemon.signal(Signal::CONT);
    for (process, so_far) in [&listens, &publishes].into_iter().zip(so_far) {
        until("output continues", || (process.stdout.text().len() > so_far).then_some(()));
        assert_eq!(process.stderr.text(), "");
    }
}

#[test]
fn commands_give_up_on_a_socket_with_a_full_queue() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("run")).unwrap();
    let listener = UnixListener::bind(sandbox.socket()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _waits = UnixStream::connect(sandbox.socket()).unwrap();
    let run = Process::start(sandbox.busctl(&["status"])).finish().ends_with(5);
    run.says("bus.sock does not answer within 4s; run `sse-busctl doctor` to find out why");
}
