//! Workers: they take deliveries of a consumer, from this bus or from a queue on NATS.
//!
//! A worker exists as long as its [`WorkerGuard`]. The guard also determines whether the worker's deliveries are released, fail
//! or continue when the worker ends.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use sse_bus::{
    Event,
    bus::{
        ClientName, Description, Format, Now,
        consumers::{ConsumerName, Departure, Missed, Next, Settlement, Taken, WorkerId, sent_topic},
    },
    protocol::{Consume, Consuming, Delivery, ErrorCode, EventMessage, GAP, Gap, GapReason, Refused, Transport},
    tokens::Scope,
};

use super::queue::{filters, queue};
#[cfg(feature = "nats")]
use crate::queue::{Delivered, QueueWorker};
use crate::{
    access::{Caller, Grant},
    client_guard::ClientGuard,
    context::Daemon,
    shared_bus::{LockedBus, SharedBus},
};

/// A worker of a consumer. It is removed when the guard is dropped.
pub(crate) struct WorkerGuard {
    bus: SharedBus,
    worker: Worker,
    consumer: ConsumerName,
    grant: Grant,
    /// Present if the worker is a connection. Dropped after the worker is removed.
    client: Option<ClientGuard>,
}

enum Worker {
    Here(WorkerId, Departure),
    #[cfg(feature = "nats")]
    OnNats(QueueWorker),
}

/// What a worker receives.
pub(crate) enum Work {
    /// An event to process.
    Delivery(Arc<Event>, Delivery),
    /// Events that the consumer did not receive and can no longer receive, and when the bus found this, in milliseconds since
    /// 1970.
    Gap(Gap, u64),
}

impl Work {
    /// Appends the work to a buffer, encoded in this format as for a subscriber.
    pub(crate) fn encode(&self, format: Format, out: &mut Vec<u8>) {
        match self {
            Work::Delivery(event, delivery) => format.encode_delivery(event, delivery, out),
            Work::Gap(gap, time) => format.encode_gap(gap, gap.to, *time, out),
        }
    }

    /// Returns the work as an event.
    pub(crate) fn into_message(self) -> EventMessage {
        match self {
            Work::Delivery(event, delivery) => {
                let mut message = EventMessage::from(&*event);
                message.delivery = Some(delivery);
                message
            }
            Work::Gap(gap, time) => {
                let data = serde_json::to_string(&gap).unwrap_or_default();
                let mut message = EventMessage::new(gap.to, GAP, data, time);
                message.event_type = Some(GAP.into());
                message
            }
        }
    }
}

/// Makes a connection a worker of a consumer.
///
/// # Errors
///
/// There is no such consumer, the caller may not work for it, the client is kept out, or there are too many workers.
pub(crate) async fn consume(
    daemon: &Daemon,
    caller: &Caller,
    consume: &Consume,
    via: Transport,
) -> Result<(WorkerGuard, Consuming), Refused> {
    let consumer = authorize_work(daemon, caller, &consume.consumer).await?;
    let name = consume.client.as_deref().map(ClientName::parse).transpose()?;
    let origin = caller.page.as_ref().map(|page| page.origin.clone());
    let description = Description { name, peer: caller.to_string(), origin };
    let name = description.name.as_ref().map(ClientName::as_str);
    let is_kept_out = || daemon.kept_out.check(name, &description.peer, via);
    is_kept_out()?;
    let (client, worker) = match queue(daemon) {
        #[cfg(feature = "nats")]
        Some(queue) => {
            let topics = filters(daemon, &consumer).await?.to_strings();
            let client = ClientGuard::worker_elsewhere(&daemon.bus, &description, via, &consumer, topics)?;
            let shown = name.unwrap_or(&description.peer);
            (client, Worker::OnNats(queue.add_worker(&consumer, shown, slots(consume), Departure::Lost).await?))
        }
        _ => {
            let (client, id) = ClientGuard::worker(&daemon.bus, &description, via, &consumer, slots(consume))?;
            (client, Worker::Here(id, Departure::Lost))
        }
    };
    // A kick before the worker was added did not find it.
    is_kept_out()?;
    let token = daemon.access.register(&caller.grant, client.id);
    let consuming = Consuming::new(client.address(), consumer.as_str());
    let client = Some(client.with_token(token));
    let (bus, grant) = (daemon.bus.clone(), caller.grant.clone());
    Ok((WorkerGuard { bus, worker, consumer, grant, client }, consuming))
}

/// Adds a worker without a connection, which is not a client. Its deliveries continue after its end.
///
/// # Errors
///
/// There is no such consumer, the caller may not work for it, or there are too many workers.
pub(crate) async fn consume_once(daemon: &Daemon, caller: &Caller, consume: &Consume) -> Result<WorkerGuard, Refused> {
    let consumer = authorize_work(daemon, caller, &consume.consumer).await?;
    let name = consume.client.as_deref().map(ClientName::parse).transpose()?;
    let name = name.map_or_else(|| caller.to_string(), |name| name.as_str().to_owned());
    let worker = match queue(daemon) {
        #[cfg(feature = "nats")]
        Some(queue) => Worker::OnNats(queue.add_worker(&consumer, &name, slots(consume), Departure::Detached).await?),
        _ => {
            let id = daemon.bus.with(|bus, now| bus.add_worker(&consumer, &name, slots(consume), now))?;
            Worker::Here(id, Departure::Detached)
        }
    };
    let (bus, grant) = (daemon.bus.clone(), caller.grant.clone());
    Ok(WorkerGuard { bus, worker, consumer, grant, client: None })
}

/// Returns the name of a consumer for which the caller may work.
///
/// # Errors
///
/// There is no such consumer, or the caller may not work for it.
pub(crate) async fn authorize_work(daemon: &Daemon, caller: &Caller, consumer: &str) -> Result<ConsumerName, Refused> {
    caller.grant.require(Scope::Work)?;
    let consumer = ConsumerName::parse(consumer)?;
    let filters = filters(daemon, &consumer).await?;
    caller.grant.check_work(&filters)?;
    Ok(consumer)
}

fn slots(consume: &Consume) -> usize {
    consume.max_in_flight.map_or(1, |slots| usize::try_from(slots).unwrap_or(usize::MAX))
}

impl WorkerGuard {
    /// Returns the client, if the worker is a connection.
    pub(crate) fn client(&self) -> Option<&ClientGuard> {
        self.client.as_ref()
    }

    /// Waits until there is work, and returns at most `count` deliveries. If the result is empty, let other tasks run and call
    /// this again.
    ///
    /// # Errors
    ///
    /// The consumer was deleted, or the client removed.
    pub(crate) async fn next(&self, count: usize) -> Result<Vec<Work>, Refused> {
        poll_fn(|cx| self.poll_next(count, cx)).await
    }

    /// Returns the result of [`next`](Self::next) if there is one now. Otherwise wakes the task when there may be one.
    pub(crate) fn poll_next(&self, count: usize, cx: &mut Context<'_>) -> Poll<Result<Vec<Work>, Refused>> {
        match &self.worker {
            Worker::Here(id, _) => self.poll_bus(*id, count, cx),
            #[cfg(feature = "nats")]
            Worker::OnNats(worker) => {
                let delivery = |delivered: Delivered| match self.refuse_topic(delivered.event.topic.as_str()) {
                    None => Some(Work::Delivery(delivered.event, delivered.delivery)),
                    Some(reason) => {
                        worker.reject(&delivered, reason);
                        None
                    }
                };
                let taken =
                    worker.poll_take(count, cx).map_ok(|taken| taken.into_iter().filter_map(delivery).collect());
                let is_kicked = |client: &ClientGuard| client.poll_removed(cx.waker());
                if taken.is_pending() && self.client.as_ref().is_some_and(is_kicked) {
                    return Poll::Ready(Err(Refused::new(ErrorCode::ClientUnknown, "the client was removed")));
                }
                taken
            }
        }
    }

    fn poll_bus(&self, id: WorkerId, count: usize, cx: &Context<'_>) -> Poll<Result<Vec<Work>, Refused>> {
        let (taken, now) =
            self.bus.with(|bus, now| self.take(bus, id, count, now, cx.waker()).map(|taken| (taken, now)))?;
        let mut work: Vec<Work> = Vec::with_capacity(taken.deliveries.len());
        work.extend(taken.missed.map(|missed| gap(missed, now)));
        work.extend(taken.deliveries.into_iter().map(|delivery| {
            let deadline = now.unix + delivery.deadline.saturating_sub(now.mono);
            let described = Delivery::new(delivery.token.to_string(), delivery.attempt, deadline);
            Work::Delivery(delivery.event, described)
        }));
        match taken.next {
            Next::Waiting if work.is_empty() => Poll::Pending,
            Next::Waiting | Next::Ready => Poll::Ready(Ok(work)),
        }
    }

    /// Takes deliveries. An event that was sent to the consumer becomes a dead letter if the worker's token does not allow its
    /// topic.
    fn take(
        &self,
        bus: &mut LockedBus<'_>,
        id: WorkerId,
        count: usize,
        now: Now,
        waker: &Waker,
    ) -> Result<Taken, Refused> {
        let mut taken = bus.take(id, count, now, waker)?;
        taken.deliveries.retain(|delivery| {
            let refused = self.refuse_topic(delivery.event.topic.as_str());
            let may_receive = refused.is_none();
            if let Some(reason) = refused {
                // The delivery is current, because it was made under the same lock: this cannot fail.
                let _ = bus.settle(delivery.token, Settlement::Reject(reason), now);
            }
            may_receive
        });
        Ok(taken)
    }

    /// Returns the reason if the worker's token does not allow the topic of an event that was sent to the consumer.
    fn refuse_topic(&self, topic: &str) -> Option<String> {
        let is_allowed = self.grant.may_receive(topic);
        (!is_allowed).then(|| format!("the token of the worker does not allow the topic `{}`", sent_topic(topic)))
    }

    /// Changes the number of deliveries in flight. With 0 there are no further deliveries.
    ///
    /// # Errors
    ///
    /// The worker belongs to another consumer, or was removed.
    pub(crate) fn resize(&self, consume: &Consume) -> Result<Consuming, Refused> {
        if consume.consumer != self.consumer.as_str() {
            let message =
                format!("this connection is a worker of the consumer `{}`; open another connection", self.consumer);
            return Err(Refused::new(ErrorCode::AlreadySubscribed, message));
        }
        match &self.worker {
            Worker::Here(id, _) => self.bus.with(|bus, now| bus.set_slots(*id, slots(consume), now))?,
            #[cfg(feature = "nats")]
            Worker::OnNats(worker) => worker.set_slots(slots(consume)),
        }
        let client = self.client.as_ref().map_or_else(String::new, |client| client.address().to_owned());
        Ok(Consuming::new(client, self.consumer.as_str()))
    }

    /// Ends the worker and releases its deliveries: their attempts are not counted, except on NATS.
    pub(crate) fn release(mut self) {
        match &mut self.worker {
            Worker::Here(_, departure) => *departure = Departure::Released,
            #[cfg(feature = "nats")]
            Worker::OnNats(worker) => worker.departure = Departure::Released,
        }
    }

    /// Stops waking the worker until it takes deliveries again. Call it if the worker takes deliveries next anyway.
    pub(super) fn stop_waiting(&self, bus: &mut LockedBus<'_>) {
        match &self.worker {
            Worker::Here(id, _) => bus.stop_waiting(*id),
            #[cfg(feature = "nats")]
            Worker::OnNats(_) => {}
        }
    }
}

impl Drop for WorkerGuard {
    fn drop(&mut self) {
        match &self.worker {
            Worker::Here(id, departure) => self.bus.with(|bus, now| bus.remove_worker(*id, *departure, now)),
            #[cfg(feature = "nats")]
            Worker::OnNats(_) => {}
        }
    }
}

fn gap(missed: Missed, now: Now) -> Work {
    let Missed { events, from, to } = missed;
    Work::Gap(Gap::new(GapReason::Evicted, Some(events), from, to), now.unix)
}
