//! Creating, listing, pausing, moving and deleting consumers.

use std::sync::Weak;

use super::{
    changes::Changes,
    chores::Cleared,
    consumer::Consumer,
    ids::Timer,
    mailbox_topic::with_mailbox,
    name::ConsumerName,
    notice::Notice,
    settings::{ConsumerSettings, SeekTo},
};
use crate::{
    bus::{Bus, Now, state::refuse_more, topics::Topics},
    limits::{CHORES_AT_ONCE, CONSUMERS_MAX},
    protocol::{ErrorCode, Refused},
    time::whole_millis,
};

impl Bus {
    /// Creates a consumer. Returns false if there is one with this name and the same settings, which then stays as it is.
    ///
    /// # Errors
    ///
    /// There is one with this name and other settings; the settings are invalid; the position is of another epoch; there are
    /// too many consumers, or too many bytes of filters; the log is elsewhere.
    pub fn create_consumer(
        &mut self,
        name: &ConsumerName,
        settings: ConsumerSettings,
        from: SeekTo,
        now: Now,
    ) -> Result<bool, Refused> {
        settings.check()?;
        if let Ok((known, _)) = self.consumers.get_mut(name) {
            if known.settings == settings {
                return Ok(false);
            }
            let difference = known.settings.difference(&settings);
            let message = format!("the consumer `{name}` has other settings: {difference}; delete it to change them");
            return Err(Refused::new(ErrorCode::ConsumerExists, message));
        }
        self.refuse_when_closed()?;
        if self.history.is_window() {
            let message = "consumers need history in memory or on disk; this daemon's log is elsewhere, so it has none";
            return Err(Refused::new(ErrorCode::ConsumerInvalid, message));
        }
        refuse_more(self.consumers.by_name.len(), CONSUMERS_MAX, ErrorCode::LimitConsumers, "consumers")?;
        self.refuse_more_filters(Topics::cost_of(&with_mailbox(&settings.filters, name)))?;
        let position = self.position_of(from, now)?;
        self.consumers.registry.begin_run(now.unix);
        let is_tracked = self.history.persist().is_some();
        let head = self.head;
        let key = self.consumers.insert(name.clone(), |key| Consumer {
            last_matched: head,
            created: now.unix,
            ..Consumer::new(key, name.clone(), settings, position, Changes::new(is_tracked))
        });
        if let Some(consumer) = self.consumers.by_key.get_mut(&key) {
            consumer.watch(&mut self.consumers.registry, now.mono);
            consumer.note_record(&mut self.consumers.registry);
        }
        self.history.keep_evicted(true);
        self.consumers.registry.notices.push(Notice::new("created", name.as_str()));
        self.finish_consumers(now);
        Ok(true)
    }

    /// Pauses a consumer, which then delivers nothing until it is resumed, or resumes it. Deliveries in flight continue. Returns
    /// false if it was so already.
    ///
    /// # Errors
    ///
    /// There is no such consumer.
    pub fn pause_consumer(&mut self, name: &ConsumerName, is_paused: bool, now: Now) -> Result<bool, Refused> {
        let (consumer, registry) = self.consumers.get_mut(name)?;
        let has_changed = consumer.is_paused != is_paused;
        if has_changed {
            consumer.is_paused = is_paused;
            consumer.note_record(registry);
            registry.notices.push(Notice::new(if is_paused { "paused" } else { "resumed" }, name.as_str()));
            consumer.offer(registry, now.mono);
        }
        self.finish_consumers(now);
        Ok(has_changed)
    }

    /// Moves a consumer to another position. Its deliveries in flight are no longer current, and what was not finished before
    /// the position is skipped. Dead letters after the position are delivered again; earlier ones stay.
    ///
    /// # Errors
    ///
    /// There is no such consumer, or the position is of another epoch.
    pub fn seek_consumer(&mut self, name: &ConsumerName, to: SeekTo, now: Now) -> Result<(), Refused> {
        let position = self.position_of(to, now)?;
        let head = self.head;
        let (consumer, registry) = self.consumers.get_mut(name)?;
        let cleared = consumer.clear(position);
        (consumer.position, consumer.last_matched) = (position, head);
        // What was requested before is not what is needed next. What is handed over for it is ignored.
        (consumer.wanted, consumer.fetched, consumer.fetched_upto) = (None, Weak::new(), 0);
        consumer.changes.position = position;
        consumer.note_record(registry);
        registry.notices.push(Notice::new("seek", name.as_str()));
        consumer.offer(registry, now.mono);
        self.consumers.sweep = Some(0);
        self.begin_clearing(cleared, now);
        Ok(())
    }

    /// Does the first step of clearing events, and ends the operation.
    fn begin_clearing(&mut self, cleared: Cleared, now: Now) {
        self.consumers.registry.now = now;
        self.consumers.chores.cleared.push(cleared);
        self.clear_some(CHORES_AT_ONCE);
        self.finish_consumers(now);
    }

    /// Deletes a consumer, with its dead letters. Its workers are removed, and their wakers woken.
    ///
    /// # Errors
    ///
    /// There is no such consumer.
    pub fn delete_consumer(&mut self, name: &ConsumerName, now: Now) -> Result<(), Refused> {
        let key = self.consumers.find(name)?;
        let Some(mut consumer) = self.consumers.remove(key) else { return Ok(()) };
        let registry = &mut self.consumers.registry;
        consumer.turns.end(key, registry);
        if let Some(end) = consumer.inactive_at {
            registry.timers.remove(&(end, key, Timer::Inactive));
        }
        registry.starved.remove(&key);
        registry.changed.remove(&key);
        let (workers, woken) = (&mut registry.workers, &mut registry.woken);
        workers.retain(|_, worker| {
            let remains = worker.consumer != key;
            if !remains {
                woken.extend(worker.waker.take());
            }
            remains
        });
        registry.notices.push(Notice::new("deleted", name.as_str()));
        if consumer.changes.is_written {
            self.consumers.removed.insert(name.clone());
        }
        self.consumers.wanted.retain(|wanted| wanted.key != key);
        self.consumers.sweep = Some(0);
        self.begin_clearing(consumer.clear(0), now);
        Ok(())
    }

    /// Returns the sequence number of the last event before a position.
    fn position_of(&self, to: SeekTo, now: Now) -> Result<u64, Refused> {
        let before = |time: u64| self.history.last_before(time).min(self.head);
        Ok(match to {
            SeekTo::Now => self.head,
            SeekTo::All => 0,
            // After a crash there are unused sequence numbers between the newest event and the head.
            SeekTo::Latest => before(u64::MAX).saturating_sub(1),
            SeekTo::Last(period) => before(now.mono.saturating_sub(whole_millis(period))),
            SeekTo::Since(time) => before(now.mono.saturating_sub(now.unix.saturating_sub(time))),
            SeekTo::After(id) if id.epoch == self.epoch => id.seq.min(self.head),
            SeekTo::After(id) => {
                let message = format!(
                    "the id `{id}` is of another history, which has ended; begin with `all`, `now`, or an id of this one"
                );
                return Err(Refused::new(ErrorCode::SinceInvalid, message));
            }
        })
    }
}
