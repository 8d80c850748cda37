//! What programs report about the sockets, directories and daemons of other users.

use std::{fs, process::Command};

use crate::{
    finding::{busctl, run},
    harness::{Daemon, Process, Sandbox, wrap},
    other_users::open,
};

/// The user of a test that needs a user other than root.
const OTHER: u32 = 4242;

/// Runs a command as the other user.
fn as_other(command: &mut Command) {
    let mut setpriv = Command::new("setpriv");
    setpriv.args([&format!("--reuid={OTHER}"), "--clear-groups", "--"]);
    wrap(setpriv, command);
}

#[test]
#[ignore = "needs root: acts as two users"]
fn the_variable_with_the_directory_of_another_user_is_named() {
    let sandbox = Sandbox::new();
    let theirs = sandbox.path("theirs");
    fs::create_dir(&theirs).unwrap();
    std::os::unix::fs::chown(&theirs, Some(OTHER), None).unwrap();
    let said =
        format!("XDG_RUNTIME_DIR is {}, which belongs to another user (uid {OTHER}), as after `su`", theirs.display());
    let as_root = |mut command: Command| {
        command.env("XDG_RUNTIME_DIR", &theirs);
        run(command)
    };
    let busd = || {
        let mut busd = sandbox.busd();
        busd.args(["--no-config", "--listen", "127.0.0.1:0"]);
        busd
    };
    // Their daemon does not run, and then it does.
    let absent = as_root(busctl(&sandbox, 0, &["status"])).ends_with(3).says(&said).says("unset XDG_RUNTIME_DIR");
    assert!(!absent.stderr.contains("start one"), "{absent}");
    as_root(busd()).ends_with(1).says(&said);
    open(&sandbox.path(""), 0o755);
    let mut other = busd();
    other.env("XDG_RUNTIME_DIR", &theirs).env("HOME", &theirs).env("XDG_STATE_HOME", &theirs);
    as_other(&mut other);
    let other = Process::start(other);
    other.stderr.wait_for("listening");
    as_root(busctl(&sandbox, 0, &["publish", "t", "a secret"])).ends_with(6).says(&said);
    let doctor = as_root(busctl(&sandbox, 0, &["doctor"]));
    assert!(
        doctor.stdout.contains(&said) && doctor.stdout.contains("env -u XDG_RUNTIME_DIR sse-busctl doctor"),
        "{doctor}"
    );
    // Another user's daemon on the port is not used either.
    let port = other.stderr.text().split("http=127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    run(busctl(&sandbox, port, &["status"])).ends_with(3).says("no daemon at");
}

/// A daemon at the default path of a sandbox that all users can enter.
fn default_daemon(sandbox: &Sandbox, user: Option<u32>) -> Process {
    let mut busd = sandbox.busd();
    busd.args(["--no-config", "--listen", "127.0.0.1:0"]);
    if let Some(user) = user {
        open(&sandbox.path(""), 0o755);
        std::os::unix::fs::chown(sandbox.path(""), Some(user), None).unwrap();
        as_other(&mut busd);
    }
    let daemon = Process::start(busd);
    daemon.stderr.wait_for("listening");
    daemon
}

#[test]
#[ignore = "needs namespaces: a user namespace, and root to act as two users"]
fn a_client_whose_user_is_not_mapped_learns_it() {
    for user in [None, Some(OTHER)] {
        let sandbox = Sandbox::new();
        let daemon = default_daemon(&sandbox, user);
        let mut client = busctl(&sandbox, 0, &["publish", "t", "a secret"]);
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--"]);
        wrap(unshare, &mut client);
        // Neither its own daemon nor that of another user can be recognized there.
        let refused = run(client).ends_with(6).says("is not mapped in the user namespace of this process (uid 65534)");
        refused.says("`unshare --map-current-user`");
        let mut mapped = busctl(&sandbox, 0, &["publish", "t", "x"]);
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-current-user", "--"]);
        wrap(unshare, &mut mapped);
        let mapped = run(mapped);
        assert_eq!(mapped.code, Some(if user.is_none() { 0 } else { 6 }), "{mapped}");
        drop(daemon);
    }
}

#[test]
#[ignore = "needs root: acts as two users"]
fn a_refused_user_learns_the_id_to_allow() {
    let daemon = Daemon::start(&[]);
    for path in [daemon.sandbox.path(""), daemon.sandbox.path("run"), daemon.sandbox.socket()] {
        open(&path, 0o777);
    }
    let mut client = daemon.sandbox.busctl(&["status"]);
    as_other(&mut client);
    run(client).ends_with(6).says(&format!("`sse-busd --allow-uid {OTHER}`")).says("in a container");
}

/// Such as `/run/user/0` after `su` from root.
#[test]
#[ignore = "needs root: acts as another user"]
fn the_variable_with_the_private_directory_of_root_is_named() {
    let sandbox = Sandbox::new();
    let theirs = sandbox.path("theirs");
    fs::create_dir(&theirs).unwrap();
    open(&sandbox.path(""), 0o755);
    let status = || {
        let mut command = busctl(&sandbox, 0, &["status"]);
        command.env("XDG_RUNTIME_DIR", &theirs);
        as_other(&mut command);
        run(command)
    };
    open(&theirs, 0o700);
    let said = format!("XDG_RUNTIME_DIR is {}, which belongs to another user (uid 0)", theirs.display());
    status().ends_with(6).says(&said).says("unset XDG_RUNTIME_DIR");
    // A shared one is not the cause.
    open(&theirs, 0o1777);
    status().ends_with(3).says("no daemon at ");
}
