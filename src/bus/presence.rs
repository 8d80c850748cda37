//! Presence: events about clients that connect and disconnect.
//!
//! On a shared bus other nodes can [watch](super::presence_watch) the clients of this one.

use std::{sync::Arc, task::Waker};

use super::{Bus, Now, clients::Client, ids::ClientId, presence_watch::PresenceEvent};
use crate::{
    event::{Event, EventType},
    limits::PRESENCE_FILTERS,
    protocol::ClientInfo,
    topic::Topic,
};

/// The topic of presence events. They are live only: they have no id and are not in history. [`Bus::clients`] returns the
/// current state.
pub const CLIENTS_TOPIC: &str = "$sys/clients";

impl Bus {
    /// Publishes a live-only event about a client, of type `join` or `leave`.
    pub(super) fn publish_presence(&mut self, id: ClientId, what: &str, now: Now) {
        let has_subscribers = self.has_subscribers_of(CLIENTS_TOPIC);
        if !has_subscribers && !self.presence_watch.is_watched() {
            return;
        }
        let Some(client) = self.clients.get(id) else { return };
        let info = self.presence(id, client);
        if has_subscribers {
            self.announce(CLIENTS_TOPIC, what, serde_json::to_string(&info).unwrap_or_default(), now);
        }
        let watch = &mut self.presence_watch;
        if let Some(waker) = watch.note(PresenceEvent { what: what.into(), client: info }) {
            self.wakeups.woken.push(waker);
        }
    }

    /// Publishes a live-only event of the bus itself, on a topic that begins with `$sys/`.
    pub fn announce(&mut self, topic: &str, event_type: &str, data: String, now: Now) {
        let (Ok(topic), Ok(event_type)) = (Topic::parse(topic), EventType::parse(event_type)) else { return };
        self.topics.wanted_by(&topic, &mut self.wanting);
        if self.wanting.is_empty() {
            return;
        }
        let event = Event { event_type: Some(event_type), ..Event::new(self.position(), topic, data, now.unix) };
        self.feeds.publish(&self.wanting, &Arc::new(event), true, &self.limits);
    }

    /// Returns true if a subscriber's filters match a topic.
    pub fn has_subscribers_of(&mut self, topic: &str) -> bool {
        let Ok(topic) = Topic::parse(topic) else { return false };
        self.topics.wanted_by(&topic, &mut self.wanting);
        !self.wanting.is_empty()
    }

    /// Begins or ends to collect presence events for other nodes.
    pub fn watch_presence(&mut self, is_watched: bool) {
        self.presence_watch.watch(is_watched);
    }

    /// Returns the collected presence events, and the number of those that were dropped since the last call. While there are
    /// none, returns None; the waker is woken when there are.
    pub fn poll_presence(&mut self, waker: &Waker) -> Option<(Vec<PresenceEvent>, u64)> {
        self.presence_watch.poll(waker)
    }

    /// Describes a client for a presence event: with the first of its filters, and the number of the others, and without the
    /// topics that it published to.
    fn presence(&self, id: ClientId, client: &Client) -> ClientInfo {
        let mut info = ClientInfo { published_to: Vec::new(), ..self.info(id, client) };
        let mut bytes = 0;
        let mut fits = |filter: &String| {
            bytes += filter.len();
            bytes <= PRESENCE_FILTERS
        };
        let shown = info.filters.iter().take_while(|filter| fits(filter)).count();
        let more = info.filters.split_off(shown).len();
        if more > 0 {
            // This cannot be mistaken for a filter: it contains white space.
            info.filters.push(format!("… {more} more"));
        }
        info
    }
}
