//! A million events on disk: the time until a daemon answers after a SIGKILL, and the speed of a replay of all of them
//! to curl, beside history in memory.

use std::{
    io::Read,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sse_bus::protocol::Ack;

use super::{
    Result,
    daemon::{Daemon, History, WIDE, directory, publish},
    line, median,
};

const EVENTS: usize = 1_000_000;
const TOPICS: usize = 100;
const ROUNDS: usize = 3;
/// Marks the end of history.
const LAST: &[u8] = b"the last\n\n";

pub(super) fn run() -> Result<()> {
    let directory = directory()?;
    let state = directory.path().join("state");
    let on_disk = Daemon::start(History::Disk, WIDE, &state)?;
    fill(&on_disk)?;
    on_disk.settle()?;
    let mut on_disk = on_disk;
    let mut started = Vec::new();
    for _ in 0..ROUNDS {
        // Killed while it works.
        on_disk.connect()?.send(&publish("more", "x", Ack::None).repeat(1000))?;
        drop(on_disk);
        on_disk = Daemon::start(History::Disk, WIDE, &state)?;
        started.push(on_disk.started.as_secs_f64());
    }
    let figure = format!("{:.2} s", median(started));
    line("from exec to the first response, after SIGKILL, with a million events", &figure, "", "less than 1 s");

    let in_memory = Daemon::start(History::Memory, WIDE, &directory.path().join("none"))?;
    fill(&in_memory)?;
    let (mut memory, mut disk) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        memory.push(replay(&in_memory)?.as_secs_f64());
        disk.push(replay(&on_disk)?.as_secs_f64());
    }
    let ratio = median(memory.iter().zip(&disk).map(|(memory, disk)| memory / disk).collect());
    let rate = |seconds| format!("{:.0} events/s", EVENTS as f64 / seconds);
    line("since=all of a million events to curl, from memory", &rate(median(memory)), "", "–");
    line(
        "since=all of a million events to curl, from disk",
        &rate(median(disk)),
        &format!("{ratio:.2}"),
        "at least 0.25",
    );
    Ok(())
}

/// Publishes a million events of 200 bytes.
fn fill(daemon: &Daemon) -> Result<()> {
    let mut publisher = daemon.connect()?;
    let data = "x".repeat(200);
    let round: Vec<u8> = (0..TOPICS).flat_map(|topic| publish(&format!("bench/{topic}"), &data, Ack::None)).collect();
    for _ in 0..EVENTS / TOPICS {
        publisher.send(&round)?;
    }
    // This reply shows that all events before were accepted.
    publisher.send(&publish("bench/0", "the last", Ack::Accepted))?;
    publisher.wait_for(1)
}

/// Replays all events to curl. Returns the time until the last one.
fn replay(daemon: &Daemon) -> Result<Duration> {
    let url = format!("http://{}/events/bench/*?since=all", daemon.address);
    let began = Instant::now();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--no-buffer", "--globoff", &url]);
    let mut curl = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let read = read_all(&mut curl);
    let took = began.elapsed();
    curl.kill()?;
    curl.wait()?;
    match read? {
        EVENTS.. => Ok(took),
        events => Err(format!("only {events} events arrived").into()),
    }
}

/// Reads up to the last event. Returns the number of events.
fn read_all(curl: &mut Child) -> Result<usize> {
    let mut output = curl.stdout.take().ok_or("curl has no output")?;
    let mut buffer = vec![0; 256 << 10];
    let (mut lines, mut held) = (0, 0);
    // The end of the previous read stays in the buffer, so that the last event is found wherever reads end.
    while !buffer[..held].ends_with(LAST) {
        let tail = held.min(LAST.len());
        buffer.copy_within(held - tail..held, 0);
        let read = output.read(&mut buffer[tail..])?;
        if read == 0 {
            return Err("curl has ended".into());
        }
        held = tail + read;
        lines += memchr::memchr_iter(b'\n', &buffer[tail..held]).count();
    }
    // The lines of id and data, and an empty one.
    Ok(lines / 3)
}
