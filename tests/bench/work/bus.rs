//! The daemon as a queue: binary frames over the local socket.

use std::os::unix::net::UnixStream;

use sse_bus::protocol::{Ack, Consume, ConsumerAction, ConsumerConfig, Publish, Reply, Request, binary};
use sse_bus_support::measured::{Daemon, On};
use tempfile::TempDir;

use crate::{
    Result,
    queue::{Connection, JOB, Producer, Received, Server, Store, Worker},
};

pub(crate) struct Bus {
    daemon: Daemon,
    ack: Ack,
    _state: TempDir,
}

impl Bus {
    pub(crate) fn start(store: Store) -> Result<Bus> {
        let state = crate::directory()?;
        let history = if store == Store::Memory { "memory" } else { "disk" };
        let folder = state.path().to_str().ok_or("the target directory has no name in UTF-8")?;
        let daemon = Daemon::start(On::All, &["--history", history, "--state-dir", folder])?;
        let ack = if store == Store::Synced { Ack::Durable } else { Ack::Accepted };
        Ok(Bus { daemon, ack, _state: state })
    }

    fn connect(&self) -> Result<Connection<UnixStream>> {
        let stream = self.daemon.connect()?;
        stream.set_read_timeout(Connection::<UnixStream>::TIMEOUT)?;
        let mut connection = Connection::new(stream);
        connection.out.extend_from_slice(&binary::PREFACE);
        Ok(connection)
    }

    fn run(&self, queue: &str, action: ConsumerAction) -> Result<()> {
        let mut connection = self.connect()?;
        encode(&Request::Consumer { name: queue.into(), action }, &mut connection.out)?;
        connection.send()?;
        connection.wait(reply).map(drop)
    }
}

fn encode(request: &Request, out: &mut Vec<u8>) -> Result<()> {
    binary::encode(request, out).map_err(|size| format!("a frame of {size} bytes").into())
}

/// Returns the next reply, if it has been received; a refusal is an error.
fn reply(connection: &mut Connection<UnixStream>) -> Result<Option<Reply>> {
    match binary::decode(connection.received()) {
        binary::Frame::Whole(Reply::Error(refused), _) => Err(refused.message.into()),
        binary::Frame::Whole(reply, size) => {
            connection.consume(size);
            Ok(Some(reply))
        }
        binary::Frame::Partial(_) => Ok(None),
        bad => Err(format!("no reply: {bad:?}").into()),
    }
}

impl Server for Bus {
    fn create(&self, queue: &str) -> Result<()> {
        self.run(queue, ConsumerAction::Create(ConsumerConfig::new([queue])))
    }

    fn delete(&self, queue: &str) -> Result<()> {
        self.run(queue, ConsumerAction::Delete)
    }

    fn producer(&self, queue: &str) -> Result<Box<dyn Producer>> {
        let mut frame = Vec::new();
        let job = String::from_utf8(JOB.to_vec())?;
        encode(&Request::Publish(Publish::new(queue, job).with_ack(self.ack)), &mut frame)?;
        let mut connection = self.connect()?;
        connection.send()?;
        Ok(Box::new(BusProducer { connection, frame }))
    }

    fn worker(&self, queue: &str, in_flight: usize) -> Result<Box<dyn Worker>> {
        let mut connection = self.connect()?;
        encode(&Request::Consume(Consume::new(queue).with_max_in_flight(in_flight as u64)), &mut connection.out)?;
        connection.send()?;
        connection.wait(reply)?;
        Ok(Box::new(BusWorker { connection, tokens: Vec::new() }))
    }
}

struct BusProducer {
    connection: Connection<UnixStream>,
    /// The request to publish a job.
    frame: Vec<u8>,
}

impl Producer for BusProducer {
    fn publish(&mut self, jobs: usize) -> Result<()> {
        for _ in 0..jobs {
            self.connection.out.extend_from_slice(&self.frame);
        }
        self.connection.send()?;
        (0..jobs).try_for_each(|_| self.connection.wait(reply).map(drop))
    }
}

struct BusWorker {
    connection: Connection<UnixStream>,
    tokens: Vec<String>,
}

impl Worker for BusWorker {
    fn receive(&mut self) -> Result<Received> {
        let mut received = Received::default();
        self.connection.read()?;
        while let Some(reply) = reply(&mut self.connection)? {
            match reply {
                Reply::Event(event) => {
                    self.tokens.push(event.delivery.ok_or("an event that is not a delivery")?.token);
                    received.jobs += 1;
                }
                Reply::Settled { deliveries } => received.confirmed += deliveries as usize,
                other => return Err(format!("unexpected: {other:?}").into()),
            }
        }
        Ok(received)
    }

    fn acknowledge(&mut self) -> Result<()> {
        let tokens = std::mem::take(&mut self.tokens);
        encode(&Request::Ack { tokens }, &mut self.connection.out)?;
        self.connection.send()
    }
}
