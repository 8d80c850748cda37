//! The task that pulls deliveries from the NATS servers for one worker at this node.
//!
//! Requests for deliveries wait at the servers. Each request has an answer subject of its own, so that the task can count the
//! deliveries that are still to come. When the worker leaves, the task cancels its requests, and gives back the deliveries that
//! arrive meanwhile.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_nats::{HeaderMap, Message, StatusCode, Subscriber, jetstream, jetstream::consumer::pull::BatchConfig};
use futures_util::StreamExt as _;
use sse_bus::{
    Event, EventId,
    protocol::{Delivery, ErrorCode, Refused},
    time::{unix_now, whole_millis},
};
use tokio::{
    sync::mpsc::UnboundedSender,
    time::{Instant, sleep_until},
};
use tracing::debug;

use super::{
    deliveries::{Current, Delivered, Worker},
    job::{Death, Job},
    manage::Found,
    state::Queue,
};
use crate::log::parse_event;

/// How long a request waits at the servers.
const EXPIRES: Duration = Duration::from_secs(10);
/// A request is considered lost if it has no answer this long after it expired.
const LOST_AFTER: Duration = Duration::from_secs(2);
/// Maximum number of deliveries of one request.
const BATCH: usize = 256;
/// The pause after an error.
const PAUSE: Duration = Duration::from_millis(250);
/// The interval at which the number of dead letters is checked.
const CHECK_LETTERS: Duration = Duration::from_secs(10);

/// A request for deliveries.
struct Request {
    /// Deliveries that may still come.
    left: usize,
    /// When the request is considered lost, if there is no answer.
    until: Instant,
}

/// The task of a worker.
pub(super) struct Pulling {
    queue: Queue,
    found: Found,
    worker: Arc<Worker>,
    sender: UnboundedSender<Result<Delivered, Refused>>,
    /// The requests that wait at the servers, by the number at the end of their answer subjects.
    requests: HashMap<u64, Request>,
    last: u64,
    /// When the next request is allowed.
    not_before: Instant,
    /// When the dead letters are counted again.
    check_letters: Instant,
}

impl Pulling {
    pub(super) fn new(
        queue: Queue,
        found: Found,
        worker: Arc<Worker>,
        sender: UnboundedSender<Result<Delivered, Refused>>,
    ) -> Pulling {
        let now = Instant::now();
        Pulling { queue, found, worker, sender, requests: HashMap::new(), last: 0, not_before: now, check_letters: now }
    }

    pub(super) async fn run(mut self) {
        let client = self.queue.0.nats.client().clone();
        let inbox = client.new_inbox();
        let mut answers = match client.subscribe(format!("{inbox}.*")).await {
            Ok(answers) => answers,
            Err(error) => {
                let _ = self.sender.send(Err(self.queue.unavailable(&error)));
                return;
            }
        };
        if let Err(refused) = self.pull(&inbox, &mut answers).await {
            let _ = self.sender.send(Err(refused));
        }
    }

    async fn pull(&mut self, inbox: &str, answers: &mut Subscriber) -> Result<(), Refused> {
        let mut connections = self.queue.0.nats.connections();
        let stop = self.queue.0.stop.clone();
        while !stop.is_cancelled() {
            if self.queue.0.nats.connections() != connections {
                connections = self.queue.0.nats.connections();
                self.requests.clear();
            }
            let now = Instant::now();
            self.requests.retain(|_, request| request.until > now);
            if self.worker.has_left.load(Ordering::Relaxed) {
                return self.give_back(answers).await;
            }
            if now >= self.not_before {
                self.request(inbox).await;
            }
            let next = self.requests.values().map(|request| request.until).min();
            let next = next.into_iter().chain((now < self.not_before).then_some(self.not_before)).min();
            let wait = next.unwrap_or_else(|| now + EXPIRES);
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.worker.changed.notified() => {}
                () = sleep_until(wait) => {}
                answer = answers.next() => {
                    let Some(answer) = answer else { return Err(self.queue.unavailable(&"the connection has ended")) };
                    self.receive(answer).await?;
                }
            }
        }
        Ok(())
    }

    /// Cancels the waiting requests, and gives back the deliveries that have arrived for them.
    async fn give_back(&self, answers: &mut Subscriber) -> Result<(), Refused> {
        // The servers make no deliveries for answer subjects without a subscription.
        let _ = answers.drain().await;
        while let Some(answer) = answers.next().await {
            if matches!(answer.status, None | Some(StatusCode::OK)) {
                self.deliver(answer).await;
            }
        }
        Ok(())
    }

    /// Requests deliveries for the worker's free slots, unless requests for more than half of them are waiting already.
    async fn request(&mut self, inbox: &str) {
        let coming: usize = self.requests.values().map(|request| request.left).sum();
        let free = self.worker.free().saturating_sub(coming);
        if free == 0 || (coming > 0 && free < coming) {
            return;
        }
        if !self.queue.0.nats.is_connected() {
            self.not_before = Instant::now() + PAUSE;
            return;
        }
        if self.check_letters <= Instant::now() {
            self.check_letters = Instant::now() + CHECK_LETTERS;
            if self.queue.is_full_of_letters(&self.found.name).await {
                self.not_before = self.check_letters;
                return;
            }
        }
        let batch = free.min(BATCH);
        let request = BatchConfig { batch, expires: Some(EXPIRES), ..BatchConfig::default() };
        self.last += 1;
        let reply = format!("{inbox}.{}", self.last);
        match self.found.consumer.request_batch(request, reply.into()).await {
            Ok(()) => {
                let until = Instant::now() + EXPIRES + LOST_AFTER;
                self.requests.insert(self.last, Request { left: batch, until });
            }
            Err(error) => {
                debug!(%error, "deliveries cannot be requested");
                self.not_before = Instant::now() + PAUSE;
            }
        }
    }

    async fn receive(&mut self, answer: Message) -> Result<(), Refused> {
        let number = answer.subject.rsplit_once('.').and_then(|(_, number)| number.parse::<u64>().ok());
        match answer.status {
            None | Some(StatusCode::OK) => {
                // A delivery has the subject of its event, which does not name a request: count it for the oldest one.
                let oldest = self.requests.iter().min_by_key(|(number, _)| **number).map(|(number, _)| *number);
                if let Some(oldest) = oldest
                    && let Some(request) = self.requests.get_mut(&oldest)
                {
                    request.left = request.left.saturating_sub(1);
                    if request.left == 0 {
                        self.requests.remove(&oldest);
                    }
                }
                self.deliver(answer).await;
            }
            Some(StatusCode::IDLE_HEARTBEAT) => {}
            Some(status) => {
                self.requests.retain(|other, _| Some(*other) != number);
                // A request that expired is followed by the next one at once; after other errors there is a pause.
                if status != StatusCode::TIMEOUT {
                    self.not_before = Instant::now() + PAUSE;
                    // The consumer was deleted or moved, or the servers are electing a leader.
                    match self.queue.find(&self.found.name).await {
                        Ok(found) => self.found = found,
                        Err(refused) if refused.code == ErrorCode::ConsumerUnknown => return Err(refused),
                        Err(refused) => debug!(%refused, "a consumer cannot be read"),
                    }
                }
            }
        }
        Ok(())
    }

    /// Passes a delivery to the worker.
    async fn deliver(&self, message: Message) {
        let queue = &self.queue;
        let Some(reply) = message.reply.clone() else { return };
        let message = jetstream::Message { message, context: queue.0.nats.jetstream().clone() };
        let Ok(info) = message.info() else { return };
        let (seq, attempt) = (info.stream_sequence, u32::try_from(info.delivered).unwrap_or(u32::MAX));
        let time = u64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
        let Some(event) = self.event(&message, seq, time) else {
            // The message was not published by a node, does not match the filters, or has expired.
            let _ = queue.confirm(reply, "+TERM".into()).await;
            return;
        };
        if self.worker.has_left.load(Ordering::Relaxed) || queue.0.stop.is_cancelled() {
            let _ = queue.confirm(reply, "-NAK".into()).await;
            return;
        }
        let settings = &self.found.settings;
        if attempt > settings.max_attempts {
            // The node that made the last attempt died before it could store the dead letter.
            let since = unix_now();
            let death = Death { reason: "attempts".into(), text: None, attempts: attempt - 1, worker: None, since };
            if queue.store_letter(&self.found.name, &event, death).await.is_ok() {
                let _ = queue.confirm(reply, "+TERM".into()).await;
            }
            return;
        }
        let current = Current::new((&self.found.name, settings), &self.worker, event.clone(), attempt, reply);
        let token = queue.0.deliveries.lock().add(queue.node(), current);
        queue.0.added.notify_one();
        let delivery = Delivery::new(token.to_string(), attempt, unix_now() + whole_millis(settings.ack_wait));
        // Sending fails if the worker has left. Its end also ends this delivery.
        let _ = self.sender.send(Ok(Delivered { event, delivery }));
    }

    fn event(&self, message: &Message, seq: u64, time: u64) -> Option<Arc<Event>> {
        let empty = HeaderMap::new();
        let headers = message.headers.as_ref().unwrap_or(&empty);
        let names = self.queue.0.nats.names();
        let id = EventId::new(self.queue.0.log.position().epoch, seq);
        if *message.subject == *names.job(self.found.name.as_str()) {
            return Job::read(headers, &message.payload, Some((id, time))).map(|(event, _)| event);
        }
        let event = parse_event(names, &message.subject, headers, &message.payload, time, id)?;
        self.found.settings.filters.matches(&event.topic).then(|| Arc::new(event))
    }
}
