//! Logging never blocks the daemon: neither a log that is not read nor input of peers stops or floods it.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::harness::{Daemon, Process, Sandbox, after, until};

/// Connections that publish, each with several debug lines: more than the pipe and the queue hold together.
const PUBLISHERS: usize = 1500;

/// A daemon that writes its log to this file, and a greeting if it is a terminal.
fn logging_to(output: &Path, flags: &[&str]) -> Daemon {
    let sandbox = Sandbox::new();
    let socket = sandbox.socket().display().to_string();
    let usual = ["--no-config", "--listen", "127.0.0.1:0", "--socket", &socket];
    let flags = usual.iter().chain(flags).map(ToString::to_string).collect();
    Daemon::of_command(sandbox, flags, |busd| {
        after(r#"exec > "$OUTPUT" 2>&1"#, busd);
        busd.env("OUTPUT", output).env("NO_COLOR", "1");
    })
}

/// Publishes from many connections, each of which is logged, and checks that everything else continues.
fn everything_continues(daemon: &Daemon) {
    let mut stream = daemon.stream("/events/t");
    for number in 0..PUBLISHERS {
        let reply = daemon.lines().ask(format!(r#"{{"publish":{{"topic":"t","data":"{number}"}}}}"#));
        assert_eq!(reply["published"]["subscribers"], 1, "{reply}");
    }
    assert_eq!(stream.data(PUBLISHERS).last().unwrap(), &(PUBLISHERS - 1).to_string());
    assert_eq!(daemon.get("/healthz").status, 200);
}

/// Stops the daemon while its log is not read.
fn stops(mut daemon: Daemon) {
    let began = Instant::now();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
}

/// Reads the log from now on.
fn read_on(mut log: File) -> Arc<Mutex<String>> {
    let read = Arc::new(Mutex::new(String::new()));
    let shared = read.clone();
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = log.read(&mut chunk) {
            shared.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..length]));
        }
    });
    read
}

/// The number in a field of the last line that contains a text.
fn number_in_line(log: &Mutex<String>, says: &str, field: &str) -> usize {
    let pattern = regex::Regex::new(&format!(r"{says}.* {field}=(\d+)")).unwrap();
    until(says, || {
        let log = log.lock().unwrap();
        let found = log.lines().rev().find_map(|line| pattern.captures(line));
        found.map(|found| found[1].parse().unwrap())
    })
}

#[test]
fn an_unread_pipe_blocks_nothing_and_lost_lines_are_counted() {
    let sandbox = Sandbox::new();
    let pipe = sandbox.path("log");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Opened for reading and writing, the pipe has both ends at once, so that neither open blocks.
    let reader = File::options().read(true).write(true).open(&pipe).unwrap();
    let daemon = logging_to(&pipe, &["--log", "debug"]);
    everything_continues(&daemon);

    let log = read_on(reader.try_clone().unwrap());
    let lost = number_in_line(&log, "log lines were lost since the start", "lost");
    let written = log.lock().unwrap().matches("publisher ").count();
    // Each publisher connects and disconnects. A few lines are about other things.
    assert!((2 * PUBLISHERS..2 * PUBLISHERS + 20).contains(&(lost + written)), "{lost} lost, {written} written");
    daemon.ctl(&["publish", "t", "x"]).ok();
    stops(daemon);

    let unread = sandbox.path("unread");
    assert!(Command::new("mkfifo").arg(&unread).status().unwrap().success());
    let _reader = File::options().read(true).write(true).open(&unread).unwrap();
    let daemon = logging_to(&unread, &["--log", "debug"]);
    everything_continues(&daemon);
    stops(daemon);
}

#[test]
fn a_suspended_reader_of_a_pipe_blocks_nothing() {
    let sandbox = Sandbox::new();
    let pipe = sandbox.path("log");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut cat = Command::new("cat");
    cat.arg(&pipe);
    let cat = Process::start(cat);
    let daemon = logging_to(&pipe, &["--log", "debug"]);
    cat.signal(Signal::STOP);
    everything_continues(&daemon);
    stops(daemon);
}

/// A terminal: its keyboard, and the path by which programs open it.
#[cfg(target_os = "linux")]
pub(crate) fn terminal() -> (File, std::path::PathBuf) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&keyboard).and_then(|()| unlockpt(&keyboard)).unwrap();
    let path = ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap();
    (keyboard.into(), path.into())
}

#[cfg(target_os = "linux")]
#[test]
fn a_stopped_terminal_blocks_nothing() {
    const CTRL_S: &[u8] = b"\x13";
    const CTRL_Q: &[u8] = b"\x11";
    let (mut keyboard, terminal) = terminal();
    // A terminal that is not open ignores its keys.
    let _open = File::options().read(true).write(true).open(&terminal).unwrap();
    // Before the daemon prints its greeting.
    keyboard.write_all(CTRL_S).unwrap();
    let daemon = logging_to(&terminal, &["--log", "debug"]);
    everything_continues(&daemon);

    let log = read_on(keyboard.try_clone().unwrap());
    keyboard.write_all(CTRL_Q).unwrap();
    number_in_line(&log, "log lines were lost since the start", "lost");
    keyboard.write_all(CTRL_S).unwrap();
    stops(daemon);
}

#[test]
fn library_warnings_caused_by_a_peer_do_not_flood_the_log() {
    const ACKS: usize = 20_000;
    // Acknowledges pings that were never sent.
    const ACK: &[u8] = b"\0\0\x08\x06\x01\0\0\0\0whatever";
    let daemon = Daemon::start(&[]);
    let _open = daemon.stream("/events/t");
    let mut attack = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    attack.extend(ACK.repeat(ACKS));
    let began = Instant::now();
    let mut peer = daemon.tcp();
    let mut responses = peer.try_clone().unwrap();
    thread::spawn(move || std::io::copy(&mut responses, &mut std::io::sink()));
    peer.write_all(&attack).unwrap();

    let pattern = regex::Regex::new("suppressed=([0-9]+) like=.*recv PING ack").unwrap();
    let log = until("all lines are counted", || {
        let log = daemon.log();
        let suppressed: usize = pattern.captures_iter(&log).map(|found| found[1].parse::<usize>().unwrap()).sum();
        let written = log.matches("PING ack that we never sent").count() - pattern.captures_iter(&log).count();
        (suppressed + written == ACKS).then_some(log)
    });
    let most = 2 * (10 + usize::try_from(began.elapsed().as_secs()).unwrap());
    assert!(log.lines().count() < most, "{} lines: {log:.4000}", log.lines().count());
}

#[test]
fn long_filters_are_shortened_in_the_log_and_in_presence_events() {
    let filters: Vec<_> = (0..64).map(|number| format!("topic={number:0>230}")).collect();
    let filters = filters.join("&");
    for format in ["text", "json"] {
        let daemon = Daemon::start(&["--log-format", format]);
        let mut clients = daemon.stream("/events/$sys/clients?since=now");
        let _stream = daemon.stream(&format!("/events?client=long&{filters}"));
        let joined = clients.event();
        assert!(joined.data.len() < 2048, "{} bytes: {}", joined.data.len(), joined.data);
        let listed = joined.json()["filters"].as_array().unwrap().clone();
        assert_eq!(listed.last().unwrap(), &serde_json::json!(format!("… {} more", 65 - listed.len())));
        assert!(listed.len() > 1 && listed[0].as_str().unwrap().len() == 230, "{listed:?}");
        // The list of clients has all of them.
        let list = daemon.get("/clients").json();
        let client = list.as_array().unwrap().iter().find(|client| client["name"] == "long").unwrap().clone();
        assert_eq!(client["filters"].as_array().unwrap().len(), 64);
        let line = until("the log names it", || {
            let log = daemon.log();
            log.lines().find(|line| line.contains("connected") && line.contains("long")).map(str::to_owned)
        });
        assert!(line.len() < 1024 && line.contains('…'), "{line}");
        if format == "json" {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(line["message"], "subscriber connected");
        }
    }
}

#[test]
fn a_browser_that_reconnects_constantly_does_not_flood_the_log() {
    let daemon = Daemon::start(&[]);
    let began = Instant::now();
    for _ in 0..200 {
        drop(daemon.stream("/events/t"));
    }
    daemon.wait_for_subscribers(0);
    let most = 4 * (10 + usize::try_from(began.elapsed().as_secs()).unwrap());
    let log = fs::read_to_string(daemon.sandbox.path("daemon.log")).unwrap();
    assert!(log.lines().count() < most, "{} lines: {log:.4000}", log.lines().count());
    assert!(log.matches("subscriber connected").count() >= 5, "{log}");
}
