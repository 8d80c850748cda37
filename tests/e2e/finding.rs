//! Programs of one user find its one bus whatever their environment: under cron, after `su`, in containers. What keeps them from
//! it is named, and no advice leads to a second bus.

use std::{fs, os::unix::net::UnixListener, path::Path, process::Command};

use crate::{
    harness::{Daemon, Process, Run, Sandbox, after, block_on, until, wrap},
    other_users::NOBODY,
};

/// `sse-busctl` without a given socket, which expects a daemon on a port.
pub(crate) fn busctl(sandbox: &Sandbox, port: u16, args: &[&str]) -> Command {
    let mut busctl = sandbox.busctl(args);
    busctl.env("SSE_BUS_SOCKET", "").env("SSE_BUS_LISTEN", format!("localhost:{port}"));
    busctl
}

/// Runs a command to its end.
pub(crate) fn run(command: Command) -> Run {
    Process::start(command).finish()
}

/// Runs a command in a mount namespace in which `/run/user` has the directory of one user alone.
fn with_runtime_directory(user: u32, command: &mut Command) {
    let script =
        format!("mount -t tmpfs none /run/user && mkdir -m 700 /run/user/{user} && chown {user} /run/user/{user}");
    after(&script, command);
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--"]);
    wrap(unshare, command);
}

/// Joins the namespaces of a process.
fn beside(pid: u32, command: &mut Command) {
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--mount", "--wd=/", "--target", &pid.to_string(), "--"]);
    wrap(nsenter, command);
}

#[test]
#[ignore = "needs namespaces: a mount namespace with a directory in /run/user"]
fn without_the_variable_all_programs_use_the_users_directory_in_run_user() {
    let own = rustix::process::geteuid().as_raw();
    let socket = format!("/run/user/{own}/sse-bus/bus.sock");
    let sandbox = Sandbox::new();
    let mut busd = sandbox.busd();
    busd.args(["--no-config", "--listen", "127.0.0.1:0"]).env("XDG_RUNTIME_DIR", format!("/run/user/{own}"));
    with_runtime_directory(own, &mut busd);
    let daemon = Process::start(busd);
    daemon.stderr.wait_for(&format!("socket={socket}"));
    let without = |mut command: Command| {
        command.env_remove("XDG_RUNTIME_DIR").env_remove("XDG_STATE_HOME").env("HOME", "/nonexistent");
        beside(daemon.pid(), &mut command);
        run(command)
    };
    without(busctl(&sandbox, 0, &["publish", "build", "from cron"])).ok();
    let doctor = without(busctl(&sandbox, 0, &["doctor", "--json"]));
    assert!(doctor.stdout.contains(&format!("answers at {socket}, in the runtime directory of this user")), "{doctor}");
    let mut complete = busctl(&sandbox, 0, &["--", "sse-busctl", "history", ""]);
    complete.env("SSE_BUS_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "2").env("_CLAP_COMPLETE_COMP_TYPE", "9");
    complete.env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_SPACE", "true");
    let completed = without(complete);
    assert!(completed.stdout.contains("build"), "{completed}");
    let mut second = sandbox.busd();
    second.args(["--no-config", "--listen", "127.0.0.1:0"]);
    without(second).ends_with(1).says(&format!("already running: PID {}, socket {socket}, URL http://", daemon.pid()));
}

#[test]
#[ignore = "needs namespaces: a mount namespace with a directory in /run/user"]
fn a_directory_in_run_user_that_is_not_the_users_own_is_not_used() {
    let sandbox = Sandbox::new();
    let own = rustix::process::geteuid().as_raw();
    let mut busctl = busctl(&sandbox, 0, &["status"]);
    busctl.env_remove("XDG_RUNTIME_DIR").env_remove("XDG_STATE_HOME");
    after(&format!("mv /run/user/{NOBODY} /run/user/{own}"), &mut busctl);
    with_runtime_directory(NOBODY, &mut busctl);
    let state = sandbox.path(".local/state/sse-bus/bus.sock");
    run(busctl).ends_with(3).says(&format!("no daemon at {} (XDG_RUNTIME_DIR is not set)", state.display()));
}

#[test]
fn a_client_finds_the_daemon_at_another_default_path() {
    let sandbox = Sandbox::new();
    let mut busd = sandbox.busd();
    busd.args(["--no-config", "--listen", "127.0.0.1:0"]).env("XDG_RUNTIME_DIR", "").env_remove("XDG_STATE_HOME");
    let daemon = Process::start(busd);
    daemon.stderr.wait_for("listening");
    // Started before the login that sets the variable.
    let mut busctl = busctl(&sandbox, 0, &["status"]);
    busctl.env_remove("XDG_STATE_HOME");
    assert_eq!(run(busctl).ok().json()[0]["pid"], daemon.pid());
}

#[cfg(target_os = "linux")]
#[test]
fn a_client_without_the_daemons_environment_finds_it_by_its_port() {
    let daemon = Daemon::start(&[]);
    let port = daemon.address.port();
    let elsewhere = Sandbox::new();
    let mut subscriber = Process::start(busctl(&elsewhere, port, &["subscribe", "t", "--count", "1"]));
    daemon.wait_for_subscribers(1);
    run(busctl(&elsewhere, port, &["publish", "t", "found"])).ok();
    assert!(subscriber.line().contains("found"));
    let doctor = run(busctl(&elsewhere, port, &["doctor"]));
    let socket = daemon.sandbox.socket();
    let found = format!("answers at {}, the socket of your daemon on the default port", socket.display());
    assert!(doctor.stdout.contains(&found), "{doctor}");
    // The library, in a process of its own environment.
    let endpoint = daemon.endpoint();
    let located = block_on(sse_bus::Client::connect(&endpoint)).unwrap().endpoint().unwrap().clone();
    assert_eq!(located, endpoint);
    // A socket that was named is the only one.
    let mut named = busctl(&elsewhere, port, &["status"]);
    named.env("SSE_BUS_SOCKET", elsewhere.path("nowhere"));
    run(named).ends_with(3).says("no daemon at");
    run(busctl(&elsewhere, 0, &["status"])).ends_with(3).says("no daemon at");
}

#[cfg(target_os = "linux")]
#[test]
fn a_subscriber_that_found_the_daemon_by_its_port_finds_the_next_one() {
    let daemon = Daemon::start(&[]);
    let (address, elsewhere) = (daemon.address, Sandbox::new());
    let mut subscriber = Process::start(busctl(&elsewhere, address.port(), &["subscribe", "t", "--count", "3"]));
    daemon.wait_for_subscribers(1);
    daemon.publish("t", "first");
    assert!(subscriber.line().contains("first"));
    drop(daemon);
    let next = Sandbox::new();
    let socket = next.socket().display().to_string();
    let flags = ["--no-config", "--listen", &address.to_string(), "--socket", &socket].map(str::to_owned);
    let next = Daemon::of_command(next, flags.into(), |_| {});
    next.wait_for_subscribers(1);
    next.publish("t", "second");
    assert!(subscriber.line().contains("$gap") && subscriber.line().contains("second"));
}

#[cfg(target_os = "linux")]
#[test]
fn no_advice_leads_to_a_second_bus() {
    let daemon = Daemon::start(&[]);
    let elsewhere = Sandbox::new();
    let address = daemon.address.to_string();
    let socket = daemon.sandbox.socket().display().to_string();
    let running = format!("already running: PID {}, socket {socket}, URL http://{address}", daemon.pid());
    let second = elsewhere.busd_fails(&["--listen", &address]).ends_with(1).says(&running);
    assert!(second.stderr.trim_end().ends_with(&running), "no advice to split the bus: {second}");
    let mut doctor = busctl(&elsewhere, daemon.address.port(), &["doctor"]);
    doctor.env("SSE_BUS_SOCKET", elsewhere.path("nowhere"));
    let doctor = run(doctor);
    let ports: Vec<_> = doctor.json().into_iter().filter(|finding| finding["check"] == "port").collect();
    let found = ports.iter().find(|finding| finding["state"] == "problem").unwrap_or_else(|| panic!("{doctor}"));
    let message = found["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("is served by your own daemon (process {}) at {socket}", daemon.pid())),
        "{doctor}"
    );
    assert_eq!(found["fix"], format!("sse-busctl --socket {socket} doctor"));
    // Nor by one that does not answer.
    daemon.suspend();
    let second = elsewhere.busd_fails(&["--listen", &address]).ends_with(1);
    second.says(&format!("already running: PID {}, socket {socket}; it does not answer", daemon.pid()));
}

#[test]
fn without_the_variable_the_error_names_it() {
    let sandbox = Sandbox::new();
    let mut busctl = busctl(&sandbox, 0, &["publish", "x", "y"]);
    busctl.env_remove("XDG_RUNTIME_DIR");
    run(busctl).ends_with(3).says("(XDG_RUNTIME_DIR is not set); start one with `sse-busd`");
}

#[test]
#[ignore = "needs namespaces: a mount namespace with a mounted socket file"]
fn a_mounted_socket_file_whose_daemon_has_restarted_is_stale() {
    let mut daemon = Daemon::start(&[]);
    let mounted = daemon.sandbox.file("mounted file", "");
    let script = format!("mount --bind '{}' '{mounted}'", daemon.sandbox.socket().display());
    let mut container = daemon.sandbox.command("sleep");
    container.arg("1000");
    after(&script, &mut container);
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--"]);
    wrap(unshare, &mut container);
    let container = Process::start(container);
    let inside = |args: &[&str]| {
        let mut busctl = daemon.sandbox.busctl(args);
        busctl.env("SSE_BUS_SOCKET", &mounted);
        beside(container.pid(), &mut busctl);
        run(busctl)
    };
    until("the socket is mounted", || (inside(&["status"]).code == Some(0)).then_some(()));
    daemon.kill();
    daemon.start_again();
    let inside = |args: &[&str]| {
        let mut busctl = daemon.sandbox.busctl(args);
        busctl.env("SSE_BUS_SOCKET", &mounted);
        beside(container.pid(), &mut busctl);
        run(busctl)
    };
    let stale =
        inside(&["publish", "x", "y"]).ends_with(3).says(&format!("{mounted} is stale")).says("mount the directory");
    assert!(!stale.stderr.contains("start one"), "{stale}");
    let doctor = inside(&["doctor"]);
    assert!(doctor.stdout.contains("has replaced the file that is mounted there"), "{doctor}");
}

#[test]
fn a_socket_that_a_killed_daemon_left_is_stale() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("run")).unwrap();
    drop(UnixListener::bind(sandbox.socket()).unwrap());
    run(sandbox.busctl(&["status"])).ends_with(3).says("whose socket file is stale");
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_reported_by_all() {
    let sandbox = Sandbox::new();
    let long = format!("/tmp/{}", "x".repeat(103));
    let said = format!("{long} has 108 bytes, which is too long for a socket: the maximum is 107");
    let mut status = sandbox.busctl(&["status"]);
    status.env("SSE_BUS_SOCKET", &long);
    run(status).ends_with(2).says(&said);
    let mut from_runtime = sandbox.busd();
    from_runtime.args(["--no-config", "--check"]).env("XDG_RUNTIME_DIR", format!("/tmp/{}", "x".repeat(100)));
    run(from_runtime).ends_with(2).says("too long for a socket");
    let file = sandbox.file("config.toml", format!("\nsocket = \"{long}\"\n"));
    let mut check = sandbox.busd();
    check.args(["--check", "--config", &file]);
    run(check).ends_with(2).says(&format!("{file}:2:1: ")).says(&said);
}

#[test]
fn the_home_directory_in_a_path_is_expanded_and_variables_are_refused() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("config.toml", "socket = \"~/run/bus.sock\"\nstate_dir = \"~/state\"\n");
    let check = |file: &str, flags: &[&str]| {
        let mut busd = sandbox.busd();
        busd.args(["--check=json", "--config", file]).args(flags);
        run(busd)
    };
    let report = check(&file, &[]).ok().json().remove(0);
    assert_eq!(report["socket"], sandbox.socket().to_str().unwrap());
    assert_eq!(report["state_dir"], sandbox.path("state").to_str().unwrap());
    // Shells do not expand it there.
    let report = check(&file, &["--socket=~/x.sock"]).ok().json().remove(0);
    assert_eq!(report["socket"], sandbox.path("x.sock").to_str().unwrap());
    for (line, at, said) in [
        ("socket = \"$HOME/bus.sock\"", "1:10", "variables are not expanded in this file"),
        ("state_dir = \"/run/user/${UID}/x\"", "1:13", "variables are not expanded in this file"),
        ("tls_key = \"keys/bus.key\"", "1:11", "must be absolute"),
        ("socket = \"bus.sock\"", "1:10", "must be absolute, or begin with ~/"),
    ] {
        let file = sandbox.file("config.toml", line);
        let run = check(&file, &[]).ends_with(2);
        let error = run.json()[0]["errors"][0].as_str().unwrap().to_owned();
        assert!(error.starts_with(&format!("{file}:{at}: ")) && error.contains(said), "{run}");
    }
    let daemon = Daemon::start_at(sandbox, &["--no-config"]);
    let mut status = daemon.sandbox.command(env!("CARGO_BIN_EXE_sse-busctl"));
    status.args(["--socket=~/run/bus.sock", "status"]);
    run(status).ok();
    let mut status = daemon.sandbox.command(env!("CARGO_BIN_EXE_sse-busctl"));
    status.arg("status").env("SSE_BUS_SOCKET", "~/run/bus.sock");
    run(status).ok();
    assert!(!Path::new(&daemon.sandbox.path("~")).exists());
}
