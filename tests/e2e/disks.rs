//! History on disks that are full, fail, or are read-only: everything except durable publishes continues, and no stored
//! event is lost.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    durable::{FLAGS, file, history, publish},
    harness::{Daemon, Sandbox, after, until},
};

/// A file system of its own, which only root can mount.
pub(crate) struct SmallDisk(pub(crate) PathBuf);

impl SmallDisk {
    pub(crate) fn mount(sandbox: &Sandbox, size: &str) -> SmallDisk {
        let path = sandbox.path("sse-bus");
        fs::create_dir_all(&path).unwrap();
        let options = format!("size={size},mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path);
        assert!(mount.status().unwrap().success(), "{mount:?}");
        SmallDisk(path)
    }
}

impl SmallDisk {
    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        let mount = Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap();
        assert!(mount.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(&self.0).status();
    }
}

#[test]
#[ignore = "needs disk: mounts a file system, which only root can do"]
fn on_a_full_disk_only_durable_publishes_fail_and_the_daemon_recovers() {
    let sandbox = Sandbox::new();
    let disk = SmallDisk::mount(&sandbox, "6m");
    let daemon = Daemon::start_at(sandbox, &FLAGS);
    let mut stream = daemon.stream("/events/t");
    let mut lines = daemon.lines();
    assert!(publish(&mut lines, "t", "one", "durable")["published"].is_object());
    // Another program uses all that is left.
    let filler = disk.0.join("filler");
    let _ = fs::write(&filler, vec![0; 8 << 20]);
    let big = "x".repeat(200_000);
    let refused = until("the disk is full", || {
        let reply = publish(&mut lines, "t", &big, "durable");
        Some(reply["error"].clone()).filter(Value::is_object)
    });
    assert_eq!(refused["code"], "not_durable");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("not on disk") && message.contains("No space left"), "{refused}");
    // Everything else continues, and the fault is reported.
    assert!(publish(&mut lines, "t", "live", "accepted")["published"].is_object());
    until("it is delivered", || (stream.event().data == "live").then_some(()));
    assert!(daemon.status()["history_error"].is_string());
    assert_eq!(daemon.get("/healthz").status, 503);
    assert!(daemon.metric("sse_bus_history_failing") > 0.0);
    daemon.has_logged("cannot be written to disk");
    // Space becomes available again.
    fs::remove_file(filler).unwrap();
    until("it recovers", || publish(&mut lines, "t", "again", "durable")["published"].is_object().then_some(()));
    assert_eq!(daemon.get("/healthz").status, 200);
    assert_eq!(daemon.status()["history_error"], Value::Null);
    let kept = history(&daemon, "t");
    drop(lines);
    drop(stream);
    let mut daemon = daemon;
    daemon.kill();
    daemon.start_again();
    let (last, again) = (kept.last().unwrap(), history(&daemon, "t"));
    assert!(again.contains(last), "the event published after the fault is there");
    assert!(
        again.iter().any(|event| event["data"] == "live"),
        "events accepted during the fault were written after it"
    );
    drop(daemon);
    drop(disk);
}

#[test]
#[ignore = "needs disk: mounts a file system, which only root can do"]
fn a_daemon_that_starts_on_a_full_disk_serves_existing_history_and_recovers() {
    let sandbox = Sandbox::new();
    let disk = SmallDisk::mount(&sandbox, "8m");
    let filler = disk.0.join("filler");
    let fill = || drop(fs::write(&filler, vec![0; 16 << 20]));
    // A first start, and one with existing history.
    fill();
    let mut daemon = Daemon::start_at(sandbox, &FLAGS);
    let mut before = Vec::new();
    for round in ["first", "again", "last"] {
        assert_eq!(daemon.get("/healthz").status, 503, "{round}");
        assert!(daemon.status()["history_error"].as_str().unwrap().contains("No space left"), "{round}");
        assert!(daemon.metric("sse_bus_history_failing") > 0.0);
        daemon.has_logged("the daemon starts with the existing history");
        assert_eq!(history(&daemon, "t"), before, "{round}");
        let mut lines = daemon.lines();
        let refused = publish(&mut lines, "t", round, "durable");
        assert_eq!(refused["error"]["code"], "not_durable", "{refused}");
        fs::remove_file(&filler).unwrap();
        until("it recovers", || (daemon.get("/healthz").status == 200).then_some(()));
        assert!(publish(&mut lines, "t", "x", "durable")["published"].is_object());
        before = history(&daemon, "t");
        drop(lines);
        daemon.kill();
        fill();
        daemon.start_again();
    }
    assert_eq!(before.len(), 6);
    // Events that could not be written are lost with the daemon, but their ids are not reused.
    let lost = daemon.publish("t", "lost");
    daemon.kill();
    daemon.start_again();
    let next = daemon.publish("t", "next");
    assert_ne!(lost, next);
    assert_eq!(daemon.stream_with("/events/t", &[("Last-Event-ID", &lost)]).event().kind.as_deref(), Some("$gap"));
    drop(daemon);
    drop(disk);
}

#[test]
#[ignore = "needs disk: mounts a file system, which only root can do"]
fn a_failing_disk_is_retried_once_a_second_however_much_is_published() {
    let sandbox = Sandbox::new();
    let disk = SmallDisk::mount(&sandbox, "6m");
    let daemon = Daemon::start_at(sandbox, &FLAGS);
    let _ = fs::write(disk.0.join("filler"), vec![0; 8 << 20]);
    let mut lines = daemon.lines();
    let big = "x".repeat(200_000);
    until("the disk is full", || publish(&mut lines, "t", &big, "durable")["error"].is_object().then_some(()));
    let (began, mut accepted) = (Instant::now(), 0);
    let attempts = thread::scope(|scope| {
        // Each of these is refused by the next attempt.
        let durable = scope.spawn(|| {
            let (mut lines, mut refused) = (daemon.lines(), 0);
            while began.elapsed() < Duration::from_millis(2500) {
                assert_eq!(publish(&mut lines, "t", "durable", "durable")["error"]["code"], "not_durable");
                refused += 1;
            }
            refused
        });
        while !durable.is_finished() {
            assert!(publish(&mut lines, "t", "accepted", "accepted")["published"].is_object());
            accepted += 1;
        }
        durable.join().unwrap()
    });
    let took = began.elapsed();
    eprintln!("{attempts} attempts in {took:?}, while {accepted} were accepted");
    assert!(accepted > 10 * attempts && attempts <= took.as_secs() + 2, "{attempts} attempts in {took:?}");
    drop(daemon);
    drop(disk);
}

#[test]
#[ignore = "needs disk: mounts a file system, which only root can do"]
fn history_on_a_read_only_disk_is_left_unchanged() {
    let sandbox = Sandbox::new();
    let disk = SmallDisk::mount(&sandbox, "16m");
    let mut daemon = Daemon::start_at(sandbox, &FLAGS);
    daemon.publish("t", "one");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    let before = fs::read(file(&daemon)).unwrap();
    disk.remount("ro");
    let socket = daemon.sandbox.socket().display().to_string();
    let failed = daemon.sandbox.busd_fails(&["--listen", "127.0.0.1:0", "--socket", &socket, "--history", "disk"]);
    failed.ends_with(1).says("history.redb cannot be used").says("--state-dir").says("--history memory");
    disk.remount("rw");
    assert!(fs::read(file(&daemon)).unwrap() == before);
    assert_eq!(fs::read_dir(&disk.0).unwrap().count(), 2, "nothing was set aside");
    daemon.start_again();
    assert_eq!(history(&daemon, "t")[0]["data"], "one");
    drop(daemon);
    drop(disk);
}

#[test]
fn a_read_only_directory_is_explained() {
    let sandbox = Sandbox::new();
    let flags = ["--listen", "127.0.0.1:0", "--history", "disk", "--state-dir", "/proc/nowhere"];
    sandbox.busd_fails(&flags).ends_with(1).says("/proc/nowhere").says("--state-dir").says("--history memory");
}

/// The system sends SIGXFSZ for a write above the limit; the default action would end the daemon.
#[test]
fn a_file_size_limit_is_handled_like_a_full_disk() {
    const KIB: usize = 4096;
    let sandbox = Sandbox::new();
    let socket = sandbox.socket().display().to_string();
    let usual = ["--listen", "127.0.0.1:0", "--socket", &socket];
    let flags = usual.iter().chain(&FLAGS).map(ToString::to_string).collect();
    let mut daemon = Daemon::of_command(sandbox, flags, |busd| after(&format!("ulimit -f {KIB}"), busd));
    let mut lines = daemon.lines();
    assert!(publish(&mut lines, "t", "one", "durable")["published"].is_object());
    let big = "x".repeat(200_000);
    let refused = until("the limit is reached", || {
        let reply = publish(&mut lines, "t", &big, "durable");
        Some(reply["error"].clone()).filter(Value::is_object)
    });
    assert_eq!(refused["code"], "not_durable");
    assert!(publish(&mut lines, "t", "live", "accepted")["published"].is_object());
    assert_eq!(daemon.get("/healthz").status, 503);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    // Without the limit, everything that was acknowledged is there.
    daemon.start_again();
    assert_eq!(history(&daemon, "t")[0]["data"], "one");
}
