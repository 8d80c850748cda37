//! Persistence: batches of changes for the owner of the files, and restoring the bus from them.
//!
//! To restore a bus, call [`Bus::restore_consumers`] if there are any, [`Bus::restore_topics`], [`Bus::restore_events`],
//! [`Bus::restored`], in this order.

use std::sync::Arc;

use super::{
    Bus, Now,
    batch::{Batch, Gone, PublishChanges, TopicRecord},
    consumers::is_mailbox,
    dedup::{DedupRecord, PublisherRecord},
    history::{Changes, Doubt, Entry, TopicKey, TopicPast, UnattributedLosses},
};
use crate::{event::Event, limits::TOPICS_AT_ONCE, topic::Topic};

impl Bus {
    /// Returns true if there are changes to write.
    pub fn has_changed(&mut self) -> bool {
        let has_events = self.head > 0;
        self.have_consumers_changed()
            || self.schedules.have_changed()
            || has_events && self.history.persist().is_some_and(|history| history.has_changed())
    }

    /// Takes the changes since the last batch, with events of about `bytes`, in a bounded step. Returns None if history is in
    /// memory only.
    pub fn take_batch(&mut self, bytes: usize) -> Option<Batch> {
        let Changes { entries, topics, removed, forgotten, more } = self.history.persist()?.take(bytes);
        let gone = std::mem::take(&mut self.gone);
        if gone == Gone::AllOthers {
            self.unlisted = 0;
        }
        // After all others were removed, all topics are written again, in steps.
        let listed = self.unlisted..self.topics.keys_end().min(self.unlisted.saturating_add(TOPICS_AT_ONCE));
        self.unlisted = if listed.end < self.topics.keys_end() { listed.end } else { TopicKey::MAX };
        let more = more || self.unlisted != TopicKey::MAX;
        let keys: Vec<_> = listed.clone().collect();
        let pasts = self.history.persist()?.pasts(&keys);
        let changed = topics.into_iter().filter(|(key, _)| !listed.contains(key));
        let record = |(key, past): (TopicKey, TopicPast)| {
            let state = self.topics.get(key)?;
            Some(TopicRecord { topic: state.name.clone(), published: state.published, last: state.last, past })
        };
        let topics = keys.into_iter().zip(pasts).chain(changed).filter_map(record).collect();
        let (dedup, schedules) = (self.dedup.take_changes(self.head), self.schedules.take_changes());
        let publishes = PublishChanges { dedup, schedules };
        Some(Batch { entries, gone, topics, removed, forgotten, publishes, head: self.head, more })
    }

    /// Records that all events up to a sequence number are on disk, so that only the newest need to stay in memory. Returns the
    /// others, to be freed after the bus is unlocked.
    #[must_use]
    pub fn written(&mut self, upto: u64) -> Vec<Arc<Event>> {
        self.history.persist().map_or_else(Vec::new, |history| history.written(upto))
    }

    /// Restores topics, and returns their keys. Earlier versions also stored events of the bus's own topics: these events are
    /// not restored, and [`Bus::restored`] removes their topics.
    pub fn restore_topics(&mut self, topics: impl IntoIterator<Item = TopicRecord>) -> Vec<TopicKey> {
        let restore = |TopicRecord { topic, published, last, past }| {
            let past = if is_live_only(&topic) { TopicPast { first: u64::MAX, ..TopicPast::default() } } else { past };
            let key = self.topics.insert(topic.clone());
            self.history.add_topic(key, &topic);
            if let Some(state) = self.topics.get_mut(key) {
                (state.published, state.last) = (published, last);
            }
            if let Some(history) = self.history.persist() {
                history.restore_topic(key, past);
            }
            key
        };
        topics.into_iter().map(restore).collect()
    }

    /// Restores by what repeated publishes are recognized. The ids are in the order of their events.
    pub fn restore_dedup(&mut self, publishers: Vec<PublisherRecord>, ids: Vec<DedupRecord>) {
        self.dedup.restore(publishers, ids);
    }

    /// Restores events, in order. Only retained ones are in memory. Returns the sequence numbers of those that are not needed
    /// any more.
    pub fn restore_events(&mut self, entries: Vec<Entry>) -> Vec<u64> {
        let mut gone = self.history.persist().map_or_else(Vec::new, |history| history.restore(entries));
        gone.extend(self.settle_evicted(Now::default()));
        gone
    }

    /// Sets the uncertainty of the age of events: they are evicted for their age only when they are certainly too old.
    pub fn doubt(&mut self, doubt: Doubt) {
        if let Some(history) = self.history.persist() {
            history.doubt(doubt);
        }
    }

    /// Finishes restoring. `head` is the last sequence number that may have been used.
    pub fn restored(&mut self, forgotten: UnattributedLosses, head: u64, now: Now) {
        self.head = head;
        if let Some(history) = self.history.persist() {
            history.restored(forgotten, head, now.mono);
        }
        // No client waits during a start, so this needs no steps.
        while self.history.remove_expired(now.mono) {}
        self.settle_evicted(now);
        self.restored_consumers(now);
        let own: Vec<_> =
            self.topics.iter().filter(|(_, state)| is_live_only(&state.name)).map(|(key, _)| key).collect();
        for key in own {
            self.remove_topic(key);
        }
    }
}

/// Returns true for a topic whose events are in no history.
fn is_live_only(topic: &Topic) -> bool {
    topic.is_system() && !is_mailbox(topic)
}
