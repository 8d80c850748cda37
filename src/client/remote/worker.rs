//! A worker of a daemon elsewhere: one connection waits for deliveries, another one settles them.
//!
//! The daemon does not see such a worker as a connection: its deliveries continue when a connection breaks, and end with their
//! deadlines.

use std::{collections::VecDeque, pin::Pin};

use tokio::{select, sync::oneshot};

use super::{session::Session, url::Remote};
use crate::{
    client::{
        delivery::Command,
        error::Error,
        handover::{Handover, room},
    },
    limits::TAKE_MAX,
    protocol::{Consume, EventMessage, Request},
};

/// Number of commands that are handled at once.
const COMMANDS: usize = 64;

/// A request that settles a delivery, and what waits for its result.
type Settle = (Box<Request>, Option<oneshot::Sender<Result<(), Error>>>);
type Call<T> = Pin<Box<dyn Future<Output = (Session, Result<T, Error>)> + Send>>;

/// The connections of a worker. Each is None while a request is in progress.
#[derive(Debug)]
pub(crate) struct RemoteWorker {
    taking: Option<Session>,
    settling: Option<Session>,
    consume: Consume,
    /// Deliveries that were taken and not settled.
    in_flight: usize,
}

impl RemoteWorker {
    /// Becomes a worker with an established connection, and opens another one.
    pub(crate) async fn new(session: Session, consume: Consume) -> Result<RemoteWorker, Error> {
        let remote: Remote = session.remote().clone();
        let settling = Session::connect(&remote).await?;
        Ok(RemoteWorker { taking: Some(session), settling: Some(settling), consume, in_flight: 0 })
    }

    /// Serves a worker until it is dropped and its deliveries are settled.
    ///
    /// # Errors
    ///
    /// A connection breaks, or the daemon refuses to deliver.
    pub(crate) async fn serve(&mut self, handover: &mut Handover) -> Result<(), Error> {
        let slots = usize::try_from(self.consume.max_in_flight.unwrap_or(1)).unwrap_or(usize::MAX);
        let mut commands = Vec::with_capacity(COMMANDS);
        let mut queue: VecDeque<Settle> = VecDeque::new();
        let mut taking: Option<Call<Vec<EventMessage>>> = None;
        let mut settling: Option<Call<()>> = None;
        let mut settled: Option<Settle> = None;
        let (mut has_commands, mut is_ending) = (true, false);
        loop {
            let free = slots.saturating_sub(self.in_flight).min(TAKE_MAX);
            if free > 0
                && !is_ending
                && let Some(session) = self.taking.take()
            {
                taking = Some(take(session, self.consume.clone(), free));
            }
            if !queue.is_empty()
                && let Some(session) = self.settling.take()
                && let Some(settle) = queue.pop_front()
            {
                settling = Some(self::settle(session, self.consume.consumer.clone(), settle.0.clone()));
                settled = Some(settle);
            }
            if !has_commands && is_ending && settling.is_none() {
                return Ok(());
            }
            let has_waiting = handover.has_waiting();
            select! {
                biased;
                count = handover.commands.recv_many(&mut commands, COMMANDS), if has_commands => {
                    has_commands = count > 0;
                    for command in commands.drain(..) {
                        match command {
                            Command::Settle(request, reply) => queue.push_back((request, reply)),
                            Command::Reconnect(backoff) => handover.backoff = Some(backoff),
                        }
                    }
                }
                (session, result) = finished(&mut settling), if settling.is_some() => {
                    (settling, self.settling) = (None, Some(session));
                    if let Some((request, reply)) = settled.take() {
                        self.in_flight -= usize::from(!matches!(*request, Request::Extend { .. })).min(self.in_flight);
                        if let Some(reply) = reply {
                            let _ = reply.send(result);
                        }
                    }
                }
                (session, result) = finished(&mut taking), if taking.is_some() => {
                    (taking, self.taking) = (None, Some(session));
                    for message in result? {
                        self.in_flight += usize::from(message.delivery.is_some());
                        handover.receive(message);
                    }
                }
                () = handover.items.closed(), if !is_ending => {
                    is_ending = true;
                    // The daemon returns deliveries that it has not sent.
                    taking = None;
                    let tokens = handover.take_waiting();
                    if !tokens.is_empty() {
                        queue.push_back((Request::Release { tokens }.into(), None));
                    }
                }
                () = room(&handover.items), if has_waiting && !is_ending => handover.hand_over(),
            }
        }
    }
}

fn take(mut session: Session, consume: Consume, count: usize) -> Call<Vec<EventMessage>> {
    Box::pin(async move {
        let result = session.next(&consume, count).await;
        (session, result)
    })
}

fn settle(mut session: Session, consumer: String, request: Box<Request>) -> Call<()> {
    Box::pin(async move {
        let result = session.settle(&consumer, &request).await;
        (session, result)
    })
}

async fn finished<T>(call: &mut Option<Call<T>>) -> (Session, Result<T, Error>) {
    match call {
        Some(call) => call.await,
        None => std::future::pending().await,
    }
}
