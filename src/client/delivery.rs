//! A delivery, and how a worker settles it.

use std::{
    ops::Deref,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{backoff::Backoff, error::Error};
use crate::{
    protocol::{self, EventMessage, Request},
    time::whole_millis,
};

/// What the task of a worker does for the caller.
#[derive(Debug)]
pub(super) enum Command {
    /// Send a request that settles a delivery, and hand over its result.
    Settle(Box<Request>, Option<oneshot::Sender<Result<(), Error>>>),
    /// Reconnect when the connection breaks.
    Reconnect(Backoff),
}

/// The sending half of the commands, which the worker and its deliveries share. The task of the worker ends once all of them
/// are dropped. A command fails if the task has ended: a waiting caller then learns that the connection is closed.
pub(super) type Commands = mpsc::UnboundedSender<Command>;

/// One attempt to have an event processed. It dereferences to the event.
///
/// A delivery that is dropped without an answer is released: it is delivered again, and the attempt does not count.
#[derive(Debug)]
pub struct Delivery {
    event: EventMessage,
    /// None once it is settled.
    commands: Option<Commands>,
}

impl Delivery {
    pub(super) fn new(event: EventMessage, commands: Commands) -> Delivery {
        Delivery { event, commands: Some(commands) }
    }

    /// Returns the token, by which any client can settle the delivery.
    pub fn token(&self) -> &str {
        self.delivery().map_or("", |delivery| &delivery.token)
    }

    /// Returns the number of this attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.delivery().map_or(1, |delivery| delivery.attempt)
    }

    /// Returns the time by which it must be settled, in milliseconds since 1970 (UTC). [Extending](Self::extend) it does not
    /// change this value.
    pub fn deadline(&self) -> u64 {
        self.delivery().map_or(0, |delivery| delivery.deadline)
    }

    /// Acknowledges it: the event is done.
    pub fn ack(self) -> Settling {
        self.settle(|tokens| Request::Ack { tokens })
    }

    /// Reports that the attempt has failed. The event is delivered again after `delay`, or after the back-off of the consumer.
    pub fn nak(self, delay: Option<Duration>) -> Settling {
        self.settle(|tokens| Request::Nak { tokens, delay_ms: delay.map(whole_millis) })
    }

    /// Makes the event a dead letter, for this reason.
    pub fn reject(self, reason: impl Into<String>) -> Settling {
        self.settle(|tokens| Request::Reject { tokens, reason: reason.into() })
    }

    /// Returns the event, to be delivered again. The attempt does not count.
    pub fn release(self) -> Settling {
        self.settle(|tokens| Request::Release { tokens })
    }

    /// Moves the deadline to the consumer's `ack_wait` from now.
    pub fn extend(&self) -> Settling {
        let (reply, result) = oneshot::channel();
        if let Some(commands) = &self.commands {
            let tokens = vec![self.token().to_owned()];
            let _ = commands.send(Command::Settle(Request::Extend { tokens }.into(), Some(reply)));
        }
        Settling(result)
    }

    fn settle(mut self, request: impl FnOnce(Vec<String>) -> Request) -> Settling {
        let (reply, result) = oneshot::channel();
        if let Some(commands) = self.commands.take() {
            let _ = commands.send(Command::Settle(request(vec![self.token().to_owned()]).into(), Some(reply)));
        }
        Settling(result)
    }

    fn delivery(&self) -> Option<&protocol::Delivery> {
        self.event.delivery.as_ref()
    }
}

impl Deref for Delivery {
    type Target = EventMessage;

    fn deref(&self) -> &EventMessage {
        &self.event
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(commands) = self.commands.take() {
            let tokens = vec![self.token().to_owned()];
            let _ = commands.send(Command::Settle(Request::Release { tokens }.into(), None));
        }
    }
}

/// The result of settling a delivery, which the daemon confirms. The request is sent even if this is dropped.
///
/// # Errors
///
/// [`ErrorCode::StaleDelivery`](crate::protocol::ErrorCode::StaleDelivery): the deadline has passed, or the consumer was moved
/// or deleted; another worker may process the event. After [`Error::Disconnected`] the delivery may or may not be settled.
#[derive(Debug)]
#[must_use = "await it to learn whether the delivery was still current"]
pub struct Settling(oneshot::Receiver<Result<(), Error>>);

impl Future for Settling {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.0).poll(cx).map(|result| result.unwrap_or_else(|_| Err(Error::closed())))
    }
}
