//! The speed at which a reconnecting subscriber receives what it missed, beside `cat` with as many bytes.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::Command,
    time::{Duration, Instant},
};

use super::{
    Result,
    daemon::{Daemon, On, PATIENCE, event},
    line, mebibytes, median,
};

const EVENTS: usize = 100_000;
const ROUNDS: usize = 7;
/// Marks the end of history.
const LAST: &[u8] = b"the last\n\n\r\n";

pub(super) fn run() -> Result<()> {
    let bounds = ["--history-events", "1000000", "--history-bytes", "1GiB"];
    let daemon = Daemon::start(On::All, &bounds)?;
    let mut publisher = daemon.publisher()?;
    publisher.send(&event("bench", "the first"))?;
    let first = publisher.position()?;
    let thousand = event("bench", &"x".repeat(200)).repeat(1000);
    for _ in 0..EVENTS / 1000 {
        publisher.send(&thousand)?;
    }
    publisher.send(&event("bench", "the last"))?;
    publisher.status()?;

    let bytes = replay(&daemon, &first)?.1;
    let mut file = tempfile::tempfile()?;
    file.write_all(&vec![b'x'; bytes])?;
    let (mut replayed, mut copied, mut grown) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        daemon.forget_peak()?;
        let before = daemon.resident()?;
        replayed.push(replay(&daemon, &first)?.0.as_secs_f64());
        grown.push((daemon.peak()? - before) as f64);
        copied.push(copy(&file)?.as_secs_f64());
    }
    let speed = |seconds: f64| format!("{:.0} MB/s", bytes as f64 / 1e6 / seconds);
    let (replayed, copied) = (median(replayed), median(copied));
    line("as many bytes through a loopback TCP socket with cat", &speed(copied), "", "–");
    line(
        "replay of 100,000 events to one client",
        &speed(replayed),
        &format!("{:.2}", copied / replayed),
        "at least 0.5",
    );
    let grown = grown.into_iter().fold(0.0, f64::max);
    line("  the daemon's memory meanwhile", &mebibytes(grown as i64), "", "bounded, whatever the backlog");
    Ok(())
}

/// Reads everything after an id. Returns the time, and the number of bytes.
fn replay(daemon: &Daemon, after: &str) -> Result<(Duration, usize)> {
    let mut socket = TcpStream::connect(daemon.address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET /events/bench HTTP/1.1\r\nHost: {}\r\nLast-Event-ID: {after}\r\n\r\n", daemon.address);
    let mut buffer = vec![0; 256 << 10];
    let (mut total, mut held) = (0, 0);
    let began = Instant::now();
    socket.write_all(request.as_bytes())?;
    // The end of the previous read stays in the buffer, so that the last event is found wherever reads end.
    while !buffer[..held].ends_with(LAST) {
        let tail = held.min(LAST.len());
        buffer.copy_within(held - tail..held, 0);
        let read = socket.read(&mut buffer[tail..])?;
        if read == 0 {
            return Err("the daemon has closed the stream".into());
        }
        total += read;
        held = tail + read;
    }
    let took = began.elapsed();
    if total < EVENTS * 200 {
        return Err(format!("only {total} bytes arrived").into());
    }
    Ok((took, total))
}

/// Copies a file with `cat` through a loopback TCP socket.
fn copy(file: &File) -> Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut reader = TcpStream::connect(listener.local_addr()?)?;
    let writer = listener.accept()?.0;
    let mut buffer = vec![0; 256 << 10];
    (&*file).rewind()?;
    let mut cat = Command::new("cat").stdin(file.try_clone()?).stdout(OwnedFd::from(writer)).spawn()?;
    // Its start is not counted.
    reader.read_exact(&mut buffer[..1])?;
    let began = Instant::now();
    while reader.read(&mut buffer)? > 0 {}
    let took = began.elapsed();
    cat.wait()?;
    Ok(took)
}
