//! One connection to the local socket in the binary protocol or in JSON lines: requests in, replies and events out.
//!
//! Each connection is one task. It reads at most [`READ_MAX`] bytes, publishes their events in batches of at most
//! [`BATCH_MAX`], and sends the replies, so that other tasks run soon. It does not read while the peer does not accept its
//! replies, except from workers and responders, and sends them once [`READ_MAX`] bytes of them wait. It closes the connection if
//! the peer accepts none of the waiting bytes for [`WRITE_STALL`](sse_bus::limits::WRITE_STALL), or if a request that has begun is
//! incomplete after [`REQUEST`].

mod held;
mod input;
mod publish;
mod reply;
mod requests;
mod schedule;
mod send;
mod subscribe;
mod work;

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use sse_bus::{
    bus::{Publication, Read},
    endpoint::Stream,
    limits::{BATCH_MAX, READ_MAX, REQUEST},
    protocol::{Ack, ErrorCode, Refused, Reply, Request},
};
use tokio::{io::AsyncWriteExt as _, task::yield_now, time::sleep};

use self::{
    held::HeldReplies,
    input::{Input, incoming},
};
use super::codec::{Codec, Next, Skip};
use crate::{
    access::Caller,
    api::{Settle, Work, WorkerGuard},
    client_guard::ClientGuard,
    context::Daemon,
    shared_bus::SharedBus,
};

/// Bytes of buffer of a connection that receives little.
const QUIET: usize = 4 << 10;

/// The subscription of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subscribing {
    No,
    Live,
    /// To requests, as a responder.
    Requests,
    /// Ends once history has been delivered.
    PastOnly,
}

/// One connection.
pub(super) struct Session<'a> {
    stream: Stream,
    codec: Codec,
    caller: Caller,
    daemon: &'a Arc<Daemon>,
    read: BytesMut,
    /// Bytes to make room for: few while the peer sends little, so that idle connections cost little memory.
    read_size: usize,
    input: Input,
    /// The rest of a request that was too long.
    skipping: Skip,
    /// Time spent waiting for the rest of a request that has begun.
    waited: Duration,
    /// Number of requests so far.
    requests: u64,
    /// Publishes that wait to be applied as one batch, with the numbers of their requests.
    batch: Vec<((u64, Ack), Result<Publication, Refused>)>,
    /// Bytes that wait to be sent.
    out: Vec<u8>,
    /// Requests that wait for replies of responders or for the log, each with the replies to later requests.
    held: HeldReplies<'a>,
    /// A request that waits until all earlier ones are answered.
    deferred: Option<Request>,
    /// Requests to settle deliveries that wait to be applied as one batch, with their numbers. Empty if `batch` is not.
    settling: Vec<(u64, Settle)>,
    /// The publisher or subscriber that the connection is.
    client: Option<ClientGuard>,
    /// The worker that the connection is, instead of another client.
    worker: Option<WorkerGuard>,
    subscription: Subscribing,
    /// The connection ends once all bytes are sent.
    closing: bool,
    /// The connection yields its processor to other threads again after this time.
    next_yield: Instant,
}

impl<'a> Session<'a> {
    /// A connection whose first bytes have been read.
    pub(super) fn new(stream: Stream, read: BytesMut, codec: Codec, caller: Caller, daemon: &'a Arc<Daemon>) -> Self {
        Session {
            stream,
            codec,
            caller,
            daemon,
            read,
            read_size: QUIET,
            input: Input::Open,
            skipping: Skip::Nothing,
            waited: Duration::ZERO,
            requests: 0,
            batch: Vec::new(),
            out: Vec::new(),
            held: HeldReplies::default(),
            deferred: None,
            settling: Vec::new(),
            client: None,
            worker: None,
            subscription: Subscribing::No,
            closing: false,
            next_yield: Instant::now(),
        }
    }

    /// Serves the connection to its end.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let mut events: Vec<Bytes> = Vec::new();
        loop {
            let before = self.requests;
            let wanted = self.requests().await;
            if self.requests > before {
                self.refill().await?;
            }
            self.send().await?;
            let Some(wanted) = wanted else {
                self.give_way().await;
                continue;
            };
            let is_done = matches!(self.subscription, Subscribing::No | Subscribing::Requests) && self.held.is_empty();
            if self.closing || (self.at_end() && is_done) {
                self.refuse_held().await;
                self.send().await?;
                self.end_worker();
                return self.stream.shutdown().await;
            }
            if self.read.is_empty() {
                // The larger buffer of a burst is not kept.
                self.read = BytesMut::with_capacity(wanted);
            } else {
                self.read.reserve(wanted);
            }
            let is_held = self.is_held();
            let at_end = self.at_end();
            let has_begun = !at_end && !is_held && (!self.read.is_empty() || self.skipping != Skip::Nothing);
            let began = Instant::now();
            let (client, worker) = (self.client.as_ref(), self.worker.as_ref());
            // The reply to a publish precedes what is published after it.
            let is_publishing = self.held.is_publishing();
            tokio::select! {
                read = incoming(&mut self.stream, &mut self.read, at_end, is_held) => {
                    let Some(read) = read? else { return Ok(()) };
                    self.note_read(read);
                    self.read_size = if read < QUIET { QUIET } else { READ_MAX };
                    if read == READ_MAX {
                        // Other tasks have their turn before the next part of a large input.
                        self.give_way().await;
                    }
                }
                read = next_events(client, &self.daemon.bus, &mut events), if !is_publishing => {
                    self.send_events(&mut events).await?;
                    if read == Read::Ended {
                        // History has been delivered, and the connection may send other requests; or the client was removed.
                        self.closing = self.subscription != Subscribing::PastOnly;
                        (self.client, self.subscription) = (None, Subscribing::No);
                    }
                }
                work = next_work(worker), if !is_publishing => self.send_work(work).await?,
                ended = self.held.next() => {
                    self.end_held(ended);
                    // Many have ended at once.
                    self.end_published().await;
                }
                () = sleep(REQUEST.saturating_sub(self.waited)), if has_begun => {
                    let message =
                        format!("the rest of the request did not arrive within {} s; the connection is closed", REQUEST.as_secs());
                    self.refuse(Refused::new(ErrorCode::RequestInvalid, message)).await;
                    self.apply_batches().await;
                    self.closing = true;
                }
                () = self.daemon.stop.cancelled() => self.closing = !self.last_events().await,
            }
            if has_begun {
                self.waited += began.elapsed();
            }
        }
    }

    fn at_end(&self) -> bool {
        self.input != Input::Open
    }

    /// Notes that bytes were read, or that the peer has closed its sending half.
    fn note_read(&mut self, read: usize) {
        if read == 0 {
            self.input = Input::after_end(&self.stream);
        }
    }

    /// Yields between batches: to other tasks of this thread and, for at most half the time, to other threads that wait for its
    /// processor. Without the thread yield, a thread that has just become ready on this core may wait for the next scheduler
    /// tick. Without the bound of one half, CPU-bound processes would take the core after every batch.
    async fn give_way(&mut self) {
        let now = Instant::now();
        if now >= self.next_yield {
            thread::yield_now();
            self.next_yield = now + 2 * now.elapsed();
        }
        yield_now().await;
    }

    /// Reads events that were accepted before the daemon began to stop. Returns true if there may be more.
    async fn last_events(&mut self) -> bool {
        let Some(client) = &self.client else { return false };
        let mut events = Vec::new();
        let read =
            poll_fn(|cx| match self.daemon.bus.with(|bus, now| bus.read(client.id, now, cx.waker(), &mut events)) {
                Read::Fetching if events.is_empty() => Poll::Pending,
                read => Poll::Ready(read),
            });
        let read = read.await;
        for bytes in &events {
            self.out.extend_from_slice(bytes);
        }
        matches!(read, Read::Ready | Read::Fetching)
    }

    /// Handles the requests that have been read. Returns the bytes to make room for, or nothing if replies must be sent, and
    /// other tasks have their turn, before the next request.
    async fn requests(&mut self) -> Option<usize> {
        let before = self.requests;
        let wanted = loop {
            if self.out.len() >= READ_MAX || self.requests - before >= BATCH_MAX {
                break None;
            }
            if self.is_held() {
                break Some(0);
            }
            if let Some(request) = self.take_deferred() {
                self.request(request).await;
            }
            if !self.skipping.take(&mut self.read) {
                break Some(READ_MAX);
            }
            let at_end = self.at_end();
            match self.codec.next(&mut self.read, at_end, &self.daemon.config().limits) {
                Next::Request(request) => {
                    (self.requests, self.waited) = (self.requests + 1, Duration::ZERO);
                    self.request(request).await;
                }
                Next::Refused(refused) => self.refuse(refused).await,
                Next::Broken(refused) => {
                    self.refuse(refused).await;
                    self.closing = true;
                    break Some(0);
                }
                Next::Overlong(skip, refused) => {
                    self.refuse(refused).await;
                    self.skipping = skip;
                }
                // A large request gets room for the longest one at once: growing step by step would copy it again and again.
                Next::Partial(_) if self.read.len() >= READ_MAX => {
                    let longest = self.codec.longest(&self.daemon.config().limits) + READ_MAX;
                    break Some(longest.saturating_sub(self.read.len()).max(READ_MAX));
                }
                Next::Partial(more) => break Some(more.clamp(self.read_size, READ_MAX)),
            }
        };
        self.apply_batches().await;
        wanted
    }

    async fn refuse(&mut self, refused: Refused) {
        (self.requests, self.waited) = (self.requests + 1, Duration::ZERO);
        self.settle_batch().await;
        self.batch.push(((self.requests, Ack::Accepted), Err(refused)));
    }

    async fn request(&mut self, request: Request) {
        if let Request::Publish(publish) = request {
            if publish.is_scheduled() {
                self.publish_batch().await;
                if let Some(Request::Publish(publish)) = self.defer(Request::Publish(publish)) {
                    self.schedule(publish).await;
                }
                return;
            }
            let tag = (self.requests, publish.ack);
            let admitted = self.admit(publish);
            self.settle_batch().await;
            return self.batch.push((tag, admitted));
        }
        // Replies are sent in the order of requests.
        self.publish_batch().await;
        let Some(request) = self.defer(request) else { return };
        let request = match Settle::parse(request) {
            Ok(settle) => return self.settling.push((self.requests, settle)),
            Err(request) => request,
        };
        self.settle_batch().await;
        let reply = match request {
            Request::Request(request) => match self.begin_request(request) {
                Ok(()) => return,
                Err(refused) => Err(refused),
            },
            request => self.reply_to(request).await,
        };
        let reply = reply.unwrap_or_else(|refused| self.refusal(self.requests, refused));
        self.codec.reply(&reply, self.held.buffer(&mut self.out));
    }

    /// Applies the requests that wait.
    async fn apply_batches(&mut self) {
        self.publish_batch().await;
        self.settle_batch().await;
    }

    /// Counts a refusal, and makes it the reply to a request.
    fn refusal(&self, number: u64, refused: Refused) -> Reply {
        self.daemon.metrics.refused(refused.code);
        Reply::Error(Refused { request: number, ..refused })
    }

    /// Returns the client that the connection is.
    fn client(&self) -> Option<&ClientGuard> {
        self.worker.as_ref().and_then(WorkerGuard::client).or(self.client.as_ref())
    }
}

/// Waits for the next events of a subscriber, or for the removal of a client.
async fn next_events(client: Option<&ClientGuard>, bus: &SharedBus, events: &mut Vec<Bytes>) -> Read {
    let Some(client) = client else { return std::future::pending().await };
    poll_fn(|cx| match bus.with(|bus, now| bus.read(client.id, now, cx.waker(), events)) {
        Read::Waiting | Read::Fetching if events.is_empty() => Poll::Pending,
        read => Poll::Ready(read),
    })
    .await
}

/// Waits for the next work of a worker.
async fn next_work(worker: Option<&WorkerGuard>) -> Result<Vec<Work>, Refused> {
    match worker {
        Some(worker) => worker.next(usize::MAX).await,
        None => std::future::pending().await,
    }
}
