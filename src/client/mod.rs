//! The async client: publish, subscribe and administer over the local socket or, with the feature `remote`, over HTTP.
//!
//! A [`Client`] is one connection, used by one task at a time. Every wait is cancel-safe: a dropped call leaves the
//! connection usable, and its reply is discarded when it arrives. Nothing is sent twice: an event that was in flight
//! when a connection broke may or may not have been accepted, and the caller decides whether to send it again. A request
//! fails if the daemon does not answer within [`REPLY`](crate::limits::REPLY). Subscriptions, durable publishes and pipelined
//! publishes wait as long as the connection exists.
//!
//! - [`Client`]: one request at a time, or [many pipelined](Client::publish_many).
//! - [`Publisher`] and [`Replies`]: the two halves, for a caller that pipelines an unbounded input.
//! - [`ResendingPublisher`]: reconnects and resends, and publishes nothing twice.
//! - [`Client::request`] and [`Responder`]: questions to other processes, and answers.
//! - [`Worker`]: deliveries of a consumer, which a worker settles; [`Consumer`]: create and inspect consumers.
//! - [`Subscription`]: events, gaps, and [optionally](Subscription::reconnecting) automatic reconnects.

mod address;
mod backoff;
mod connection;
mod consumer;
mod delivery;
mod error;
mod handover;
mod local_publisher;
mod local_worker;
mod publisher;
mod received;
#[cfg(feature = "remote")]
mod remote;
mod resend;
mod responder;
mod responder_link;
mod session;
mod subscription;
mod transport;
mod worker;

use std::time::Duration;

#[cfg(feature = "remote")]
pub use self::remote::{Remote, RemoteError};
pub use self::{
    address::Address,
    backoff::Backoff,
    consumer::Consumer,
    delivery::{Delivery, Settling},
    error::{Error, Interrupted, PublishResult},
    handover::Work,
    publisher::{Finished, Publisher, Replies},
    resend::ResendingPublisher,
    responder::{IncomingRequest, Responder, ResponderItem},
    subscription::{Item, Subscription},
    worker::Worker,
};
use self::{session::Session, transport::Transport};
use crate::{
    endpoint::Endpoint,
    protocol::{
        ClientInfo, Consume, ConsumerInfo, NodeInfo, Publish, Published, Reply, ReplyMessage, Request, RequestMessage,
        Respond, ScheduleInfo, Scheduled, Setting, Status, Subscribe, TopicInfo,
    },
    time::whole_millis,
};

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
    transport: Transport,
    /// The nodes that did not answer the last request for all nodes.
    unreachable: Vec<String>,
}

impl Client {
    /// Connects to the daemon.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NoDaemon`], [`Error::SocketRemoved`], [`Error::SocketMounted`] or [`Error::Denied`], and over HTTP
    /// `Error::Unreachable` or `Error::Untrusted`. If the daemon refuses this client, the first request returns the reason.
    pub async fn connect(address: impl Into<Address>) -> Result<Client, Error> {
        Transport::connect(&address.into()).await.map(|transport| Client { transport, unreachable: Vec::new() })
    }

    /// Returns the endpoint of the connection, or None if it is over HTTP. It may differ from the argument of
    /// [`connect`](Self::connect): if no daemon listens on the default path, the client looks for this user's daemon at other
    /// paths.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.transport.located()
    }

    /// Publishes one event and waits for the reply. To publish at a later time, use [`schedule`](Self::schedule). The
    /// acknowledgement `none` has the effect of `accepted`. There is no time limit for `durable`.
    pub async fn publish(&mut self, publish: &Publish) -> Result<Published, Error> {
        self.transport.publish(publish).await
    }

    /// Waits until the daemon answers. This request needs no permission.
    pub async fn ping(&mut self) -> Result<(), Error> {
        self.transport.ping().await
    }

    /// Publishes events without waiting for each reply before sending the next, and returns the replies in order.
    /// A refused event does not affect the others. The acknowledgement `none` has the effect of `accepted`.
    ///
    /// # Errors
    ///
    /// Returns [`Interrupted`] with the replies so far if the connection breaks. The events after those may or may not
    /// have been accepted.
    pub async fn publish_many<I>(&mut self, publishes: I) -> Result<Vec<PublishResult>, Interrupted>
    where
        I: IntoIterator<Item = Publish>,
    {
        self.transport.publish_many(publishes.into_iter()).await
    }

    /// Schedules an event, whose [time](Publish::after) must be set. An earlier schedule with the same id is replaced.
    pub async fn schedule(&mut self, publish: &Publish) -> Result<Scheduled, Error> {
        match self.transport.request(&Request::Publish(publish.clone())).await? {
            Reply::Scheduled(scheduled) => Ok(scheduled),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Returns the schedules, sorted by id.
    pub async fn schedules(&mut self) -> Result<Vec<ScheduleInfo>, Error> {
        match self.transport.request(&Request::Schedules {}).await? {
            Reply::Schedules(schedules) => Ok(schedules),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Cancels a schedule.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] with `schedule_unknown` if there is no such schedule.
    pub async fn cancel_schedule(&mut self, schedule: &str) -> Result<(), Error> {
        match self.transport.request(&Request::CancelSchedule { schedule: schedule.into() }).await? {
            Reply::Cancelled { .. } => Ok(()),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Returns the nodes of the bus that did not answer the last [`clients`](Self::clients), [`kick`](Self::kick) or
    /// [`kick_for`](Self::kick_for). If there are any, the result of that call is partial.
    pub fn unreachable(&self) -> &[String] {
        &self.unreachable
    }

    /// Returns the nodes of the bus, sorted by name. The list is empty if the daemon does not share its bus with others. Earlier
    /// daemons do not support this request.
    pub async fn nodes(&mut self) -> Result<Vec<NodeInfo>, Error> {
        match self.transport.request(&Request::Nodes {}).await? {
            Reply::Nodes(nodes) => Ok(nodes),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Returns the connected clients, sorted by id.
    pub async fn clients(&mut self) -> Result<Vec<ClientInfo>, Error> {
        match self.transport.request(&Request::Clients {}).await? {
            Reply::Clients(clients) => {
                self.unreachable.clear();
                Ok(clients)
            }
            Reply::PartialClients { clients, unreachable } => {
                self.unreachable = unreachable;
                Ok(clients)
            }
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Returns the topics, sorted by name.
    pub async fn topics(&mut self) -> Result<Vec<TopicInfo>, Error> {
        match self.transport.request(&Request::Topics {}).await? {
            Reply::Topics(topics) => Ok(topics),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Returns the state of the daemon.
    pub async fn status(&mut self) -> Result<Status, Error> {
        status_in(self.transport.request(&Request::Status {}).await?)
    }

    /// Returns the current configuration of the daemon. Earlier daemons do not support this request.
    pub async fn config(&mut self) -> Result<Vec<Setting>, Error> {
        match self.transport.request(&Request::Config {}).await? {
            Reply::Config(settings) => Ok(settings),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Closes all connections of a client, given by id or name. Returns their number.
    pub async fn kick(&mut self, client: &str) -> Result<u64, Error> {
        self.kicked(Request::Kick { client: client.into(), for_ms: None }).await
    }

    /// Closes all connections of a client, given by id or name, and refuses further ones for a while, at most
    /// [`KEEP_OUT_MAX`](crate::limits::KEEP_OUT_MAX). Zero lets the client in again. Returns the number of closed
    /// connections. Earlier daemons do not support this request.
    ///
    /// The client is recognized by its name. Without a name it is recognized by its token, or by its process if that uses
    /// the library or JSON lines on the local socket; other clients cannot be kept out.
    pub async fn kick_for(&mut self, client: &str, time: Duration) -> Result<u64, Error> {
        self.kicked(Request::Kick { client: client.into(), for_ms: Some(whole_millis(time)) }).await
    }

    async fn kicked(&mut self, request: Request) -> Result<u64, Error> {
        match self.transport.request(&request).await? {
            Reply::Kicked { connections, unreachable } => {
                self.unreachable = unreachable;
                Ok(connections)
            }
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Returns the consumers, sorted by name.
    pub async fn consumers(&mut self) -> Result<Vec<ConsumerInfo>, Error> {
        match self.transport.request(&Request::Consumers {}).await? {
            Reply::Consumers(consumers) => Ok(consumers),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Sends a request, and returns the replies of responders: at least one, and at most the number that the request sets.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] with one of these codes: `no_responder` at once if no responder matches, `timed_out` if none
    /// replies in time, `responder_gone` if the responder disconnected, `responder_failed` if it could not answer.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use sse_bus::{Client, Endpoint, protocol::RequestMessage};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut client = Client::connect(&Endpoint::find()?).await?;
    /// let request = RequestMessage::new("math/sum", "1 2").with_timeout(Duration::from_secs(2));
    /// println!("{}", client.request(&request).await?[0].data);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn request(&mut self, request: &RequestMessage) -> Result<Vec<ReplyMessage>, Error> {
        match self.transport.ask(request).await? {
            Reply::Replies(replies) => Ok(replies),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Returns the operations on a consumer, which need not exist yet: they include its creation.
    ///
    /// ```no_run
    /// # use sse_bus::{Client, Endpoint, protocol::ConsumerConfig};
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut client = Client::connect(&Endpoint::find()?).await?;
    /// client.consumer("thumbs").create(ConsumerConfig::new(["photos/new"])).await?;
    /// let info = client.consumer("thumbs").show().await?;
    /// println!("{} events wait, {} are dead letters", info.pending, info.dead);
    /// # Ok(())
    /// # }
    /// ```
    pub fn consumer(&mut self, name: impl Into<String>) -> Consumer<'_> {
        Consumer::new(&mut self.transport, name.into())
    }

    /// Turns the connection into a worker of a consumer. Call it within a Tokio runtime, in which the worker runs a task.
    pub async fn work(self, consume: Consume) -> Result<Worker, Error> {
        Worker::start(self.transport, consume).await
    }

    /// Turns the connection into a responder, which receives requests and replies to them. Call it within a Tokio runtime, in
    /// which the responder runs a task.
    pub async fn respond(self, respond: Respond) -> Result<Responder, Error> {
        Responder::start(self.transport, respond).await
    }

    /// Turns the connection into a subscription.
    pub async fn subscribe(self, subscribe: Subscribe) -> Result<Subscription, Error> {
        Subscription::start(self.transport, subscribe).await
    }

    /// Splits the connection for a caller that pipelines: one half sends, the other returns the replies.
    pub fn into_split(self) -> (Publisher, Replies) {
        publisher::split(self.transport)
    }
}

/// Returns the state of the daemon at a local socket. A program that uses only this function, such as the daemon, does not
/// contain the code for HTTP and TLS that a [`Client`] needs.
///
/// # Errors
///
/// Like [`Client::connect`] and [`Client::status`].
pub async fn local_status(endpoint: &Endpoint) -> Result<Status, Error> {
    status_in(Session::connect(endpoint).await?.request(&Request::Status {}).await?)
}

fn status_in(reply: Reply) -> Result<Status, Error> {
    match reply {
        Reply::Status(status) => Ok(*status),
        other => Err(Error::unexpected(&other)),
    }
}
