//! Settling deliveries, in time or at their deadlines.

use std::time::Duration;

use bytes::Bytes;
use sse_bus::{
    bus::consumers::{Departure, Settlement},
    limits::{DELAY_MAX, REASON_MAX},
    protocol::{ErrorCode, Refused},
    time::{unix_now, whole_millis},
};

use super::{
    deliveries::{Current, QueueToken, Worker},
    job::Death,
    state::Queue,
};

/// How many deliveries a node settles at once.
const AT_ONCE: usize = 256;

/// What the servers do with a delivery.
pub(super) enum Verdict {
    /// It is done.
    Done,
    /// It is delivered again after a time.
    Again(Duration),
    /// It is dead for a reason, with the text of a worker.
    Dead(&'static str, Option<String>),
}

impl Queue {
    /// Settles a delivery of this node.
    ///
    /// # Errors
    ///
    /// It is not current, the delay is too long, or the servers do not confirm it: then it remains current.
    pub(crate) async fn settle(&self, token: &QueueToken, settlement: &Settlement) -> Result<(), Refused> {
        if let Settlement::Nak(Some(delay)) = settlement
            && *delay > whole_millis(DELAY_MAX)
        {
            let most = sse_bus::time::format_duration(DELAY_MAX);
            return Err(Refused::new(ErrorCode::RequestInvalid, format!("the delay is too long; use at most {most}")));
        }
        if *settlement == Settlement::Extend {
            let reply = self.0.deliveries.lock().extend(token)?;
            self.0.added.notify_one();
            return self.confirm(reply, "+WPI".into()).await;
        }
        let current = self.0.deliveries.lock().claim(token)?;
        let verdict = match settlement {
            Settlement::Ack | Settlement::Extend => Verdict::Done,
            Settlement::Nak(delay) => after_failure(&current, delay.map(Duration::from_millis)),
            Settlement::Reject(text) => {
                let text = &text[..text.floor_char_boundary(REASON_MAX)];
                Verdict::Dead("rejected", (!text.is_empty()).then(|| text.to_owned()))
            }
            Settlement::Release => Verdict::Again(Duration::ZERO),
        };
        let settled = self.end(&current, verdict).await;
        if settled.is_err() {
            self.0.deliveries.lock().put_back(token, current);
            self.0.added.notify_one();
        }
        settled
    }

    /// Sends the servers what they do with a delivery.
    async fn end(&self, current: &Current, verdict: Verdict) -> Result<(), Refused> {
        let payload: Bytes = match verdict {
            Verdict::Done => "+ACK".into(),
            Verdict::Again(delay) if delay.is_zero() => "-NAK".into(),
            Verdict::Again(delay) => format!("-NAK {{\"delay\":{}}}", delay.as_nanos()).into(),
            Verdict::Dead(reason, text) => {
                let Current { worker, attempt, .. } = current;
                let worker = Some(worker.name.clone());
                let death = Death { reason: reason.into(), text, attempts: *attempt, worker, since: unix_now() };
                // First, so that it cannot be lost. If the node dies now, the next delivery finds that it has no attempts left.
                self.store_letter(&current.consumer, &current.event, death).await?;
                "+TERM".into()
            }
        };
        self.confirm(current.reply.clone(), payload).await
    }

    /// Sends an acknowledgement, and waits until the servers have applied it.
    pub(super) async fn confirm(&self, reply: async_nats::Subject, payload: Bytes) -> Result<(), Refused> {
        self.check_connected()?;
        self.0.nats.client().request(reply, payload).await.map_err(|error| self.unavailable(&error))?;
        Ok(())
    }

    /// Settles deliveries that their workers have not. Those that cannot be settled now are for the servers to deliver again.
    pub(super) async fn end_all(&self, all: Vec<Current>, verdict: impl Fn(&Current) -> Verdict) {
        for some in all.chunks(AT_ONCE) {
            let ends = some.iter().map(|current| self.end(current, verdict(current)));
            futures_util::future::join_all(ends).await;
        }
    }

    /// Gives deliveries of this node back. Those that are not current need no release.
    pub(crate) async fn release(&self, tokens: &[String]) {
        for token in tokens.iter().filter_map(|token| QueueToken::parse(token).ok()) {
            let _ = self.settle(&token, &Settlement::Release).await;
        }
    }

    /// Ends the deliveries of a worker that has left.
    pub(super) async fn leave(&self, worker: &Worker, departure: Departure) {
        if departure == Departure::Detached {
            return;
        }
        let is_stopping = self.0.stop.is_cancelled();
        let left = self.0.deliveries.lock().take(|current| current.worker.number == worker.number);
        match departure {
            Departure::Lost if !is_stopping => self.end_all(left, |current| after_failure(current, None)).await,
            _ => self.end_all(left, |_| Verdict::Again(Duration::ZERO)).await,
        }
    }

    /// Forgets the deliveries of a consumer that was moved or deleted: their tokens are no longer current.
    pub(crate) fn forget(&self, consumer: &str) {
        drop(self.0.deliveries.lock().take(|current| current.consumer.as_str() == consumer));
    }
}

pub(super) fn after_failure(current: &Current, delay: Option<Duration>) -> Verdict {
    if current.attempt >= current.settings.max_attempts {
        return Verdict::Dead("attempts", None);
    }
    let backoff = || Duration::from_millis(current.settings.backoff_after(current.attempt));
    Verdict::Again(delay.unwrap_or_else(backoff))
}
