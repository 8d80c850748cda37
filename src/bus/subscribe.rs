//! Adding subscribers: their feed, and the position at which they begin.

use super::{
    Bus, ClientId, Format, Now, Start, Subscription,
    clients::{Client, PositionDue, Role, Subscriber},
    cursor::{Cursor, HistoryCursor, Position, Snapshot},
    feed::Feed,
    history::SnapshotKind,
    ids::FeedKey,
    state::refuse_more,
    topics::Topics,
    unicast_queue::UnicastQueue,
};
use crate::{
    event::EventId,
    limits::HEARTBEAT_RANGE,
    protocol::{ErrorCode, Gap, GapReason, Refused, Subscribed, sse::PositionForm},
    topic::FilterSet,
};

impl Bus {
    /// Adds a subscriber, whose events are then [read](Bus::read).
    ///
    /// # Errors
    ///
    /// There are too many subscribers, or too many bytes of filters.
    pub fn subscribe(&mut self, subscription: Subscription, now: Now) -> Result<(ClientId, Subscribed), Refused> {
        let Subscription {
            filters,
            format,
            start,
            slow,
            past_only,
            position_form,
            heartbeat,
            allowed,
            responder,
            description,
        } = subscription;
        refuse_more(self.clients.subscribers, self.limits.subscribers, ErrorCode::LimitSubscribers, "subscribers")?;
        if let Some(responder) = &responder {
            self.refuse_responder(responder)?;
        }
        self.expire_history(now);
        let feed = match self.feeds.find(&filters, format) {
            Some(feed) => feed,
            None => self.open_feed(&filters, format)?,
        };
        self.feeds.add_subscriber(feed);
        let cursor = Cursor::new(Position::History(HistoryCursor::after(self.head, GapReason::Evicted).into()));
        let heartbeat_interval = heartbeat.clamp(*HEARTBEAT_RANGE.start(), *HEARTBEAT_RANGE.end()).as_secs() as u8;
        let subscriber = Subscriber {
            feed,
            slow,
            past_only,
            allowed,
            cursor,
            reader: None,
            unicast: UnicastQueue::default(),
            position_form: if format.has_heartbeat() { position_form } else { PositionForm::None },
            sent: 0,
            position_due: PositionDue::First,
            heartbeat_interval,
            is_heartbeat_due: false,
        };
        let role = Role::Subscriber(Box::new(subscriber));
        let id = self.clients.insert(Client { description, connected: now.unix, role, events: 0, gaps: 0 });
        if format.has_heartbeat() {
            self.heartbeats.insert(id, heartbeat_interval, now);
        }
        let is_responder = responder.is_some();
        if let Some(responder) = responder {
            self.requests.connect(id, responder);
        }
        self.publish_presence(id, "join", now);
        let cursor = self.cursor_at(&start, feed, past_only, now);
        if let Some(subscriber) = self.clients.subscriber_mut(id) {
            subscriber.cursor = cursor;
        }
        if is_responder {
            self.offer_requests(id, now);
            self.end_requests(now);
        }
        Ok((id, Subscribed { client: self.client_address(id), position: self.position() }))
    }

    /// Opens a feed, if there is room for its filters.
    fn open_feed(&mut self, filters: &FilterSet, format: Format) -> Result<FeedKey, Refused> {
        self.refuse_more_filters(Topics::cost_of(filters))?;
        let feed = self.feeds.open(filters.clone(), format);
        self.topics.connect(filters, feed);
        Ok(feed)
    }

    /// Returns the cursor with which a subscription begins.
    fn cursor_at(&mut self, start: &Start, key: FeedKey, past_only: bool, now: Now) -> Cursor {
        // Events that the feed has open are older than the subscription.
        self.feeds.seal(key, &self.limits);
        let left = self.feeds.get(key).filter(|_| !past_only).map(Feed::end);
        let (history, limits, head) = (&*self.history, &self.limits, self.head);
        let mut live = || (!past_only).then(|| self.feeds.join(key, limits));
        let position = match start {
            Start::Now => match live() {
                Some(segment) => Position::Live { segment, seq: head },
                None => Position::History(HistoryCursor::after(head, GapReason::Evicted).into()),
            },
            Start::Retained => Position::Snapshot(Snapshot::new(SnapshotKind::Retained, head, live()).into()),
            Start::Latest => Position::Snapshot(Snapshot::new(SnapshotKind::Newest, head, live()).into()),
            Start::All => Position::History(HistoryCursor::from_now_on(0, history).into()),
            Start::Last(time) => {
                let millis = crate::time::whole_millis(*time);
                let after = history.last_before(now.mono.saturating_sub(millis));
                let mut cursor = HistoryCursor::from_now_on(after, history);
                cursor.since = (after < history.start()).then_some(now.unix.saturating_sub(millis));
                Position::History(cursor.into())
            }
            Start::After(text) => Position::History(self.history_after(text).into()),
        };
        let mut cursor = Cursor::new(position);
        if let Position::History(history) = &mut cursor.position {
            history.left = left;
        }
        cursor
    }

    /// Returns false if no event has had this id, as far as is known here: what is before the window is verified when it is
    /// read, and an event that history no longer has may have had any check.
    fn has_assigned(&self, id: EventId) -> bool {
        let known = if id.seq == self.head {
            self.head_check
        } else {
            self.history.entry(id.seq).and_then(|entry| entry.event.as_ref()?.id.check)
        };
        id.seq <= self.head && id.check.zip(known).is_none_or(|(check, known)| check == known)
    }

    /// Returns the cursor after the last id that a subscriber has received.
    fn history_after(&self, text: &str) -> HistoryCursor {
        let start = self.id(0);
        let (reason, from) = match text.parse::<EventId>() {
            Ok(id) if id.epoch == self.epoch && self.has_assigned(id) => {
                let mut cursor = HistoryCursor::after(id.seq, GapReason::Evicted);
                cursor.check = id.check;
                return cursor;
            }
            Ok(id) if id.epoch != self.epoch => (GapReason::Restarted, id),
            Ok(id) if id.check.is_some() => (GapReason::Rewritten, id),
            Ok(id) => (GapReason::UnknownId, id),
            Err(_) => (GapReason::UnknownId, start),
        };
        HistoryCursor::with_gap(Gap { reason, missed: None, from, to: start })
    }
}
