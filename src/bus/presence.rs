//! Presence: events about clients that connect and disconnect.

use std::sync::Arc;

use super::{Bus, Now, clients::Client, ids::ClientId};
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
        let (Ok(topic), Ok(event_type)) = (Topic::parse(CLIENTS_TOPIC), EventType::parse(what)) else { return };
        self.topics.wanted_by(&topic, &mut self.wanting);
        let Some(client) = self.clients.get(id).filter(|_| !self.wanting.is_empty()) else { return };
        let data = serde_json::to_string(&self.presence(id, client)).unwrap_or_default();
        let event = Event { event_type: Some(event_type), ..Event::new(self.position(), topic, data, now.unix) };
        self.feeds.publish(&self.wanting, &Arc::new(event), true, &self.limits);
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
