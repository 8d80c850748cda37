//! Publishes: the latency of one at a time, and how many a second if the publisher does not wait for each.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use sse_bus::protocol::{Publish, Request, binary};
use sse_bus_support::harness::nats::NatsServer;

use super::{
    ROOM, Result,
    bare::Bare,
    daemon::{Daemon, On, PATIENCE},
    line, median, node, ratio,
};

const ROUNDS: usize = 5;
/// Publishes of a round.
const ONE_AT_A_TIME: usize = 2_000;
const PIPELINED: usize = 50_000;
/// Bytes of the data.
const SIZE: usize = 200;

/// A connection with binary frames, as the library has one.
struct Publisher {
    socket: UnixStream,
    frame: Vec<u8>,
}

impl Publisher {
    fn connect(daemon: &Daemon) -> Result<Publisher> {
        let mut socket = daemon.connect()?;
        socket.write_all(&binary::PREFACE)?;
        let mut frame = Vec::new();
        let request = Request::Publish(Publish::new("bench", "x".repeat(SIZE)));
        binary::encode(&request, &mut frame).map_err(|size| format!("{size} bytes do not fit a frame"))?;
        Ok(Publisher { socket, frame })
    }

    fn latencies(&mut self, events: usize) -> Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(events);
        for _ in 0..events {
            let began = Instant::now();
            self.socket.write_all(&self.frame)?;
            replies(&mut self.socket, 1)?;
            times.push(began.elapsed());
        }
        Ok(times)
    }

    fn pipelined(&mut self, events: usize) -> Result<Duration> {
        let batch = self.frame.repeat(100);
        let mut reader = self.socket.try_clone()?;
        let began = Instant::now();
        thread::scope(|scope| {
            let acknowledged = scope.spawn(move || replies(&mut reader, events));
            for _ in 0..events / 100 {
                self.socket.write_all(&batch)?;
            }
            acknowledged.join().map_err(|_| "the reader has panicked")??;
            Ok(began.elapsed())
        })
    }
}

/// Reads a number of replies.
fn replies(socket: &mut UnixStream, replies: usize) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut unread = Vec::new();
    let mut seen = 0;
    let until = Instant::now() + 4 * PATIENCE;
    while seen < replies {
        let read = socket.read(&mut buffer)?;
        if read == 0 || Instant::now() > until {
            return Err(format!("{seen} of {replies} replies").into());
        }
        unread.extend_from_slice(&buffer[..read]);
        let mut at = 0;
        while let Some(prefix) = unread[at..].first_chunk::<{ binary::PREFIX }>() {
            let next = at + binary::PREFIX + u32::from_le_bytes(*prefix) as usize;
            if next > unread.len() {
                break;
            }
            (at, seen) = (next, seen + 1);
        }
        unread.drain(..at);
    }
    Ok(())
}

/// What is compared.
struct Compared {
    _server: NatsServer,
    bare: Bare,
    _daemons: [Daemon; 2],
    memory: Publisher,
    nats: Publisher,
}

impl Compared {
    fn start() -> Result<Compared> {
        let server = NatsServer::start();
        let bare = Bare::connect(&server)?;
        let daemons = [Daemon::start(On::All, &ROOM)?, node(&server, "a", On::All)?];
        let [memory, nats] = [&daemons[0], &daemons[1]].map(Publisher::connect);
        Ok(Compared { _server: server, bare, _daemons: daemons, memory: memory?, nats: nats? })
    }
}

pub(super) fn latency() -> Result<()> {
    let mut compared = Compared::start()?;
    let data = "x".repeat(SIZE);
    let (mut memory, mut bare, mut nats) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        memory.push(percentiles(compared.memory.latencies(ONE_AT_A_TIME)?));
        bare.push(percentiles(compared.bare.latencies(ONE_AT_A_TIME, &data)?));
        nats.push(percentiles(compared.nats.latencies(ONE_AT_A_TIME)?));
    }
    for (at, name) in [(0, "p50"), (1, "p99")] {
        let of = |figures: &[[f64; 2]]| figures.iter().map(|figures| figures[at]).collect::<Vec<f64>>();
        let (memory, bare, nats) = (of(&memory), of(&bare), of(&nats));
        let ratio = ratio(&nats, &bare);
        let show = |figures| format!("{:.0} µs", median(figures));
        line(&format!("publish latency, {name}, history in memory"), &show(memory), "", "–");
        line(&format!("publish latency, {name}, bare client of NATS"), &show(bare), "", "–");
        line(&format!("publish latency, {name}, node"), &show(nats), &ratio, "–");
    }
    Ok(())
}

/// Microseconds: the median and the 99th percentile.
fn percentiles(mut times: Vec<Duration>) -> [f64; 2] {
    times.sort_unstable();
    [50, 99].map(|percent| times[times.len() * percent / 100].as_secs_f64() * 1e6)
}

pub(super) fn pipelined() -> Result<()> {
    let mut compared = Compared::start()?;
    let data = "x".repeat(SIZE);
    let (mut memory, mut bare, mut nats) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let rate = |time: Duration| PIPELINED as f64 / time.as_secs_f64();
        memory.push(rate(compared.memory.pipelined(PIPELINED)?));
        bare.push(rate(compared.bare.pipelined(PIPELINED, &data)?));
        nats.push(rate(compared.nats.pipelined(PIPELINED)?));
    }
    let ratio = ratio(&nats, &bare);
    let show = |figures| format!("{:.0} events/s", median(figures));
    line("publishes, acknowledged, pipelined, history in memory", &show(memory), "", "–");
    line("publishes, acknowledged, pipelined, bare client of NATS", &show(bare), "", "–");
    line("publishes, acknowledged, pipelined, node", &show(nats), &ratio, "at least 0.8");
    Ok(())
}
