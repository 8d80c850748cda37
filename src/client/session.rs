//! A connection with its request counter: sends a request and waits for its reply.

use std::{collections::VecDeque, time::Duration};

use tokio::time::timeout;

use super::{
    connection::{self, Reader, Writer},
    error::{Error, Interrupted, PublishResult},
};
use crate::{
    endpoint::Endpoint,
    limits::{REPLY, REQUEST_TIMEOUT},
    protocol::{Ack, Publish, Published, Reply, Request, RequestMessage, Subscribe, Subscribed},
};

/// Maximum number of unanswered publishes of [`Session::publish_many`].
const IN_FLIGHT: usize = 8192;

/// Returns how long a client waits for the daemon's answer to a request that waits for responders.
pub(super) fn patience(request: &RequestMessage) -> Duration {
    request.timeout_ms.map_or(REQUEST_TIMEOUT, Duration::from_millis).saturating_add(REPLY)
}

/// A connection whose requests are all answered.
#[derive(Debug)]
pub(super) struct Session {
    /// The endpoint to connect to again.
    pub(super) endpoint: Endpoint,
    /// The endpoint at which the daemon was found.
    pub(super) located: Endpoint,
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    /// The number of replies received. The writer counts the requests.
    pub(super) replied: u64,
}

impl Session {
    pub(super) async fn connect(endpoint: &Endpoint) -> Result<Session, Error> {
        let (located, mut reader, mut writer) = connection::open(endpoint).await?;
        if let Err(e) = writer.flush().await {
            return Err(reader.explain(e).await);
        }
        Ok(Session { endpoint: endpoint.clone(), located, reader, writer, replied: 0 })
    }

    /// Returns the endpoint at which the daemon was found.
    pub(super) fn located(&self) -> &Endpoint {
        &self.located
    }

    /// Sends a request and waits for its reply.
    pub(super) async fn request(&mut self, request: &Request) -> Result<Reply, Error> {
        let number = self.writer.push(request)?;
        self.reply_to(number, REPLY).await
    }

    /// Sends a request to responders and waits for their replies, a little longer than the request itself.
    pub(super) async fn ask(&mut self, request: &RequestMessage) -> Result<Reply, Error> {
        let number = self.writer.push(&Request::Request(request.clone()))?;
        self.reply_to(number, patience(request)).await
    }

    /// Publishes one event and waits for the reply, without a time limit if it is to be durable.
    pub(super) async fn publish(&mut self, publish: &Publish) -> Result<Published, Error> {
        let number = match publish.ack {
            Ack::None => self.writer.push_publish(&Publish { ack: Ack::Accepted, ..publish.clone() })?,
            _ => self.writer.push_publish(publish)?,
        };
        let patience = if publish.ack == Ack::Durable { Duration::MAX } else { REPLY };
        match self.reply_to(number, patience).await? {
            Reply::Published(published) => Ok(published),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Publishes events without waiting for each reply before sending the next.
    pub(super) async fn publish_many(
        &mut self,
        publishes: impl Iterator<Item = Publish>,
    ) -> Result<Vec<PublishResult>, Interrupted> {
        let mut input = publishes.fuse();
        let mut results: Vec<Option<PublishResult>> = Vec::new();
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
                        awaited.push_back((number, results.len()));
                        results.push(None);
                    }
                    Err(e) => results.push(Some(Err(e.into_refused()))),
                }
            }
            let Some(&(number, index)) = awaited.front() else { break Ok(()) };
            let writing = !self.writer.is_empty();
            let reply = tokio::select! {
                biased;
                reply = self.reader.reply() => reply,
                written = self.writer.write(), if writing => {
                    if written.is_err() {
                        // The daemon still answers what it received; after that, reading fails as well.
                        self.writer.discard();
                        broken = true;
                    }
                    continue;
                }
            };
            let outcome = match reply {
                Ok(Reply::Error(refused)) if refused.request == 0 => break Err(Error::refused(refused)),
                Ok(reply) => {
                    self.replied += 1;
                    match reply {
                        // The reply to an earlier request that timed out.
                        _ if self.replied < number => continue,
                        Reply::Published(accepted) => Ok(accepted),
                        // It has no id yet.
                        Reply::Scheduled(_) => Ok(Published::new(None, 0)),
                        Reply::Error(refused) => Err(refused),
                        other => break Err(Error::unexpected(&other)),
                    }
                }
                Err(e) => break Err(e),
            };
            results[index] = Some(outcome);
            awaited.pop_front();
        };
        let results = results.into_iter().map_while(|outcome| outcome).collect();
        match end {
            Ok(()) => Ok(results),
            Err(error) => Err(Interrupted { results, error }),
        }
    }

    /// Makes the connection a subscription.
    pub(super) async fn subscribe(mut self, subscribe: &Subscribe) -> Result<(Session, Subscribed), Error> {
        match self.request(&Request::Subscribe(subscribe.clone())).await? {
            Reply::Subscribed(subscribed) => Ok((self, subscribed)),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Sends what is buffered and waits for the reply to request `number`, at most for `patience`.
    pub(super) async fn reply_to(&mut self, number: u64, patience: Duration) -> Result<Reply, Error> {
        match timeout(patience, self.exchange(number)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Unresponsive { address: (&self.located).into(), after: patience }),
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
                _ => self.replied += 1,
            }
            match reply {
                // The reply to an earlier request whose call was dropped or timed out.
                _ if self.replied < number => {}
                Reply::Error(refused) => return Err(Error::refused(refused)),
                reply => return Ok(reply),
            }
        }
    }
}
