//! Mailboxes: events that are sent to a consumer by its name.
//!
//! Such an event is in history under the topic `$mailbox/NAME/TOPIC`, and every consumer also has the filter `$mailbox/NAME/**`.
//! So the event has an id, is held, delivered, acknowledged and restored as all other events of a consumer, and the bounds of
//! history apply to it. No pattern matches its topic unless it begins with `$mailbox`, so other subscribers do not receive it.

use super::{consumer::Consumer, table::Consumers};
use crate::bus::{Bus, Publication};

impl Consumers {
    /// Returns true if there is a consumer with a name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    fn named(&self, name: &str) -> Option<&Consumer> {
        self.by_key.get(self.by_name.get(name)?)
    }
}

impl Bus {
    /// Returns true if a publication is for clients, by their id or name, and not for a consumer. Such an event is live only.
    pub fn is_unicast(&self, publication: &Publication) -> bool {
        publication.to.as_deref().is_some_and(|to| !self.consumers.has(to))
    }

    /// Returns the number of workers of a consumer that are free to take another event.
    pub(crate) fn free_workers(&self, name: &str) -> u64 {
        let Some(consumer) = self.consumers.named(name).filter(|consumer| !consumer.is_paused) else { return 0 };
        let workers = self.consumers.registry.workers.values();
        workers.filter(|worker| worker.consumer == consumer.key && worker.free() > 0).count() as u64
    }
}
