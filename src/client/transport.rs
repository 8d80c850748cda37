//! The transports of a client: the local socket, or HTTP. Both answer the same requests with the same replies.

#[cfg(feature = "remote")]
use super::remote;
use super::{
    address::Address,
    error::{Error, Interrupted, PublishResult},
    handover::Handover,
    local_worker::LocalWorker,
    received::Received,
    session::Session,
};
use crate::{
    endpoint::Endpoint,
    protocol::{Consume, Consuming, Publish, Published, Reply, Request, RequestMessage, Subscribe, Subscribed},
};

/// A connection that answers requests.
#[derive(Debug)]
pub(super) enum Transport {
    Local(Session),
    #[cfg(feature = "remote")]
    Remote(Box<remote::Session>),
}

impl Transport {
    pub(super) async fn connect(address: &Address) -> Result<Transport, Error> {
        match address {
            Address::Local(endpoint) => Session::connect(endpoint).await.map(Transport::Local),
            #[cfg(feature = "remote")]
            Address::Remote(remote) => Ok(Transport::Remote(remote::Session::connect(remote).await?.into())),
        }
    }

    /// Returns the address that the transport was connected to.
    pub(super) fn address(&self) -> Address {
        match self {
            Transport::Local(session) => (&session.endpoint).into(),
            #[cfg(feature = "remote")]
            Transport::Remote(session) => session.remote().clone().into(),
        }
    }

    /// Returns the endpoint at which the daemon was found; None over HTTP.
    #[cfg_attr(not(feature = "remote"), expect(clippy::unnecessary_wraps, reason = "only a local socket has one"))]
    pub(super) fn located(&self) -> Option<&Endpoint> {
        match self {
            Transport::Local(session) => Some(session.located()),
            #[cfg(feature = "remote")]
            Transport::Remote(_) => None,
        }
    }

    /// Sends a request and waits for its reply. Not for publishes and subscriptions.
    pub(super) async fn request(&mut self, request: &Request) -> Result<Reply, Error> {
        match self {
            Transport::Local(session) => session.request(request).await,
            #[cfg(feature = "remote")]
            Transport::Remote(session) => session.request(request).await,
        }
    }

    /// Returns when the daemon has shown that it answers.
    pub(super) async fn ping(&mut self) -> Result<(), Error> {
        match self {
            Transport::Local(session) => session.request(&Request::Status {}).await.map(drop),
            #[cfg(feature = "remote")]
            Transport::Remote(session) => session.ping().await,
        }
    }

    /// Sends a request to responders.
    pub(super) async fn ask(&mut self, request: &RequestMessage) -> Result<Reply, Error> {
        match self {
            Transport::Local(session) => session.ask(request).await,
            #[cfg(feature = "remote")]
            Transport::Remote(session) => session.ask(request).await,
        }
    }

    /// Publishes one event.
    pub(super) async fn publish(&mut self, publish: &Publish) -> Result<Published, Error> {
        match self {
            Transport::Local(session) => session.publish(publish).await,
            #[cfg(feature = "remote")]
            Transport::Remote(session) => session.publish(publish).await,
        }
    }

    /// Publishes events without waiting for each reply before sending the next.
    pub(super) async fn publish_many(
        &mut self,
        publishes: impl Iterator<Item = Publish>,
    ) -> Result<Vec<PublishResult>, Interrupted> {
        match self {
            Transport::Local(session) => session.publish_many(publishes).await,
            #[cfg(feature = "remote")]
            Transport::Remote(session) => remote::publish_many(session, publishes).await,
        }
    }

    /// Turns the connection into a worker.
    pub(super) async fn consume(self, consume: &Consume) -> Result<(Working, Consuming), Error> {
        match self {
            Transport::Local(mut session) => match session.request(&Request::Consume(consume.clone())).await? {
                Reply::Consuming(consuming) => {
                    Ok((Working::Local(LocalWorker::new(session, consume.consumer.clone()).into()), consuming))
                }
                other => Err(Error::unexpected(&other)),
            },
            #[cfg(feature = "remote")]
            Transport::Remote(mut session) => {
                // It exists, and this client may work for it.
                let show =
                    Request::Consumer { name: consume.consumer.clone(), action: crate::protocol::ConsumerAction::Show };
                session.request(&show).await?;
                let worker = remote::RemoteWorker::new(*session, consume.clone()).await?;
                Ok((Working::Remote(worker.into()), Consuming::new("", &*consume.consumer)))
            }
        }
    }

    /// Turns the connection into the events of a subscription.
    pub(super) async fn subscribe(self, subscribe: &Subscribe) -> Result<(Events, Subscribed), Error> {
        match self {
            Transport::Local(session) => {
                let (session, subscribed) = session.subscribe(subscribe).await?;
                Ok((Events::Local(session), subscribed))
            }
            #[cfg(feature = "remote")]
            Transport::Remote(session) => {
                let (events, subscribed) = session.subscribe(subscribe).await?;
                Ok((Events::Remote(events.into()), subscribed))
            }
        }
    }
}

/// The connection of a worker.
#[derive(Debug)]
pub(super) enum Working {
    Local(Box<LocalWorker>),
    #[cfg(feature = "remote")]
    Remote(Box<remote::RemoteWorker>),
}

impl Working {
    /// Serves a worker until it is dropped and its deliveries are settled, or until an error.
    pub(super) async fn serve(&mut self, handover: &mut Handover) -> Result<(), Error> {
        match self {
            Working::Local(worker) => worker.serve(handover).await,
            #[cfg(feature = "remote")]
            Working::Remote(worker) => worker.serve(handover).await,
        }
    }

    /// Returns true if the deliveries end when the connection breaks.
    pub(super) fn owns_deliveries(&self) -> bool {
        match self {
            Working::Local(_) => true,
            #[cfg(feature = "remote")]
            Working::Remote(_) => false,
        }
    }
}

/// The events of a subscription.
#[derive(Debug)]
pub(super) enum Events {
    Local(Session),
    #[cfg(feature = "remote")]
    Remote(Box<remote::EventStream>),
}

impl Events {
    /// Returns what arrives next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Received, Error> {
        match self {
            Events::Local(session) => match session.reader.reply().await? {
                Reply::Event(event) => Ok(Received::Event(event)),
                Reply::End { position } => Ok(Received::End(position)),
                Reply::Error(refused) => Err(Error::refused(refused)),
                other => Err(Error::unexpected(&other)),
            },
            #[cfg(feature = "remote")]
            Events::Remote(events) => events.next().await,
        }
    }
}
