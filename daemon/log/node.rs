//! A node: the bus of this daemon beside a [log elsewhere](super::external).
//!
//! A publisher waits until the log has returned its event and the bus has applied it, so that all nodes apply events in the
//! order of the log. The newest events are in the window of the bus; older ones are [read](super::reads) from the log for the
//! subscribers that need them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use sse_bus::{
    bus::{Bus, ClientId, Now, Publication, dedup::DedupKeys},
    limits::Limits,
    protocol::{ErrorCode, Published, Refused},
    retention::Retention,
};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    batch::{Item, Outcome},
    external::{ExternalLog, Mark, Returned, Sent},
    reads,
};
use crate::shared_bus::SharedBus;

/// Maximum number of events that are applied in one batch.
const AT_ONCE: usize = 64;

/// The publishers that wait for an outcome, by the mark of their event: where to send it, and the keys that identify a repeat.
type Waiting = Arc<Mutex<HashMap<Mark, (oneshot::Sender<Result<Published, Refused>>, DedupKeys)>>>;

/// A node of a log. The number of waiting publications is bounded, because each publisher waits for the outcomes of its batch
/// before it sends another.
pub(super) struct Node<L> {
    bus: SharedBus,
    log: Arc<L>,
    waiting: Waiting,
    /// The next mark: a number that identifies a publication of this node until its outcome arrives.
    marks: AtomicU64,
}

impl<L: ExternalLog> Node<L> {
    /// Starts the tasks of a node. The bus must be at the position that the log has
    /// [recovered](ExternalLog::recover). `has_window` is false if the bus has all of history itself.
    pub(super) fn start(bus: &SharedBus, log: L, has_window: bool) -> Node<L> {
        debug_assert_eq!(bus.with(|bus, _| bus.position()), log.recover(), "the beginning of the window");
        let (log, waiting) = (Arc::new(log), Waiting::default());
        tokio::spawn(apply(bus.clone(), log.clone(), waiting.clone()));
        if has_window {
            let requested = Arc::new(Notify::new());
            let notify = requested.clone();
            bus.set_disk(move |what| {
                if what.wishes {
                    notify.notify_one();
                }
            });
            tokio::spawn(reads::serve(bus.clone(), requested, log.clone()));
        }
        Node { bus: bus.clone(), log, waiting, marks: AtomicU64::new(0) }
    }

    /// Returns the log.
    #[cfg(feature = "nats")]
    pub(super) fn log(&self) -> &L {
        &self.log
    }

    /// See [`EventLog::append`](super::EventLog::append).
    pub(super) async fn append<T>(
        &self,
        batch: impl Iterator<Item = Item<T>>,
        from: Option<ClientId>,
    ) -> Vec<Outcome<T>> {
        let begun = self.bus.with_each(batch, |bus, now, (caller, item)| {
            (caller, item.and_then(|publication| self.begin(bus, now, publication, from)))
        });
        let mut outcomes = Vec::with_capacity(begun.len());
        for (caller, begun) in begun {
            let outcome = match begun {
                Ok(outcome) => outcome.await.unwrap_or_else(|_| {
                    Err(Refused::new(ErrorCode::Stopping, "the daemon stops, and the event may have been published"))
                }),
                Err(refused) => Err(refused),
            };
            outcomes.push((caller, outcome));
        }
        outcomes
    }

    /// Sends a publication to the log. The caller holds the lock of the bus, so that no publication follows [`Sent::End`].
    fn begin(
        &self,
        bus: &mut Bus,
        now: Now,
        mut publication: Publication,
        from: Option<ClientId>,
    ) -> Result<oneshot::Receiver<Result<Published, Refused>>, Refused> {
        let (sender, receiver) = oneshot::channel();
        let mark = self.marks.fetch_add(1, Ordering::Relaxed);
        let mut keys = DedupKeys::default();
        let sent = if bus.is_unicast(&publication) {
            Sent::Live(mark, publication, from)
        } else {
            keys = publication.dedup_keys();
            // This finds only repeats of events that the log has returned. Earlier repeats are left to the log.
            if !L::RECOGNIZES_REPEATS
                && let Some(first) = bus.duplicate(&keys, now)
            {
                let _ = sender.send(Ok(first));
                return Ok(receiver);
            }
            self.log.check_durable(&mut publication)?;
            let topic = publication.topic.clone();
            let admitted = bus.admit(publication, now)?;
            bus.count_published(from, Some(&topic));
            Sent::Append(mark, admitted)
        };
        self.waiting.lock().insert(mark, (sender, keys));
        self.log.append(sent);
        Ok(receiver)
    }

    /// Changes the limits and the bounds of history in the log.
    pub(super) fn configure(&self, limits: &Limits, retention: &Retention) {
        self.log.configure(limits, retention);
    }

    /// Stops the daemon after all publications that were sent before are applied.
    pub(super) fn close(&self, stop: &CancellationToken) {
        self.log.append(Sent::End(stop.clone()));
    }
}

/// Applies the events that the log returns, and reports each outcome to its publisher.
async fn apply<L: ExternalLog>(bus: SharedBus, log: Arc<L>, waiting: Waiting) {
    let (mut tail, mut batch) = (log.tail(), Vec::new());
    while tail.recv_many(&mut batch, AT_ONCE).await > 0 {
        let (mut end, mut lost, mut reached) = (None, Vec::new(), Vec::new());
        let outcomes = bus.with_each(batch.drain(..), |bus, now, returned| match returned {
            Returned::Event(mark, event) => {
                let id = event.event.id;
                let subscribers = bus.apply(event, now).unwrap_or_default();
                let mark = mark?;
                if !L::RECOGNIZES_REPEATS
                    && let Some((_, keys)) = waiting.lock().get(&mark)
                {
                    bus.note_published(keys.clone(), Some(id), now);
                }
                Some((mark, Ok(Published::new(id, subscribers))))
            }
            Returned::Stored { mark, id, duplicate } => {
                let mut published = Published::new(id, 0);
                published.duplicate = duplicate;
                Some((mark, Ok(published)))
            }
            Returned::Rewritten(position) => {
                lost.push(bus.rewrite(position, Box::new(log.window(position.seq))));
                None
            }
            Returned::Refused(mark, refused) => Some((mark, Err(refused))),
            Returned::Live(mark, publication, from) => Some((mark, bus.publish(publication, from, now))),
            Returned::Reached(waiting) => {
                reached.push(waiting);
                None
            }
            Returned::End(stop) => {
                end = Some(stop);
                None
            }
        });
        for (mark, outcome) in outcomes.into_iter().flatten() {
            if let Some((sender, _)) = waiting.lock().remove(&mark) {
                // Sending fails if the publisher's connection has closed.
                let _ = sender.send(outcome);
            }
        }
        for waiting in reached {
            let _ = waiting.send(());
        }
        if let Some(stop) = end {
            stop.cancel();
        }
    }
}
