//! How fast a node reads the log: a node that was suspended while events were published, and a fresh node whose client reads all
//! of history, beside an ordered consumer of the client of NATS.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use sse_bus_support::harness::nats::NatsServer;

use super::{
    Result,
    bare::Bare,
    daemon::{Daemon, On, PATIENCE, event},
    line, median, node, ratio,
};

const ROUNDS: usize = 3;
/// Events of a round, and bytes of each.
const EVENTS: usize = 200_000;
const SIZE: usize = 200;

/// Publishes events at a node, and returns the position after them.
fn fill(daemon: &Daemon, events: usize) -> Result<String> {
    let mut publisher = daemon.publisher()?;
    let thousand = event("bench", &"x".repeat(SIZE)).repeat(1_000);
    for _ in 0..events / 1_000 {
        publisher.send(&thousand)?;
        // So that no reply times out.
        publisher.status()?;
    }
    // This one is answered after all of them are in the log.
    let mut socket = daemon.connect()?;
    socket.write_all(b"{\"publish\":{\"topic\":\"bench\",\"data\":\"last\"}}\n")?;
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line)?;
    if !line.contains("published") {
        return Err(format!("the daemon answers {line}").into());
    }
    daemon.publisher()?.position()
}

fn signal(daemon: &Daemon, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(daemon.pid().cast_signed()).ok_or("a daemon without a process")?;
    Ok(kill_process(pid, signal)?)
}

/// The rate at which a node applies the events that wait for it.
pub(super) fn ingest() -> Result<()> {
    let server = NatsServer::start();
    let publishing = node(&server, "a", On::All)?;
    let reading = node(&server, "b", On::All)?;
    let (mut rate, mut by_cpu) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        signal(&reading, Signal::STOP)?;
        let end = fill(&publishing, EVENTS)?;
        let before = reading.cpu()?;
        let began = Instant::now();
        signal(&reading, Signal::CONT)?;
        let mut status = reading.publisher()?;
        while status.position()? != end {
            if began.elapsed() > 2 * PATIENCE {
                return Err(format!("the node is at {} instead of {end}", status.position()?).into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        rate.push(EVENTS as f64 / began.elapsed().as_secs_f64());
        by_cpu.push(EVENTS as f64 / (reading.cpu()? - before));
    }
    line("ingest of a node that is behind", &format!("{:.0} events/s", median(rate)), "", "–");
    line("  a second of a processor", &format!("{:.0} events", median(by_cpu)), "", "at least 100,000");
    Ok(())
}

/// The rate at which a client of a fresh node receives all of history.
pub(super) fn catch_up() -> Result<()> {
    let server = NatsServer::start();
    let first = node(&server, "a", On::All)?;
    fill(&first, EVENTS)?;
    let bare = Bare::connect(&server)?;
    let (mut alone, mut fresh) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let rate = |time: Duration| EVENTS as f64 / time.as_secs_f64();
        alone.push(rate(bare.read("SSEBUS_bench", EVENTS)?));
        // The time until it answers is part of it.
        let began = Instant::now();
        let node = node(&server, &format!("fresh{round}"), On::All)?;
        read_all(&node)?;
        fresh.push(rate(began.elapsed()));
    }
    let ratio = ratio(&fresh, &alone);
    let show = |figures| format!("{:.0} events/s", median(figures));
    line("catch-up, ordered consumer of the bare client of NATS", &show(alone), "", "–");
    line("catch-up, fresh node, to one client", &show(fresh), &ratio, "at least 0.5");
    Ok(())
}

/// Reads the whole history of a node.
fn read_all(daemon: &Daemon) -> Result<()> {
    let mut socket = TcpStream::connect(daemon.address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    write!(socket, "GET /events/bench?since=all&position=none HTTP/1.1\r\nHost: {}\r\n\r\n", daemon.address)?;
    let mut reader = BufReader::with_capacity(256 << 10, socket);
    let (mut line, mut events) = (Vec::new(), 0);
    while line != b"data: last\n" {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Err(format!("the stream has ended after {events} events").into());
        }
        events += usize::from(line.starts_with(b"data: "));
        if line.starts_with(b"event: $gap") {
            return Err(format!("a gap after {events} events").into());
        }
    }
    if events > EVENTS { Ok(()) } else { Err(format!("{events} events").into()) }
}
