//! The throughput of one publisher and one subscriber with history on disk, beside history in memory: the load of
//! `cargo bench --bench socket`, with frames.

use std::{
    thread,
    time::{Duration, Instant},
};

use sse_bus::protocol::{Ack, Request, Subscribe};

use super::{
    Result,
    daemon::{Connection, Daemon, FULL, History, directory, publish, to_frame},
    line, median,
};

const EVENTS: usize = 500_000;
const BATCH: usize = 250;
const ROUNDS: usize = 5;

pub(super) fn run() -> Result<()> {
    let (mut memory, mut disk, mut later) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        memory.push(round(History::Memory)?.0.as_secs_f64());
        let (accepted, written) = round(History::Disk)?;
        disk.push(accepted.as_secs_f64());
        later.push(written.saturating_sub(accepted).as_secs_f64());
    }
    let ratio = median(memory.iter().zip(&disk).map(|(memory, disk)| memory / disk).collect());
    let rate = |seconds| format!("{:.0} events/s", EVENTS as f64 / seconds);
    line("accepted from 1 publisher, history in memory", &rate(median(memory)), "", "–");
    line("accepted from 1 publisher, history on disk", &rate(median(disk)), &format!("{ratio:.2}"), "at least 0.7");
    line("  until the last of them is on disk", &format!("{:.2} s later", median(later)), "", "–");
    Ok(())
}

/// Publishes all events to a new daemon. Returns when all were accepted and delivered, and when they were on disk as
/// well.
fn round(history: History) -> Result<(Duration, Duration)> {
    let directory = directory()?;
    let daemon = Daemon::start(history, FULL, &directory.path().join("state"))?;
    let mut subscriber = daemon.connect()?;
    subscriber.send(&to_frame(&Request::Subscribe(Subscribe::new(["bench"]))))?;
    subscriber.wait_for(1)?;
    let mut publisher = daemon.connect()?;
    let socket = publisher.socket.try_clone()?;
    let batch = publish("bench", &"x".repeat(200), Ack::Accepted).repeat(BATCH);
    let began = Instant::now();
    thread::scope(|scope| {
        let waiting = [&mut publisher, &mut subscriber]
            .map(|connection: &mut Connection| scope.spawn(move || connection.wait_for(EVENTS)));
        for _ in 0..EVENTS / BATCH {
            std::io::Write::write_all(&mut &socket, &batch)?;
        }
        for waiting in waiting {
            waiting.join().map_err(|_| "a reader has panicked")??;
        }
        Result::Ok(())
    })?;
    let accepted = began.elapsed();
    if history == History::Disk {
        daemon.settle()?;
    }
    Ok((accepted, began.elapsed()))
}
