//! The path of the local socket: planted files are neither followed, waited for, deleted nor used, and what the daemon
//! creates is never accessible to other users, not even for an instant.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, symlink},
        net::{UnixListener, UnixStream},
    },
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use rustix::process::Signal;

use crate::{
    harness::{Daemon, Process, Run, Sandbox, until},
    other_users::NOBODY,
};

/// A planted file: its description, and how to create it.
type Planted<'a> = (&'static str, Box<dyn Fn() + 'a>);

/// A directory in which a daemon would serve.
fn folder(sandbox: &Sandbox) -> std::path::PathBuf {
    let folder = sandbox.socket().parent().unwrap().to_owned();
    fs::create_dir(&folder).unwrap();
    set_mode(&folder, 0o700);
    folder
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs a daemon that must refuse to serve there.
#[track_caller]
fn refused(sandbox: &Sandbox, why: &str) -> Run {
    let run = sandbox.busd_fails(&["--socket", &sandbox.socket().display().to_string(), "--listen", "127.0.0.1:0"]);
    run.ends_with(1).says(why).says("--socket")
}

/// What is visible of a file without opening it.
fn look(path: &Path) -> (u64, u32, u64, i64) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.ino(), found.mode(), found.size(), found.mtime_nsec())
}

fn make_fifo(path: &Path) {
    Process::start({
        let mut mkfifo = Command::new("mkfifo");
        mkfifo.arg(path);
        mkfifo
    })
    .finish()
    .ok();
}

#[test]
fn a_file_planted_at_the_socket_is_neither_followed_nor_deleted() {
    let sandbox = Sandbox::new();
    folder(&sandbox);
    let socket = sandbox.socket();
    let precious = sandbox.path("precious");
    fs::write(&precious, "data").unwrap();
    // A stale socket, which would be replaced if the link did not lead to it.
    drop(UnixListener::bind(sandbox.path("stale")).unwrap());
    let planted: [Planted; 7] = [
        ("a symbolic link", Box::new(|| symlink(sandbox.path("nowhere"), &socket).unwrap())),
        ("a symbolic link", Box::new(|| symlink(&precious, &socket).unwrap())),
        ("a symbolic link", Box::new(|| symlink(sandbox.path("stale"), &socket).unwrap())),
        ("a file", Box::new(|| fs::write(&socket, "data").unwrap())),
        ("a file", Box::new(|| fs::hard_link(&precious, &socket).unwrap())),
        ("a pipe", Box::new(|| make_fifo(&socket))),
        ("a directory", Box::new(|| fs::create_dir(&socket).unwrap())),
    ];
    for (what, plant) in planted {
        plant();
        let seen = look(&socket);
        refused(&sandbox, what).says("left alone");
        assert_eq!(look(&socket), seen, "{what}");
        if what == "a directory" { fs::remove_dir(&socket).unwrap() } else { fs::remove_file(&socket).unwrap() }
    }
    assert_eq!(fs::read_to_string(&precious).unwrap(), "data");
    assert!(sandbox.path("stale").exists());
    assert!(!sandbox.path("nowhere").exists());
    drop(Daemon::start_at(sandbox, &["--no-config"]));
}

#[test]
fn a_file_planted_at_the_lock_is_neither_followed_nor_waited_for() {
    let sandbox = Sandbox::new();
    folder(&sandbox);
    let lock = sandbox.path("run/bus.sock.lock");
    let precious = sandbox.path("precious");
    fs::write(&precious, "data").unwrap();
    let planted: [Planted; 4] = [
        ("a symbolic link", Box::new(|| symlink(sandbox.path("nowhere"), &lock).unwrap())),
        ("a symbolic link", Box::new(|| symlink(&precious, &lock).unwrap())),
        ("a pipe", Box::new(|| make_fifo(&lock))),
        ("a socket", Box::new(|| drop(UnixListener::bind(&lock).unwrap()))),
    ];
    for (what, plant) in planted {
        plant();
        let seen = look(&lock);
        refused(&sandbox, what).says(&lock.display().to_string());
        assert_eq!(look(&lock), seen, "{what}");
        fs::remove_file(&lock).unwrap();
    }
    assert!(!sandbox.path("nowhere").exists(), "a file was created through the link");
    assert!(!sandbox.socket().exists(), "bound without a lock");
    // A lock of an earlier daemon is reused, and its content kept.
    fs::hard_link(&precious, &lock).unwrap();
    drop(Daemon::start_at(sandbox, &["--no-config"]));
}

#[test]
fn the_daemon_does_not_serve_in_directories_that_others_can_write() {
    let sandbox = Sandbox::new();
    let folder = folder(&sandbox);
    for mode in [0o777, 0o775, 0o707, 0o722] {
        set_mode(&folder, mode);
        refused(&sandbox, "other users can write to it").says(&format!("chmod go-w {}", folder.display()));
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "a file was created there");
    // The target of a symbolic link is checked.
    let link = sandbox.path("link");
    symlink(&folder, &link).unwrap();
    let socket = link.join("bus.sock").display().to_string();
    sandbox.busd_fails(&["--socket", &socket, "--listen", "127.0.0.1:0"]).ends_with(1).says("can write to it");
    // As in /tmp: files belong to their owners.
    set_mode(&folder, 0o1777);
    let mut daemon = Daemon::start_at(sandbox, &["--no-config"]);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    // Other users may list the directory.
    set_mode(&folder, 0o755);
    daemon.start_again();
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o755, "the user's own directory was changed");
    assert_eq!(fs::metadata(daemon.sandbox.socket()).unwrap().mode() & 0o777, 0o600);
}

#[test]
#[ignore = "needs root: acts as two users"]
fn the_daemon_does_not_serve_in_directories_of_another_user() {
    let sandbox = Sandbox::new();
    let folder = folder(&sandbox);
    chown(&folder, Some(NOBODY), None).unwrap();
    refused(&sandbox, "belongs to another user");
    // Nor behind a link of theirs.
    let own = sandbox.path("own");
    fs::create_dir(&own).unwrap();
    set_mode(&own, 0o700);
    let link = sandbox.path("link");
    symlink(&own, &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(NOBODY), None).unwrap();
    let socket = link.join("bus.sock").display().to_string();
    sandbox.busd_fails(&["--socket", &socket, "--listen", "127.0.0.1:0"]).ends_with(1).says("belongs to another user");
    assert_eq!(fs::read_dir(&own).unwrap().count(), 0, "the link was followed");

    chown(&folder, Some(0), None).unwrap();
    set_mode(&folder, 0o1777);
    for name in ["bus.sock", "bus.sock.lock"] {
        let theirs = folder.join(name);
        // A stale socket, and a lock that its owner might hold.
        if name == "bus.sock" {
            drop(UnixListener::bind(&theirs).unwrap());
        } else {
            fs::write(&theirs, "").unwrap();
        }
        chown(&theirs, Some(NOBODY), None).unwrap();
        let seen = look(&theirs);
        // The system may refuse first.
        let run = sandbox.busd_fails(&["--socket", &sandbox.socket().display().to_string(), "--listen", "127.0.0.1:0"]);
        let run = run.ends_with(1).says(&theirs.display().to_string()).says("--socket");
        assert!(run.stderr.contains("another user") || run.stderr.contains("ermission denied"), "{run}");
        assert_eq!(look(&theirs), seen);
        fs::remove_file(&theirs).unwrap();
        let _ = fs::remove_file(folder.join("bus.sock.lock"));
    }
}

#[test]
fn no_file_is_accessible_to_others_for_an_instant_whatever_the_umask() {
    for umask in ["000", "077", "777"] {
        let sandbox = Sandbox::new();
        let (socket, run) = (sandbox.socket(), sandbox.path("run"));
        let over = AtomicBool::new(false);
        let (seen, looks) = thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let (mut open, mut looks) = (Vec::new(), 0_u32);
                let watched = [run.clone(), socket.clone(), sandbox.path("run/bus.sock.lock")];
                while !over.load(Ordering::Relaxed) {
                    for path in &watched {
                        let Ok(found) = fs::symlink_metadata(path) else { continue };
                        looks += 1;
                        if found.mode() & 0o077 != 0 && open.len() < 3 {
                            open.push(format!("{} {:o}", path.display(), found.mode()));
                        }
                    }
                }
                (open, looks)
            });
            for _ in 0..30 {
                let mut busd = sandbox.command("sh");
                busd.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(env!("CARGO_BIN_EXE_sse-busd"));
                busd.args(["--no-config", "--listen", "127.0.0.1:0", "--socket"]).arg(&socket);
                let daemon = Process::start(busd);
                // The own user can connect, also where the umask removes all permissions.
                until("the daemon serves", || UnixStream::connect(&socket).ok());
                daemon.signal(Signal::TERM);
                daemon.finish().ok();
                fs::remove_file(sandbox.path("run/bus.sock.lock")).unwrap();
                fs::remove_dir(&run).unwrap();
            }
            over.store(true, Ordering::Relaxed);
            watch.join().unwrap()
        });
        assert_eq!(seen, [""; 0], "with umask {umask}, in {looks} checks");
        assert!(looks > 1000, "too few checks: {looks}");
    }
}

#[test]
fn a_file_that_replaced_the_socket_is_not_removed_at_the_end() {
    let mut daemon = Daemon::start(&[]);
    let socket = daemon.sandbox.socket();
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "data").unwrap();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    assert_eq!(fs::read_to_string(&socket).unwrap(), "data");
}

#[test]
fn without_a_runtime_directory_the_socket_is_in_a_private_state_directory() {
    let sandbox = Sandbox::new();
    let mut busd = sandbox.busd();
    busd.args(["--no-config", "--listen", "127.0.0.1:0"]).env_remove("XDG_RUNTIME_DIR").env_remove("XDG_STATE_HOME");
    let daemon = Process::start(busd);
    daemon.stderr.wait_for("listening");
    let socket = sandbox.path(".local/state/sse-bus/bus.sock");
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(socket.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    let mut busctl = sandbox.command(env!("CARGO_BIN_EXE_sse-busctl"));
    busctl.arg("status").env_remove("XDG_RUNTIME_DIR").env_remove("XDG_STATE_HOME");
    assert_eq!(Process::start(busctl).finish().ok().json()[0]["pid"], daemon.pid());
}

/// Within 5 s; with inotify at once.
#[test]
fn a_socket_whose_file_is_lost_is_bound_again() {
    let daemon = Daemon::start(&[]);
    let (socket, moved) = (daemon.sandbox.socket(), daemon.sandbox.path("moved"));
    let run = socket.parent().unwrap();
    let mut open = daemon.lines();
    let mut seen = open.ask(r#"{"status":{}}"#);
    let ways: [Planted; 4] = [
        ("the file is removed", Box::new(|| fs::remove_file(&socket).unwrap())),
        (
            "another stale socket is there",
            Box::new(|| {
                fs::remove_file(&socket).unwrap();
                drop(UnixListener::bind(&socket).unwrap());
            }),
        ),
        // With the lock file, as at a logout.
        ("its directory is removed", Box::new(|| fs::remove_dir_all(run).unwrap())),
        ("its directory is moved away", Box::new(|| fs::rename(run, &moved).unwrap())),
    ];
    for (what, lose) in ways {
        let before = Instant::now();
        lose();
        until(what, || UnixStream::connect(&socket).ok());
        eprintln!("{what}: {:?}", before.elapsed());
        daemon.ctl(&["publish", "t", what]).ok();
        let found = fs::metadata(&socket).unwrap();
        assert_eq!((found.mode() & 0o777, fs::metadata(run).unwrap().mode() & 0o777), (0o600, 0o700), "{what}");
        // The new lock excludes a second daemon, and open connections continue.
        let run = daemon.sandbox.busd_fails(&["--socket", &socket.display().to_string(), "--listen", "127.0.0.1:0"]);
        run.ends_with(1).says(&format!("already running: PID {}, ", daemon.pid()));
        seen = open.ask(r#"{"status":{}}"#);
    }
    assert_eq!(seen["status"]["pid"], daemon.pid());
    assert_eq!(daemon.log().matches("bound the socket again").count(), 4);
}

#[test]
fn a_socket_that_cannot_be_bound_again_is_reported_and_retried() {
    let mut daemon = Daemon::start(&[]);
    let (socket, pid) = (daemon.sandbox.socket(), daemon.pid());
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "data").unwrap();
    until("the log names the reason", || daemon.log().contains("is a file, not a socket").then_some(()));
    assert_eq!(fs::read_to_string(&socket).unwrap(), "data");
    if cfg!(target_os = "linux") {
        let named = format!("sse-busd (pid {pid}) runs, but its socket {}", socket.display());
        daemon.ctl(&["publish", "t", "x"]).ends_with(3).says(&named);
        let doctor = daemon.ctl(&["doctor"]).ends_with(1).stdout;
        assert!(doctor.contains(&named) && doctor.contains(&format!("kill -HUP {pid}")), "{doctor}");
        let other = daemon.sandbox.busd_fails(&["--socket", &socket.display().to_string(), "--listen", "127.0.0.1:0"]);
        other.ends_with(1).says(&format!("already running: PID {pid}, "));
    }
    // By itself, and at SIGHUP.
    fs::remove_file(&socket).unwrap();
    until("the socket is bound", || UnixStream::connect(&socket).ok());
    fs::remove_file(&socket).unwrap();
    daemon.signal(Signal::HUP);
    until("the socket is bound", || UnixStream::connect(&socket).ok());
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    assert!(!socket.exists());
    assert_eq!(daemon.log().matches("cannot be bound again yet").count(), 1, "it is logged once");
}
