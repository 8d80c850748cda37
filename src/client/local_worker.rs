//! A worker on the local socket: requests to settle deliveries out, replies and deliveries in.

use std::collections::VecDeque;

use tokio::{
    select,
    sync::oneshot,
    time::{Instant, sleep_until},
};

use super::{
    delivery::Command,
    error::Error,
    handover::{Handover, room},
    session::Session,
};
use crate::{
    limits::{REPLY, SETTLE_MAX},
    protocol::{Consume, Refused, Reply, Request},
};

/// Number of commands that are handled at once.
const COMMANDS: usize = 64;

/// The connection of a worker.
#[derive(Debug)]
pub(super) struct LocalWorker {
    session: Session,
    consumer: String,
    /// The requests without a reply, in order.
    awaited: VecDeque<Awaited>,
    /// When the daemon last sent something, or nothing was awaited.
    heard: Instant,
    end: End,
}

/// A request without a reply.
#[derive(Debug)]
enum Awaited {
    /// Deliveries are to be settled. The caller waits for the result, unless it has dropped the delivery.
    Settled(Option<oneshot::Sender<Result<(), Error>>>),
    /// No more deliveries are to be sent.
    Stopped,
}

/// How far the end of the worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    No,
    /// The worker was dropped, and no more deliveries are to be sent. Those that still arrive are released.
    Stopping,
    /// No more deliveries arrive.
    Stopped,
}

impl LocalWorker {
    pub(super) fn new(session: Session, consumer: String) -> LocalWorker {
        LocalWorker { session, consumer, awaited: VecDeque::new(), heard: Instant::now(), end: End::No }
    }

    /// Serves a worker until it is dropped and its deliveries are settled.
    ///
    /// # Errors
    ///
    /// The connection breaks, or the daemon ends the worker.
    pub(super) async fn serve(&mut self, handover: &mut Handover) -> Result<(), Error> {
        let result = self.exchange(handover).await;
        for awaited in self.awaited.drain(..) {
            if let Awaited::Settled(Some(reply)) = awaited {
                let _ = reply.send(Err(Error::closed()));
            }
        }
        result
    }

    async fn exchange(&mut self, handover: &mut Handover) -> Result<(), Error> {
        let mut commands = Vec::with_capacity(COMMANDS);
        let mut has_commands = true;
        loop {
            let is_writing = !self.session.writer.is_empty();
            if !has_commands && self.end == End::Stopped && !is_writing && self.awaited.is_empty() {
                return Ok(());
            }
            let may_command = has_commands && !self.session.writer.is_full();
            let (has_waiting, is_awaiting) = (handover.has_waiting(), !self.awaited.is_empty());
            let Session { reader, writer, located, .. } = &mut self.session;
            select! {
                biased;
                count = handover.commands.recv_many(&mut commands, COMMANDS), if may_command => {
                    has_commands = count > 0;
                    for command in commands.drain(..) {
                        match command {
                            Command::Settle(request, reply) => self.push(&request, Awaited::Settled(reply))?,
                            Command::Reconnect(backoff) => handover.backoff = Some(backoff),
                        }
                    }
                }
                written = writer.write(), if is_writing => {
                    if written.is_err() {
                        // The daemon still answers what it received; after that, reading fails as well.
                        writer.discard();
                    }
                }
                reply = reader.reply() => {
                    self.heard = Instant::now();
                    self.receive(reply?, handover)?;
                }
                () = handover.items.closed(), if self.end == End::No => {
                    self.end = End::Stopping;
                    let stop = Consume::new(&*self.consumer).with_max_in_flight(0);
                    self.push(&Request::Consume(stop), Awaited::Stopped)?;
                    let tokens = handover.take_waiting();
                    for some in tokens.chunks(SETTLE_MAX) {
                        self.push(&Request::Release { tokens: some.to_vec() }, Awaited::Settled(None))?;
                    }
                }
                () = room(&handover.items), if has_waiting && self.end == End::No => handover.hand_over(),
                () = sleep_until(self.heard + REPLY), if is_awaiting => {
                    return Err(Error::Unresponsive { address: (&*located).into(), after: REPLY });
                }
            }
        }
    }

    fn push(&mut self, request: &Request, awaited: Awaited) -> Result<(), Error> {
        if self.awaited.is_empty() {
            self.heard = Instant::now();
        }
        match self.session.writer.push(request) {
            Ok(_) => self.awaited.push_back(awaited),
            // A reason that is too long for a frame.
            Err(error) => match awaited {
                Awaited::Settled(Some(reply)) => drop(reply.send(Err(error))),
                Awaited::Settled(None) => {}
                Awaited::Stopped => return Err(error),
            },
        }
        Ok(())
    }

    fn receive(&mut self, reply: Reply, handover: &mut Handover) -> Result<(), Error> {
        let result = match reply {
            Reply::Event(event) if self.end == End::No => {
                handover.receive(event);
                return Ok(());
            }
            Reply::Event(event) => {
                let tokens = event.delivery.into_iter().map(|delivery| delivery.token).collect();
                return self.push(&Request::Release { tokens }, Awaited::Settled(None));
            }
            Reply::Error(refused) if refused.request == 0 => return Err(Error::refused(refused)),
            Reply::Error(refused) => Err(Error::refused(Refused { request: 0, ..refused })),
            Reply::Settled { .. } | Reply::Consuming(_) => Ok(()),
            other => return Err(Error::unexpected(&other)),
        };
        match self.awaited.pop_front() {
            Some(Awaited::Settled(reply)) => {
                if let Some(reply) = reply {
                    let _ = reply.send(result);
                }
            }
            Some(Awaited::Stopped) => {
                result?;
                self.end = End::Stopped;
            }
            None => return Err(Error::Protocol("one reply too many".into())),
        }
        Ok(())
    }
}
