//! Stopping under load: acknowledged events reach all subscribers that read, others are cut, and nothing is left that
//! blocks the next daemon.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    sync::atomic::{AtomicU64, Ordering},
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};
use sse_bus::{limits::DRAIN, protocol::binary::PREFACE};

use crate::harness::{Daemon, EventStream, Http2, Sse, until};

/// Subscribers that read everything.
const READERS: usize = 4;
/// Events by which publishers may lead the slowest reader, so that the rest can be delivered within the deadline.
const AHEAD: u64 = 1000;
/// Events of a publisher that wait for their replies.
const PIPELINE: u64 = 50;

/// How far publishers and readers are.
#[derive(Default)]
struct Progress {
    answered: AtomicU64,
    read: [AtomicU64; READERS],
}

impl Progress {
    fn slowest(&self) -> u64 {
        self.read.iter().map(|read| read.load(Ordering::Relaxed)).min().unwrap()
    }

    /// Waits until readers are not too far behind, or until a timeout: the daemon may have ended.
    fn wait(&self) {
        let began = Instant::now();
        while self.answered.load(Ordering::Relaxed) > self.slowest() + AHEAD && began.elapsed() < DRAIN {
            thread::yield_now();
        }
    }
}

/// Publishes lines as fast as it can until the daemon refuses. Returns the acknowledged events.
fn publish(mut socket: UnixStream, name: u32, progress: &Progress) -> Vec<String> {
    let mut replies = BufReader::new(socket.try_clone().unwrap());
    let mut published = Vec::new();
    for batch in 0.. {
        progress.wait();
        let data = |n: u64| format!("{name}-{}", batch * PIPELINE + n);
        let line = |n| json!({"publish": {"topic": "load", "data": data(n)}}).to_string() + "\n";
        // A line that could not be sent was not acknowledged.
        let _ = socket.write_all((0..PIPELINE).map(line).collect::<String>().as_bytes());
        for n in 0..PIPELINE {
            let mut reply = String::new();
            if replies.read_line(&mut reply).unwrap_or(0) == 0 {
                return published;
            }
            match serde_json::from_str::<Value>(&reply) {
                Ok(reply) if reply["published"].is_object() => published.push(data(n)),
                Ok(reply) => assert_eq!(reply["error"]["code"], "stopping"),
                Err(error) => panic!("{error}: {reply:?}"),
            }
            progress.answered.fetch_add(1, Ordering::Relaxed);
        }
    }
    unreachable!("the loop has no end")
}

/// The same over HTTP, one request at a time.
fn post(daemon: &Daemon, progress: &Progress) -> Vec<String> {
    let mut published = Vec::new();
    for n in 0.. {
        progress.wait();
        let data = format!("http-{n}");
        let request = format!(
            "POST /events/load HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{data}",
            daemon.address,
            data.len()
        );
        let Ok(mut socket) = std::net::TcpStream::connect(daemon.address) else { break };
        let mut response = Vec::new();
        let _ = socket.write_all(request.as_bytes());
        let _ = socket.read_to_end(&mut response);
        match response.get(9..12) {
            Some(b"202") => published.push(data),
            Some(b"503") | None => break,
            _ => panic!("{}", String::from_utf8_lossy(&response)),
        }
        progress.answered.fetch_add(1, Ordering::Relaxed);
    }
    published
}

/// Reads to the end of the stream, which must be an orderly one.
fn read(mut stream: EventStream, count: &AtomicU64) -> Vec<Sse> {
    let mut events = Vec::new();
    while let Some(event) = stream.next().unwrap() {
        events.push(event);
        count.fetch_add(1, Ordering::Relaxed);
    }
    events
}

fn read_lines(mut socket: UnixStream, count: &AtomicU64) -> Vec<Sse> {
    socket.write_all(b"{\"subscribe\":{\"filters\":[\"load\"]}}\n").unwrap();
    let mut events = Vec::new();
    for line in BufReader::new(socket).lines() {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let Some(event) = line["event"].as_object() else { continue };
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        events.push(Sse { id: text("id"), kind: None, data: text("data") });
        count.fetch_add(1, Ordering::Relaxed);
    }
    events
}

/// Stops a daemon under full load. `meanwhile` runs once the load does, and returns values to keep until the end.
fn stop_under_load<T>(
    mut daemon: Daemon,
    signal: Signal,
    meanwhile: impl FnOnce(&Daemon) -> T,
) -> (Daemon, Duration, T) {
    let progress = Progress::default();
    let http2 = Http2::connect(daemon.address);
    let (published, received, kept, took) = thread::scope(|scope| {
        let (daemon, progress) = (&mut daemon, &progress);
        let mut counts = progress.read.iter();
        let mut count = || counts.next().unwrap();
        let (over_tcp, locally) = (daemon.stream("/events/load"), daemon.stream_locally("/events/load"));
        let (over_http2, lines) = (http2.stream("/events/load", &[]), daemon.local());
        let counts = [count(), count(), count(), count()];
        let readers: [ScopedJoinHandle<'_, Vec<Sse>>; READERS] = [
            scope.spawn(move || read(over_tcp, counts[0])),
            scope.spawn(move || read(locally, counts[1])),
            scope.spawn(move || read(over_http2, counts[2])),
            scope.spawn(move || read_lines(lines, counts[3])),
        ];
        daemon.wait_for_subscribers(READERS as u64);
        let (first, second, shared) = (daemon.local(), daemon.local(), &*daemon);
        let publishers = [
            scope.spawn(move || publish(first, 1, progress)),
            scope.spawn(move || publish(second, 2, progress)),
            scope.spawn(move || post(shared, progress)),
        ];
        let kept = meanwhile(shared);
        until("the load runs", || (progress.slowest() > 2 * AHEAD).then_some(()));
        // A reload in the middle of it has no effect on clients.
        let read = "read the configuration again";
        shared.signal(Signal::HUP);
        until(read, || shared.log().contains(read).then_some(()));
        let answered = progress.slowest();
        until("the load continues", || (progress.slowest() > answered + AHEAD).then_some(()));
        let asked = Instant::now();
        shared.signal(signal);
        let published: Vec<_> = publishers.into_iter().flat_map(|publisher| publisher.join().unwrap()).collect();
        let received = readers.map(|reader| reader.join().unwrap());
        (published, received, kept, asked)
    });
    assert_eq!(daemon.wait(), Some(0));
    let took = took.elapsed();
    for (reader, events) in received.iter().enumerate() {
        assert!(
            events.is_sorted_by(|a, b| a.seq() < b.seq()),
            "reader {reader} received an event twice or out of order"
        );
        let got: BTreeSet<_> = events.iter().map(|event| &*event.data).collect();
        let lost: Vec<_> = published.iter().filter(|data| !got.contains(data.as_str())).collect();
        let (all, missing) = (published.len(), lost.len());
        assert!(lost.is_empty(), "reader {reader} lacks {missing} of {all} acknowledged events: {lost:.10?}");
    }
    assert!(daemon.log().contains("stopped"));
    assert!(!daemon.sandbox.socket().exists(), "the socket file was not removed");
    (daemon, took, kept)
}

#[test]
fn events_acknowledged_before_the_end_reach_all_subscribers_that_read() {
    for round in 0..8 {
        let signal = [Signal::TERM, Signal::INT][round % 2];
        let (mut daemon, took, ()) = stop_under_load(Daemon::start(&[]), signal, |_| {});
        assert!(took < DRAIN, "no connection had to be cut, and it took {took:?}");
        daemon.start_again();
        daemon.publish("t", "the next daemon serves");
    }
}

/// Connections that never end by themselves, each in the middle of an exchange.
fn in_the_middle(daemon: &Daemon) -> Vec<Box<dyn Send>> {
    let mut kept: Vec<Box<dyn Send>> = Vec::new();
    let halves: [&[u8]; 4] = [
        b"GET /events/lo",
        b"GET /healthz HTTP/1.1\r\nHost: somewh",
        b"POST /events/t HTTP/1.1\r\nHost: bus\r\nContent-Length: 9\r\n\r\nha",
        b"PRI * HTTP",
    ];
    for half in halves {
        let mut socket = daemon.tcp();
        socket.write_all(half).unwrap();
        kept.push(Box::new(socket));
    }
    let frame = [&PREFACE[..], &100_u32.to_le_bytes(), b"half"].concat();
    let halves: [&[u8]; 5] = [b"", b"\0SS", &frame, br#"{"publish":{"topic":"#, b"GET /events/lo"];
    for half in halves {
        let mut socket = daemon.local();
        socket.write_all(half).unwrap();
        kept.push(Box::new(socket));
    }
    // Replays that are not read.
    let path = "/events/past?since=all";
    kept.push(Box::new([daemon.stream(path), daemon.stream_locally(path)]));
    let http2 = Http2::with_window(daemon.address, 50_000);
    kept.push(Box::new((http2.stream(path, &[]), http2)));
    let mut lines = daemon.lines();
    lines.send(r#"{"subscribe":{"filters":["past"],"since":"all"}}"#);
    kept.push(Box::new(lines));
    kept
}

#[test]
fn a_signal_during_every_kind_of_exchange_ends_the_daemon_within_its_deadline() {
    /// Added to the deadline for a busy machine.
    const BUSY: Duration = Duration::from_secs(2);
    let past: Vec<String> = (0..100).map(|n| format!("{n:0>60000}")).collect();
    let end = |signal: Signal| {
        let daemon = Daemon::start(&[]);
        for data in &past {
            daemon.publish("past", data);
        }
        let (mut daemon, took, (kept, replay)) = stop_under_load(daemon, signal, |daemon| {
            let (mut replay, log) = (daemon.stream("/events/past?since=all"), daemon.sandbox.path("daemon.log"));
            assert_eq!(replay.data(1), past[..1]);
            let rest = past[1..].to_owned();
            let replay = thread::spawn(move || {
                let is_stopping = || fs::read_to_string(&log).unwrap().contains("stopping").then_some(());
                until("the daemon stops in the middle of the replay", is_stopping);
                assert!(replay.data(rest.len()) == rest, "an event is missing or out of order");
                replay.ends();
            });
            (in_the_middle(daemon), replay)
        });
        replay.join().unwrap();
        println!("{signal:?}: ended after {took:?}");
        assert!(took < DRAIN + BUSY, "{took:?}");
        assert!(daemon.log().contains("cut the connections that had not ended"), "nobody was stuck");
        drop(kept);
        let again = Instant::now();
        daemon.start_again();
        daemon.publish("t", "the next daemon serves");
        println!("the next one serves after {:?}", again.elapsed());
    };
    thread::scope(|scope| {
        for signal in [Signal::TERM, Signal::INT] {
            scope.spawn(move || end(signal));
        }
    });
}

#[test]
fn further_signals_while_it_stops_change_nothing() {
    let mut daemon = Daemon::start(&[]);
    let sent: Vec<String> = (0..120).map(|n| format!("{n:0>50000}")).collect();
    let mut streams = [daemon.stream("/events/t"), daemon.stream_locally("/events/t")];
    for data in &sent {
        daemon.publish("t", data);
    }
    daemon.signal(Signal::INT);
    until("the daemon is stopping", || daemon.log().contains("stopping").then_some(()));
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::INT] {
        daemon.signal(signal);
    }
    for stream in &mut streams {
        assert!(stream.data(sent.len()) == sent, "an event is missing or out of order");
        stream.ends();
    }
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn publishing_while_the_daemon_stops_is_refused_as_stopping() {
    let mut daemon = Daemon::start(&[]);
    // A subscriber with much to read keeps the daemon from ending at once.
    let mut reader = daemon.stream("/events/t");
    for _ in 0..120 {
        daemon.publish("t", "x".repeat(50_000));
    }
    let head = "POST /events/t HTTP/1.1\r\nHost: bus\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut socket = daemon.local();
    socket.write_all(head.as_bytes()).unwrap();
    // The daemon waits for the body then.
    let mut go_on = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    socket.read_exact(&mut go_on).unwrap();
    daemon.signal(Signal::TERM);
    until("the daemon is stopping", || daemon.log().contains("stopping").then_some(()));
    socket.write_all(b"hi").unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 503 ") && response.contains(r#""code":"stopping""#), "{response}");
    assert_eq!(reader.data(120).len(), 120);
    reader.ends();
    assert_eq!(daemon.wait(), Some(0));
}
