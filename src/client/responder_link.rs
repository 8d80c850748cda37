//! The connection of a responder, over any transport.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::{error::Error, session::Session, transport::Transport};
#[cfg(feature = "remote")]
use super::{received::Received, remote};
use crate::protocol::{EventMessage, Reply, ReplyTo, Request, Respond, Responding};

/// Receives the outcome of a reply.
pub(super) type Outcome = oneshot::Sender<Result<(), Error>>;

/// A connection that is a responder.
#[derive(Debug)]
pub(super) enum Link {
    /// Replies are answered in order.
    Local { session: Box<Session>, unanswered: VecDeque<Outcome> },
    /// Requests arrive on a stream, and replies are sent over another connection.
    #[cfg(feature = "remote")]
    Remote { requests: Box<remote::EventStream>, session: Box<remote::Session> },
}

impl Link {
    /// Makes a connection a responder. Returns its id as a client.
    pub(super) async fn start(transport: Transport, respond: &Respond) -> Result<(Link, String), Error> {
        match transport {
            Transport::Local(mut session) => match session.request(&Request::Respond(respond.clone())).await? {
                Reply::Responding(Responding { client }) => {
                    Ok((Link::Local { session: session.into(), unanswered: VecDeque::new() }, client))
                }
                other => Err(Error::unexpected(&other)),
            },
            #[cfg(feature = "remote")]
            Transport::Remote(session) => {
                let replies = remote::Session::connect(session.remote()).await?;
                let (requests, client) = session.respond(respond).await?;
                Ok((Link::Remote { requests: requests.into(), session: replies.into() }, client))
            }
        }
    }

    /// Makes progress: returns the next request, or None after another step. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<EventMessage>, Error> {
        match self {
            Link::Local { session, unanswered } => {
                // A connection that is not read while it is written can block in both directions.
                let is_writing = !session.writer.is_empty();
                let reply = tokio::select! {
                    biased;
                    reply = session.reader.reply() => reply?,
                    written = session.writer.write(), if is_writing => return written.map(|()| None),
                };
                let outcome = match reply {
                    Reply::Event(event) => return Ok(Some(event)),
                    // It receives no further requests.
                    Reply::Responding(_) => return Ok(None),
                    Reply::Replied {} => Ok(()),
                    Reply::Error(refused) if refused.request == 0 => return Err(Error::refused(refused)),
                    Reply::Error(refused) => Err(Error::refused(refused)),
                    other => return Err(Error::unexpected(&other)),
                };
                if let Some(waiting) = unanswered.pop_front() {
                    // A caller may have left.
                    let _ = waiting.send(outcome);
                }
                Ok(None)
            }
            #[cfg(feature = "remote")]
            Link::Remote { requests, .. } => match requests.next().await? {
                Received::Event(event) => Ok(Some(event)),
                _ => Ok(None),
            },
        }
    }

    /// Sends a reply.
    #[cfg_attr(not(feature = "remote"), expect(clippy::unused_async, reason = "the same interface as with HTTP"))]
    pub(super) async fn reply(&mut self, reply: ReplyTo, outcome: Outcome) {
        match self {
            Link::Local { session, unanswered } => match session.writer.push(&Request::Reply(reply)) {
                Ok(_) => unanswered.push_back(outcome),
                Err(error) => drop(outcome.send(Err(error))),
            },
            #[cfg(feature = "remote")]
            Link::Remote { session, .. } => drop(outcome.send(session.reply(&reply).await)),
        }
    }

    /// Returns true if replies can be added.
    pub(super) fn has_room(&self) -> bool {
        match self {
            Link::Local { session, .. } => !session.writer.is_full(),
            #[cfg(feature = "remote")]
            Link::Remote { .. } => true,
        }
    }

    /// Asks for no further requests, where the transport can.
    pub(super) fn retire(&mut self) {
        match self {
            // If it cannot be sent, the connection is broken.
            Link::Local { session, .. } => {
                let _ = session.writer.push(&Request::Respond(Respond::default().with_max_in_flight(0)));
            }
            #[cfg(feature = "remote")]
            Link::Remote { .. } => {}
        }
    }

    /// Returns true if replies were sent that have no outcome.
    pub(super) fn is_busy(&self) -> bool {
        match self {
            Link::Local { session, unanswered } => !unanswered.is_empty() || !session.writer.is_empty(),
            #[cfg(feature = "remote")]
            Link::Remote { .. } => false,
        }
    }
}
