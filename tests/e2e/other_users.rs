//! Another user of the machine at the local socket: receives and publishes nothing unless the configuration allows it.
//!
//! Only root can act as two users: these tests are ignored unless `tests/run` runs as root.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
    time::Instant,
};

use crate::{
    doctor::says,
    harness::{Daemon, Process, Sandbox, http, until, wrap},
};

/// A user who is not root and owns nothing here.
pub(crate) const NOBODY: u32 = 65534;

/// Sets the mode of a test's file or directory.
pub(crate) fn open(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Copies one of our programs into the directory of a test, where another user may run it: that user may have no access to the
/// build directory.
pub(crate) fn copy(program: &str, sandbox: &Sandbox) -> Command {
    let copy = sandbox.path(Path::new(program).file_name().unwrap().to_str().unwrap());
    // In another process: a test that starts a program meanwhile would inherit the file, open for writing, and running it would fail.
    let copied = std::process::Command::new("cp").arg(program).arg(&copy).status().unwrap();
    assert!(copied.success());
    sandbox.command(&copy.display().to_string())
}

/// Runs a shell command as another user.
fn as_nobody(sandbox: &Sandbox, script: &str) -> Process {
    let mut shell = sandbox.command("sh");
    shell.args(["-c", script, "sh"]).arg(sandbox.socket()).uid(NOBODY).gid(NOBODY);
    Process::start(shell)
}

/// A daemon whose directory and socket admit everyone as far as file modes go, with a secret in its history.
fn open_daemon() -> Daemon {
    let daemon = Daemon::start(&[]);
    daemon.publish("t?retain=true", "a secret");
    let socket = daemon.sandbox.socket();
    open(&daemon.sandbox.path(""), 0o777);
    open(socket.parent().unwrap(), 0o777);
    open(&socket, 0o777);
    daemon
}

/// First bytes of a client, in all three protocols.
const BEGINNINGS: [&str; 4] = [
    r#"{"subscribe":{"filters":["**"],"since":"all"}}\n"#,
    r"GET /events?since=all HTTP/1.1\r\nHost: bus\r\n\r\n",
    r"POST /events/t HTTP/1.1\r\nHost: bus\r\nContent-Length: 1\r\n\r\nx",
    r"\0SSEB\1",
];

#[test]
#[ignore = "needs root: acts as two users"]
fn another_user_receives_no_event_even_if_file_modes_admit_it() {
    let daemon = open_daemon();
    let before = daemon.status()["published"].clone();
    for beginning in BEGINNINGS {
        // File modes let it connect; the daemon refuses it at once.
        let run = as_nobody(&daemon.sandbox, &format!("printf '{beginning}' | socat -t 20 - UNIX:\"$1\"")).finish();
        // In the protocol of the request, and without data of others.
        assert!(run.stdout.contains("denied") && !run.stdout.contains("secret"), "{run}");
        assert!(!run.stderr.contains("connect"), "the socket was not open: {run}");
    }
    daemon.has_logged("refused a local connection of another user");
    assert_eq!(daemon.status()["published"], before);
}

#[test]
#[ignore = "needs root: acts as two users"]
fn another_user_that_disconnects_at_once_publishes_nothing() {
    let daemon = open_daemon();
    let began = Instant::now();
    let mut reader = daemon.stream("/events?since=now");
    let before = daemon.status()["published"].as_u64().unwrap();
    let publish = r#"{"publish":{"topic":"t","data":"forged","ack":"none"}}\n"#;
    // The process does not wait for a reply: it has exited before the daemon looks at it.
    let script = format!("for i in $(seq 50); do printf '{publish}' | socat -u - UNIX:\"$1\"; done");
    let crowd: Vec<_> = (0..4).map(|_| as_nobody(&daemon.sandbox, &script)).collect();
    for process in crowd {
        process.finish();
    }
    let all = "sse_bus_refused_total{code=\"denied\"} 200\n";
    until("all are refused", || daemon.get("/metrics").text().contains(all).then_some(()));
    // Such connections do not flood the log.
    let most = 2 * (10 + usize::try_from(began.elapsed().as_secs()).unwrap());
    assert!(daemon.log().matches("refused a local connection").count() < most, "{}", daemon.log());
    daemon.publish("t", "the end");
    assert_eq!(reader.data(1), ["the end"]);
    assert_eq!(daemon.status()["published"], before + 1);
}

/// A server of another user at a path, which stores what it receives.
fn plant(sandbox: &Sandbox, socket: &Path) -> Process {
    let received = sandbox.path("received");
    fs::write(&received, "").unwrap();
    chown(&received, Some(NOBODY), None).unwrap();
    let mut socat = Command::new("socat");
    socat.arg("-u").arg(format!("UNIX-LISTEN:{},fork,mode=777", socket.display()));
    socat.arg(format!("OPEN:{},append", received.display())).uid(NOBODY).gid(NOBODY);
    let server = Process::start(socat);
    until("the other user's socket is there", || socket.exists().then_some(()));
    server
}

#[test]
#[ignore = "needs root: acts as two users"]
fn a_client_refuses_a_socket_of_another_user_in_the_default_directory() {
    for (variable, usual) in [("XDG_RUNTIME_DIR", "sse-bus"), ("HOME", ".local/state/sse-bus")] {
        let sandbox = Sandbox::new();
        open(&sandbox.path(""), 0o777);
        let folder = sandbox.path(usual);
        fs::create_dir_all(&folder).unwrap();
        chown(&folder, Some(NOBODY), None).unwrap();
        let server = plant(&sandbox, &folder.join("bus.sock"));
        let busctl = |args: &[&str]| {
            let mut busctl = sandbox.command(env!("CARGO_BIN_EXE_sse-busctl"));
            busctl.args(args).env_remove("XDG_RUNTIME_DIR").env_remove("XDG_STATE_HOME");
            busctl.env(variable, sandbox.path("")).env("SSE_BUS_SOCKET", "");
            Process::start(busctl).finish()
        };
        for args in [&["publish", "t", "a secret"][..], &["subscribe", "t"], &["status"], &["kick", "c1"]] {
            busctl(args).ends_with(6).says("another user").says(&folder.display().to_string());
        }
        // Nor does a daemon use that directory.
        let mut busd = sandbox.busd();
        busd.args(["--no-config", "--listen", "127.0.0.1:0"]).env_remove("XDG_RUNTIME_DIR");
        busd.env_remove("XDG_STATE_HOME").env(variable, sandbox.path(""));
        Process::start(busd).finish().ends_with(1).says("another user");
        assert_eq!(fs::read_to_string(sandbox.path("received")).unwrap(), "");
        drop(server);
    }
}

#[test]
#[ignore = "needs root: acts as two users"]
fn a_client_refuses_a_socket_of_another_user_in_place_of_the_daemons() {
    let daemon = open_daemon();
    let socket = daemon.sandbox.socket();
    fs::remove_file(&socket).unwrap();
    let server = plant(&daemon.sandbox, &socket);
    daemon.ctl(&["publish", "t", "a secret"]).ends_with(6).says("another user");
    assert_eq!(fs::read_to_string(daemon.sandbox.path("received")).unwrap(), "");
    drop(server);
}

#[test]
#[ignore = "needs root: acts as two users"]
fn allowed_users_and_groups_are_accepted() {
    let nobody = NOBODY.to_string();
    for flag in ["--allow-uid", "--allow-gid"] {
        let daemon = Daemon::start(&[flag, "4242", flag, &nobody]);
        open(&daemon.sandbox.path(""), 0o755);
        let ask = r#"printf '{"publish":{"topic":"t","data":"x"}}\n' | socat -t 20 - UNIX:"$1""#;
        let run = as_nobody(&daemon.sandbox, ask).finish();
        assert!(run.stdout.contains("published"), "{flag} {run}");
    }
    let daemon = Daemon::start(&["--allow-uid", "4242"]);
    open(&daemon.sandbox.path(""), 0o755);
    let run = as_nobody(&daemon.sandbox, r#"printf '{"status":{}}\n' | socat -t 20 - UNIX:"$1""#).finish();
    assert!(run.stdout.contains("denied"), "{run}");
}

/// A daemon in a user namespace that maps its own user only, as systemd's `PrivateUsers=` creates one.
fn secluded(flags: &[&str]) -> Daemon {
    let sandbox = Sandbox::new();
    let socket = sandbox.socket().display().to_string();
    let usual = ["--no-config", "--listen", "127.0.0.1:0", "--socket", &socket];
    let flags = usual.iter().chain(flags).map(ToString::to_string).collect();
    Daemon::of_command(sandbox, flags, |command| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--"]);
        wrap(unshare, command);
    })
}

#[test]
#[ignore = "needs namespaces: a user namespace, and root to act as two users"]
fn users_not_mapped_in_the_daemons_namespace_are_refused_with_a_warning() {
    let nobody = NOBODY.to_string();
    let daemon = secluded(&["--allow-uid", "4242", "--allow-uid", &nobody, "--allow-gid", "0,4242"]);
    let log = daemon.log();
    for said in [
        "--allow-uid: allow_uid = 4242, 65534 is ignored: the daemon is in a user namespace that does not have this ID;",
        "--allow-gid: allow_gid = 4242 is ignored",
    ] {
        assert_eq!(log.matches(said).count(), 1, "{said}\n{log}");
    }
    assert!(log.contains("`sse-busctl service install --other-users`"), "{log}");
    // In the namespace, unmapped users look like the allowed one.
    open(&daemon.sandbox.path(""), 0o755);
    open(daemon.sandbox.socket().parent().unwrap(), 0o755);
    open(&daemon.sandbox.socket(), 0o666);
    let run = as_nobody(&daemon.sandbox, r#"printf '{"status":{}}\n' | socat -t 20 - UNIX:"$1""#).finish();
    assert!(run.stdout.contains("denied"), "{run}");
}

#[test]
fn directories_that_exclude_allowed_users_are_reported_with_the_fix() {
    let sandbox = Sandbox::new();
    open(&sandbox.path(""), 0o700);
    let mut daemon = Daemon::start_at(sandbox, &["--no-config", "--allow-uid", "4242"]);
    let (folder, run) = (daemon.sandbox.path("").canonicalize().unwrap(), daemon.sandbox.path("run"));
    let warning = "allow_uid and allow_gid have no effect";
    daemon.has_logged(&format!("{warning}: {} keeps", folder.display()));
    daemon.has_logged(&format!("`chmod o+x {}`", folder.display()));
    let doctor = daemon.ctl(&["doctor"]).ok();
    says(&doctor, "allowed_users", "warning", warning, &format!("chmod o+x {}", folder.display()));
    // The doctor does not suggest closing a socket that allowed users need.
    says(&doctor, "socket", "ok", "as allow_uid and allow_gid require", "");
    open(&folder, 0o711);
    assert!(!daemon.ctl(&["doctor"]).ok().stdout.contains("allowed_users"));
    // As an earlier start without allowed users created it.
    open(&run, 0o700);
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait();
    daemon.start_again();
    let run = run.canonicalize().unwrap();
    daemon.has_logged(&format!("`chmod o+x {}`", run.display()));
    assert_eq!(daemon.log().matches(warning).count(), 2);
}

#[test]
#[ignore = "needs root: acts as two users"]
fn refused_names_of_another_user_do_not_displace_those_of_the_own_browser() {
    let daemon = Daemon::start(&[]);
    let refuse = |origin: &str, host: &str| {
        daemon.request("GET", "/status", &[("Origin", origin)], "");
        http::exchange(Box::new(daemon.tcp()), host, "GET", "/status", &[], b"");
    };
    refuse("http://own.example", "own.example");
    let script = format!(
        "for n in $(seq 20); do curl -s -o /dev/null -H \"Origin: http://x$n.example\" http://{0}/; \
         curl -s -o /dev/null -H \"Host: x$n.example\" http://{0}/; done",
        daemon.address
    );
    as_nobody(&daemon.sandbox, &script).finish().ok();
    let status = daemon.status();
    for (list, key, own, other) in [
        ("refused_origins", "origin", "http://own.example", "http://x20.example"),
        ("refused_hosts", "host", "own.example", "x20.example"),
    ] {
        let names: Vec<_> = status[list].as_array().unwrap().iter().map(|refused| refused[key].clone()).collect();
        assert_eq!(names.len(), 9, "{names:?}");
        assert_eq!((&names[0], &names[1]), (&own.into(), &other.into()));
    }
}
