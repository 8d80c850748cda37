//! The daemon, with history in memory or on disk: started for one benchmark, killed when dropped. And connections to it
//! with frames.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use sse_bus::protocol::{Ack, Publish, Reply, Request, binary};
use tempfile::TempDir;

use super::Result;

/// The timeout of every wait for the daemon.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// Bounds of history: those of a full bus, where each event evicts the oldest. They leave readers
/// enough time.
pub(super) const FULL: &[&str] = &["--history-events", "50000", "--history-bytes", "1GiB"];
/// Bounds that a million events do not reach.
pub(super) const WIDE: &[&str] =
    &["--history-events", "2000000", "--history-bytes", "4GiB", "--history-budget", "4GiB"];

/// A new directory for files whose speed is measured.
pub(super) fn directory() -> Result<TempDir> {
    Ok(TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?)
}

/// The file system that [directories](directory) are on: its device and its type.
pub(super) fn file_system() -> Result<String> {
    let output = Command::new("df").args(["--output=source,fstype", env!("CARGO_TARGET_TMPDIR")]).output()?;
    let output = String::from_utf8(output.stdout)?;
    let fields = output.lines().nth(1).ok_or("`df` does not know the file system")?.split_whitespace();
    Ok(fields.collect::<Vec<_>>().join(", "))
}

/// The kind of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum History {
    Memory,
    Disk,
}

pub(super) struct Daemon {
    child: Child,
    socket: PathBuf,
    pub(super) address: SocketAddr,
    /// From the start of the process to its first response.
    pub(super) started: Duration,
    _folder: TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// Starts a daemon with a state directory and waits until `GET /healthz` is answered.
    pub(super) fn start(history: History, bounds: &[&str], state: &Path) -> Result<Daemon> {
        // The path of a socket must be short.
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("bus.sock");
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_sse-busd"));
        command.args(["--no-config", "--log", "error", "--listen", &address.to_string()]).args(bounds);
        command.arg("--history").arg(if history == History::Disk { "disk" } else { "memory" });
        command.arg("--state-dir").arg(state).arg("--socket").arg(&socket);
        let began = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut daemon = Daemon { child, socket, address, started: Duration::ZERO, _folder: folder };
        while !daemon.is_healthy()? {
            if let Some(status) = daemon.child.try_wait()? {
                return Err(format!("the daemon has ended: {status}").into());
            }
            if began.elapsed() > PATIENCE {
                return Err("the daemon does not start".into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        daemon.started = began.elapsed();
        Ok(daemon)
    }

    /// Returns true if it answers. Once it listens this waits for the response.
    fn is_healthy(&self) -> Result<bool> {
        if TcpStream::connect(self.address).is_err() {
            return Ok(false);
        }
        let response = self.get("/healthz")?;
        if response.starts_with("HTTP/1.1 200 ") { Ok(true) } else { Err(response.into()) }
    }

    /// The whole response to a request.
    fn get(&self, path: &str) -> Result<String> {
        let mut socket = TcpStream::connect(self.address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        socket.write_all(request.as_bytes())?;
        let mut response = String::new();
        socket.read_to_string(&mut response)?;
        Ok(response)
    }

    /// The number of its writes to disk, and the seconds that they took.
    pub(super) fn commits(&self) -> Result<(usize, f64)> {
        let metrics = self.get("/metrics")?;
        let value = |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        match (value("sse_bus_history_commit_seconds_count"), value("sse_bus_history_commit_seconds_sum")) {
            (Some(count), Some(sum)) => Ok((count.parse()?, sum.parse()?)),
            _ => Err("the daemon does not report its commits".into()),
        }
    }

    pub(super) fn connect(&self) -> Result<Connection> {
        let mut socket = UnixStream::connect(&self.socket)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.write_all(&binary::PREFACE)?;
        Ok(Connection { socket, buffer: vec![0; 64 << 10].into(), unfinished: Vec::new() })
    }

    /// Waits until all published events are on disk.
    pub(super) fn settle(&self) -> Result<()> {
        let mut connection = self.connect()?;
        connection.send(&publish("settled", "", Ack::Durable))?;
        connection.wait_for(1)
    }
}

/// A connection to the local socket.
pub(super) struct Connection {
    pub(super) socket: UnixStream,
    buffer: Box<[u8]>,
    unfinished: Vec<u8>,
}

impl Connection {
    pub(super) fn send(&mut self, frames: &[u8]) -> Result<()> {
        Ok(self.socket.write_all(frames)?)
    }

    /// Waits for this many replies.
    pub(super) fn wait_for(&mut self, replies: usize) -> Result<()> {
        let mut seen = 0;
        while seen < replies {
            seen += self.replies()?;
        }
        Ok(())
    }

    /// Reads once. Returns the number of replies completed by it; a refusal is an error.
    pub(super) fn replies(&mut self) -> Result<usize> {
        let read = self.socket.read(&mut self.buffer)?;
        if read == 0 {
            return Err("the daemon has closed the connection".into());
        }
        self.unfinished.extend_from_slice(&self.buffer[..read]);
        let (mut at, mut replies) = (0, 0);
        loop {
            match binary::decode(&self.unfinished[at..]) {
                binary::Frame::Whole(Reply::Error(refused), _) => return Err(refused.message.into()),
                binary::Frame::Whole(_, size) => (at, replies) = (at + size, replies + 1),
                binary::Frame::Partial(_) => break,
                bad => return Err(format!("no reply: {bad:?}").into()),
            }
        }
        self.unfinished.drain(..at);
        Ok(replies)
    }
}

/// A request to publish, as a frame.
pub(super) fn publish(topic: &str, data: &str, ack: Ack) -> Vec<u8> {
    to_frame(&Request::Publish(Publish::new(topic, data).with_ack(ack)))
}

pub(super) fn to_frame(request: &Request) -> Vec<u8> {
    let mut frame = Vec::new();
    binary::encode(request, &mut frame).expect("a small request fits a frame");
    frame
}
