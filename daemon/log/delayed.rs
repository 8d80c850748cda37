//! A log elsewhere, for tests: a task of its own assigns the numbers after a delay, with gaps, and all events are returned by
//! its tail.
//!
//! It stands for an ordered log on other machines, and shows that nothing in the daemon and in the bus relies on numbers that
//! are known at once. `SSE_BUS_DELAYED_LOG` enables it and is the delay in milliseconds.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use sse_bus::{
    EventId,
    bus::{Admitted, Bus, ClientId, LogEvent, Now, Publication},
    protocol::{ErrorCode, Published, Refused},
    time::unix_now,
};
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::batch::{Answer, Item};
use crate::shared_bus::SharedBus;

/// Events that are applied at once.
const AT_ONCE: usize = 64;

/// The publishers that wait for an answer, by the mark of their event.
type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Published, Refused>>>>>;

/// The log. Its queues are bounded by its publishers: each waits for the answers to its batch.
pub(super) struct Delayed {
    bus: SharedBus,
    sent: UnboundedSender<(Instant, Sent)>,
    waiting: Waiting,
    /// The last mark.
    marks: AtomicU64,
}

/// A message to the log.
enum Sent {
    Append(u64, Admitted),
    /// An event that is live only. It has no number and keeps its place in the order.
    Live(u64, Publication, Option<ClientId>),
    End(CancellationToken),
}

/// A message from the log.
enum Returned {
    Event(u64, LogEvent),
    Live(u64, Publication, Option<ClientId>),
    End(CancellationToken),
}

impl Delayed {
    /// Returns the log if the environment enables it.
    pub(super) fn chosen(bus: &SharedBus) -> Option<Delayed> {
        let delay = std::env::var("SSE_BUS_DELAYED_LOG").ok()?.parse().ok()?;
        info!(delay, "events are numbered by a log of tests");
        let (sent, received) = unbounded_channel();
        let (tail, returned) = unbounded_channel();
        let waiting = Waiting::default();
        let position = bus.with(|bus, _| bus.position());
        tokio::spawn(number(Duration::from_millis(delay), position, received, tail));
        tokio::spawn(apply(bus.clone(), returned, waiting.clone()));
        Some(Delayed { bus: bus.clone(), sent, waiting, marks: AtomicU64::new(0) })
    }

    /// See [`EventLog::append`](super::EventLog::append).
    pub(super) async fn append<T>(
        &self,
        batch: impl Iterator<Item = Item<T>>,
        from: Option<ClientId>,
    ) -> Vec<Answer<T>> {
        let begun = self.bus.with_each(batch, |bus, now, (caller, item)| {
            (caller, item.and_then(|publication| self.begin(bus, now, publication, from)))
        });
        let mut answers = Vec::with_capacity(begun.len());
        for (caller, begun) in begun {
            let answer = match begun {
                Ok(answer) => answer.await.unwrap_or_else(|_| {
                    Err(Refused::new(ErrorCode::Stopping, "the daemon stops, and the event may have been published"))
                }),
                Err(refused) => Err(refused),
            };
            answers.push((caller, answer));
        }
        answers
    }

    /// Sends a publication to the log. This happens under the lock of the bus, so that no event follows the end.
    fn begin(
        &self,
        bus: &mut Bus,
        now: Now,
        publication: Publication,
        from: Option<ClientId>,
    ) -> Result<oneshot::Receiver<Result<Published, Refused>>, Refused> {
        let (sender, receiver) = oneshot::channel();
        let mark = self.marks.fetch_add(1, Ordering::Relaxed);
        let sent = if publication.to.is_some() {
            Sent::Live(mark, publication, from)
        } else {
            let topic = publication.topic.clone();
            let admitted = bus.admit(publication, now)?;
            bus.count_published(from, Some(&topic));
            Sent::Append(mark, admitted)
        };
        self.waiting.lock().insert(mark, sender);
        let _ = self.sent.send((Instant::now(), sent));
        Ok(receiver)
    }

    /// Stops the daemon once all earlier messages are applied.
    pub(super) fn close(&self, stop: &CancellationToken) {
        let _ = self.sent.send((Instant::now(), Sent::End(stop.clone())));
    }
}

/// The log's task: numbers events in order, after a delay. Some numbers are left out.
async fn number(
    delay: Duration,
    mut last: EventId,
    mut sent: UnboundedReceiver<(Instant, Sent)>,
    tail: UnboundedSender<Returned>,
) {
    while let Some((at, sent)) = sent.recv().await {
        sleep_until(at + delay).await;
        let returned = match sent {
            Sent::Append(mark, admitted) => {
                last.seq += if last.seq % 7 == 3 { 2 } else { 1 };
                Returned::Event(mark, admitted.into_event(last, unix_now()))
            }
            Sent::Live(mark, publication, from) => Returned::Live(mark, publication, from),
            Sent::End(stop) => Returned::End(stop),
        };
        if tail.send(returned).is_err() {
            return;
        }
    }
}

/// The tail's task: applies the events that the log returns, and answers their publishers.
async fn apply(bus: SharedBus, mut returned: UnboundedReceiver<Returned>, waiting: Waiting) {
    let mut batch = Vec::new();
    while returned.recv_many(&mut batch, AT_ONCE).await > 0 {
        let mut end = None;
        let answers = bus.with_each(batch.drain(..), |bus, now, returned| match returned {
            Returned::Event(mark, event) => {
                let id = event.event.id;
                let subscribers = bus.apply(event, now).unwrap_or_default();
                Some((mark, Ok(Published::new(id, subscribers))))
            }
            Returned::Live(mark, publication, from) => Some((mark, bus.publish(publication, from, now))),
            Returned::End(stop) => {
                end = Some(stop);
                None
            }
        });
        for (mark, answer) in answers.into_iter().flatten() {
            if let Some(sender) = waiting.lock().remove(&mark) {
                // Its connection may have broken.
                let _ = sender.send(answer);
            }
        }
        if let Some(stop) = end {
            stop.cancel();
        }
    }
}
