//! The async client: publish, subscribe and administer over the local socket.
//!
//! One [`Client`] is one connection, used by one task at a time. Every wait is cancel-safe: a call that is dropped
//! leaves the connection usable, its answer is thrown away when it comes. Nothing is sent twice: what was on its way
//! when a connection broke may or may not have been accepted, and only the caller can know what to do about it.
//! A daemon that does not answer is given up after [`ANSWER`]; events, and whatever waits for the disk or comes many at a
//! time, are waited for as long as the connection is there.
//!
//! - [`Client`]: one request at a time, or [many pipelined](Client::publish_many).
//! - [`Publisher`] and [`Replies`]: the two halves, for a caller that pipelines an endless input itself.
//! - [`Subscription`]: events, gaps, and, [when asked](Subscription::reconnecting), the notices of reconnecting.

mod connection;
mod error;
mod publisher;
mod subscription;

use std::{collections::VecDeque, time::Duration};

use connection::{Reader, Writer};
use tokio::time::timeout;

pub use error::{Error, Interrupted};
pub use publisher::{Finished, Publisher, Replies};
pub use subscription::{Backoff, Delivery, Subscription};

use crate::{
    endpoint::Endpoint,
    limits::ANSWER,
    protocol::{Ack, ClientInfo, Publish, Published, Refused, Reply, Request, Setting, Status, Subscribe, TopicInfo},
};

/// Publishes of one [`Client::publish_many`] that wait for their answers at a time.
const IN_FLIGHT: usize = 8192;

/// The daemon's answer to one publish.
pub type Answer = Result<Published, Refused>;

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
pub struct Client {
    endpoint: Endpoint,
    reader: Reader,
    writer: Writer,
    /// Answers that have come; the writer counts the requests. All requests of a `Client` are answered.
    answered: u64,
}

impl Client {
    /// Connects to the daemon.
    ///
    /// # Errors
    ///
    /// [`Error::NoDaemon`] and [`Error::Denied`]; what the daemon has against this client in particular is said by
    /// the first request.
    pub async fn connect(endpoint: &Endpoint) -> Result<Client, Error> {
        let (mut reader, mut writer) = connection::open(endpoint).await?;
        if let Err(e) = writer.flush().await {
            return Err(reader.explain(e).await);
        }
        Ok(Client { endpoint: endpoint.clone(), reader, writer, answered: 0 })
    }

    /// Publishes one event. Always waits for the answer: [`Ack::None`] counts as [`Ack::Accepted`] here. The disk of
    /// [`Ack::Durable`] may take as long as it needs.
    pub async fn publish(&mut self, publish: &Publish) -> Result<Published, Error> {
        let number = match publish.ack {
            Ack::None => self.writer.push_publish(&Publish { ack: Ack::Accepted, ..publish.clone() })?,
            _ => self.writer.push_publish(publish)?,
        };
        let patience = if publish.ack == Ack::Durable { Duration::MAX } else { ANSWER };
        match self.answer(number, patience).await? {
            Reply::Published(published) => Ok(published),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Publishes events without waiting for each answer before the next is sent, and gives the answers in order.
    /// A refused event does not keep the others from being published. [`Ack::None`] counts as [`Ack::Accepted`].
    ///
    /// # Errors
    ///
    /// [`Interrupted`] when the connection breaks, with the answers that came before. The events after those may or
    /// may not have been accepted.
    pub async fn publish_many<I>(&mut self, publishes: I) -> Result<Vec<Answer>, Interrupted>
    where
        I: IntoIterator<Item = Publish>,
    {
        let mut input = publishes.into_iter().fuse();
        let mut answers: Vec<Option<Answer>> = Vec::new();
        let mut awaited = VecDeque::new();
        let mut broken = false;
        let end = loop {
            while !broken && awaited.len() < IN_FLIGHT && !self.writer.is_full() {
                let Some(mut publish) = input.next() else { break };
                if publish.ack == Ack::None {
                    publish.ack = Ack::Accepted;
                }
                match self.writer.push_publish(&publish) {
                    Ok(number) => {
                        awaited.push_back((number, answers.len()));
                        answers.push(None);
                    }
                    Err(e) => answers.push(Some(Err(e.into_refused()))),
                }
            }
            let Some(&(number, index)) = awaited.front() else { break Ok(()) };
            let writing = !self.writer.is_empty();
            let reply = tokio::select! {
                biased;
                reply = self.reader.reply() => reply,
                written = self.writer.write(), if writing => {
                    if written.is_err() {
                        // What the daemon took before is still answered, and then reading fails, too.
                        self.writer.abandon();
                        broken = true;
                    }
                    continue;
                }
            };
            let outcome = match reply {
                Ok(Reply::Error(refused)) if refused.request == 0 => break Err(Error::refused(refused)),
                Ok(reply) => {
                    self.answered += 1;
                    match reply {
                        // The answer to a request that was given up earlier.
                        _ if self.answered < number => continue,
                        Reply::Published(taken) => Ok(taken),
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

    /// The connected clients, by id.
    pub async fn clients(&mut self) -> Result<Vec<ClientInfo>, Error> {
        match self.request(&Request::Clients {}).await? {
            Reply::Clients(clients) => Ok(clients),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// The topics that the bus knows, by name.
    pub async fn topics(&mut self) -> Result<Vec<TopicInfo>, Error> {
        match self.request(&Request::Topics {}).await? {
            Reply::Topics(topics) => Ok(topics),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// The daemon, described.
    pub async fn status(&mut self) -> Result<Status, Error> {
        match self.request(&Request::Status {}).await? {
            Reply::Status(status) => Ok(*status),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// The daemon's configuration, as it counts now. A daemon of an earlier version does not tell it.
    pub async fn config(&mut self) -> Result<Vec<Setting>, Error> {
        match self.request(&Request::Config {}).await? {
            Reply::Config(settings) => Ok(settings),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Closes every connection of a client, given by id or name, and says how many there were.
    pub async fn kick(&mut self, client: &str) -> Result<u64, Error> {
        match self.request(&Request::Kick { client: client.into() }).await? {
            Reply::Kicked { connections } => Ok(connections),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Turns the connection into a subscription.
    pub async fn subscribe(mut self, subscribe: Subscribe) -> Result<Subscription, Error> {
        let request = Request::Subscribe(subscribe);
        let reply = self.request(&request).await?;
        let (Request::Subscribe(subscribe), Reply::Subscribed(subscribed)) = (request, reply) else {
            return Err(Error::Protocol("the daemon did not answer the subscription".into()));
        };
        Ok(Subscription::new(self, subscribe, subscribed))
    }

    /// Splits the connection for a caller that pipelines: one half sends, the other gives the answers.
    pub fn into_split(self) -> (Publisher, Replies) {
        publisher::split(self)
    }

    async fn request(&mut self, request: &Request) -> Result<Reply, Error> {
        let number = self.writer.push(request)?;
        self.answer(number, ANSWER).await
    }

    /// Sends what is buffered and waits for the answer to request `number`, but not for ever.
    async fn answer(&mut self, number: u64, patience: Duration) -> Result<Reply, Error> {
        match timeout(patience, self.exchange(number)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::NoAnswer { endpoint: self.endpoint.clone(), after: patience }),
        }
    }

    async fn exchange(&mut self, number: u64) -> Result<Reply, Error> {
        if let Err(e) = self.writer.flush().await {
            return Err(self.reader.explain(e).await);
        }
        loop {
            let reply = self.reader.reply().await?;
            match reply {
                Reply::Error(refused) if refused.request == 0 => return Err(Error::refused(refused)),
                _ => self.answered += 1,
            }
            match reply {
                // The answer to a request whose caller went away.
                _ if self.answered < number => {}
                Reply::Error(refused) => return Err(Error::refused(refused)),
                reply => return Ok(reply),
            }
        }
    }
}
