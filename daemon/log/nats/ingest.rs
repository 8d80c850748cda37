//! Receiving the events of the stream, in order, whatever happens to the connection, the consumer and the stream.
//!
//! The node has a consumer of its own, which lives in the memory of a server and starts after the last event that was returned.
//! It is made anew after each error: a missed heartbeat, a hole in its numbering, another connection, a consumer or a stream that
//! was deleted. Before, the node compares the check of its last event with that of the stream.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_nats::jetstream::{
    Message,
    consumer::{AckPolicy, DeliverPolicy, push},
    stream::DirectGetErrorKind,
};
use futures_util::{FutureExt as _, StreamExt as _};
use sse_bus::EventId;
use tokio::time::timeout;
use tracing::{info, warn};

use super::{
    message::{self, Found},
    shared::Shared,
    streams,
};
use crate::log::external::Returned;

/// The interval of the server's heartbeats. The client reports an error after two without one.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long the consumer lives at the server after the node has gone.
const INACTIVE: Duration = Duration::from_secs(30);
/// How often the end of the stream is read while nothing arrives.
const CHECK: Duration = Duration::from_secs(2);
/// The pauses between attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Events whose checks are compared with the stream. The newest may have expired there.
const ANCHORS: usize = 64;
/// Messages of one answer when retained events are loaded.
const LOAD_AT_ONCE: usize = 1000;

/// What ends one run of the consumer.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error("{0}")]
    Failed(String),
    #[error("the connection was established again")]
    Reconnected,
    #[error("messages are missing")]
    Hole,
    #[error("events of the stream do not arrive")]
    Stalled,
    #[error("the stream is another one")]
    OtherStream,
    #[error("the daemon stops")]
    Stopped,
}

/// The state of ingestion.
pub(super) struct Ingest {
    shared: Arc<Shared>,
    /// Everything up to this number was returned.
    seq: u64,
    /// The newest events that were returned, oldest first.
    anchors: VecDeque<EventId>,
}

impl Ingest {
    /// Ingests events until the daemon stops.
    pub(super) async fn run(shared: Arc<Shared>) {
        let mut ingest = Ingest { seq: shared.begin.seq, shared, anchors: VecDeque::new() };
        let mut pause = PAUSES.0;
        loop {
            let before = ingest.seq;
            let interrupted = match ingest.resume().await {
                Ok(()) => ingest.receive().await,
                Err(interrupted) => interrupted,
            };
            if let Interrupted::Stopped = interrupted {
                return;
            }
            pause = if ingest.seq > before { PAUSES.0 } else { PAUSES.1.min(pause * 2) };
            let text = interrupted.to_string();
            if !matches!(interrupted, Interrupted::Reconnected)
                && ingest.shared.status.error.lock().replace(text.clone()).is_none()
            {
                warn!(error = text, "events of the log do not arrive; trying again");
            }
            let _ = timeout(pause, ingest.shared.nats.changed()).await;
        }
    }

    /// Finds out whether the stream continues what was returned, and otherwise where it does.
    async fn resume(&mut self) -> Result<(), Interrupted> {
        let shared = self.shared.clone();
        let failed = |error: &dyn std::fmt::Display| Interrupted::Failed(error.to_string());
        let info = match streams::info(&shared.nats).await {
            Ok(info) => info,
            // A stream that was deleted is created again, if that is allowed; it then has another epoch.
            Err(error) => {
                let opened = streams::open(&shared.nats, &shared.retention).await;
                opened.map_err(|refused| Interrupted::Failed(format!("{refused} ({error})")))?.cached_info().clone()
            }
        };
        let (epoch, state) = (streams::epoch(&info), &info.state);
        shared.status.last.store(state.last_sequence, Ordering::Relaxed);
        let position = *shared.position.borrow();
        if epoch != position.epoch {
            warn!("the stream of the log is another one");
            self.rewrite(EventId::new(epoch, state.first_sequence.saturating_sub(1).min(state.last_sequence))).await?;
        } else if self.seq == shared.begin.seq && self.anchors.is_empty() {
            self.load_retained().await?;
        } else if let Some(last) =
            self.last_common(state.first_sequence, state.last_sequence).await.map_err(|e| failed(&e))?
            && last.seq < self.seq
        {
            warn!(from = self.seq, to = last.seq, "the log has lost its newest events");
            self.rewrite(last).await?;
        }
        Ok(())
    }

    /// Returns the newest event that both the node and the stream have; None if the stream has the newest one of the node, or if
    /// it cannot have lost any.
    async fn last_common(
        &self,
        first: u64,
        last: u64,
    ) -> Result<Option<EventId>, async_nats::jetstream::stream::DirectGetError> {
        let position = *self.shared.position.borrow();
        let mut is_lost = self.seq > last;
        for anchor in self.anchors.iter().rev() {
            if anchor.seq < first {
                break;
            }
            if anchor.seq > last {
                continue;
            }
            let check = match self.shared.stream.direct_get(anchor.seq).await {
                Ok(message) => message::origin(&message.headers).map(|(check, _)| check),
                // It has expired, or was deleted: an older event may tell.
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if check == anchor.check {
                return Ok(is_lost.then_some(*anchor));
            }
            is_lost = true;
        }
        // None of the events that are known here is there. Clients may have received any of them.
        let oldest = self.anchors.front().map_or(self.seq, |anchor| anchor.seq);
        Ok(is_lost.then(|| position.at(oldest.saturating_sub(1).min(last))))
    }

    /// Continues at another position.
    async fn rewrite(&mut self, position: EventId) -> Result<(), Interrupted> {
        let shared = &self.shared;
        self.seq = position.seq;
        self.anchors.retain(|anchor| anchor.seq <= position.seq && anchor.epoch == position.epoch);
        shared.status.rewrites.fetch_add(1, Ordering::Relaxed);
        shared.retained.clear();
        shared.ahead.clear();
        shared.position.send_replace(position);
        shared.tail.send(Returned::Rewritten(position)).map_err(|_| Interrupted::Stopped)?;
        self.load_retained().await
    }

    /// Loads the retained events. Those that are newer than the position follow with the log.
    async fn load_retained(&self) -> Result<(), Interrupted> {
        let shared = &self.shared;
        let failed = |error: &dyn std::fmt::Display| Interrupted::Failed(error.to_string());
        let stream = shared.nats.names().retained();
        let mut next = 1;
        loop {
            let batch = shared.direct_get(&stream, next, LOAD_AT_ONCE, None).await.map_err(|e| failed(&e))?;
            let Some(last) = batch.last() else { return Ok(()) };
            next = last.seq + 1;
            for message in batch {
                let source = message.headers.get("Nats-Stream-Source").map(|value| value.as_str().to_owned());
                let seq = source.and_then(|source| source.split(' ').nth(1)?.parse().ok());
                let id = seq.map(|seq| EventId::new(shared.position.borrow().epoch, seq));
                if let Some((event, _)) = id.and_then(|id| message.into_event(&shared.nats, id)) {
                    shared.retained.note(&event);
                }
            }
        }
    }

    /// Receives events until something interrupts it.
    async fn receive(&mut self) -> Interrupted {
        match self.receive_all().await {
            Ok(never) => match never {},
            Err(interrupted) => interrupted,
        }
    }

    async fn receive_all(&mut self) -> Result<std::convert::Infallible, Interrupted> {
        let shared = self.shared.clone();
        let failed = |error: &dyn std::fmt::Display| Interrupted::Failed(error.to_string());
        let (names, connections) = (shared.nats.names(), shared.nats.connections());
        let config = push::Config {
            deliver_subject: shared.nats.client().new_inbox(),
            description: Some(format!("the node {}", shared.nats.node())),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.seq + 1 },
            ack_policy: AckPolicy::None,
            filter_subjects: vec![names.events(), names.retained_events()],
            flow_control: true,
            idle_heartbeat: HEARTBEAT,
            inactive_threshold: INACTIVE,
            memory_storage: true,
            num_replicas: 1,
            ..push::Config::default()
        };
        let consumer = shared.stream.create_consumer(config).await.map_err(|e| failed(&e))?;
        let mut messages = consumer.messages().await.map_err(|e| failed(&e))?;
        if shared.status.error.lock().take().is_some() {
            info!("events of the log arrive again");
        }
        let (mut expected, mut is_quiet) = (1, false);
        loop {
            // Many messages wait already when they arrive quickly.
            let waiting = messages.next().now_or_never();
            let Some(next) = (match waiting {
                Some(next) => Some(next),
                None => timeout(CHECK, messages.next()).await.ok(),
            }) else {
                self.check_end(connections, &mut is_quiet).await?;
                continue;
            };
            if shared.nats.connections() != connections {
                return Err(Interrupted::Reconnected);
            }
            let message = match next {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(failed(&error)),
                None => return Err(Interrupted::Failed("the subscription has ended".into())),
            };
            is_quiet = false;
            self.receive_one(&message, &mut expected)?;
        }
    }

    /// Passes one message on. `expected` is its number at the consumer.
    fn receive_one(&mut self, message: &Message, expected: &mut u64) -> Result<(), Interrupted> {
        let shared = &self.shared;
        let (seq, time) = {
            let info = message.info().map_err(|error| Interrupted::Failed(error.to_string()))?;
            if info.consumer_sequence != *expected || info.stream_sequence <= self.seq {
                return Err(Interrupted::Hole);
            }
            (info.stream_sequence, millis(info.published.unix_timestamp_nanos()))
        };
        *expected += 1;
        self.seq = seq;
        let id = EventId::new(shared.position.borrow().epoch, seq);
        shared.status.last.fetch_max(seq, Ordering::Relaxed);
        let empty = async_nats::HeaderMap::new();
        let headers = message.headers.as_ref().unwrap_or(&empty);
        let topic = shared.nats.names().topic(&message.subject);
        let found =
            topic.map(|(topic, is_retained)| Found { topic, is_retained, headers, payload: &message.payload, time });
        let Some((event, origin)) = found.and_then(|found| found.into_event(id)) else {
            shared.status.skipped.fetch_add(1, Ordering::Relaxed);
            shared.position.send_replace(id);
            return Ok(());
        };
        shared.retained.note(&event);
        let id = event.event.id;
        if self.anchors.len() == ANCHORS {
            self.anchors.pop_front();
        }
        self.anchors.push_back(id);
        let returned = Returned::Event(shared.own_mark(origin), event);
        shared.tail.send(returned).map_err(|_| Interrupted::Stopped)?;
        shared.position.send_replace(id);
        Ok(())
    }

    /// Compares the position with the end of the stream, while nothing arrives.
    async fn check_end(&mut self, connections: u64, is_quiet: &mut bool) -> Result<(), Interrupted> {
        let shared = &self.shared;
        if shared.tail.is_closed() {
            return Err(Interrupted::Stopped);
        }
        if shared.nats.connections() != connections {
            return Err(Interrupted::Reconnected);
        }
        let info = streams::info(&shared.nats).await.map_err(|error| Interrupted::Failed(error.to_string()))?;
        if streams::epoch(&info) != shared.position.borrow().epoch {
            return Err(Interrupted::OtherStream);
        }
        let last = info.state.last_sequence;
        shared.status.last.store(last, Ordering::Relaxed);
        if last < self.seq
            || (last > self.seq && std::mem::replace(is_quiet, true) && self.has_events_after(last).await)
        {
            return Err(Interrupted::Stalled);
        }
        Ok(())
    }

    /// Returns true if the stream has messages after the position that are for nodes: schedules are not.
    async fn has_events_after(&self, last: u64) -> bool {
        let shared = &self.shared;
        let names = shared.nats.names();
        for subject in [names.events(), names.retained_events()] {
            let next = shared.stream.direct_get_next_for_subject(subject, Some(self.seq + 1)).await;
            if next.is_ok_and(|next| next.sequence <= last) {
                return true;
            }
        }
        false
    }
}

/// Returns a time in milliseconds since 1970.
pub(super) fn millis(nanoseconds: i128) -> u64 {
    u64::try_from(nanoseconds / 1_000_000).unwrap_or_default()
}
