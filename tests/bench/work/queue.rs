//! What the servers have in common: a queue with one consumer, producers that confirm, and workers that acknowledge.
//!
//! All clients are written by hand, over blocking sockets, with one write for everything that is ready to be sent, so that the
//! servers are compared and not their libraries.

use std::{
    io::{ErrorKind, Read, Write},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};

use crate::Result;

/// The data of a job.
pub(crate) const JOB: [u8; 200] = [b'x'; 200];
/// Jobs that the producer sends at once.
const PUBLISHED_AT_ONCE: usize = 100;
/// The timeout of a benchmark round.
const PATIENCE: Duration = Duration::from_mins(2);
/// Time after which a worker looks whether all jobs are done.
const LOOK: Duration = Duration::from_millis(50);

/// Where the jobs are kept, and what the confirmation of a publish promises.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// In memory.
    Memory,
    /// On disk; synced later.
    Disk,
    /// On disk; synced before it is confirmed.
    Synced,
}

/// A server that runs. It ends when it is dropped.
pub(crate) trait Server {
    /// Creates an empty queue with one consumer.
    fn create(&self, queue: &str) -> Result<()>;
    /// Deletes it.
    fn delete(&self, queue: &str) -> Result<()>;
    fn producer(&self, queue: &str) -> Result<Box<dyn Producer>>;
    /// Returns a worker that has at most `in_flight` jobs.
    fn worker(&self, queue: &str, in_flight: usize) -> Result<Box<dyn Worker>>;
}

pub(crate) trait Producer: Send {
    /// Publishes jobs in one write, and waits until all are confirmed.
    fn publish(&mut self, jobs: usize) -> Result<()>;
}

pub(crate) trait Worker: Send {
    /// Waits for jobs or for confirmations of acknowledgements; for a while only.
    fn receive(&mut self) -> Result<Received>;
    /// Acknowledges all jobs that it has, and requests others, in one write.
    fn acknowledge(&mut self) -> Result<()>;
}

/// What a worker has received.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) jobs: usize,
    /// Acknowledgements that the server has confirmed.
    pub(crate) confirmed: usize,
}

/// Publishes jobs while workers process them. Returns the jobs a second, until the last acknowledgement is confirmed.
pub(crate) fn throughput(server: &dyn Server, queue: &str, jobs: usize, workers: usize, slots: usize) -> Result<f64> {
    server.create(queue)?;
    let mut producer = server.producer(queue)?;
    let workers = (0..workers).map(|_| server.worker(queue, slots)).collect::<Result<Vec<_>>>()?;
    let done = AtomicUsize::new(0);
    let began = Instant::now();
    let ends = thread::scope(|scope| {
        let running: Vec<_> = workers.into_iter().map(|worker| scope.spawn(|| work(worker, &done, jobs))).collect();
        for at in (0..jobs).step_by(PUBLISHED_AT_ONCE) {
            producer.publish(PUBLISHED_AT_ONCE.min(jobs - at))?;
        }
        running
            .into_iter()
            .map(|worker| worker.join().map_err(|_| "a worker has panicked")?)
            .collect::<Result<Vec<_>>>()
    })?;
    server.delete(queue)?;
    let end = ends.into_iter().flatten().max().ok_or("no worker has seen the end")?;
    Ok(jobs as f64 / (end - began).as_secs_f64())
}

/// Processes jobs until all are done. Returns the time of the end, if this worker had the last job.
fn work(mut worker: Box<dyn Worker>, done: &AtomicUsize, jobs: usize) -> Result<Option<Instant>> {
    let until = Instant::now() + PATIENCE;
    while done.load(Ordering::Relaxed) < jobs {
        let received = worker.receive()?;
        if received.jobs > 0 {
            worker.acknowledge()?;
        }
        if received.confirmed > 0 && done.fetch_add(received.confirmed, Ordering::Relaxed) + received.confirmed >= jobs
        {
            return Ok(Some(Instant::now()));
        }
        if Instant::now() > until {
            return Err(format!("{} of {jobs} jobs are done in time", done.load(Ordering::Relaxed)).into());
        }
    }
    Ok(None)
}

/// Publishes one job at a time to a worker that waits. Returns the times from the begin of the publish until the worker has the
/// job, in order.
pub(crate) fn latencies(server: &dyn Server, queue: &str, jobs: usize) -> Result<Vec<Duration>> {
    server.create(queue)?;
    let mut producer = server.producer(queue)?;
    let mut worker = server.worker(queue, 1)?;
    let (taken, times) = std::sync::mpsc::channel();
    let mut latencies = thread::scope(|scope| {
        let working = scope.spawn(move || -> Result<()> {
            let until = Instant::now() + PATIENCE;
            let mut confirmed = 0;
            while confirmed < jobs && Instant::now() < until {
                let received = worker.receive()?;
                let now = Instant::now();
                confirmed += received.confirmed;
                if received.jobs > 0 {
                    worker.acknowledge()?;
                }
                for _ in 0..received.jobs {
                    taken.send(now)?;
                }
            }
            Ok(())
        });
        let mut latencies = Vec::new();
        for _ in 0..jobs {
            let began = Instant::now();
            producer.publish(1)?;
            latencies.push(times.recv_timeout(PATIENCE)? - began);
        }
        working.join().map_err(|_| "the worker has panicked")??;
        Ok::<_, crate::Error>(latencies)
    })?;
    server.delete(queue)?;
    latencies.sort_unstable();
    Ok(latencies)
}

/// A connection with what was received and is not parsed yet.
pub(crate) struct Connection<S> {
    stream: S,
    received: BytesMut,
    block: Box<[u8]>,
    pub(crate) out: Vec<u8>,
}

impl<S: Read + Write> Connection<S> {
    /// A connection whose reads must have [a timeout](LOOK).
    pub(crate) fn new(stream: S) -> Connection<S> {
        Connection { stream, received: BytesMut::new(), block: vec![0; 64 << 10].into(), out: Vec::new() }
    }

    pub(crate) const TIMEOUT: Option<Duration> = Some(LOOK);

    /// Sends everything in `out`.
    pub(crate) fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Returns what was received. [`consume`](Self::consume) drops the parsed part.
    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    pub(crate) fn consume(&mut self, bytes: usize) {
        self.received.advance(bytes);
    }

    /// Reads once. Returns false after a timeout.
    pub(crate) fn read(&mut self) -> Result<bool> {
        match self.stream.read(&mut self.block) {
            Ok(0) => Err("the server has closed the connection".into()),
            Ok(read) => {
                self.received.extend_from_slice(&self.block[..read]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads until `parse` returns a value.
    pub(crate) fn wait<T>(&mut self, mut parse: impl FnMut(&mut Self) -> Result<Option<T>>) -> Result<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = parse(self)? {
                return Ok(value);
            }
            self.read()?;
            if Instant::now() > until {
                return Err("the server does not answer".into());
            }
        }
    }
}
