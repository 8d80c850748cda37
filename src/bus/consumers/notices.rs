//! Announcements about consumers on `$sys/consumers`.

use std::sync::Arc;

use crate::{
    bus::{Bus, Now},
    event::{Event, EventType},
    topic::Topic,
};

/// The topic of announcements about consumers. They are live only: they have no id and are not in history.
pub const CONSUMERS_TOPIC: &str = "$sys/consumers";

impl Bus {
    /// Publishes the announcements of the last operation.
    pub(super) fn publish_notices(&mut self, now: Now) {
        if self.consumers.registry.notices.is_empty() {
            return;
        }
        let notices = std::mem::take(&mut self.consumers.registry.notices);
        let Ok(topic) = Topic::parse(CONSUMERS_TOPIC) else { return };
        self.topics.wanted_by(&topic, &mut self.wanting);
        if self.wanting.is_empty() {
            return;
        }
        for mut notice in notices {
            let Ok(event_type) = EventType::parse(notice.what) else { continue };
            notice.id = notice.seq.map(|seq| self.id(seq).to_string());
            let data = serde_json::to_string(&notice).unwrap_or_default();
            let event =
                Event { event_type: Some(event_type), ..Event::new(self.position(), topic.clone(), data, now.unix) };
            self.feeds.publish(&self.wanting, &Arc::new(event), true, &self.limits);
        }
    }
}
