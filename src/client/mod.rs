//! The async client: publish, subscribe and administer over the local socket.
//!
//! A [`Client`] is one connection, used by one task at a time. Every wait is cancel-safe: a dropped call leaves the
//! connection usable, and its reply is discarded when it arrives. Nothing is sent twice: an event that was in flight
//! when a connection broke may or may not have been accepted, and the caller decides what to do about it. A request
//! fails if the daemon does not answer within [`ANSWER`]. Subscriptions, durable publishes and pipelined publishes wait
//! as long as the connection exists.
//!
//! - [`Client`]: one request at a time, or [many pipelined](Client::publish_many).
//! - [`Publisher`] and [`Replies`]: the two halves, for a caller that pipelines an unbounded input.
//! - [`Subscription`]: events, gaps, and [optionally](Subscription::reconnecting) automatic reconnects.

mod connection;
mod error;
mod publisher;
mod session;
mod subscription;

use std::{collections::VecDeque, time::Duration};

use self::session::Session;
pub use self::{
    error::{Answer, Error, Interrupted},
    publisher::{Finished, Publisher, Replies},
    subscription::{Backoff, Item, Subscription},
};
use crate::{
    endpoint::Endpoint,
    limits::ANSWER,
    protocol::{Ack, ClientInfo, Publish, Published, Reply, Request, Setting, Status, Subscribe, TopicInfo},
};

/// Maximum number of unanswered publishes of [`Client::publish_many`].
const IN_FLIGHT: usize = 8192;

/// A connection to the daemon.
///
/// ```no_run
/// use sse_bus::{Client, Endpoint, protocol::Publish};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = Client::connect(&Endpoint::find()?).await?;
/// let published = client.publish(&Publish::new("build/web", "ok")).await?;
/// println!("{:?} went to {} subscribers", published.id, published.subscribers);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client(Session);

impl Client {
    /// Connects to the daemon.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NoDaemon`], [`Error::SocketRemoved`], [`Error::SocketMounted`] or [`Error::Denied`]. If the daemon refuses this client,
    /// the first request returns the reason.
    pub async fn connect(endpoint: &Endpoint) -> Result<Client, Error> {
        Session::connect(endpoint).await.map(Client)
    }

    /// Returns the endpoint of the connection. It differs from the one that [`connect`](Self::connect) was called with if
    /// no daemon was at that default path, and this user's daemon was found elsewhere.
    pub fn endpoint(&self) -> &Endpoint {
        self.0.located()
    }

    /// Publishes one event and waits for the reply: [`Ack::None`] has the effect of [`Ack::Accepted`]. There is no
    /// time limit for [`Ack::Durable`].
    pub async fn publish(&mut self, publish: &Publish) -> Result<Published, Error> {
        let writer = &mut self.0.writer;
        let number = match publish.ack {
            Ack::None => writer.push_publish(&Publish { ack: Ack::Accepted, ..publish.clone() })?,
            _ => writer.push_publish(publish)?,
        };
        let patience = if publish.ack == Ack::Durable { Duration::MAX } else { ANSWER };
        match self.0.answer(number, patience).await? {
            Reply::Published(published) => Ok(published),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Publishes events without waiting for each reply before sending the next, and returns the replies in order.
    /// A refused event does not affect the others. [`Ack::None`] has the effect of [`Ack::Accepted`].
    ///
    /// # Errors
    ///
    /// Returns [`Interrupted`] with the replies so far if the connection breaks. The events after those may or may not
    /// have been accepted.
    pub async fn publish_many<I>(&mut self, publishes: I) -> Result<Vec<Answer>, Interrupted>
    where
        I: IntoIterator<Item = Publish>,
    {
        let session = &mut self.0;
        let mut input = publishes.into_iter().fuse();
        let mut answers: Vec<Option<Answer>> = Vec::new();
        let mut awaited = VecDeque::new();
        let mut broken = false;
        let end = loop {
            while !broken && awaited.len() < IN_FLIGHT && !session.writer.is_full() {
                let Some(mut publish) = input.next() else { break };
                if publish.ack == Ack::None {
                    publish.ack = Ack::Accepted;
                }
                match session.writer.push_publish(&publish) {
                    Ok(number) => {
                        awaited.push_back((number, answers.len()));
                        answers.push(None);
                    }
                    Err(e) => answers.push(Some(Err(e.into_refused()))),
                }
            }
            let Some(&(number, index)) = awaited.front() else { break Ok(()) };
            let writing = !session.writer.is_empty();
            let reply = tokio::select! {
                biased;
                reply = session.reader.reply() => reply,
                written = session.writer.write(), if writing => {
                    if written.is_err() {
                        // The daemon still answers what it received; after that, reading fails as well.
                        session.writer.discard();
                        broken = true;
                    }
                    continue;
                }
            };
            let outcome = match reply {
                Ok(Reply::Error(refused)) if refused.request == 0 => break Err(Error::refused(refused)),
                Ok(reply) => {
                    session.answered += 1;
                    match reply {
                        // The reply to an earlier request that timed out.
                        _ if session.answered < number => continue,
                        Reply::Published(accepted) => Ok(accepted),
                        Reply::Error(refused) => Err(refused),
                        other => break Err(Error::unexpected(&other)),
                    }
                }
                Err(e) => break Err(e),
            };
            answers[index] = Some(outcome);
            awaited.pop_front();
        };
        let answers = answers.into_iter().map_while(|outcome| outcome).collect();
        match end {
            Ok(()) => Ok(answers),
            Err(error) => Err(Interrupted { answers, error }),
        }
    }

    /// Returns the connected clients, sorted by id.
    pub async fn clients(&mut self) -> Result<Vec<ClientInfo>, Error> {
        match self.0.request(&Request::Clients {}).await? {
            Reply::Clients(clients) => Ok(clients),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Returns the topics, sorted by name.
    pub async fn topics(&mut self) -> Result<Vec<TopicInfo>, Error> {
        match self.0.request(&Request::Topics {}).await? {
            Reply::Topics(topics) => Ok(topics),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Returns the state of the daemon.
    pub async fn status(&mut self) -> Result<Status, Error> {
        match self.0.request(&Request::Status {}).await? {
            Reply::Status(status) => Ok(*status),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Returns the current configuration of the daemon. Earlier daemons do not support this request.
    pub async fn config(&mut self) -> Result<Vec<Setting>, Error> {
        match self.0.request(&Request::Config {}).await? {
            Reply::Config(settings) => Ok(settings),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Closes all connections of a client, given by id or name. Returns their number.
    pub async fn kick(&mut self, client: &str) -> Result<u64, Error> {
        match self.0.request(&Request::Kick { client: client.into() }).await? {
            Reply::Kicked { connections } => Ok(connections),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Turns the connection into a subscription.
    pub async fn subscribe(self, subscribe: Subscribe) -> Result<Subscription, Error> {
        Subscription::start(self.0, subscribe).await
    }

    /// Splits the connection for a caller that pipelines: one half sends, the other returns the replies.
    pub fn into_split(self) -> (Publisher, Replies) {
        publisher::split(self.0)
    }
}
