//! Publishing the events that are due, and announcing it.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use super::{table::Schedule, timing::ScheduleId};
use crate::{
    bus::{Bus, Now, Publication},
    event::{Event, EventType},
    limits::{SCHEDULE_RETRY, SCHEDULES_AT_ONCE},
    time::whole_millis,
    topic::Topic,
};

/// The topic of announcements about schedules: `published`, `refused` and `expired`. They are live only: they have no id and are
/// not in history.
pub const SCHEDULES_TOPIC: &str = "$sys/schedules";

impl Bus {
    /// Returns when the next scheduled event is to be published.
    pub fn next_schedule(&self) -> Option<u64> {
        if self.is_closed { None } else { self.schedules.next.first().map(|(next, _)| *next) }
    }

    /// Publishes the events that are due, in a bounded step.
    pub(crate) fn publish_due(&mut self, now: Now) {
        if self.is_closed {
            return;
        }
        let is_tracked = self.history.persist().is_some();
        for _ in 0..SCHEDULES_AT_ONCE {
            let Some((next, id)) = self.schedules.next.first().cloned() else { return };
            let Some(mut schedule) = (if next <= now.mono { self.schedules.remove(&id) } else { None }) else { return };
            let mut publication = Publication { sequence: None, ..schedule.publication.clone() };
            if let Some(ttl) = publication.ttl {
                // It begins when the event is due.
                let left = schedule.due.saturating_add(whole_millis(ttl)).saturating_sub(now.mono);
                if left == 0 {
                    self.schedules.note(&id, is_tracked);
                    self.announce_schedule("expired", &id, &schedule, None, now);
                    continue;
                }
                publication.ttl = Some(Duration::from_millis(left));
            }
            match self.publish(publication, None, now) {
                Ok(published) => {
                    self.schedules.note(&id, is_tracked);
                    let event = published.id.map(|id| id.to_string());
                    self.announce_schedule("published", &id, &schedule, event.as_deref(), now);
                }
                Err(refused) => {
                    let attempts = schedule.refused.as_ref().map_or(0, |(attempts, _)| *attempts);
                    let pause = (1000 << attempts.min(16)).min(whole_millis(SCHEDULE_RETRY));
                    schedule.next = now.mono + pause;
                    schedule.refused = Some((attempts + 1, refused.to_string()));
                    self.announce_schedule("refused", &id, &schedule, None, now);
                    self.schedules.insert(id, schedule);
                }
            }
        }
    }

    /// Publishes a live-only event about a schedule.
    fn announce_schedule(&mut self, what: &str, id: &ScheduleId, schedule: &Schedule, event: Option<&str>, now: Now) {
        #[derive(Serialize)]
        struct Notice<'a> {
            schedule: &'a str,
            topic: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
        }
        let (Ok(topic), Ok(event_type)) = (Topic::parse(SCHEDULES_TOPIC), EventType::parse(what)) else { return };
        self.topics.wanted_by(&topic, &mut self.wanting);
        if self.wanting.is_empty() {
            return;
        }
        let reason = schedule.refused.as_ref().filter(|_| what == "refused").map(|(_, why)| &**why);
        let notice = Notice { schedule: &id.0, topic: schedule.publication.topic.as_str(), id: event, reason };
        let data = serde_json::to_string(&notice).unwrap_or_default();
        let event = Event { event_type: Some(event_type), ..Event::new(self.position(), topic, data, now.unix) };
        self.feeds.publish(&self.wanting, &Arc::new(event), true, &self.limits);
    }
}
