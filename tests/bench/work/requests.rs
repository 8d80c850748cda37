//! The round trip of a request: from the requester through the daemon to the responder, and back, over two local sockets.
//!
//! Beside it, in turn with it, a bare ping-pong over the same hops: a thread copies each message from one socket to another,
//! and the reply back. The requester has one request in flight.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use sse_bus::protocol::{
    Reply, ReplyTo, Request, RequestMessage, Respond,
    binary::{self, Frame},
};
use sse_bus_support::measured::Result;

const ROUNDS: usize = 7;
const REQUESTS: usize = 2000;
/// Bytes of the data, of the request and of the reply.
const SIZE: usize = 200;
/// The most that a round trip may take, as a multiple of the ping-pong.
const ASKED: f64 = 2.0;

pub(crate) fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("bus.sock");
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_sse-busd"))
        .args(["--no-config", "--listen", "127.0.0.1:0", "--log", "error", "--socket"])
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
    let mut requester = Requester::start(socket)?;
    let mut bare = ping_pong()?;
    let (mut bus, mut direct) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        direct.extend(timed(|| bare_round(&mut bare))?);
        bus.extend(timed(|| requester.round())?);
    }
    let (bus, direct) = (Percentiles::of(bus), Percentiles::of(direct));
    println!("round trip of {SIZE} bytes, one at a time       p50 µs    p99 µs");
    println!("{:<44} {:>8.1}  {:>8.1}", "bare ping-pong over two local sockets", direct.p50, direct.p99);
    println!(
        "{:<44} {:>8.1}  {:>8.1}   {:.2} × the ping-pong, asked at most {ASKED}",
        "request and reply, binary",
        bus.p50,
        bus.p99,
        bus.p50 / direct.p50
    );
    Ok(())
}

/// Microseconds.
struct Percentiles {
    p50: f64,
    p99: f64,
}

impl Percentiles {
    fn of(mut times: Vec<Duration>) -> Percentiles {
        times.sort_unstable();
        let at = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e6;
        Percentiles { p50: at(50), p99: at(99) }
    }
}

/// The times of some round trips, after a tenth more.
fn timed(mut round: impl FnMut() -> Result<()>) -> Result<Vec<Duration>> {
    for _ in 0..REQUESTS / 10 {
        round()?;
    }
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let began = Instant::now();
        round()?;
        times.push(began.elapsed());
    }
    Ok(times)
}

/// Starts the threads of the bare ping-pong. Returns the socket of the requester.
fn ping_pong() -> Result<UnixStream> {
    let (requester, mut front) = UnixStream::pair()?;
    let (mut back, mut responder) = UnixStream::pair()?;
    thread::spawn(move || copy(&mut front, &mut back));
    thread::spawn(move || {
        let mut data = [0; SIZE];
        while responder.read_exact(&mut data).and_then(|()| responder.write_all(&data)).is_ok() {}
    });
    Ok(requester)
}

/// Copies each message to the other socket, and the reply back.
fn copy(front: &mut UnixStream, back: &mut UnixStream) {
    let mut data = [0; SIZE];
    let mut pass = |from: &mut UnixStream, to: &mut UnixStream| {
        from.read_exact(&mut data).and_then(|()| to.write_all(&data)).is_ok()
    };
    while pass(front, back) && pass(back, front) {}
}

fn bare_round(socket: &mut UnixStream) -> Result<()> {
    let mut data = [b'x'; SIZE];
    socket.write_all(&data)?;
    Ok(socket.read_exact(&mut data)?)
}

/// A connection in the binary protocol.
struct Frames {
    socket: UnixStream,
    read: Vec<u8>,
}

impl Frames {
    fn connect(socket: &Path) -> Result<Frames> {
        let mut socket = UnixStream::connect(socket)?;
        socket.write_all(&binary::PREFACE)?;
        Ok(Frames { socket, read: Vec::new() })
    }

    fn send(&mut self, request: &Request) -> Result<()> {
        let mut frame = Vec::new();
        binary::encode(request, &mut frame).map_err(|size| format!("a frame of {size} bytes"))?;
        Ok(self.socket.write_all(&frame)?)
    }

    fn next(&mut self) -> Result<Reply> {
        let mut part = [0; 4096];
        loop {
            match binary::decode::<Reply>(&self.read) {
                Frame::Whole(reply, used) => {
                    self.read.drain(..used);
                    return Ok(reply);
                }
                Frame::Partial(_) => {}
                bad => return Err(format!("{bad:?}").into()),
            }
            match self.socket.read(&mut part)? {
                0 => return Err("the daemon has closed the connection".into()),
                read => self.read.extend_from_slice(&part[..read]),
            }
        }
    }
}

struct Requester {
    frames: Frames,
    request: Request,
}

impl Requester {
    /// Connects a requester, and a responder on a thread of its own.
    fn start(socket: &Path) -> Result<Requester> {
        let mut responder = Frames::connect(socket)?;
        responder.send(&Request::Respond(Respond::new(["bench"])))?;
        responder.next()?;
        thread::spawn(move || -> Result<()> {
            loop {
                if let Reply::Event(event) = responder.next()? {
                    let to = event.reply_to.unwrap_or_default();
                    responder.send(&Request::Reply(ReplyTo::new(to, event.data)))?;
                }
            }
        });
        let request = Request::Request(RequestMessage::new("bench", "x".repeat(SIZE)));
        Ok(Requester { frames: Frames::connect(socket)?, request })
    }

    fn round(&mut self) -> Result<()> {
        self.frames.send(&self.request)?;
        match self.frames.next()? {
            Reply::Replies(replies) if replies.len() == 1 => Ok(()),
            other => Err(format!("{other:?}").into()),
        }
    }
}
