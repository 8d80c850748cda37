//! History on disks that are full, fail, or cannot be written: all but what asks for the disk goes on, and nothing is lost
//! that was there.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    durable::{FLAGS, file, history, publish},
    harness::{Daemon, Place, after, until},
};

/// A disk of its own, which only root can have.
pub(crate) struct SmallDisk(pub(crate) PathBuf);

impl SmallDisk {
    pub(crate) fn mount(place: &Place, size: &str) -> Option<SmallDisk> {
        let path = place.path("sse-bus");
        fs::create_dir_all(&path).unwrap();
        let options = format!("size={size},mode=700");
        let mount =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).output();
        match mount {
            Ok(done) if done.status.success() => Some(SmallDisk(path)),
            _ => {
                eprintln!("skipped: no disk can be mounted");
                None
            }
        }
    }
}

impl SmallDisk {
    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        let mount = std::process::Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap();
        assert!(mount.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").args(["-l"]).arg(&self.0).status();
    }
}

#[test]
fn on_a_full_disk_everything_but_durable_publishes_goes_on_and_it_recovers() {
    let place = Place::new();
    let Some(disk) = SmallDisk::mount(&place, "6m") else { return };
    let daemon = Daemon::start_at(place, &FLAGS);
    let mut stream = daemon.stream("/events/t");
    let mut lines = daemon.lines();
    assert!(publish(&mut lines, "t", "one", "durable")["published"].is_object());
    // Somebody else takes all that is left.
    let filler = disk.0.join("filler");
    let _ = fs::write(&filler, vec![0; 8 << 20]);
    let big = "x".repeat(200_000);
    let refused = until("the disk is full", || {
        let answer = publish(&mut lines, "t", &big, "durable");
        Some(answer["error"].clone()).filter(Value::is_object)
    });
    assert_eq!(refused["code"], "not_durable");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("not on disk") && message.contains("No space left"), "{refused}");
    // All the rest goes on, and the trouble is told.
    assert!(publish(&mut lines, "t", "live", "accepted")["published"].is_object());
    until("it is delivered", || (stream.event().data == "live").then_some(()));
    assert!(daemon.status()["history_trouble"].is_string());
    assert_eq!(daemon.get("/healthz").status, 503);
    assert!(daemon.metric("sse_bus_history_failing") > 0.0);
    daemon.has_logged("cannot be written to disk");
    // And then there is room again.
    fs::remove_file(filler).unwrap();
    until("it recovers", || publish(&mut lines, "t", "again", "durable")["published"].is_object().then_some(()));
    assert_eq!(daemon.get("/healthz").status, 200);
    assert_eq!(daemon.status()["history_trouble"], Value::Null);
    let kept = history(&daemon, "t");
    drop(lines);
    drop(stream);
    let mut daemon = daemon;
    daemon.kill();
    daemon.start_again();
    let (last, again) = (kept.last().unwrap(), history(&daemon, "t"));
    assert!(again.contains(last), "what was durable after the trouble is there");
    assert!(again.iter().any(|event| event["data"] == "live"), "what came in the trouble was written after it");
    drop(daemon);
    drop(disk);
}

#[test]
fn a_daemon_that_starts_on_a_full_disk_serves_what_is_there_and_recovers() {
    let place = Place::new();
    let Some(disk) = SmallDisk::mount(&place, "8m") else { return };
    let filler = disk.0.join("filler");
    let fill = || drop(fs::write(&filler, vec![0; 16 << 20]));
    // The first start, and one with history.
    fill();
    let mut daemon = Daemon::start_at(place, &FLAGS);
    let mut before = Vec::new();
    for round in ["first", "again", "last"] {
        assert_eq!(daemon.get("/healthz").status, 503, "{round}");
        assert!(daemon.status()["history_trouble"].as_str().unwrap().contains("No space left"), "{round}");
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
    // What it publishes and cannot write is lost with it, but not its numbers.
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
fn a_disk_that_fails_is_tried_once_a_second_however_much_is_published() {
    let place = Place::new();
    let Some(disk) = SmallDisk::mount(&place, "6m") else { return };
    let daemon = Daemon::start_at(place, &FLAGS);
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
fn history_on_a_disk_that_cannot_be_written_is_left_as_it_is() {
    let place = Place::new();
    let Some(disk) = SmallDisk::mount(&place, "16m") else { return };
    let mut daemon = Daemon::start_at(place, &FLAGS);
    daemon.publish("t", "one");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    let before = fs::read(file(&daemon)).unwrap();
    disk.remount("ro");
    let socket = daemon.place.socket().display().to_string();
    let failed = daemon.place.busd_fails(&["--listen", "127.0.0.1:0", "--socket", &socket, "--history", "disk"]);
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
fn a_directory_that_cannot_be_written_is_explained() {
    let place = Place::new();
    let flags = ["--listen", "127.0.0.1:0", "--history", "disk", "--state-dir", "/proc/nowhere"];
    place.busd_fails(&flags).ends_with(1).says("/proc/nowhere").says("--state-dir").says("--history memory");
}

/// The system sends SIGXFSZ for a write above the limit, which would end the daemon.
#[test]
fn a_limit_of_file_size_is_a_full_disk_like_any_other() {
    const KIB: usize = 4096;
    let place = Place::new();
    let socket = place.socket().display().to_string();
    let usual = ["--listen", "127.0.0.1:0", "--socket", &socket];
    let flags = usual.iter().chain(&FLAGS).map(ToString::to_string).collect();
    let mut daemon = Daemon::of_command(place, flags, |busd| after(&format!("ulimit -f {KIB}"), busd));
    let mut lines = daemon.lines();
    assert!(publish(&mut lines, "t", "one", "durable")["published"].is_object());
    let big = "x".repeat(200_000);
    let refused = until("the limit is reached", || {
        let answer = publish(&mut lines, "t", &big, "durable");
        Some(answer["error"].clone()).filter(Value::is_object)
    });
    assert_eq!(refused["code"], "not_durable");
    assert!(publish(&mut lines, "t", "live", "accepted")["published"].is_object());
    assert_eq!(daemon.get("/healthz").status, 503);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    // Without the limit all is there that was answered.
    daemon.start_again();
    assert_eq!(history(&daemon, "t")[0]["data"], "one");
}
