//! Settling deliveries. Tokens belong to the daemon, not to a connection: any authorized caller may settle a delivery.

use sse_bus::{
    bus::consumers::{ConsumerName, Settlement, Token},
    protocol::{ErrorCode, Refused, Request},
};

use super::work::WorkerGuard;
#[cfg(feature = "nats")]
use crate::queue::QueueToken;
use crate::{access::Caller, context::Daemon};

/// Number of tokens that are settled before other tasks of the thread run.
const SETTLE_AT_ONCE: usize = 256;
/// Number of stale tokens that a refusal names.
const STALE_NAMED: usize = 5;

/// Gives deliveries back that were not sent. Those that are not current any more need no release.
pub(crate) fn release(daemon: &Daemon, tokens: &[String]) {
    #[cfg(feature = "nats")]
    if let Some(queue) = daemon.queue.clone() {
        let tokens = tokens.to_vec();
        daemon.tasks.spawn(async move { queue.release(&tokens).await });
        return;
    }
    let tokens: Vec<Token> = tokens.iter().filter_map(|token| token.parse().ok()).collect();
    daemon.bus.with_each(tokens.into_iter(), |bus, now, token| {
        let _ = bus.settle(token, Settlement::Release, now);
    });
}

/// A request to settle deliveries.
pub(crate) struct Settle {
    tokens: Vec<String>,
    settlement: Settlement,
    /// The consumer that the deliveries must be of, if the request names one.
    consumer: Option<ConsumerName>,
}

impl Settle {
    pub(crate) fn new(tokens: Vec<String>, settlement: Settlement) -> Settle {
        Settle { tokens, settlement, consumer: None }
    }

    /// Refuses the deliveries of other consumers.
    pub(crate) fn of(self, consumer: ConsumerName) -> Settle {
        Settle { consumer: Some(consumer), ..self }
    }

    /// Refuses a delivery of another consumer than the request names.
    fn check_consumer(&self, token: &str, consumer: Option<&ConsumerName>) -> Result<(), Refused> {
        match (&self.consumer, consumer) {
            (Some(named), Some(other)) if named != other => {
                let message = format!("the delivery `{token}` is of the consumer `{other}`, not of `{named}`");
                Err(Refused::new(ErrorCode::StaleDelivery, message))
            }
            _ => Ok(()),
        }
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
    #[cfg(feature = "nats")]
    if let Some(queue) = &daemon.queue {
        let mut settling = Vec::with_capacity(all.len());
        for (at, token) in all {
            let consumer = QueueToken::parse(token).map(|token| token.consumer).ok();
            match batch[at].check_consumer(token, consumer.as_ref()) {
                Ok(()) => settling.push((at, token.as_str(), &batch[at].settlement)),
                Err(refused) => settled[at].note(token, Err(refused)),
            }
        }
        let results = super::queue::settle(daemon, queue, caller, &settling).await;
        for ((at, token, _), result) in settling.iter().zip(results) {
            settled[*at].note(token, result);
        }
        return settled.into_iter().map(Settled::into_result).collect();
    }
    for some in all.chunks(SETTLE_AT_ONCE) {
        if !std::ptr::eq(some.as_ptr(), all.as_ptr()) {
            tokio::task::yield_now().await;
        }
        let results = daemon.bus.with_each(some.iter(), |bus, now, (at, token)| {
            if let Some(worker) = worker {
                worker.stop_waiting(bus);
            }
            let text = token;
            let token: Token = token.parse()?;
            // The owner of the daemon may settle any delivery.
            if caller.grant.token().is_some()
                && let Some(filters) = bus.filters_of_delivery(token)
            {
                caller.grant.check_work(filters)?;
            }
            batch[*at].check_consumer(text, bus.consumer_of_delivery(token))?;
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
