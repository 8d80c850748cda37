//! `sse-busctl doctor`: each fault that it detects is produced for real, and must be found, with its fix.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    process::Command,
};

use serde_json::Value;

use crate::{
    clocks::TimeOfDay,
    disks::SmallDisk,
    durable,
    harness::{Daemon, Process, Run, Sandbox, after, until},
};

/// Returns the doctor's finding of one check.
#[track_caller]
pub(crate) fn finding(run: &Run, check: &str) -> (String, String, String) {
    let findings = run.json();
    let found = findings.iter().find(|finding| finding["check"] == check);
    let found = found.unwrap_or_else(|| panic!("there is no finding of {check}\n{run}"));
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    let (state, fix) = (text("state"), text("fix"));
    let has_fix = found["fix"] != Value::Null;
    assert_eq!(
        ["warning", "problem"].contains(&&*state),
        has_fix,
        "warnings and problems, and only those, have a fix\n{run}"
    );
    (state, text("message"), fix)
}

/// Checks the finding of one check.
#[track_caller]
pub(crate) fn says(run: &Run, check: &str, state: &str, message: &str, fix: &str) {
    let (found, said, fixed_by) = finding(run, check);
    assert_eq!(found, state, "{check}\n{run}");
    assert!(said.contains(message), "{check} does not say {message:?}\n{run}");
    assert!(fixed_by.contains(fix), "the fix of {check} does not contain {fix:?}\n{run}");
}

/// Runs the doctor where no daemon runs.
fn doctor(sandbox: &Sandbox, change: impl FnOnce(&mut Command)) -> Run {
    let mut busctl = sandbox.busctl(&["doctor"]);
    // An unused socket path: a daemon of this machine must not affect the test.
    busctl.env("SSE_BUS_LISTEN", "127.0.0.1:0");
    change(&mut busctl);
    Process::start(busctl).finish()
}

#[test]
fn a_healthy_setup_has_no_problems() {
    let daemon = Daemon::start(&[]);
    let run = daemon.ctl(&["doctor"]).ok();
    says(&run, "daemon", "ok", "from SSE_BUS_SOCKET", "");
    says(&run, "port", "ok", &daemon.address.to_string(), "");
    says(&run, "configuration", "ok", "valid", "");
    for check in ["version", "directory", "socket", "limits", "origins", "history", "clock"] {
        says(&run, check, "ok", "", "");
    }
    assert!(run.json().iter().all(|finding| finding["state"] != "problem"), "{run}");
}

#[test]
fn on_a_terminal_findings_are_lines_with_commands() {
    let sandbox = Sandbox::new();
    let mut terminal = sandbox.command("script");
    let doctor = format!("{} doctor", env!("CARGO_BIN_EXE_sse-busctl"));
    terminal.args(["-qec", &doctor, "/dev/null"]).env("SSE_BUS_SOCKET", sandbox.socket());
    terminal.env("SSE_BUS_LISTEN", "127.0.0.1:0").env("TERM", "xterm").env_remove("NO_COLOR");
    let run = Process::start(terminal).finish().ends_with(3);
    let mut lines = run.stdout.lines().map(str::trim_end);
    let socket = sandbox.socket().display().to_string();
    let wanted = format!("\x1b[31mproblem  \x1b[0mdaemon         no daemon at {socket}, from SSE_BUS_SOCKET");
    assert_eq!(lines.next(), Some(wanted.as_str()), "{run}");
    assert_eq!(lines.next().map(str::trim_start), Some("sse-busd"), "{run}");
    let last = run.stdout.lines().last().unwrap();
    assert!(last.starts_with("1 problem to fix") && last.contains(" checks ok"), "{run}");

    let mut piped = sandbox.busctl(&["doctor", "--format", "text"]);
    piped.env("SSE_BUS_LISTEN", "127.0.0.1:0");
    let run = Process::start(piped).finish().ends_with(3);
    assert!(run.stdout.starts_with("problem  daemon ") && !run.stdout.contains('\x1b'), "{run}");
}

#[test]
fn without_a_daemon_the_other_checks_still_run() {
    let sandbox = Sandbox::new();
    let run = doctor(&sandbox, |_| {}).ends_with(3);
    says(&run, "daemon", "problem", "no daemon at", "sse-busd");
    says(&run, "configuration", "ok", "valid", "");
    says(&run, "directory", "ok", "does not exist yet", "");
    says(&run, "socket", "ok", "does not exist", "");
    says(&run, "port", "ok", "free", "");
}

#[test]
fn the_rule_that_selected_the_socket_is_shown() {
    let sandbox = Sandbox::new();
    let run = doctor(&sandbox, |doctor| {
        doctor.env_remove("SSE_BUS_SOCKET");
    })
    .ends_with(3);
    says(&run, "daemon", "problem", "in the runtime directory of this user", "sse-busd");
    let run = doctor(&sandbox, |doctor| {
        doctor.env_remove("SSE_BUS_SOCKET").env_remove("XDG_RUNTIME_DIR");
    });
    says(&run, "daemon", "problem", "XDG_RUNTIME_DIR is not set", "sse-busd");
    let run = doctor(&sandbox, |doctor| {
        doctor.args(["--socket", "/nowhere/it's"]);
    });
    says(&run, "daemon", "problem", "from --socket", r"sse-busd --socket '/nowhere/it'\''s'");
}

#[test]
fn the_socket_of_a_killed_daemon_is_stale() {
    let mut daemon = Daemon::start(&[]);
    daemon.kill();
    let run = doctor(&daemon.sandbox, |_| {}).ends_with(3);
    says(&run, "socket", "warning", "stale", "sse-busd");
    // The suggested command fixes it.
    daemon.start_again();
    says(&daemon.ctl(&["doctor"]).ok(), "socket", "ok", "only this user", "");
}

#[test]
fn a_path_that_is_not_a_socket_is_reported() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("run")).unwrap();
    let socket = sandbox.file("run/bus.sock", "");
    let run = doctor(&sandbox, |_| {}).ends_with(3);
    says(&run, "socket", "problem", "is not a socket", &format!("mv {socket} {socket}.old"));
}

#[test]
fn a_directory_writable_by_others_is_a_problem() {
    let daemon = Daemon::start(&[]);
    let directory = daemon.sandbox.path("run");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    let run = daemon.ctl(&["doctor"]).ends_with(1);
    says(&run, "directory", "problem", "mode 0777", &format!("chmod go-w {}", directory.display()));
    fix(&finding(&run, "directory").2);
    says(&daemon.ctl(&["doctor"]).ok(), "directory", "ok", "mode 0755", "");
}

#[test]
fn a_socket_open_to_others_is_a_warning() {
    let daemon = Daemon::start(&[]);
    fs::set_permissions(daemon.sandbox.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    let run = daemon.ctl(&["doctor"]).ok();
    says(&run, "socket", "warning", "mode 0666", "chmod 600");
    fix(&finding(&run, "socket").2);
    says(&daemon.ctl(&["doctor"]).ok(), "socket", "ok", "mode 0600", "");
}

/// Runs the command that fixes a finding.
fn fix(command: &str) {
    let done = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(done.success(), "{command}");
}

#[test]
fn a_suspended_daemon_is_resumed() {
    let daemon = Daemon::start(&[]);
    daemon.suspend();
    let run = daemon.ctl(&["doctor"]).ends_with(1);
    let command = format!("kill -CONT {}", daemon.pid());
    says(&run, "daemon", "problem", "is stopped", &command);
    fix(&command);
    daemon.ctl(&["doctor"]).ok();
}

#[test]
fn a_port_in_use_is_reported_with_its_owner_and_a_free_port() {
    let sandbox = Sandbox::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    // From the configuration, and from the environment, which overrides it.
    fs::create_dir(sandbox.path("sse-bus")).unwrap();
    sandbox.file("sse-bus/config.toml", format!("listen = \"{address}\"\n"));
    let run = doctor(&sandbox, |doctor| {
        doctor.env_remove("SSE_BUS_LISTEN");
    })
    .ends_with(3);
    let (state, said, fix) = finding(&run, "port");
    assert_eq!(state, "problem", "{run}");
    assert!(said.contains(&format!("{address}, as configured, is in use by")), "{run}");
    if cfg!(target_os = "linux") {
        assert!(said.contains(&format!("(pid {})", std::process::id())), "{run}");
    }
    let free: SocketAddr = fix.strip_prefix("sse-busd --listen ").unwrap().parse().unwrap();
    assert!(free.port() > address.port(), "{run}");
    says(&doctor(&sandbox, |_| {}), "port", "ok", "127.0.0.1:0, as configured, is free", "");
}

#[test]
fn every_loopback_address_is_checked() {
    let sandbox = Sandbox::new();
    let taken = TcpListener::bind("[::1]:0").unwrap();
    let address = taken.local_addr().unwrap();
    let localhost = format!("localhost:{}", address.port());
    let run = doctor(&sandbox, |doctor| {
        doctor.env("SSE_BUS_LISTEN", localhost);
    });
    let run = run.ends_with(3);
    let ports: Vec<_> = run.json().into_iter().filter(|finding| finding["check"] == "port").collect();
    let message = |index: usize| ports[index]["message"].as_str().unwrap();
    assert!(message(0).contains(&format!("127.0.0.1:{}, as configured, is free", address.port())), "{run}");
    assert!(message(1).contains(&format!("{address}, as configured, is in use by")), "{run}");
    let fix = ports[1]["fix"].as_str().unwrap();
    let free: u16 = fix.strip_prefix("sse-busd --listen localhost:").unwrap().parse().unwrap();
    assert!(ports.len() == 2 && free > address.port(), "{run}");
}

#[test]
fn an_invalid_configuration_is_a_problem() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("sse-bus")).unwrap();
    let file = sandbox.file("sse-bus/config.toml", "lissten = \"127.0.0.1:0\"\nlog = 5\n");
    let run = doctor(&sandbox, |_| {}).ends_with(3);
    let (_, said, _) = finding(&run, "configuration");
    assert!(said.contains("; ") && !said.contains("sse-busd:"), "each error is reported once\n{run}");
    says(&run, "configuration", "problem", "lissten", &file);
    let daemon = Daemon::start_at(sandbox, &["--no-config"]);
    daemon.ctl(&["doctor"]).ends_with(1);
}

#[test]
fn too_few_descriptors_for_the_subscribers_is_a_warning() {
    let sandbox = Sandbox::new();
    let socket = sandbox.socket().display().to_string();
    let flags = ["--no-config", "--listen", "127.0.0.1:0", "--socket", &socket].map(str::to_owned).to_vec();
    let daemon = Daemon::of_command(sandbox, flags.clone(), |busd| {
        after("ulimit -n 300", busd);
        busd.env("SSE_BUS_LOG", "info,sse_busd=debug");
    });
    let run = daemon.ctl(&["doctor"]).ok();
    // The daemon is started again as it was started.
    let busd = [env!("CARGO_BIN_EXE_sse-busd").to_owned()].into_iter().chain(flags).collect::<Vec<_>>().join(" ");
    let directory = std::env::current_dir().unwrap();
    let restart =
        format!("kill {} && cd {} && SSE_BUS_LOG='info,sse_busd=debug' {busd}", daemon.pid(), directory.display());
    let fix = format!("sudo prlimit --pid $$ --nofile=50256:50256 && {restart}");
    says(&run, "descriptors", "warning", "300 descriptors", &fix);
}

#[test]
fn a_limit_that_is_nearly_reached_is_a_warning() {
    let daemon = Daemon::configured("[limits]\ntopics = 5\n");
    for topic in ["a", "b", "c", "d", "e"] {
        daemon.publish(topic, "x");
    }
    says(&daemon.ctl(&["doctor"]).ok(), "limits", "warning", "of topics = 5", "[limits] topics = 10");
}

#[test]
fn of_refused_pages_only_those_of_this_machine_are_suggested() {
    let daemon = Daemon::start(&[]);
    let refuse = |origin| assert_eq!(daemon.request("GET", "/events/t", &[("Origin", origin)], "").status, 403);
    refuse("http://evil.example");
    let run = daemon.ctl(&["doctor"]).ok();
    says(
        &run,
        "origins",
        "warning",
        "http://evil.example (1 time",
        "allow_origin = [\"ORIGIN\"], only if the page is yours",
    );
    refuse("http://localhost:3000");
    let run = daemon.ctl(&["doctor"]).ok();
    let fix = format!("kill -HUP {}   # allow_origin = [\"http://localhost:3000\"]", daemon.pid());
    says(&run, "origins", "warning", "http://localhost:3000 (1 time", &fix);
}

#[test]
fn no_fix_starts_a_second_daemon_beside_the_one_that_runs() {
    let daemon = Daemon::configured("[limits]\ntopics = 1\n");
    daemon.publish("t", "x");
    for header in [("Origin", "http://localhost:3000"), ("Host", "other.example")] {
        assert!(daemon.request("GET", "/events/t", &[header], "").status >= 400);
    }
    for finding in daemon.ctl(&["doctor"]).ok().json() {
        let fix = finding["fix"].as_str().unwrap_or_default();
        let starts = fix.split("&&").any(|command| command.trim_start().starts_with("sse-busd"));
        assert!(!starts || fix.contains(&format!("kill {}", daemon.pid())), "{finding}");
    }
}

/// Started with another socket, for example because a variable differs.
#[test]
fn a_port_in_use_by_another_bus_is_no_reason_to_choose_another_port() {
    let daemon = Daemon::start(&[]);
    let other = Sandbox::new();
    let run = doctor(&other, |doctor| {
        doctor.env("SSE_BUS_LISTEN", daemon.address.to_string());
    });
    let socket = daemon.sandbox.socket().display().to_string();
    says(&run, "port", "problem", "is served by your own daemon", &format!("sse-busctl --socket {socket} doctor"));
}

#[test]
fn refused_pages_without_an_origin_are_listed_without_a_command() {
    let daemon = Daemon::start(&[]);
    assert_eq!(daemon.request("GET", "/events/t", &[("Origin", "null")], "").status, 403);
    let run = daemon.ctl(&["doctor"]).ok();
    says(&run, "origins", "warning", "null (1 time", "serve the page from an origin");
    assert!(!run.stdout.contains("allow_origin"), "{run}");
}

#[test]
#[ignore = "needs disk: mounts a file system, which only root can do"]
fn history_that_does_not_reach_its_disk_is_a_problem() {
    let sandbox = Sandbox::new();
    let disk = SmallDisk::mount(&sandbox, "6m");
    let daemon = Daemon::start_at(sandbox, &durable::FLAGS);
    // The budget is larger than the disk.
    says(&daemon.ctl(&["doctor"]).ok(), "history", "warning", "the disk of", "history_budget = ");
    // Another program uses all that is left.
    let _ = fs::write(disk.0.join("filler"), vec![0; 8 << 20]);
    let run = until("the fault is found", || {
        daemon.publish("t", "x".repeat(100_000));
        let run = daemon.ctl(&["doctor"]);
        (run.code == Some(1)).then_some(run)
    });
    says(&run, "history", "problem", "No space left", "df -h");
    drop(daemon);
    drop(disk);
}

#[test]
#[ignore = "needs faketime: sets the time of day of single processes"]
fn a_daemon_with_another_time_of_day_is_a_warning() {
    let sandbox = Sandbox::new();
    let time = TimeOfDay::at(&sandbox);
    let socket = sandbox.socket().display().to_string();
    let flags = ["--no-config", "--listen", "127.0.0.1:0", "--socket", &socket].map(str::to_owned).to_vec();
    let daemon = Daemon::of_command(sandbox, flags, |busd| time.give_to(busd));
    daemon.ctl(&["doctor"]).ok();
    time.set("+1h");
    says(&daemon.ctl(&["doctor"]).ok(), "clock", "warning", "the daemon's time of day is", "timedatectl");
    // An event of that hour remains after the clock is corrected.
    daemon.publish("from/the/future", "x");
    time.set("+0");
    let run = daemon.ctl(&["doctor"]).ok();
    says(&run, "clock", "warning", "the newest event of from/the/future", "timedatectl");
}

#[test]
fn without_a_service_manager_the_check_is_skipped_without_a_problem() {
    let daemon = Daemon::start(&[]);
    let mut doctor = daemon.sandbox.busctl(&["doctor"]);
    // No manager has its socket there.
    doctor.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere");
    let run = Process::start(doctor).finish().ok();
    says(&run, "service", "unknown", "the service manager cannot be queried", "");
}
