//! How a subscription begins: with which feed, and at which place.

use super::{
    Bus, ClientId, Format, Now, Start, Subscription,
    clients::{Client, Role, Subscriber},
    cursor::{Aside, Cursor, Past, Place},
    feeds::FeedKey,
    history::{Entry, TopicKey},
    refuse_more,
    topics::Topics,
};
use crate::{
    event::EventId,
    protocol::{ErrorCode, Gap, GapReason, Refused, Subscribed},
    topic::FilterSet,
};

impl Bus {
    /// Adds a subscriber. What it gets is [`read`](Bus::read).
    pub fn subscribe(&mut self, subscription: Subscription, now: Now) -> Result<(ClientId, Subscribed), Refused> {
        let Subscription { filters, format, start, slow, past_only, allowed, description } = subscription;
        refuse_more(self.clients.subscribers, self.limits.subscribers, ErrorCode::LimitSubscribers, "subscribers")?;
        self.history.expire(now.mono);
        let feed = match self.feeds.find(&filters, format) {
            Some(feed) => feed,
            None => self.open_feed(&filters, format)?,
        };
        if let Some(open) = self.feeds.get_mut(feed) {
            open.subscribers += 1;
        }
        let cursor = Cursor::new([].into(), Place::Past(Past::after(self.head, GapReason::Evicted).into()));
        let subscriber = Subscriber {
            feed,
            slow,
            past_only,
            allowed,
            cursor,
            reader: None,
            unicast: [].into(),
            unicast_bytes: 0,
            heartbeat: false,
        };
        let role = Role::Subscriber(Box::new(subscriber));
        let id = self.clients.insert(Client { description, connected: now.unix, role, events: 0, gaps: 0 });
        self.tell(id, "join", now);
        let cursor = self.cursor_at(&start, feed, past_only, now);
        if let Some(subscriber) = self.clients.subscriber_mut(id) {
            subscriber.cursor = cursor;
        }
        Ok((id, Subscribed { client: id.to_string(), position: self.position() }))
    }

    fn open_feed(&mut self, filters: &FilterSet, format: Format) -> Result<FeedKey, Refused> {
        let matched = self.topics.matched_by(filters);
        self.refuse_more_filters(Topics::cost_of(filters, matched.len()))?;
        let feed = self.feeds.open(filters.clone(), format);
        self.topics.connect(filters, feed, &matched);
        if let Some(open) = self.feeds.get_mut(feed) {
            open.topics = matched;
        }
        Ok(feed)
    }

    /// The cursor with which a subscription begins.
    fn cursor_at(&mut self, start: &Start, key: FeedKey, past_only: bool, now: Now) -> Cursor {
        let Some(feed) = self.feeds.get(key) else { unreachable!("a subscriber's feed is open") };
        let (history, topics) = (&*self.history, &feed.topics);
        let set_aside = |entry: &dyn Fn(TopicKey) -> Option<Entry>| {
            let mut entries: Vec<_> = topics.iter().filter_map(|key| entry(*key)).collect();
            entries.sort_unstable_by_key(|entry| entry.seq);
            (entries.into_iter().map(Aside::Event).collect(), None)
        };
        let (aside, past) = match start {
            Start::Now => ([].into(), None),
            Start::Retained => set_aside(&|key| history.retained(key, now.mono).cloned()),
            Start::Latest => set_aside(&|key| history.newest(key, now.mono).cloned()),
            Start::All => ([].into(), Some(Past::from_now_on(self.id(0), history, topics, now.mono))),
            Start::Last(time) => {
                let begin = now.mono.saturating_sub(time.as_millis().try_into().unwrap_or(u64::MAX));
                ([].into(), Some(Past::from_now_on(self.id(history.place_at(begin)), history, topics, now.mono)))
            }
            Start::After(text) => ([].into(), Some(self.past_after(text))),
        };
        let place = match past {
            Some(past) => Place::Past(past.into()),
            None if past_only => Place::Past(Past::after(self.head, GapReason::Evicted).into()),
            None => Place::Live { segment: self.feeds.join(key, &self.limits), seq: self.head },
        };
        Cursor::new(aside, place)
    }

    /// The past after an id that a subscriber says it has.
    fn past_after(&self, text: &str) -> Past {
        let start = self.id(0);
        let (reason, from) = match text.parse::<EventId>() {
            Ok(id) if id.epoch == self.epoch && id.seq <= self.head => return Past::after(id.seq, GapReason::Evicted),
            Ok(id) if id.epoch != self.epoch => (GapReason::Restarted, id),
            Ok(id) => (GapReason::UnknownId, id),
            Err(_) => (GapReason::UnknownId, start),
        };
        Past::with_gap(Gap { reason, missed: None, from, to: start })
    }
}
