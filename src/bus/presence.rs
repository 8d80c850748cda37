//! Presence: the events by which the bus reports that clients come and go.

use super::{Bus, Now, clients::Client, ids::ClientId};
use crate::{
    event::{Event, EventType},
    limits::PRESENCE_FILTERS,
    protocol::ClientInfo,
    topic::Topic,
};

/// The topic on which the bus tells who comes and goes. Its events are live only: they have no id and are in no history, and
/// who needs the present state asks for the [clients](Bus::clients).
pub const CLIENTS_TOPIC: &str = "$sys/clients";

impl Bus {
    /// Publishes that a client comes or goes. The event is live only.
    pub(super) fn publish_presence(&mut self, id: ClientId, what: &str, now: Now) {
        let (Ok(topic), Ok(event_type)) = (Topic::parse(CLIENTS_TOPIC), EventType::parse(what)) else { return };
        self.topics.wanted_by(&topic, &mut self.wanting);
        let Some(client) = self.clients.get(id).filter(|_| !self.wanting.is_empty()) else { return };
        let data = serde_json::to_string(&self.presence(id, client)).unwrap_or_default();
        let event = Event { event_type: Some(event_type), ..Event::new(self.position(), topic, data, now.unix) };
        self.feeds.begin();
        for feed in &self.wanting {
            self.feeds.append_live(*feed, &event, &self.limits);
        }
    }

    /// A client as the bus announces it: of many filters the first, then how many more there are.
    fn presence(&self, id: ClientId, client: &Client) -> ClientInfo {
        let mut info = self.info(id, client);
        let mut bytes = 0;
        let mut fits = |filter: &String| {
            bytes += filter.len();
            bytes <= PRESENCE_FILTERS
        };
        let shown = info.filters.iter().take_while(|filter| fits(filter)).count();
        let more = info.filters.split_off(shown).len();
        if more > 0 {
            // No filter: it has white space.
            info.filters.push(format!("… {more} more"));
        }
        info
    }
}
