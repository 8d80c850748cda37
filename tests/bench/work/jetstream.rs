//! NATS `JetStream` as a queue: a stream, a durable pull consumer, and acknowledgements that are confirmed. It has no Unix socket.

use std::{
    fmt::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    Result,
    process::Process,
    queue::{Connection, JOB, Producer, Received, Server, Store, Worker},
};

/// The subscription of a connection to the answers of the server, and the one to jobs.
const ANSWERS: &str = "1";
const JOBS: &str = "2";

pub(crate) struct JetStream {
    _process: Process,
    address: SocketAddr,
    storage: &'static str,
    _folder: TempDir,
}

impl JetStream {
    /// Returns None if `nats-server` is not installed.
    pub(crate) fn start(store: Store) -> Result<Option<JetStream>> {
        let folder = crate::directory()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let file = folder.path().join("server.conf");
        let sync = if store == Store::Synced { "sync_interval: always" } else { "" };
        let data = folder.path().join("data");
        let text = format!("listen: \"{address}\"\njetstream {{\n  store_dir: \"{}\"\n  {sync}\n}}\n", data.display());
        std::fs::write(&file, text)?;
        let mut command = Command::new("nats-server");
        command.arg("--config").arg(&file);
        let process = Process::start(&mut command, || Ok(TcpStream::connect(address)?))?;
        let storage = if store == Store::Memory { "memory" } else { "file" };
        Ok(process.map(|process| JetStream { _process: process, address, storage, _folder: folder }))
    }

    /// Returns a connection with an inbox for answers, and the inbox.
    fn connect(&self) -> Result<(Connection<TcpStream>, String)> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Connection::<TcpStream>::TIMEOUT)?;
        let inbox = format!("_INBOX.{}", stream.local_addr()?.port());
        let mut connection = Connection::new(stream);
        let connect = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}";
        connection.out.extend_from_slice(format!("{connect}\r\nSUB {inbox} {ANSWERS}\r\n").as_bytes());
        Ok((connection, inbox))
    }

    fn run(&self, subject: &str, request: &str) -> Result<()> {
        let (mut connection, inbox) = self.connect()?;
        publish(subject, &inbox, request.as_bytes(), &mut connection.out);
        connection.send()?;
        confirmation(&mut connection)
    }
}

fn publish(subject: &str, reply: &str, data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("PUB {subject} {reply} {}\r\n", data.len()).as_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Waits for an answer; a refusal is an error.
fn confirmation(connection: &mut Connection<TcpStream>) -> Result<()> {
    connection.wait(message).map(drop)
}

/// A message: for answers whether it is one, for jobs the subject of the acknowledgement.
struct Message {
    is_answer: bool,
    reply: Option<String>,
}

/// Returns the next message, if it has been received. Other lines are answered or skipped.
fn message(connection: &mut Connection<TcpStream>) -> Result<Option<Message>> {
    loop {
        let received = connection.received();
        let Some(end) = memchr::memchr(b'\n', received) else { return Ok(None) };
        let line = std::str::from_utf8(&received[..end])?.trim_end();
        let fields: Vec<&str> = line.split(' ').collect();
        match *fields.as_slice() {
            ["MSG" | "HMSG", _, subscription, .., size] => {
                let size: usize = size.parse()?;
                let Some(data) = received.get(end + 1..end + 1 + size + 2) else { return Ok(None) };
                let is_answer = subscription == ANSWERS;
                let with_headers = line.starts_with('H');
                let is_refusal = is_answer && memchr::memmem::find(data, b"\"error\":").is_some();
                if is_refusal || with_headers {
                    return Err(String::from_utf8_lossy(data).into_owned().into());
                }
                let reply = if fields.len() == 5 { Some(fields[3].to_owned()) } else { None };
                connection.consume(end + 1 + size + 2);
                return Ok(Some(Message { is_answer, reply }));
            }
            ["PING"] => {
                connection.consume(end + 1);
                connection.out.extend_from_slice(b"PONG\r\n");
                connection.send()?;
            }
            ["-ERR", ..] => return Err(line.to_owned().into()),
            _ => connection.consume(end + 1),
        }
    }
}

impl Server for JetStream {
    fn create(&self, queue: &str) -> Result<()> {
        let storage = self.storage;
        let stream = format!(
            "{{\"name\":\"{queue}\",\"subjects\":[\"{queue}\"],\"retention\":\"limits\",\"storage\":\"{storage}\",\"num_replicas\":1}}"
        );
        self.run(&format!("$JS.API.STREAM.CREATE.{queue}"), &stream)?;
        let consumer = format!(
            "{{\"stream_name\":\"{queue}\",\"config\":{{\"durable_name\":\"workers\",\"ack_policy\":\"explicit\",\
             \"deliver_policy\":\"all\",\"ack_wait\":30000000000,\"max_ack_pending\":1000}}}}"
        );
        self.run(&format!("$JS.API.CONSUMER.DURABLE.CREATE.{queue}.workers"), &consumer)
    }

    fn delete(&self, queue: &str) -> Result<()> {
        self.run(&format!("$JS.API.STREAM.DELETE.{queue}"), "")
    }

    fn producer(&self, queue: &str) -> Result<Box<dyn Producer>> {
        let (mut connection, inbox) = self.connect()?;
        connection.send()?;
        let mut job = Vec::new();
        publish(queue, &inbox, &JOB, &mut job);
        Ok(Box::new(JetStreamProducer { connection, job }))
    }

    fn worker(&self, queue: &str, in_flight: usize) -> Result<Box<dyn Worker>> {
        let (mut connection, answers) = self.connect()?;
        let jobs = format!("{answers}.jobs");
        connection.out.extend_from_slice(format!("SUB {jobs} {JOBS}\r\n").as_bytes());
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{queue}.workers");
        let mut worker =
            JetStreamWorker { connection, answers, jobs, next, in_flight, requested: 0, unacked: Vec::new() };
        worker.acknowledge()?;
        Ok(Box::new(worker))
    }
}

struct JetStreamProducer {
    connection: Connection<TcpStream>,
    /// The command that publishes a job.
    job: Vec<u8>,
}

impl Producer for JetStreamProducer {
    fn publish(&mut self, jobs: usize) -> Result<()> {
        for _ in 0..jobs {
            self.connection.out.extend_from_slice(&self.job);
        }
        self.connection.send()?;
        (0..jobs).try_for_each(|_| confirmation(&mut self.connection))
    }
}

struct JetStreamWorker {
    connection: Connection<TcpStream>,
    /// The inboxes.
    answers: String,
    jobs: String,
    /// The subject of requests for jobs.
    next: String,
    in_flight: usize,
    /// Jobs that were requested and have not arrived.
    requested: usize,
    /// Where the jobs that it has are acknowledged.
    unacked: Vec<String>,
}

impl Worker for JetStreamWorker {
    fn receive(&mut self) -> Result<Received> {
        let mut received = Received::default();
        self.connection.read()?;
        while let Some(message) = message(&mut self.connection)? {
            if message.is_answer {
                received.confirmed += 1;
            } else {
                self.unacked.push(message.reply.ok_or("a job without a reply subject")?);
                (received.jobs, self.requested) = (received.jobs + 1, self.requested - 1);
            }
        }
        Ok(received)
    }

    fn acknowledge(&mut self) -> Result<()> {
        let out = &mut self.connection.out;
        for subject in self.unacked.drain(..) {
            publish(&subject, &self.answers, b"+ACK", out);
        }
        // Fewer requests than jobs, as its own clients do.
        if self.requested <= self.in_flight / 2 {
            let mut request = String::new();
            // Writing to a String succeeds.
            let _ = write!(request, "{{\"batch\":{},\"expires\":60000000000}}", self.in_flight - self.requested);
            publish(&self.next, &self.jobs, request.as_bytes(), out);
            self.requested = self.in_flight;
        }
        self.connection.send()
    }
}
