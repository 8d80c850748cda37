//! Start and stop: one daemon per socket and port, a clean end, and stale files.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt, chown},
    os::unix::process::CommandExt,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    harness::{Daemon, Process, Sandbox, until},
    other_users::{NOBODY, copy},
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_signal_ends_all_streams_cleanly_and_the_daemon_soon() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = Daemon::start(&[]);
        let mut streams = [daemon.stream("/events/t"), daemon.stream_locally("/events/t")];
        let curl = daemon.spawn_curl("/events/t");
        let mut lines = daemon.lines();
        lines.ask(r#"{"subscribe":{"filters":["t"]}}"#);
        let idle = daemon.tcp();
        // One subscriber does not read what waits for it.
        let _stuck = daemon.stream("/events/flood");
        for _ in 0..40 {
            daemon.publish("flood", "x".repeat(200_000));
        }
        daemon.wait_for_subscribers(5);
        // Events accepted before the signal are delivered.
        daemon.publish("t", "last");

        let asked = Instant::now();
        daemon.signal(signal);
        assert_eq!(daemon.wait(), Some(0));
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        for stream in &mut streams {
            assert_eq!(stream.data(1), ["last"]);
            stream.ends();
        }
        curl.finish().ok();
        assert_eq!(lines.event()["data"], "last");
        assert!(lines.next().is_none());
        drop(idle);
        assert!(!daemon.sandbox.socket().exists(), "the socket file was not removed");
        assert!(daemon.log().contains("stopped"));
    }
}

#[test]
fn events_accepted_before_the_signal_reach_subscribers_that_are_behind() {
    let mut daemon = Daemon::start(&[]);
    let mut streams = [daemon.stream("/events/t"), daemon.stream_locally("/events/t")];
    // More than the socket buffers, one read of the bus and the feed hold.
    let sent: Vec<String> = (0..120).map(|n| format!("{n:0>50000}")).collect();
    for data in &sent {
        daemon.publish("t", data);
    }
    daemon.signal(Signal::TERM);
    until("the daemon is stopping", || daemon.log().contains("stopping").then_some(()));
    for stream in &mut streams {
        assert!(stream.data(sent.len()) == sent, "an event is missing or out of order");
        stream.ends();
    }
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn an_idle_publisher_is_closed_at_the_end() {
    let mut daemon = Daemon::start(&[]);
    let mut lines = daemon.lines();
    assert!(lines.ask(r#"{"publish":{"topic":"t","data":"x"}}"#)["published"].is_object());
    daemon.signal(Signal::TERM);
    assert!(lines.next().is_none());
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn the_socket_and_its_directory_are_private() {
    let daemon = Daemon::start(&[]);
    let socket = daemon.sandbox.socket();
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o700);
}

#[test]
fn a_second_daemon_on_the_socket_fails_at_once_and_names_the_first() {
    let daemon = Daemon::start(&[]);
    let socket = daemon.sandbox.socket().display().to_string();
    let run = daemon.sandbox.busd_fails(&["--socket", &socket, "--listen", "127.0.0.1:0"]).ends_with(1);
    let run =
        run.says(&format!("already running: PID {}, socket {socket}, URL http://{}", daemon.pid(), daemon.address));
    assert!(!run.stderr.contains("--"), "advice to split the bus: {run}");
    assert_eq!(run.stderr.lines().count(), 1, "{run}");
    daemon.publish("t", "the first still serves");
    daemon.ctl(&["status"]).ok();
}

#[test]
fn a_second_daemon_on_the_port_fails_at_once_and_names_the_first() {
    let daemon = Daemon::start(&[]);
    let socket = daemon.sandbox.path("other.sock").display().to_string();
    let address = daemon.address.to_string();
    let run = daemon.sandbox.busd_fails(&["--socket", &socket, "--listen", &address]).ends_with(1);
    if cfg!(target_os = "linux") {
        let first = daemon.sandbox.socket().display().to_string();
        let run = run.says(&format!("already running: PID {}, socket {first}, URL http://{address}", daemon.pid()));
        assert!(!run.stderr.contains("--"), "advice to split the bus: {run}");
    } else {
        run.says(&address).says("--listen");
    }
    assert!(!Path::new(&socket).exists(), "the failed daemon did not remove its socket");
}

#[test]
fn a_stale_socket_is_taken_over() {
    let mut daemon = Daemon::start(&[]);
    daemon.kill();
    assert!(daemon.sandbox.socket().exists());
    daemon.start_again();
    daemon.ctl(&["publish", "t", "x"]).ok();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    assert!(!daemon.sandbox.socket().exists());
}

#[test]
fn a_path_that_is_not_a_socket_is_left_alone() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("precious", "data");
    let run = sandbox.busd_fails(&["--socket", &file, "--listen", "127.0.0.1:0"]).ends_with(1);
    run.says(&file).says("left alone");
    assert_eq!(fs::read_to_string(&file).unwrap(), "data");
    // Nor is a link to another directory.
    let link = sandbox.path("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let run = sandbox.busd_fails(&["--socket", &link.display().to_string(), "--listen", "127.0.0.1:0"]).ends_with(1);
    run.says("left alone");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn unusable_socket_paths_are_explained() {
    let sandbox = Sandbox::new();
    let long = sandbox.path(&"x".repeat(120)).display().to_string();
    sandbox.busd_fails(&["--socket", &long, "--listen", "127.0.0.1:0"]).ends_with(2).says("too long for a socket");
    let file = sandbox.file("file", "");
    let below = format!("{file}/bus.sock");
    sandbox.busd_fails(&["--socket", &below, "--listen", "127.0.0.1:0"]).ends_with(1).says("--socket");
    let socket = sandbox.socket().display().to_string();
    sandbox.busd_fails(&["--socket", &socket, "--listen", "0.0.0.0:0"]).ends_with(2).says("not a loopback address");
}

#[test]
fn without_flags_both_programs_use_the_runtime_directory() {
    let sandbox = Sandbox::new();
    let mut busd = sandbox.busd();
    busd.args(["--no-config", "--listen", "127.0.0.1:0"]).env("XDG_RUNTIME_DIR", sandbox.path("runtime"));
    fs::create_dir(sandbox.path("runtime")).unwrap();
    let daemon = Process::start(busd);
    daemon.stderr.wait_for("listening");
    assert!(sandbox.path("runtime/sse-bus/bus.sock").exists());
    let mut status = sandbox.command(env!("CARGO_BIN_EXE_sse-busctl"));
    // An empty variable counts as unset.
    status.arg("status").env("XDG_RUNTIME_DIR", sandbox.path("runtime")).env("SSE_BUS_SOCKET", "");
    assert_eq!(Process::start(status).finish().ok().json()[0]["pid"], daemon.pid());
    daemon.signal(Signal::TERM);
    daemon.finish().ok();
}

#[test]
#[ignore = "needs root: acts as two users"]
fn other_users_are_refused_by_file_modes_and_by_the_daemon() {
    let sandbox = Sandbox::new();
    chown(sandbox.path(""), Some(NOBODY), None).unwrap();
    let mut busd = copy(env!("CARGO_BIN_EXE_sse-busd"), &sandbox);
    busd.args(["--no-config", "--listen", "127.0.0.1:0", "--socket"]).arg(sandbox.socket()).uid(NOBODY);
    let daemon = Process::start(busd);
    daemon.stderr.wait_for("listening");
    // File modes do not stop root; the daemon checks the peer's user.
    let run = Process::start(sandbox.busctl(&["publish", "t", "x"])).finish();
    assert_ne!(run.code, Some(0), "{run}");
    daemon.stderr.wait_for("refused a local connection of another user");
    drop(daemon);

    let daemon = Daemon::start(&[]);
    let folder = daemon.sandbox.path("");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let mut busctl = copy(env!("CARGO_BIN_EXE_sse-busctl"), &daemon.sandbox);
    busctl.args(["publish", "t", "x", "--socket"]).arg(daemon.sandbox.socket()).uid(NOBODY);
    Process::start(busctl).finish().ends_with(6).says("another user");
    until("nothing was published", || (daemon.status()["published"] == 0).then_some(()));
}
