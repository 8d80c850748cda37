//! One connection to the local socket that speaks frames or lines: requests in, replies and events out.
//!
//! One task owns the connection. It reads at most [`READ_MAX`] bytes, publishes what they bring in batches of
//! [`BATCH_MAX`], answers, and reads on, so others have their turn soon and a peer that does not take its answers is not
//! read from. Once [`READ_MAX`] bytes of answers wait, they are sent before the next request is looked at. A peer that
//! takes nothing for [`WRITE_STALL`] is cut, and so is one that does not send the whole of a request within [`REQUEST`].

use std::{
    future::poll_fn,
    io, mem,
    sync::Arc,
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use sse_bus::{
    bus::{Publication, Read, Subscription},
    endpoint::Stream,
    limits::{BATCH_MAX, READ_MAX, REQUEST, STALL_CHECK, WRITE_STALL},
    protocol::{Ack, ErrorCode, Refused, Reply, Request, Subscribe},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::yield_now,
    time::{sleep, timeout},
};

use super::{
    Peer,
    codec::{Codec, Next, Skip},
};
use crate::{
    server::Daemon,
    shared::{Member, SharedBus},
};

/// How long until a subscriber that has closed its sending half is looked at, whether it has closed the other half too:
/// most do so in the same instant, the others are looked at ever more seldom.
#[cfg(unix)]
const HANGUP_CHECK: std::ops::Range<Duration> = Duration::from_millis(1)..Duration::from_secs(1);

/// Bytes that a connection makes room for until more comes at once.
const QUIET: usize = 4 << 10;

/// Whether a connection subscribes, and whether its subscription ends by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subscribing {
    No,
    Live,
    PastOnly,
}

/// One connection.
pub(super) struct Session<'a> {
    stream: Stream,
    codec: Codec,
    peer: Peer,
    daemon: &'a Arc<Daemon>,
    read: BytesMut,
    /// How many bytes to make room for: few while little comes, so that idle connections cost little.
    appetite: usize,
    /// The peer has sent all it will send.
    at_end: bool,
    /// What is skipped of a request that was too long.
    skipping: Skip,
    /// How long this has waited for the rest of a request that has begun.
    waited: Duration,
    /// Requests so far.
    requests: u64,
    /// Publishes that wait to be done as one batch, with their numbers.
    batch: Vec<(u64, Ack, Result<Publication, Refused>)>,
    /// What waits to be sent.
    out: Vec<u8>,
    member: Option<Member>,
    subscription: Subscribing,
    /// The connection ends once everything is sent.
    closing: bool,
    /// Until then, threads that wait for the processor have had their share of it.
    gave_way_until: Instant,
}

impl<'a> Session<'a> {
    /// A connection of which some bytes are read already.
    pub(super) fn new(stream: Stream, read: BytesMut, codec: Codec, peer: Peer, daemon: &'a Arc<Daemon>) -> Self {
        Session {
            stream,
            codec,
            peer,
            daemon,
            read,
            appetite: QUIET,
            at_end: false,
            skipping: Skip::Nothing,
            waited: Duration::ZERO,
            requests: 0,
            batch: Vec::new(),
            out: Vec::new(),
            member: None,
            subscription: Subscribing::No,
            closing: false,
            gave_way_until: Instant::now(),
        }
    }

    /// Serves the connection to its end.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let mut events: Vec<Bytes> = Vec::new();
        loop {
            let wanted = self.requests().await;
            self.send().await?;
            let Some(wanted) = wanted else {
                self.give_way().await;
                continue;
            };
            if self.closing || (self.at_end && self.subscription == Subscribing::No) {
                return self.stream.shutdown().await;
            }
            if self.read.is_empty() {
                // What a burst needed is not kept for ever.
                self.read = BytesMut::with_capacity(wanted);
            } else {
                self.read.reserve(wanted);
            }
            let has_begun = !self.at_end && (!self.read.is_empty() || self.skipping != Skip::Nothing);
            let began = Instant::now();
            let member = self.member.as_ref();
            tokio::select! {
                read = incoming(&mut self.stream, &mut self.read, self.at_end) => {
                    let Some(read) = read? else { return Ok(()) };
                    self.at_end = read == 0;
                    self.appetite = if read < QUIET { QUIET } else { READ_MAX };
                    if read == READ_MAX {
                        // There is more at once, and after it more; others have their turn between.
                        self.give_way().await;
                    }
                }
                read = next_events(member, &self.daemon.bus, &mut events) => {
                    self.send_events(&mut events).await?;
                    if read == Read::Over {
                        // The past is told, and the connection may ask for something else; or the client was
                        // removed.
                        self.closing = self.subscription != Subscribing::PastOnly;
                        (self.member, self.subscription) = (None, Subscribing::No);
                    }
                }
                () = sleep(REQUEST.saturating_sub(self.waited)), if has_begun => {
                    let message =
                        format!("the rest of the request did not come within {} s; the connection is closed", REQUEST.as_secs());
                    self.refuse(Refused::new(ErrorCode::RequestInvalid, message));
                    self.publish_batch().await;
                    self.closing = true;
                }
                () = self.daemon.stop.cancelled() => self.closing = !self.last_events(),
            }
            if has_begun {
                self.waited += began.elapsed();
            }
        }
    }

    /// Lets others have their turn: other tasks of this thread and, for at most half the time, other threads that wait for
    /// its processor. Without it, a thread that wakes up beside a busy one may wait until the next tick of the kernel's
    /// clock; without the bound, programs that only compute would get the processor after every batch.
    async fn give_way(&mut self) {
        let now = Instant::now();
        if now >= self.gave_way_until {
            thread::yield_now();
            self.gave_way_until = now + 2 * now.elapsed();
        }
        yield_now().await;
    }

    /// Takes what was published before the daemon was told to stop. Says whether there may be more.
    fn last_events(&mut self) -> bool {
        let Some(member) = &self.member else { return false };
        let mut events = Vec::new();
        let read = self.daemon.bus.with(|bus, now| bus.read(member.id, now, Waker::noop(), &mut events));
        for bytes in &events {
            self.out.extend_from_slice(bytes);
        }
        read == Read::Ready
    }

    /// Answers requests that have been read. Gives how many bytes to make room for, or nothing if answers have to be
    /// sent, and others to have their turn, before the next request.
    async fn requests(&mut self) -> Option<usize> {
        let before = self.requests;
        let wanted = loop {
            if self.out.len() >= READ_MAX || self.requests - before >= BATCH_MAX {
                break None;
            }
            if !self.skipping.take(&mut self.read) {
                break Some(READ_MAX);
            }
            match self.codec.next(&mut self.read, self.at_end, &self.daemon.config().limits) {
                Next::Request(request) => {
                    (self.requests, self.waited) = (self.requests + 1, Duration::ZERO);
                    self.request(request).await;
                }
                Next::Refused(refused) => self.refuse(refused),
                Next::Broken(refused) => {
                    self.refuse(refused);
                    self.closing = true;
                    break Some(0);
                }
                Next::Overlong(skip, refused) => {
                    self.refuse(refused);
                    self.skipping = skip;
                }
                // For what does not come at once there is room for the longest at once: growing would cost as much again.
                Next::Partial(_) if self.read.len() >= READ_MAX => {
                    let longest = self.codec.longest(&self.daemon.config().limits) + READ_MAX;
                    break Some(longest.saturating_sub(self.read.len()).max(READ_MAX));
                }
                Next::Partial(more) => break Some(more.clamp(self.appetite, READ_MAX)),
            }
        };
        self.publish_batch().await;
        wanted
    }

    fn refuse(&mut self, refused: Refused) {
        (self.requests, self.waited) = (self.requests + 1, Duration::ZERO);
        self.batch.push((self.requests, Ack::Accepted, Err(refused)));
    }

    async fn request(&mut self, request: Request) {
        let publish = match request {
            Request::Publish(publish) => publish,
            other => {
                // Answers come in the order of requests.
                self.publish_batch().await;
                let reply = self.answer(other).await.unwrap_or_else(|refused| self.error(self.requests, refused));
                return self.codec.reply(&reply, &mut self.out);
            }
        };
        if self.member.is_none() {
            match Member::publisher(&self.daemon.bus, &self.peer.process, self.codec.name()) {
                Ok(member) => self.member = Some(member),
                Err(refused) => return self.batch.push((self.requests, publish.ack, Err(refused))),
            }
        }
        let ack = publish.ack;
        let config = self.daemon.config();
        let publication = Publication::parse(publish, &config.limits);
        let publication = publication.and_then(|publication| self.peer.publisher().admit(publication, &config));
        self.batch.push((self.requests, ack, publication));
    }

    /// Publishes the batch and appends the answers; where some are to be on disk first, once they are.
    async fn publish_batch(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let from = self.member.as_ref().map(|member| member.id);
        let began = Instant::now();
        let answers = self.daemon.bus.with_each(self.batch.drain(..), |bus, now, (number, ack, item)| {
            (number, ack, item.and_then(|publication| bus.publish(publication, from, now)))
        });
        self.daemon.metrics.published_in(began.elapsed());
        let durable = answers.iter().filter(|(_, ack, _)| *ack == Ack::Durable);
        let last = durable.filter_map(|(_, _, answer)| answer.as_ref().ok().map(|published| published.id.seq)).max();
        let written = match (&self.daemon.store, last) {
            (Some(store), Some(last)) => store.written(last).await,
            _ => Ok(()),
        };
        for (number, ack, answer) in answers {
            let answer =
                if ack == Ack::Durable { answer.and_then(|done| written.clone().map(|()| done)) } else { answer };
            match answer {
                Ok(_) if ack == Ack::None => {}
                Ok(published) => self.codec.reply(&Reply::Published(published), &mut self.out),
                Err(refused) => self.codec.reply(&self.error(number, refused), &mut self.out),
            }
        }
    }

    fn error(&self, number: u64, refused: Refused) -> Reply {
        self.daemon.metrics.refused(refused.code);
        Reply::Error(Refused { request: number, ..refused })
    }

    async fn answer(&mut self, request: Request) -> Result<Reply, Refused> {
        let bus = &self.daemon.bus;
        Ok(match request {
            Request::Subscribe(subscribe) => return self.subscribe(&subscribe),
            Request::Clients {} => Reply::Clients(bus.clients().await),
            Request::Topics {} => Reply::Topics(bus.topics().await),
            Request::Kick { client } => Reply::Kicked { connections: bus.kick(&client).await? },
            Request::Status {} => Reply::Status(Box::new(self.daemon.status())),
            Request::Config {} => Reply::Config(self.daemon.config().settings.clone()),
            // Publishes go through the batch, and there are no others.
            other => unreachable!("{other:?}"),
        })
    }

    fn subscribe(&mut self, subscribe: &Subscribe) -> Result<Reply, Refused> {
        if self.subscription != Subscribing::No {
            let message = "this connection is a subscriber already; open another one";
            return Err(Refused::new(ErrorCode::AlreadySubscribed, message));
        }
        let subscription = Subscription::parse(subscribe, self.codec.format(), self.peer.process.to_string())?;
        let (member, subscribed) = Member::subscriber(&self.daemon.bus, subscription)?;
        // Whoever published here before goes on as this subscriber.
        self.member = Some(member);
        self.subscription = if subscribe.past_only { Subscribing::PastOnly } else { Subscribing::Live };
        Ok(Reply::Subscribed(subscribed))
    }

    /// Sends events. Small ones go together with others; a large one is not copied, as other subscribers may share it.
    async fn send_events(&mut self, events: &mut Vec<Bytes>) -> io::Result<()> {
        const LARGE: usize = 4 << 10;
        for bytes in events.drain(..) {
            if bytes.len() < LARGE {
                self.out.extend_from_slice(&bytes);
            } else {
                self.send().await?;
                self.write(&bytes).await?;
            }
        }
        Ok(())
    }

    /// Sends what waits.
    async fn send(&mut self) -> io::Result<()> {
        let mut out = mem::take(&mut self.out);
        self.write(&out).await?;
        // A burst's buffer is not kept for ever.
        out.clear();
        out.shrink_to(READ_MAX);
        self.out = out;
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        let mut progress = Instant::now();
        while sent < bytes.len() {
            match timeout(STALL_CHECK, self.stream.write(&bytes[sent..])).await {
                Ok(written) => {
                    sent += match written? {
                        0 => return Err(io::ErrorKind::WriteZero.into()),
                        written => written,
                    };
                    progress = Instant::now();
                }
                Err(_) if progress.elapsed() >= WRITE_STALL => return Err(io::ErrorKind::TimedOut.into()),
                // Kicked: what it does not take by now it need not have.
                Err(_) if self.member.as_ref().is_some_and(Member::is_removed) => {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                Err(_) => {}
            }
        }
        Ok(())
    }
}

/// The next events of a subscriber; of a publisher, that it was kicked; of neither, nothing.
async fn next_events(member: Option<&Member>, bus: &SharedBus, events: &mut Vec<Bytes>) -> Read {
    let Some(member) = member else { return std::future::pending().await };
    poll_fn(|cx| match bus.with(|bus, now| bus.read(member.id, now, cx.waker(), events)) {
        Read::Waiting if events.is_empty() => Poll::Pending,
        read => Poll::Ready(read),
    })
    .await
}

/// Reads what comes. After the end of what comes, waits until the peer is gone altogether, and gives nothing.
async fn incoming(stream: &mut Stream, buffer: &mut BytesMut, at_end: bool) -> io::Result<Option<usize>> {
    if !at_end {
        return stream.read_buf(&mut buffer.limit(READ_MAX)).await.map(Some);
    }
    hangup(stream).await;
    Ok(None)
}

/// Waits until the peer, which sends nothing more, takes nothing more either.
#[cfg(unix)]
async fn hangup(stream: &Stream) {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut wait = HANGUP_CHECK.start;
    loop {
        let mut fds = [PollFd::new(stream, PollFlags::empty())];
        let polled = poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }));
        if polled.is_err() || fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
            return;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(HANGUP_CHECK.end);
    }
}

/// A pipe has no halves: its end is the end.
#[cfg(windows)]
#[expect(clippy::unused_async, reason = "elsewhere there is something to wait for")]
async fn hangup(_: &Stream) {}

#[cfg(all(test, unix))]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// A dropped connection closes its sending half first, and the rest a moment later.
    #[tokio::test(start_paused = true)]
    async fn a_peer_that_closes_one_half_after_the_other_is_gone_at_once() {
        let (stream, mut peer) = Stream::pair().unwrap();
        peer.shutdown().await.unwrap();
        let began = Instant::now();
        let watched = tokio::spawn(async move { hangup(&stream).await });
        tokio::task::yield_now().await;
        drop(peer);
        watched.await.unwrap();
        assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
    }
}
