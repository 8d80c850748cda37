//! Consumers, by name: create, inspect, move, and their dead letters.

use super::{error::Error, transport::Transport};
use crate::{
    event::EventId,
    protocol::{ConsumerAction, ConsumerConfig, ConsumerInfo, DeadLetter, DeadSelection, Reply, Request},
};

/// The operations on one consumer. Each fails with [`ErrorCode::ConsumerUnknown`](crate::protocol::ErrorCode) if there is no
/// such consumer.
#[derive(Debug)]
pub struct Consumer<'a> {
    transport: &'a mut Transport,
    name: String,
}

impl Consumer<'_> {
    pub(super) fn new(transport: &mut Transport, name: String) -> Consumer<'_> {
        Consumer { transport, name }
    }

    /// Creates the consumer. Returns false if there is one with the same settings.
    ///
    /// # Errors
    ///
    /// There is one with other settings, or the settings are invalid.
    pub async fn create(&mut self, config: ConsumerConfig) -> Result<bool, Error> {
        Ok(self.change(ConsumerAction::Create(config)).await? > 0)
    }

    /// Describes the consumer.
    pub async fn show(&mut self) -> Result<ConsumerInfo, Error> {
        match self.run(ConsumerAction::Show).await? {
            Reply::Consumer(info) => Ok(*info),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Stops deliveries until [`resume`](Self::resume). Deliveries in flight continue.
    pub async fn pause(&mut self) -> Result<(), Error> {
        self.change(ConsumerAction::Pause).await.map(drop)
    }

    /// Continues deliveries.
    pub async fn resume(&mut self) -> Result<(), Error> {
        self.change(ConsumerAction::Resume).await.map(drop)
    }

    /// Moves the consumer to a position: `now`, `all`, `latest`, an event id, a duration such as `10m`, or a time. Its
    /// deliveries in flight are no longer current.
    pub async fn seek(&mut self, to: impl Into<String>) -> Result<(), Error> {
        self.change(ConsumerAction::Seek { to: to.into() }).await.map(drop)
    }

    /// Deletes the consumer and its dead letters.
    pub async fn delete(&mut self) -> Result<(), Error> {
        self.change(ConsumerAction::Delete).await.map(drop)
    }

    /// Returns dead letters after an event, by id. There may be more after the last one; none means that there are no more.
    pub async fn dead(&mut self, after: Option<EventId>) -> Result<Vec<DeadLetter>, Error> {
        match self.run(ConsumerAction::Dead { after }).await? {
            Reply::DeadLetters(letters) => Ok(letters),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Delivers dead letters again. Returns their number.
    pub async fn retry_dead(&mut self, selection: DeadSelection) -> Result<u64, Error> {
        self.change(ConsumerAction::RetryDead(selection)).await
    }

    /// Removes dead letters. Returns their number.
    pub async fn drop_dead(&mut self, selection: DeadSelection) -> Result<u64, Error> {
        self.change(ConsumerAction::DropDead(selection)).await
    }

    async fn change(&mut self, action: ConsumerAction) -> Result<u64, Error> {
        match self.run(action).await? {
            Reply::Changed { count } => Ok(count),
            other => Err(Error::unexpected(&other)),
        }
    }

    async fn run(&mut self, action: ConsumerAction) -> Result<Reply, Error> {
        self.transport.request(&Request::Consumer { name: self.name.clone(), action }).await
    }
}
