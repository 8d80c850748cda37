//! Managing consumers and their dead letters.
//!
//! Each step under the lock of the bus authorizes the caller again, by the filters that the consumer then has: a consumer may be
//! deleted and created anew between two steps.

use std::sync::Arc;

use sse_bus::{
    EventId, FilterSet, Topic,
    bus::{
        Now,
        consumers::{ConsumerName, ConsumerSettings, DeadOperation, SeekTo},
    },
    limits::{CONSUMERS_MAX, DEAD_AT_ONCE, DEAD_BYTES_AT_ONCE},
    protocol::{ConsumerAction, ConsumerConfig, ConsumerInfo, DeadLetter, DeadSelection, ErrorCode, Refused, Reply},
};
use tokio::task::yield_now;

#[cfg(feature = "nats")]
use super::consumer_list::add_workers;
use super::consumer_list::all_consumers;
#[cfg(feature = "nats")]
use crate::queue::Queue;
use crate::{
    access::{Caller, Grant},
    context::Daemon,
    shared_bus::LockedBus,
};

/// Runs an operation on NATS instead, if the consumers are there.
macro_rules! on_nats {
    ($consumers:ident, $queue:ident => $result:expr) => {
        #[cfg(feature = "nats")]
        if let Some($queue) = &$consumers.daemon.queue {
            return $result;
        }
    };
}

/// The operations on consumers. Having one proves that the caller may see or change some.
pub(crate) struct Consumers {
    daemon: Arc<Daemon>,
    grant: Grant,
}

impl Consumers {
    /// Authorizes a caller.
    ///
    /// # Errors
    ///
    /// The caller may not see or change any consumer.
    pub(crate) fn authorize(daemon: &Arc<Daemon>, caller: &Caller) -> Result<Consumers, Refused> {
        caller.grant.require_consumers()?;
        Ok(Consumers { daemon: daemon.clone(), grant: caller.grant.clone() })
    }

    /// Returns the consumers that the caller may see, by name.
    ///
    /// # Errors
    ///
    /// They are on NATS, and the servers do not answer.
    pub(crate) async fn list(&self) -> Result<Vec<ConsumerInfo>, Refused> {
        let mut consumers = all_consumers(&self.daemon, CONSUMERS_MAX).await?;
        let may_see = |info: &ConsumerInfo| {
            FilterSet::parse(&info.filters).is_ok_and(|filters| self.grant.check_consumer(&filters).is_ok())
        };
        if self.grant.token().is_some() {
            consumers.retain(may_see);
        }
        Ok(consumers)
    }

    /// Runs an action of a request.
    ///
    /// # Errors
    ///
    /// The name or the action is invalid, there is no such consumer, or the caller may not do it.
    pub(crate) async fn run(&self, name: &str, action: ConsumerAction) -> Result<Reply, Refused> {
        let name = &ConsumerName::parse(name)?;
        let changed = |count: u64| Reply::Changed { count };
        Ok(match action {
            ConsumerAction::Show => Reply::Consumer(self.show(name).await?.into()),
            ConsumerAction::Create(config) => changed(self.create(name, &config).await?.into()),
            ConsumerAction::Pause => changed(self.pause(name, true).await?.into()),
            ConsumerAction::Resume => changed(self.pause(name, false).await?.into()),
            ConsumerAction::Seek { to } => {
                self.seek(name, &to).await?;
                changed(1)
            }
            ConsumerAction::Delete => {
                self.delete(name).await?;
                changed(1)
            }
            ConsumerAction::Dead { after } => Reply::DeadLetters(self.dead(name, after, None).await?),
            ConsumerAction::RetryDead(selection) => {
                changed(self.change_dead(name, &selection, DeadOperation::Retry).await?)
            }
            ConsumerAction::DropDead(selection) => {
                changed(self.change_dead(name, &selection, DeadOperation::Drop).await?)
            }
            _ => return Err(Refused::new(ErrorCode::RequestInvalid, "this daemon does not support the action")),
        })
    }

    /// Describes a consumer.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run).
    #[cfg_attr(not(feature = "nats"), expect(clippy::unused_async, reason = "the bus answers at once"))]
    pub(crate) async fn show(&self, name: &ConsumerName) -> Result<ConsumerInfo, Refused> {
        on_nats!(self, queue => {
            self.check(queue, name).await?;
            let mut info = queue.describe(name).await?;
            add_workers(&self.daemon, std::slice::from_mut(&mut info)).await;
            Ok(info)
        });
        self.with(name, |bus, now| bus.describe_consumer(name, now))
    }

    /// Creates a consumer. Returns false if it exists with the same settings.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run), or it exists with other settings, or there are too many.
    pub(crate) async fn create(&self, name: &ConsumerName, config: &ConsumerConfig) -> Result<bool, Refused> {
        let (settings, from) = ConsumerSettings::parse(config)?;
        self.grant.check_consumer(&settings.filters)?;
        on_nats!(self, queue => {
            match queue.settings(name).await {
                // The refusal of other settings must not show that it exists.
                Ok(known) => self.grant.check_consumer(&known.filters)?,
                Err(refused) if refused.code == ErrorCode::ConsumerUnknown => {}
                Err(refused) => return Err(refused),
            }
            queue.create(name, config).await
        });
        let created = self.daemon.bus.with(|bus, now| {
            if let Ok(filters) = bus.consumer_filters(name) {
                // The refusal of other settings must not show that it exists.
                self.grant.check_consumer(filters)?;
            }
            bus.create_consumer(name, settings, from, now)
        });
        self.confirm(created).await
    }

    /// Pauses a consumer, or resumes it. Returns false if it was so already.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run).
    pub(crate) async fn pause(&self, name: &ConsumerName, is_paused: bool) -> Result<bool, Refused> {
        on_nats!(self, queue => {
            self.check(queue, name).await?;
            queue.pause(name, is_paused).await
        });
        self.confirm(self.with(name, |bus, now| bus.pause_consumer(name, is_paused, now))).await
    }

    /// Moves a consumer.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run), or the position is invalid.
    pub(crate) async fn seek(&self, name: &ConsumerName, to: &str) -> Result<(), Refused> {
        let to = SeekTo::parse("position", to)?;
        on_nats!(self, queue => {
            self.check(queue, name).await?;
            queue.seek(name, to).await?;
            self.forget_elsewhere(name).await;
            Ok(())
        });
        self.confirm(self.with(name, |bus, now| bus.seek_consumer(name, to, now))).await
    }

    /// Deletes a consumer.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run).
    pub(crate) async fn delete(&self, name: &ConsumerName) -> Result<(), Refused> {
        on_nats!(self, queue => {
            self.check(queue, name).await?;
            queue.delete(name).await?;
            self.forget_elsewhere(name).await;
            Ok(())
        });
        self.confirm(self.with(name, |bus, now| bus.delete_consumer(name, now))).await
    }

    /// Returns the dead letters after an event, by id, and of those the ones whose topics match: at most
    /// [`DEAD_AT_ONCE`], and about [`DEAD_BYTES_AT_ONCE`] bytes. Data that the caller may not receive is left out.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run), or the filter is invalid.
    pub(crate) async fn dead(
        &self,
        name: &ConsumerName,
        after: Option<EventId>,
        filter: Option<&str>,
    ) -> Result<Vec<DeadLetter>, Refused> {
        let filters = filter.map(parse_filter).transpose()?;
        let is_selected = |letter: &DeadLetter| {
            let topic = letter.topic.as_deref().and_then(|topic| Topic::parse(topic).ok());
            filters.as_ref().is_none_or(|filters| topic.is_some_and(|topic| filters.matches(&topic)))
        };
        let mut after = after.map_or(0, |after| after.seq);
        let (mut letters, mut bytes) = (Vec::new(), 0);
        loop {
            let step = self.dead_step(name, after).await?;
            let Some(last) = step.last() else { return Ok(letters) };
            after = last.id.seq;
            let step = self.with_data(step.into_iter().filter(is_selected).collect()).await;
            for mut letter in step {
                if letters.len() >= DEAD_AT_ONCE || bytes >= DEAD_BYTES_AT_ONCE {
                    return Ok(letters);
                }
                letter.data =
                    letter.data.filter(|_| letter.topic.as_deref().is_some_and(|topic| self.grant.may_receive(topic)));
                bytes += letter.data.as_ref().map_or(0, String::len);
                letters.push(letter);
            }
            yield_now().await;
        }
    }

    /// Returns some dead letters after the event with a number, by id; none if there are no more.
    #[cfg_attr(not(feature = "nats"), expect(clippy::unused_async, reason = "the bus answers at once"))]
    async fn dead_step(&self, name: &ConsumerName, after: u64) -> Result<Vec<DeadLetter>, Refused> {
        on_nats!(self, queue => {
            self.check(queue, name).await?;
            queue.dead_letters(name, after).await
        });
        self.with(name, |bus, _| bus.dead_letters(name, after))
    }

    /// Adds the data that is on disk only.
    async fn with_data(&self, mut letters: Vec<DeadLetter>) -> Vec<DeadLetter> {
        let Some(store) = &self.daemon.store else { return letters };
        let is_on_disk = |letter: &&DeadLetter| letter.data.is_none() && letter.topic.is_some();
        let seqs: Vec<_> = letters.iter().filter(is_on_disk).map(|letter| letter.id.seq).collect();
        if seqs.is_empty() {
            return letters;
        }
        let events = store.events(seqs).await;
        for letter in letters.iter_mut().filter(|letter| letter.data.is_none()) {
            let event = events.iter().find(|event| event.id.seq == letter.id.seq);
            letter.data = event.map(|event| event.data.clone());
        }
        letters
    }

    /// Retries or drops dead letters, and returns their number.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run), or there is no such dead letter, or the selection is invalid.
    pub(crate) async fn change_dead(
        &self,
        name: &ConsumerName,
        selection: &DeadSelection,
        operation: DeadOperation,
    ) -> Result<u64, Refused> {
        let filters = match (selection.id, &selection.filter, selection.all) {
            (Some(id), None, false) => {
                on_nats!(self, queue => {
                    self.check(queue, name).await?;
                    queue.change_dead(name, id, operation).await.map(|()| 1)
                });
                let changed = self.with(name, |bus, now| bus.change_dead(name, id, operation, now));
                return self.confirm(changed.map(|()| 1)).await;
            }
            (None, Some(filter), false) => Some(parse_filter(filter)?),
            (None, None, true) => None,
            _ => {
                let message = "name one dead letter with `id`, those of some topics with `filter`, or use `all`";
                return Err(Refused::new(ErrorCode::RequestInvalid, message));
            }
        };
        on_nats!(self, queue => {
            self.check(queue, name).await?;
            queue.change_all_dead(name, filters.as_ref(), operation).await
        });
        let (mut changed, mut after) = (0, 0);
        loop {
            let step =
                self.with(name, |bus, now| bus.change_dead_after(name, after, filters.as_ref(), operation, now))?;
            changed += step.changed;
            match step.next {
                Some(next) => after = next,
                None => return self.confirm(Ok(changed)).await,
            }
            yield_now().await;
        }
    }

    /// Refuses a consumer on NATS that the caller may not see or change.
    #[cfg(feature = "nats")]
    async fn check(&self, queue: &Queue, name: &ConsumerName) -> Result<(), Refused> {
        self.grant.check_consumer(&queue.settings(name).await?.filters)
    }

    /// Tells the other nodes that the deliveries of a consumer are no longer current.
    #[cfg(feature = "nats")]
    async fn forget_elsewhere(&self, name: &ConsumerName) {
        if let Some(cluster) = &self.daemon.cluster {
            cluster.forget_deliveries(name.as_str()).await;
        }
    }

    /// Runs an operation on a consumer, if the caller may.
    fn with<R>(
        &self,
        name: &ConsumerName,
        operation: impl FnOnce(&mut LockedBus<'_>, Now) -> Result<R, Refused>,
    ) -> Result<R, Refused> {
        self.daemon.bus.with(|bus, now| {
            self.grant.check_consumer(bus.consumer_filters(name)?)?;
            operation(bus, now)
        })
    }

    /// Waits until a change is on disk, so that it survives a crash after the reply. While the disk fails the change is in memory
    /// only, as for events, and the status shows the error.
    async fn confirm<R>(&self, changed: Result<R, Refused>) -> Result<R, Refused> {
        if let (Ok(_), Some(store)) = (&changed, &self.daemon.store) {
            store.flush().await;
        }
        changed
    }
}

fn parse_filter(filter: &str) -> Result<FilterSet, Refused> {
    FilterSet::parse(&[filter])
        .map_err(|e| Refused::new(ErrorCode::FilterInvalid, format!("the filter `{filter}` cannot be used: {e}")))
}
