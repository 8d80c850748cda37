//! A connection with its request counter: sends a request and waits for its reply.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    connection::{self, Reader, Writer},
    error::Error,
};
use crate::{
    endpoint::Endpoint,
    limits::ANSWER,
    protocol::{Reply, Request},
};

/// A connection whose requests are all answered.
#[derive(Debug)]
pub(super) struct Session {
    /// The endpoint to connect to again.
    pub(super) endpoint: Endpoint,
    /// The endpoint at which the daemon was found.
    located: Endpoint,
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    /// The number of answers received. The writer counts the requests.
    pub(super) answered: u64,
}

impl Session {
    pub(super) async fn connect(endpoint: &Endpoint) -> Result<Session, Error> {
        let (located, mut reader, mut writer) = connection::open(endpoint).await?;
        if let Err(e) = writer.flush().await {
            return Err(reader.explain(e).await);
        }
        Ok(Session { endpoint: endpoint.clone(), located, reader, writer, answered: 0 })
    }

    /// Returns the endpoint at which the daemon was found.
    pub(super) fn located(&self) -> &Endpoint {
        &self.located
    }

    /// Sends a request and waits for its reply.
    pub(super) async fn request(&mut self, request: &Request) -> Result<Reply, Error> {
        let number = self.writer.push(request)?;
        self.answer(number, ANSWER).await
    }

    /// Sends what is buffered and waits for the reply to request `number`, at most for `patience`.
    pub(super) async fn answer(&mut self, number: u64, patience: Duration) -> Result<Reply, Error> {
        match timeout(patience, self.exchange(number)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::NoAnswer { endpoint: self.located.clone(), after: patience }),
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
                // The reply to an earlier request whose call was dropped or timed out.
                _ if self.answered < number => {}
                Reply::Error(refused) => return Err(Error::refused(refused)),
                reply => return Ok(reply),
            }
        }
    }
}
