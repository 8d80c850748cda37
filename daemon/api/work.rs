//! Working: taking deliveries of a consumer, and settling them.
//!
//! A worker lives as long as its [`WorkerGuard`], which also determines what becomes of its deliveries at its end. Tokens belong
//! to the daemon, not to a connection: any authorized caller may settle a delivery.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use sse_bus::{
    Event,
    bus::{
        ClientName, Description, Format, Now,
        consumers::{ConsumerName, Departure, Missed, Next, Settlement, Taken, Token, WorkerId, sent_topic},
    },
    protocol::{
        Consume, Consuming, Delivery, ErrorCode, EventMessage, GAP, Gap, GapReason, Refused, Request, Transport,
    },
    tokens::Scope,
};

use crate::{
    access::{Caller, Grant},
    client_guard::ClientGuard,
    context::Daemon,
    shared_bus::{LockedBus, SharedBus},
};

/// Number of tokens that are settled before other tasks of the thread run.
const SETTLE_AT_ONCE: usize = 256;
/// Number of stale tokens that a refusal names.
const STALE_NAMED: usize = 5;

/// A worker of a consumer. It is removed when the guard is dropped.
pub(crate) struct WorkerGuard {
    bus: SharedBus,
    id: WorkerId,
    consumer: ConsumerName,
    grant: Grant,
    departure: Departure,
    /// Present if the worker is a connection. Dropped after the worker is removed.
    client: Option<ClientGuard>,
}

/// What a worker receives.
pub(crate) enum Work {
    /// An event to process.
    Delivery(Arc<Event>, Delivery),
    /// Events that the consumer did not receive and can no longer receive, and when this was found, in milliseconds since 1970.
    Gap(Gap, u64),
}

impl Work {
    /// Appends it as a subscriber of this format would receive it.
    pub(crate) fn encode(&self, format: Format, out: &mut Vec<u8>) {
        match self {
            Work::Delivery(event, delivery) => format.encode_delivery(event, delivery, out),
            Work::Gap(gap, time) => format.encode_gap(gap, gap.to, *time, out),
        }
    }

    /// Returns it as an event.
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
pub(crate) fn consume(
    daemon: &Daemon,
    caller: &Caller,
    consume: &Consume,
    via: Transport,
) -> Result<(WorkerGuard, Consuming), Refused> {
    let consumer = authorize_work(daemon, caller, &consume.consumer)?;
    let name = consume.client.as_deref().map(ClientName::parse).transpose()?;
    let origin = caller.page.as_ref().map(|page| page.origin.clone());
    let description = Description { name, peer: caller.to_string(), origin };
    let name = description.name.as_ref().map(ClientName::as_str);
    let is_kept_out = || daemon.kept_out.check(name, &description.peer, via);
    is_kept_out()?;
    let (client, id) = ClientGuard::worker(&daemon.bus, &description, via, &consumer, slots(consume))?;
    // A kick in between did not find it.
    is_kept_out()?;
    let token = daemon.access.register(&caller.grant, client.id);
    let consuming = Consuming::new(client.address(), consumer.as_str());
    let client = Some(client.with_token(token));
    let (bus, grant) = (daemon.bus.clone(), caller.grant.clone());
    Ok((WorkerGuard { bus, id, consumer, grant, departure: Departure::Lost, client }, consuming))
}

/// Adds a worker without a connection, which is not a client. Its deliveries continue after its end.
///
/// # Errors
///
/// There is no such consumer, the caller may not work for it, or there are too many workers.
pub(crate) fn consume_once(daemon: &Daemon, caller: &Caller, consume: &Consume) -> Result<WorkerGuard, Refused> {
    let consumer = authorize_work(daemon, caller, &consume.consumer)?;
    let name = consume.client.as_deref().map(ClientName::parse).transpose()?;
    let name = name.map_or_else(|| caller.to_string(), |name| name.as_str().to_owned());
    let id = daemon.bus.with(|bus, now| bus.add_worker(&consumer, &name, slots(consume), now))?;
    let (bus, grant) = (daemon.bus.clone(), caller.grant.clone());
    Ok(WorkerGuard { bus, id, consumer, grant, departure: Departure::Detached, client: None })
}

/// Returns the name of a consumer for which the caller may work.
///
/// # Errors
///
/// There is no such consumer, or the caller may not work for it.
pub(crate) fn authorize_work(daemon: &Daemon, caller: &Caller, consumer: &str) -> Result<ConsumerName, Refused> {
    caller.grant.require(Scope::Work)?;
    let consumer = ConsumerName::parse(consumer)?;
    let filters = daemon.bus.with(|bus, _| bus.consumer_filters(&consumer).cloned())?;
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

    /// Waits until there is work, and returns at most `count` deliveries of it. An empty result means that there may be more
    /// later, and that other tasks should run first.
    ///
    /// # Errors
    ///
    /// The consumer was deleted, or the client removed.
    pub(crate) async fn next(&self, count: usize) -> Result<Vec<Work>, Refused> {
        poll_fn(|cx| self.poll_next(count, cx)).await
    }

    /// Returns the result of [`next`](Self::next) if it need not wait. Otherwise wakes the task later.
    pub(crate) fn poll_next(&self, count: usize, cx: &Context<'_>) -> Poll<Result<Vec<Work>, Refused>> {
        let (taken, now) =
            self.bus.with(|bus, now| self.take(bus, count, now, cx.waker()).map(|taken| (taken, now)))?;
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

    /// Takes deliveries. Events that were sent to the consumer with a topic that the token of the worker does not allow become
    /// dead letters.
    fn take(&self, bus: &mut LockedBus<'_>, count: usize, now: Now, waker: &Waker) -> Result<Taken, Refused> {
        let mut taken = bus.take(self.id, count, now, waker)?;
        taken.deliveries.retain(|delivery| {
            let topic = delivery.event.topic.as_str();
            let may_receive = self.grant.may_receive(topic);
            if !may_receive {
                let reason = format!("the token of the worker does not allow the topic `{}`", sent_topic(topic));
                // It was delivered under the same lock, so it is current.
                let _ = bus.settle(delivery.token, Settlement::Reject(reason), now);
            }
            may_receive
        });
        Ok(taken)
    }

    /// Changes the number of deliveries in flight. With 0 there are no further deliveries.
    ///
    /// # Errors
    ///
    /// The worker is one of another consumer, or was removed.
    pub(crate) fn resize(&self, consume: &Consume) -> Result<Consuming, Refused> {
        if consume.consumer != self.consumer.as_str() {
            let message =
                format!("this connection is a worker of the consumer `{}`; open another connection", self.consumer);
            return Err(Refused::new(ErrorCode::AlreadySubscribed, message));
        }
        self.bus.with(|bus, now| bus.set_slots(self.id, slots(consume), now))?;
        let client = self.client.as_ref().map_or_else(String::new, |client| client.address().to_owned());
        Ok(Consuming::new(client, self.consumer.as_str()))
    }

    /// Ends the worker in an orderly way: its deliveries are released.
    pub(crate) fn release(mut self) {
        self.departure = Departure::Released;
    }
}

impl Drop for WorkerGuard {
    fn drop(&mut self) {
        self.bus.with(|bus, now| bus.remove_worker(self.id, self.departure, now));
    }
}

fn gap(missed: Missed, now: Now) -> Work {
    let Missed { events, from, to } = missed;
    Work::Gap(Gap::new(GapReason::Evicted, Some(events), from, to), now.unix)
}

/// A request to settle deliveries.
pub(crate) struct Settle {
    tokens: Vec<String>,
    settlement: Settlement,
}

impl Settle {
    pub(crate) fn new(tokens: Vec<String>, settlement: Settlement) -> Settle {
        Settle { tokens, settlement }
    }

    /// Returns the request, or any other request unchanged.
    #[expect(clippy::result_large_err, reason = "the request is handled next, and not passed on as an error")]
    pub(crate) fn parse(request: Request) -> Result<Settle, Request> {
        let (tokens, settlement) = match request {
            Request::Ack { tokens } => (tokens, Settlement::Ack),
            Request::Nak { tokens, delay_ms } => (tokens, Settlement::Nak(delay_ms)),
            Request::Extend { tokens } => (tokens, Settlement::Extend),
            Request::Reject { tokens, reason } => (tokens, Settlement::Reject(reason)),
            Request::Release { tokens } => (tokens, Settlement::Release),
            other => return Err(other),
        };
        Ok(Settle::new(tokens, settlement))
    }
}

/// Settles the deliveries of a batch of requests, and returns for each request the number of its deliveries. All current
/// deliveries are settled, also those of requests that are refused because others are not current. The worker that sends the
/// requests, if it is one, must take afterwards: its task runs, and need not be woken for the slots that they free.
///
/// # Errors
///
/// A request is refused if one of its tokens is not current, or the caller may not work for its consumer.
pub(crate) async fn settle(
    daemon: &Daemon,
    caller: &Caller,
    worker: Option<&WorkerGuard>,
    batch: &[Settle],
) -> Vec<Result<u64, Refused>> {
    let mut settled: Vec<Settled> = batch.iter().map(|_| Settled::default()).collect();
    let numbered = batch.iter().enumerate();
    let all: Vec<_> = numbered.flat_map(|(at, settle)| settle.tokens.iter().map(move |token| (at, token))).collect();
    for some in all.chunks(SETTLE_AT_ONCE) {
        if !std::ptr::eq(some.as_ptr(), all.as_ptr()) {
            tokio::task::yield_now().await;
        }
        let results = daemon.bus.with_each(some.iter(), |bus, now, (at, token)| {
            if let Some(worker) = worker {
                bus.stop_waiting(worker.id);
            }
            let token: Token = token.parse()?;
            // The owner of the daemon may settle any delivery.
            if caller.grant.token().is_some()
                && let Some(filters) = bus.filters_of_delivery(token)
            {
                caller.grant.check_work(filters)?;
            }
            bus.settle(token, batch[*at].settlement.clone(), now)
        });
        for ((at, token), result) in some.iter().zip(results) {
            settled[*at].note(token, result.map(drop));
        }
    }
    settled.into_iter().map(Settled::into_result).collect()
}

/// The results of one request.
#[derive(Default)]
struct Settled {
    deliveries: u64,
    stale: u64,
    /// The first stale tokens.
    named: Vec<String>,
    /// The refusal of the first stale token, or of a token that is refused for another reason.
    refused: Option<Refused>,
}

impl Settled {
    fn note(&mut self, token: &str, result: Result<(), Refused>) {
        self.deliveries += 1;
        let Err(refused) = result else { return };
        let is_stale = refused.code == ErrorCode::StaleDelivery;
        if is_stale {
            self.stale += 1;
            if self.named.len() < STALE_NAMED {
                self.named.push(token.chars().take(60).collect());
            }
        }
        if !is_stale || self.refused.is_none() {
            self.refused = Some(refused);
        }
    }

    fn into_result(self) -> Result<u64, Refused> {
        let Settled { deliveries, stale, named, refused } = self;
        let Some(refused) = refused else { return Ok(deliveries) };
        if refused.code != ErrorCode::StaleDelivery || deliveries == 1 {
            return Err(refused);
        }
        let more = match stale - named.len() as u64 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message = format!(
            "{stale} of {deliveries} deliveries are no longer current: `{}`{more}; they were settled, their deadlines have \
             passed, or the consumer was moved or deleted; the other deliveries were settled by this request",
            named.join("`, `")
        );
        Err(Refused::new(ErrorCode::StaleDelivery, message))
    }
}
