//! The subscribers: connections of this process to one topic, each read by a small task that counts the events.
//!
//! Subscribers come while nothing is under way, so each gets every event that is published from then on, in order. The
//! crowd therefore needs no event's content: the n-th that a subscriber gets is the n-th that was published.

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

/// How long a new subscriber waits for the head of its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of such a head, at most.
const HEAD: usize = 16 << 10;
/// Bytes that one read asks for.
const READ: usize = 64 << 10;
/// Descriptors for everything but the subscribers.
const OTHERS: u64 = 32;

pub(super) struct Crowd {
    address: String,
    topic: Topic,
    shared: Arc<Shared>,
    /// Ends the subscribers when it is dropped.
    tasks: JoinSet<()>,
}

struct Shared {
    state: Mutex<State>,
    /// Something is complete, or wrong.
    changed: Notify,
}

#[derive(Default)]
struct State {
    published: u64,
    /// Events that every subscriber has.
    complete: u64,
    /// Of each event that not every subscriber has: how many lack it, and when it was published.
    under_way: VecDeque<(u64, Instant)>,
    latency: Histogram,
    deliveries: u64,
    wrong: Option<(Exit, &'static str)>,
    /// What is read passes through here, one read at a time.
    buffer: Vec<u8>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crowd {
    pub(super) fn new(address: String, topic: Topic) -> Crowd {
        let state = State { buffer: vec![0; READ], ..State::default() };
        let shared = Shared { state: Mutex::new(state), changed: Notify::new() };
        Crowd { address, topic, shared: Arc::new(shared), tasks: JoinSet::new() }
    }

    pub(super) fn topic(&self) -> &str {
        self.topic.as_str()
    }

    /// Connects subscribers until there are so many. Nothing may be under way.
    pub(super) async fn grow_to(&mut self, subscribers: u64) -> Result<(), Failure> {
        while (self.tasks.len() as u64) < subscribers {
            let number = self.tasks.len() + 1;
            let subscribed = timeout(PATIENCE, subscribe(&self.address, &self.topic)).await;
            let socket = match subscribed {
                Ok(socket) => socket?,
                Err(_) => return Err(Failure::new(Exit::TimedOut, format!("subscriber {number} was not answered"))),
            };
            let next = self.published();
            self.tasks.spawn(read_all(socket, self.shared.clone(), next));
        }
        Ok(())
    }

    /// To be called just before an event is published.
    pub(super) fn will_publish(&self) {
        let mut state = self.shared.state();
        state.published += 1;
        state.under_way.push_back((self.tasks.len() as u64, Instant::now()));
    }

    pub(super) fn published(&self) -> u64 {
        self.shared.state().published
    }

    pub(super) fn complete(&self) -> u64 {
        self.shared.state().complete
    }

    /// Waits until so many events have reached every subscriber.
    pub(super) async fn completed(&self, events: u64) -> Result<(), Failure> {
        loop {
            let changed = self.shared.changed.notified();
            {
                let state = self.shared.state();
                if let Some((exit, why)) = state.wrong {
                    return Err(Failure::new(exit, why));
                }
                if state.complete >= events {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// From here on deliveries are counted anew.
    pub(super) fn begin(&self) {
        let mut state = self.shared.state();
        (state.latency, state.deliveries) = (Histogram::default(), 0);
    }

    /// The latencies and the number of deliveries since the last [`begin`](Crowd::begin).
    pub(super) fn end(&self) -> (Histogram, u64) {
        let mut state = self.shared.state();
        (std::mem::take(&mut state.latency), state.deliveries)
    }
}

impl State {
    /// A subscriber has got so many events, of which `first` is the number of the first.
    fn arrived(&mut self, first: u64, events: u64) {
        let now = Instant::now();
        for number in first..first + events {
            let place = number.checked_sub(self.complete).and_then(|index| self.under_way.get_mut(index as usize));
            let Some((lacking, published)) = place else {
                self.wrong = Some((Exit::Failed, "a subscriber got an event that was not published here"));
                return;
            };
            *lacking = lacking.saturating_sub(1);
            self.latency.add(now.saturating_duration_since(*published));
        }
        self.deliveries += events;
        while self.under_way.pop_front_if(|(lacking, _)| *lacking == 0).is_some() {
            self.complete += 1;
        }
    }
}

/// Opens a stream and reads the head of its answer.
async fn subscribe(address: &str, topic: &Topic) -> Result<TcpStream, Failure> {
    let failed = |e: io::Error| Failure::new(Exit::Failed, format!("cannot subscribe at http://{address}: {e}"));
    let mut socket = TcpStream::connect(address).await.map_err(failed)?;
    // Without positions, every block of the stream is an event.
    let request = format!("GET /events/{topic}?since=now&position=none HTTP/1.1\r\nHost: {address}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut head = Vec::new();
    // What comes behind the head before the first event ends in one line break, and no event comes yet.
    while memmem::find(&head, b"\r\n\r\n").is_none() {
        let read = socket.read_buf(&mut head).await.map_err(failed)?;
        if read == 0 || head.len() > HEAD {
            return Err(failed(io::ErrorKind::InvalidData.into()));
        }
    }
    if head.starts_with(b"HTTP/1.1 200 ") {
        return Ok(socket);
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    let exit = if line.contains(" 401 ") || line.contains(" 403 ") { Exit::Denied } else { Exit::Failed };
    Err(Failure::new(exit, format!("cannot subscribe at http://{address}: it answered {}", line.escape_debug())))
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
            // Whoever has no room for a subscriber lets it in and closes, so that browsers come back later.
            Ok(_) if next == first => {
                state.wrong = Some((Exit::Limit, "the daemon has no room for so many subscribers"));
            }
            Ok(_) | Err(_) => state.wrong = Some((Exit::Failed, "the daemon has closed a stream; its log says why")),
        }
        if state.wrong.is_some() || state.complete > complete {
            shared.changed.notify_waiters();
        }
        if state.wrong.is_some() {
            return;
        }
    }
}

/// Events that end in these bytes: each ends in an empty line, and the frame of a chunk begins none. `after_break` says
/// whether the bytes before ended in a line break.
fn count(bytes: &[u8], after_break: &mut bool) -> u64 {
    let across = *after_break && bytes.first() == Some(&b'\n');
    *after_break = bytes.ends_with(b"\n") && !bytes.ends_with(b"\n\n") && !(across && bytes.len() == 1);
    memmem::find_iter(bytes, b"\n\n").count() as u64 + u64::from(across)
}

/// Raises the limit of descriptors as far as so many subscribers need.
#[cfg(unix)]
pub(super) fn make_room_for(subscribers: u64) -> Result<(), Failure> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = subscribers + OTHERS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    match maximum {
        Some(maximum) if maximum < wanted => {
            let most = maximum.saturating_sub(OTHERS);
            let message = format!("a process may have {maximum} descriptors here; use --subscribers {most} or fewer");
            Err(Failure::new(Exit::Usage, message))
        }
        _ => setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
            .map_err(|e| Failure::new(Exit::Failed, format!("cannot have {wanted} descriptors: {e}"))),
    }
}

/// Windows has no such limit.
#[cfg(windows)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there is one")]
pub(super) fn make_room_for(subscribers: u64) -> Result<(), Failure> {
    let _ = subscribers + OTHERS;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_wherever_a_read_ends() {
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
    fn an_event_is_complete_when_all_have_it() {
        let now = Instant::now();
        let mut state = State { published: 2, under_way: [(2, now), (2, now)].into(), ..State::default() };
        state.arrived(0, 2);
        assert_eq!(state.complete, 0);
        state.arrived(0, 1);
        assert_eq!((state.complete, state.deliveries), (1, 3));
        state.arrived(1, 1);
        assert_eq!((state.complete, state.wrong), (2, None));
        state.arrived(2, 1);
        assert!(state.wrong.is_some());
    }
}
