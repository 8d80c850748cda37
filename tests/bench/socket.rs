//! How fast one publisher gets events through the local socket to one subscriber, and how long `sse-busctl publish`
//! takes from cold: `cargo bench --bench socket`.
//!
//! Frames and lines are encoded ahead and sent as fast as the daemon takes them, every one acknowledged; the figure is
//! events a second until the subscriber has the last. A bare copy of the same bytes between two local sockets shows the
//! speed of the machine.

use std::{
    error::Error,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use sse_bus::protocol::{Publish, Request, Subscribe, binary, json};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const EVENTS: usize = 500_000;
const ROUNDS: usize = 3;

/// A protocol of the socket.
struct Way {
    name: &'static str,
    asked: usize,
    preface: &'static [u8],
    encode: fn(&Request) -> Vec<u8>,
    /// Counts the messages in the bytes read; keeps an unfinished one.
    count: fn(&mut Vec<u8>) -> usize,
}

const WAYS: [Way; 2] = [
    Way { name: "binary", asked: 500_000, preface: &binary::PREFACE, encode: to_frame, count: count_frames },
    Way { name: "JSON lines", asked: 200_000, preface: b"", encode: to_line, count: count_lines },
];

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("bus.sock");
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_sse-busd"))
        .args(["--no-config", "--listen", "127.0.0.1:0", "--log", "error"])
        // No subscriber slows a publisher, so the events that the subscriber lags behind must fit into history.
        .args(["--history-events", "1000000", "--history-bytes", "1GiB", "--socket"])
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()?;
    let measured = measure(&mut daemon, &socket);
    daemon.kill()?;
    daemon.wait()?;
    measured
}

fn measure(daemon: &mut Child, socket: &Path) -> Result<()> {
    while UnixStream::connect(socket).is_err() {
        if let Some(status) = daemon.try_wait()? {
            return Err(format!("the daemon has ended: {status}").into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    let copied = median(|| copy_between_sockets(EVENTS * 230))?;
    println!("{:<34} {:>9.0} events/s", "bare copy of the same bytes", per_second(EVENTS, copied));
    for way in &WAYS {
        let time = median(|| publish_all(socket, way))?;
        let rate = per_second(EVENTS, time);
        let name = format!("{}, acknowledged, pipelined", way.name);
        println!(
            "{name:<34} {rate:>9.0} events/s   asked {}, {:.2} of the copy",
            way.asked,
            rate * copied.as_secs_f64() / EVENTS as f64
        );
    }
    let started = median(|| run(&mut Command::new("/bin/true")))?;
    println!("{:<34} {:>9.2} ms", "/bin/true from cold", started.as_secs_f64() * 1e3);
    let mut publish = Command::new(env!("CARGO_BIN_EXE_sse-busctl"));
    publish.arg("--socket").arg(socket).args(["publish", "t", "x"]);
    println!("{:<34} {:>9.2} ms", "sse-busctl publish from cold", median(|| run(&mut publish))?.as_secs_f64() * 1e3);
    Ok(())
}

/// The median time of a few rounds.
fn median(mut round: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    let mut times = (0..ROUNDS).map(|_| round()).collect::<Result<Vec<_>>>()?;
    times.sort_unstable();
    Ok(times[ROUNDS / 2])
}

/// The mean time of a command over many runs.
fn run(command: &mut Command) -> Result<Duration> {
    const RUNS: u32 = 50;
    command.stdout(Stdio::null());
    let began = Instant::now();
    for _ in 0..RUNS {
        if !command.status()?.success() {
            return Err(format!("{command:?} has failed").into());
        }
    }
    Ok(began.elapsed() / RUNS)
}

/// Publishes all events and waits until all are acknowledged and the subscriber has them.
fn publish_all(socket: &Path, way: &Way) -> Result<Duration> {
    let mut subscriber = UnixStream::connect(socket)?;
    subscriber.write_all(way.preface)?;
    subscriber.write_all(&(way.encode)(&Request::Subscribe(Subscribe::new(["bench"]))))?;
    wait_for(&mut subscriber, 1, way)?;

    let mut publisher = UnixStream::connect(socket)?;
    publisher.write_all(way.preface)?;
    let batch = (way.encode)(&Request::Publish(Publish::new("bench", "x".repeat(200)))).repeat(250);
    let mut replies = publisher.try_clone()?;
    let began = Instant::now();
    thread::scope(|scope| {
        let acknowledged = scope.spawn(move || wait_for(&mut replies, EVENTS, way));
        let delivered = scope.spawn(move || wait_for(&mut subscriber, EVENTS, way));
        for _ in 0..EVENTS / 250 {
            publisher.write_all(&batch)?;
        }
        for waiting in [acknowledged, delivered] {
            waiting.join().map_err(|_| "a reader has panicked")??;
        }
        Ok(began.elapsed())
    })
}

fn wait_for(stream: &mut UnixStream, messages: usize, way: &Way) -> Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let mut unfinished = Vec::new();
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut seen = 0;
    while seen < messages {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(format!("the daemon closed the connection after {seen} of {messages} messages").into());
        }
        unfinished.extend_from_slice(&buffer[..read]);
        seen += (way.count)(&mut unfinished);
    }
    Ok(())
}

fn copy_between_sockets(bytes: usize) -> Result<Duration> {
    let (mut from, mut to) = UnixStream::pair()?;
    let began = Instant::now();
    let writer = thread::spawn(move || {
        let block = vec![b'x'; 64 << 10];
        (0..bytes / block.len()).try_for_each(|_| from.write_all(&block))
    });
    let mut buffer = vec![0; 256 << 10];
    while to.read(&mut buffer)? > 0 {}
    writer.join().map_err(|_| "the writer has panicked")??;
    Ok(began.elapsed())
}

fn to_frame(request: &Request) -> Vec<u8> {
    let mut frame = Vec::new();
    binary::encode(request, &mut frame).expect("a request of 200 bytes fits a frame");
    frame
}

fn to_line(request: &Request) -> Vec<u8> {
    let mut line = Vec::new();
    json::encode(request, &mut line);
    line
}

fn count_frames(buffer: &mut Vec<u8>) -> usize {
    let (mut at, mut frames) = (0, 0);
    while let Some(prefix) = buffer[at..].first_chunk::<{ binary::PREFIX }>() {
        let next = at + binary::PREFIX + u32::from_le_bytes(*prefix) as usize;
        if next > buffer.len() {
            break;
        }
        (at, frames) = (next, frames + 1);
    }
    buffer.drain(..at);
    frames
}

fn count_lines(buffer: &mut Vec<u8>) -> usize {
    let lines = memchr::memchr_iter(b'\n', buffer).count();
    buffer.clear();
    lines
}

fn per_second(events: usize, time: Duration) -> f64 {
    events as f64 / time.as_secs_f64()
}
