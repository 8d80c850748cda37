//! A thousand subscribers that never read, beside a hundred that do: the readers miss no event and are not delayed, the
//! others are closed, and their memory is freed.

use std::{
    io::{self, BufRead, ErrorKind, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    harness::{Daemon, until},
    measure::{Latencies, alone, resident},
};

const READERS: usize = 100;
const STUCK: usize = 1000;
/// Events a second, and for how many seconds.
const RATE: u64 = 1000;
const SECONDS: u64 = if cfg!(debug_assertions) { 25 } else { 60 };
/// Windows of the run; the latency of the best one is checked.
const WINDOWS: u64 = SECONDS / 5;
/// Bytes of an event's data, so that the buffers of stalled subscribers fill soon.
const SIZE: usize = 200;
/// Ten times as much without optimization, where daemon and readers are that much slower.
const BOUND: Duration = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 50 });

/// Opens a stream and reads only the head of the response.
fn open(daemon: &Daemon, name: &str) -> TcpStream {
    let mut socket = daemon.tcp();
    let address = daemon.address;
    let request = format!("GET /events/crowd?client={name} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

/// The state of one reader: an incomplete line, and the number of its next event.
struct Reader {
    socket: TcpStream,
    line: Vec<u8>,
    next: u64,
}

impl Reader {
    /// Reads available bytes. Checks that no event is missing, and records latencies.
    fn read(&mut self, chunk: &mut [u8], began: Instant, latencies: &mut [Vec<Duration>]) {
        let read = match self.socket.read(chunk) {
            Ok(0) => panic!("a reader was closed"),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        };
        let now = began.elapsed();
        let mut rest = &chunk[..read];
        loop {
            rest.read_until(b'\n', &mut self.line).unwrap();
            if self.line.last() != Some(&b'\n') {
                return;
            }
            let line = std::mem::take(&mut self.line);
            assert!(!line.starts_with(b"event: $gap"), "a reader received a gap");
            // The number of the event and the microsecond of its publish.
            let Some(data) = line.strip_prefix(b"data: ") else { continue };
            let mut words = std::str::from_utf8(data).unwrap().split(' ').map_while(|word| word.parse::<u64>().ok());
            let (number, sent) = (words.next().unwrap(), Duration::from_micros(words.next().unwrap()));
            assert_eq!(number, self.next, "a reader has lost an event");
            self.next += 1;
            let window = (number * WINDOWS / (RATE * SECONDS)) as usize;
            latencies[window].push(now.saturating_sub(sent));
        }
    }
}

/// Publishes at its rate. Late events are sent at once.
fn publish(daemon: &Daemon, began: Instant) {
    let mut lines = daemon.lines();
    for number in 0..RATE * SECONDS {
        let due = Duration::from_secs(number) / RATE as u32;
        thread::sleep(due.saturating_sub(began.elapsed()));
        let sent = began.elapsed().as_micros();
        let publish =
            format!(r#"{{"publish":{{"topic":"crowd","data":"{number} {sent} {:SIZE$}","ack":"none"}}}}"#, "");
        lines.send(publish);
    }
}

/// Reads for all readers until each has every event, and returns the latencies by window.
fn read_all(sockets: Vec<TcpStream>, began: Instant) -> io::Result<Vec<Vec<Duration>>> {
    let end = Duration::from_secs(SECONDS + 20);
    let mut latencies = vec![Vec::new(); WINDOWS as usize];
    let mut readers: Vec<_> = sockets.into_iter().map(|socket| Reader { socket, line: Vec::new(), next: 0 }).collect();
    let mut chunk = vec![0; 64 << 10];
    while readers.iter().any(|reader| reader.next < RATE * SECONDS) {
        assert!(began.elapsed() < end, "the readers do not have everything after {end:?}");
        let mut wanted: Vec<_> = readers.iter().map(|reader| PollFd::new(&reader.socket, PollFlags::IN)).collect();
        poll(&mut wanted, Some(&Timespec { tv_sec: 1, tv_nsec: 0 }))?;
        let ready: Vec<bool> = wanted.iter().map(|fd| !fd.revents().is_empty()).collect();
        for (reader, _) in readers.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            reader.read(&mut chunk, began, &mut latencies);
        }
    }
    Ok(latencies)
}

#[test]
fn a_thousand_stalled_subscribers_cost_a_hundred_readers_nothing_and_are_closed() {
    let _alone = alone();
    let daemon = Daemon::start(&[]);
    let readers: Vec<_> = (0..READERS).map(|_| open(&daemon, "reader")).collect();
    daemon.wait_for_subscribers(READERS as u64);
    for socket in &readers {
        socket.set_nonblocking(true).unwrap();
    }
    // History is filled first, so that its memory is not counted.
    for _ in 0..10 {
        daemon.publish("other", "x".repeat(200_000));
    }
    let before = resident(&daemon);
    let stuck: Vec<_> = (0..STUCK).map(|_| open(&daemon, "stuck")).collect();
    daemon.wait_for_subscribers((READERS + STUCK) as u64);

    let (began, over) = (Instant::now(), AtomicBool::new(false));
    let (latencies, peak) = thread::scope(|scope| {
        let memory = scope.spawn(|| {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                peak = peak.max(resident(&daemon));
                thread::sleep(Duration::from_millis(100));
            }
            peak
        });
        scope.spawn(|| publish(&daemon, began));
        let latencies = read_all(readers, began).unwrap();
        over.store(true, Ordering::Relaxed);
        (latencies, memory.join().unwrap())
    });
    let windows: Vec<_> = latencies.into_iter().map(Latencies::of).collect();
    for window in &windows {
        eprintln!("readers: {window}");
    }
    until("the stalled subscribers are closed", || {
        let clients = daemon.get("/clients").json();
        clients.as_array().unwrap().iter().all(|client| client["name"] != "stuck").then_some(())
    });
    let (cut, after) = (daemon.status()["slow_disconnects"].as_u64().unwrap(), resident(&daemon));
    eprintln!("{cut} closed; memory {before} KiB before, {peak} at most, {after} after");
    drop(stuck);
    assert!(cut >= STUCK as u64);
    let best = windows.iter().map(|window| window.p(99)).min().unwrap();
    assert!(best <= BOUND, "p99 {best:?} in the best window");
    // History has a bound of its own; it holds up to 10,000 events of the topic.
    let history = daemon.status()["history_bytes"].as_u64().unwrap() as usize / 1024;
    assert!(after < before + history * 2 + 8 * 1024, "{before} KiB before, {after} after; history {history}");
}
