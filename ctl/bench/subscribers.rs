//! The subscribers of the benchmark: connections to one topic, each with a task that counts events.
//!
//! Subscribers connect while no event is in flight, so each receives all later events in order. Events therefore need
//! no content: the n-th event that a subscriber receives is the n-th event that was published.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use memchr::memmem;
use sse_bus::Topic;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    task::JoinSet,
    time::timeout,
};

use super::histogram::Histogram;
use crate::exit::{Exit, Failure};

/// How long a new subscriber waits for the response head.
const PATIENCE: Duration = Duration::from_secs(10);
/// Maximum bytes of a response head.
const HEAD_MAX: usize = 16 << 10;
/// Bytes requested by one read.
const READ_SIZE: usize = 64 << 10;
/// File descriptors for everything other than subscribers.
const OTHER_DESCRIPTORS: u64 = 32;

pub(super) struct LoadSubscribers {
    address: String,
    topic: Topic,
    shared: Arc<Shared>,
    /// Dropping it ends the subscribers.
    tasks: JoinSet<()>,
}

struct Shared {
    state: Mutex<State>,
    /// Notified when an event is complete or a subscriber has failed.
    changed: Notify,
}

#[derive(Default)]
struct State {
    published: u64,
    /// Number of events that all subscribers received.
    complete: u64,
    /// For each other event the number of subscribers that did not receive it yet, and when it was published.
    in_flight: VecDeque<(u64, Instant)>,
    latency: Histogram,
    deliveries: u64,
    failure: Option<(Exit, &'static str)>,
    /// The buffer of all reads.
    buffer: Vec<u8>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LoadSubscribers {
    pub(super) fn new(address: String, topic: Topic) -> LoadSubscribers {
        let state = State { buffer: vec![0; READ_SIZE], ..State::default() };
        let shared = Shared { state: Mutex::new(state), changed: Notify::new() };
        LoadSubscribers { address, topic, shared: Arc::new(shared), tasks: JoinSet::new() }
    }

    pub(super) fn topic(&self) -> &str {
        self.topic.as_str()
    }

    /// Connects subscribers up to this number. No event may be in flight.
    pub(super) async fn grow_to(&mut self, subscribers: u64) -> Result<(), Failure> {
        while (self.tasks.len() as u64) < subscribers {
            let number = self.tasks.len() + 1;
            let subscribed = timeout(PATIENCE, subscribe(&self.address, &self.topic)).await;
            let socket = match subscribed {
                Ok(socket) => socket?,
                Err(_) => {
                    return Err(Failure::new(Exit::TimedOut, format!("subscriber {number} received no response")));
                }
            };
            let next = self.published();
            self.tasks.spawn(read_all(socket, self.shared.clone(), next));
        }
        Ok(())
    }

    /// Must be called before an event is published.
    pub(super) fn will_publish(&self) {
        let mut state = self.shared.state();
        state.published += 1;
        state.in_flight.push_back((self.tasks.len() as u64, Instant::now()));
    }

    pub(super) fn published(&self) -> u64 {
        self.shared.state().published
    }

    pub(super) fn complete(&self) -> u64 {
        self.shared.state().complete
    }

    /// Waits until this number of events has reached all subscribers.
    pub(super) async fn completed(&self, events: u64) -> Result<(), Failure> {
        loop {
            let changed = self.shared.changed.notified();
            {
                let state = self.shared.state();
                if let Some((exit, message)) = state.failure {
                    return Err(Failure::new(exit, message));
                }
                if state.complete >= events {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// Resets the measurements.
    pub(super) fn begin(&self) {
        let mut state = self.shared.state();
        (state.latency, state.deliveries) = (Histogram::default(), 0);
    }

    /// Returns the latencies and the number of deliveries since [`begin`](LoadSubscribers::begin).
    pub(super) fn end(&self) -> (Histogram, u64) {
        let mut state = self.shared.state();
        (std::mem::take(&mut state.latency), state.deliveries)
    }
}

impl State {
    /// Counts events that a subscriber received. `first` is the number of the first one.
    fn arrived(&mut self, first: u64, events: u64) {
        let now = Instant::now();
        for number in first..first + events {
            let index = number.checked_sub(self.complete);
            let Some((missing, published)) = index.and_then(|index| self.in_flight.get_mut(index as usize)) else {
                self.failure = Some((Exit::Failed, "a subscriber received an event of another publisher"));
                return;
            };
            *missing = missing.saturating_sub(1);
            self.latency.add(now.saturating_duration_since(*published));
        }
        self.deliveries += events;
        while self.in_flight.pop_front_if(|(missing, _)| *missing == 0).is_some() {
            self.complete += 1;
        }
    }
}

/// Opens a stream and reads the response head.
async fn subscribe(address: &str, topic: &Topic) -> Result<TcpStream, Failure> {
    let failed = |e: io::Error| Failure::new(Exit::Failed, format!("cannot subscribe at http://{address}: {e}"));
    let mut socket = TcpStream::connect(address).await.map_err(failed)?;
    // Without positions every block of the stream is an event.
    let request = format!("GET /events/{topic}?since=now&position=none HTTP/1.1\r\nHost: {address}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut head = Vec::new();
    // Bytes that follow the head end with a single line break, because no event is published yet.
    while memmem::find(&head, b"\r\n\r\n").is_none() {
        let read = socket.read_buf(&mut head).await.map_err(failed)?;
        if read == 0 || head.len() > HEAD_MAX {
            return Err(failed(io::ErrorKind::InvalidData.into()));
        }
    }
    if head.starts_with(b"HTTP/1.1 200 ") {
        return Ok(socket);
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    let exit = if line.contains(" 401 ") || line.contains(" 403 ") { Exit::Denied } else { Exit::Failed };
    Err(Failure::new(exit, format!("cannot subscribe at http://{address}: the response is {}", line.escape_debug())))
}

/// Reads a stream to its end and counts its events.
async fn read_all(socket: TcpStream, shared: Arc<Shared>, first: u64) {
    let mut next = first;
    let mut after_break = false;
    loop {
        let readable = socket.readable().await;
        let mut state = shared.state();
        let state = &mut *state;
        let complete = state.complete;
        match readable.and_then(|()| socket.try_read(&mut state.buffer)) {
            Ok(read @ 1..) => {
                let events = count(&state.buffer[..read], &mut after_break);
                state.arrived(next, events);
                next += events;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            // At its limit the daemon accepts a stream and ends it at once, so that browsers reconnect later.
            Ok(_) if next == first => {
                state.failure = Some((Exit::Limit, "the daemon's limit of subscribers is too low for this number"));
            }
            Ok(_) | Err(_) => state.failure = Some((Exit::Failed, "the daemon closed a stream; see its log")),
        }
        if state.failure.is_some() || state.complete > complete {
            shared.changed.notify_waiters();
        }
        if state.failure.is_some() {
            return;
        }
    }
}

/// Counts the events that end in these bytes. Each ends with an empty line, which the framing of a chunk never starts.
/// `after_break` is true if the previous bytes ended with a line break.
fn count(bytes: &[u8], after_break: &mut bool) -> u64 {
    let across = *after_break && bytes.first() == Some(&b'\n');
    *after_break = bytes.ends_with(b"\n") && !bytes.ends_with(b"\n\n") && !(across && bytes.len() == 1);
    memmem::find_iter(bytes, b"\n\n").count() as u64 + u64::from(across)
}

/// Raises the limit of file descriptors as far as this number of subscribers requires.
#[cfg(unix)]
pub(super) fn raise_descriptor_limit(subscribers: u64) -> Result<(), Failure> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = subscribers + OTHER_DESCRIPTORS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    match maximum {
        Some(maximum) if maximum < wanted => {
            let most = maximum.saturating_sub(OTHER_DESCRIPTORS);
            let message = format!("the limit of file descriptors is {maximum}; use --subscribers {most} or fewer");
            Err(Failure::new(Exit::Usage, message))
        }
        _ => setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).map_err(|e| {
            Failure::new(Exit::Failed, format!("cannot raise the limit of file descriptors to {wanted}: {e}"))
        }),
    }
}

/// Windows has no such limit.
#[cfg(windows)]
#[expect(clippy::unnecessary_wraps, reason = "Unix has such a limit")]
pub(super) fn raise_descriptor_limit(subscribers: u64) -> Result<(), Failure> {
    let _ = subscribers + OTHER_DESCRIPTORS;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_events_does_not_depend_on_the_ends_of_reads() {
        let stream = b"c\r\nretry: 1500\n\r\n11\r\nid: a-1\ndata: x\n\n\r\n2\r\n:\n\r\n22\r\nid: a-2\ndata: x\n\nid: a-3\ndata: x\n\n\r\n2\r\n:\n\r\n";
        for first in 0..stream.len() {
            for second in first..stream.len() {
                let mut after_break = false;
                let parts = [&stream[..first], &stream[first..second], &stream[second..]];
                let events: u64 =
                    parts.iter().filter(|part| !part.is_empty()).map(|part| count(part, &mut after_break)).sum();
                assert_eq!(events, 3, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn an_event_is_complete_when_all_subscribers_received_it() {
        let now = Instant::now();
        let mut state = State { published: 2, in_flight: [(2, now), (2, now)].into(), ..State::default() };
        state.arrived(0, 2);
        assert_eq!(state.complete, 0);
        state.arrived(0, 1);
        assert_eq!((state.complete, state.deliveries), (1, 3));
        state.arrived(1, 1);
        assert_eq!((state.complete, state.failure), (2, None));
        state.arrived(2, 1);
        assert!(state.failure.is_some());
    }
}
