//! Redis Streams as a queue: XADD, XREADGROUP, XACK over its Unix socket.

use std::{
    io::Write as _,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use tempfile::TempDir;

use crate::{
    Result,
    process::Process,
    queue::{Connection, JOB, Producer, Received, Server, Store, Worker},
};

/// The consumer group of each stream.
const GROUP: &[u8] = b"workers";

/// The number of workers so far, which names the next one.
static WORKERS: AtomicUsize = AtomicUsize::new(0);

pub(crate) struct Redis {
    _process: Process,
    socket: PathBuf,
    _folders: [TempDir; 2],
}

impl Redis {
    /// Returns None if Redis is not installed.
    pub(crate) fn start(store: Store) -> Result<Option<Redis>> {
        // The path of a socket must be short.
        let folders = [tempfile::tempdir()?, crate::directory()?];
        let socket = folders[0].path().join("redis.sock");
        let (append, sync) = match store {
            Store::Memory => ("no", "no"),
            Store::Disk => ("yes", "everysec"),
            Store::Synced => ("yes", "always"),
        };
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", append, "--appendfsync", sync]);
        command.arg("--unixsocket").arg(&socket).arg("--dir").arg(folders[1].path());
        let process = Process::start(&mut command, || Ok(UnixStream::connect(&socket)?))?;
        Ok(process.map(|process| Redis { _process: process, socket, _folders: folders }))
    }

    fn connect(&self) -> Result<Connection<UnixStream>> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Connection::<UnixStream>::TIMEOUT)?;
        Ok(Connection::new(stream))
    }

    fn run(&self, arguments: &[&[u8]]) -> Result<()> {
        let mut connection = self.connect()?;
        command(arguments.iter().copied(), arguments.len(), &mut connection.out);
        connection.send()?;
        connection.wait(reply).map(drop)
    }
}

/// Appends a command.
fn command<'a>(arguments: impl IntoIterator<Item = &'a [u8]>, count: usize, out: &mut Vec<u8>) {
    // Writing to a Vec succeeds.
    let _ = write!(out, "*{count}\r\n");
    for argument in arguments {
        let _ = write!(out, "${}\r\n", argument.len());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// The texts of a reply, without its structure, and its number if it is one.
#[derive(Default)]
struct Texts {
    texts: Vec<Vec<u8>>,
    number: Option<usize>,
}

/// Returns the next reply, if it has been received; a refusal is an error.
fn reply(connection: &mut Connection<UnixStream>) -> Result<Option<Texts>> {
    let received = connection.received();
    let (mut texts, mut at, mut left) = (Texts::default(), 0, 1);
    while left > 0 {
        let Some(end) = memchr::memchr(b'\r', &received[at..]).filter(|end| received.len() > at + end + 1) else {
            return Ok(None);
        };
        let line = std::str::from_utf8(&received[at..at + end])?;
        (at, left) = (at + end + 2, left - 1);
        let (kind, rest) = line.split_at_checked(1).ok_or("an empty reply")?;
        match kind {
            "+" => {}
            ":" => texts.number = Some(rest.parse()?),
            // An array, or none.
            "*" => left += rest.parse::<isize>()?.max(0).cast_unsigned(),
            "$" => {
                let Ok(size) = rest.parse::<usize>() else { continue };
                let Some(text) = received.get(at..at + size + 2) else { return Ok(None) };
                texts.texts.push(text[..size].to_vec());
                at += size + 2;
            }
            _ => return Err(line.to_owned().into()),
        }
    }
    connection.consume(at);
    Ok(Some(texts))
}

impl Server for Redis {
    fn create(&self, queue: &str) -> Result<()> {
        self.run(&[b"XGROUP", b"CREATE", queue.as_bytes(), GROUP, b"0", b"MKSTREAM"])
    }

    fn delete(&self, queue: &str) -> Result<()> {
        self.run(&[b"DEL", queue.as_bytes()])
    }

    fn producer(&self, queue: &str) -> Result<Box<dyn Producer>> {
        let mut job = Vec::new();
        command([b"XADD", queue.as_bytes(), b"*", b"data", &JOB], 5, &mut job);
        Ok(Box::new(RedisProducer { connection: self.connect()?, job }))
    }

    fn worker(&self, queue: &str, in_flight: usize) -> Result<Box<dyn Worker>> {
        let connection = self.connect()?;
        let name = WORKERS.fetch_add(1, Ordering::Relaxed).to_string();
        let count = in_flight.to_string();
        let mut take = Vec::new();
        let arguments: [&[u8]; 11] = [
            b"XREADGROUP",
            b"GROUP",
            GROUP,
            name.as_bytes(),
            b"COUNT",
            count.as_bytes(),
            b"BLOCK",
            b"0",
            b"STREAMS",
            queue.as_bytes(),
            b">",
        ];
        command(arguments, arguments.len(), &mut take);
        let mut worker = RedisWorker { connection, queue: queue.into(), take, ids: Vec::new() };
        worker.acknowledge()?;
        Ok(Box::new(worker))
    }
}

struct RedisProducer {
    connection: Connection<UnixStream>,
    /// The command that publishes a job.
    job: Vec<u8>,
}

impl Producer for RedisProducer {
    fn publish(&mut self, jobs: usize) -> Result<()> {
        for _ in 0..jobs {
            self.connection.out.extend_from_slice(&self.job);
        }
        self.connection.send()?;
        (0..jobs).try_for_each(|_| self.connection.wait(reply).map(drop))
    }
}

struct RedisWorker {
    connection: Connection<UnixStream>,
    queue: String,
    /// The command that takes jobs.
    take: Vec<u8>,
    ids: Vec<Vec<u8>>,
}

impl Worker for RedisWorker {
    fn receive(&mut self) -> Result<Received> {
        let mut received = Received::default();
        self.connection.read()?;
        while let Some(Texts { texts, number }) = reply(&mut self.connection)? {
            received.confirmed += number.unwrap_or_default();
            // The name of the stream, then for each job its id, the name of its field and its data.
            for job in texts.get(1..).unwrap_or_default().chunks_exact(3) {
                self.ids.push(job[0].clone());
                received.jobs += 1;
            }
        }
        Ok(received)
    }

    fn acknowledge(&mut self) -> Result<()> {
        let RedisWorker { connection, queue, take, ids } = self;
        if !ids.is_empty() {
            let first: [&[u8]; 3] = [b"XACK", queue.as_bytes(), GROUP];
            command(first.into_iter().chain(ids.iter().map(Vec::as_slice)), 3 + ids.len(), &mut connection.out);
            ids.clear();
        }
        connection.out.extend_from_slice(take);
        connection.send()
    }
}
