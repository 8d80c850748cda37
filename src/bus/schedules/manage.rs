//! Making, listing, cancelling and restoring schedules.

use std::{ops::Bound, time::Duration};

use super::{
    table::{Schedule, ScheduleRecord},
    timing::{ScheduleId, Timing, When},
};
use crate::{
    bus::{Bus, Now, Publication, history::Entry},
    event::EventType,
    headers::Headers,
    limits::{SCHEDULE_MAX, SCHEDULES_AT_ONCE},
    protocol::{ErrorCode, Refused, ScheduleInfo, Scheduled},
    time::whole_millis,
    topic::Topic,
};

impl Bus {
    /// Schedules an event.
    ///
    /// # Errors
    ///
    /// The time is too far away, there are too many schedules, the log is elsewhere, or the bus is closed.
    pub fn schedule(&mut self, publication: Publication, timing: Timing, now: Now) -> Result<Scheduled, Refused> {
        let is_persistent = self.history.persist().is_some();
        let wait = match timing.when {
            When::In(time) => whole_millis(time),
            When::At(time) => time.saturating_sub(now.unix),
        };
        let (due, at) = (now.mono.saturating_add(wait), now.unix.saturating_add(wait));
        // The repeat of a numbered publish has the same id.
        let numbered = publication.sequence.map(|sequence| format!("{}-{}", sequence.publisher, sequence.number));
        let numbered = numbered.map(|id| ScheduleId(id.into()));
        let id = timing.id.or(numbered);
        let keys = publication.dedup_keys();
        if let Some(id) = &id
            && self.duplicate(&keys, now).is_some()
        {
            let at = self.schedules.by_id.get(id).map_or(at, |known| unix_of(known.due, now));
            return Ok(Scheduled::new(&*id.0, at, is_persistent));
        }
        self.refuse_when_closed()?;
        if self.history.is_window() {
            let message = "schedules need history in memory or on disk; this daemon's log is elsewhere, so it cannot publish later";
            return Err(Refused::new(ErrorCode::ScheduleInvalid, message));
        }
        if wait > whole_millis(SCHEDULE_MAX) {
            let message = "an event can be scheduled for at most a year ahead; choose an earlier time";
            return Err(Refused::new(ErrorCode::ScheduleInvalid, message));
        }
        let type_bytes = publication.event_type.as_ref().map_or(0, |name| name.as_str().len());
        let cost = Entry::cost_of(publication.data.len(), type_bytes, publication.headers.as_lines().len());
        self.schedules.refuse_more(id.as_ref(), cost)?;
        let id = id.unwrap_or_else(|| self.new_schedule_id(now));
        self.note_published(keys, None, now);
        self.schedules.remove(&id);
        let schedule = Schedule { due, next: due, created: now.unix, cost, publication, refused: None };
        self.schedules.note(&id, is_persistent);
        let scheduled = Scheduled::new(&*id.0, at, is_persistent);
        self.schedules.insert(id, schedule);
        Ok(scheduled)
    }

    /// Returns an id that no schedule has.
    fn new_schedule_id(&self, now: Now) -> ScheduleId {
        let mut number = now.unix;
        loop {
            let id = ScheduleId(format!("s{number:x}").into());
            if !self.schedules.by_id.contains_key(&id) {
                return id;
            }
            number += 1;
        }
    }

    /// Returns the schedules after an id, at most [`SCHEDULES_AT_ONCE`].
    pub fn schedules_after(&self, last: Option<&str>, now: Now) -> Vec<ScheduleInfo> {
        let after = last.map_or(Bound::Unbounded, |last| Bound::Excluded(ScheduleId(last.into())));
        let info = |(id, schedule): (&ScheduleId, &Schedule)| ScheduleInfo {
            schedule: id.0.to_string(),
            at: unix_of(schedule.due, now),
            topic: schedule.publication.topic.to_string(),
            event_type: schedule.publication.event_type.as_ref().map(|name| name.as_str().into()),
            bytes: schedule.publication.data.len() as u64,
            created: schedule.created,
            refused: schedule.refused.as_ref().map(|(_, why)| why.clone()),
        };
        self.schedules.by_id.range((after, Bound::Unbounded)).take(SCHEDULES_AT_ONCE).map(info).collect()
    }

    /// Returns the number of schedules.
    pub fn scheduled(&self) -> usize {
        self.schedules.by_id.len()
    }

    /// Returns the topic of the event of a schedule.
    ///
    /// # Errors
    ///
    /// There is no such schedule.
    pub fn schedule_topic(&self, id: &str) -> Result<&Topic, Refused> {
        let schedule = self.schedules.by_id.get(&ScheduleId(id.into()));
        schedule.map(|schedule| &schedule.publication.topic).ok_or_else(|| unknown(id))
    }

    /// Cancels a schedule.
    ///
    /// # Errors
    ///
    /// There is no such schedule.
    pub fn cancel_schedule(&mut self, id: &str) -> Result<(), Refused> {
        let id = ScheduleId(id.into());
        self.schedules.remove(&id).ok_or_else(|| unknown(&id.0))?;
        let is_tracked = self.history.persist().is_some();
        self.schedules.note(&id, is_tracked);
        Ok(())
    }

    /// Restores schedules from disk. Returns the ids of those that cannot be read.
    pub fn restore_schedules(
        &mut self,
        records: impl IntoIterator<Item = (Box<str>, ScheduleRecord)>,
    ) -> Vec<Box<str>> {
        let mut unreadable = Vec::new();
        for (id, record) in records {
            let ScheduleRecord { due, created, topic, event_type, headers, data, retain, ttl } = record;
            let event_type = event_type.as_deref().map(EventType::parse).transpose();
            let (Ok(topic), Ok(event_type), Ok(headers)) =
                (Topic::parse(&topic), event_type, Headers::from_lines(&headers))
            else {
                unreadable.push(id);
                continue;
            };
            let type_bytes = event_type.as_ref().map_or(0, |name| name.as_str().len());
            let cost = Entry::cost_of(data.len(), type_bytes, headers.as_lines().len());
            let ttl = ttl.map(Duration::from_millis);
            let publication = Publication { event_type, headers, retain, ttl, ..Publication::new(topic, data) };
            let schedule = Schedule { due, next: due, created, cost, publication, refused: None };
            self.schedules.insert(ScheduleId((&*id).into()), schedule);
        }
        unreadable
    }
}

/// Returns a time of the bus's clock in milliseconds since 1970.
fn unix_of(time: u64, now: Now) -> u64 {
    now.unix.saturating_add(time).saturating_sub(now.mono)
}

fn unknown(id: &str) -> Refused {
    let shown: String = id.chars().take(60).flat_map(char::escape_debug).collect();
    let message = format!("there is no schedule `{shown}`; its event may have been published, see `schedule list`");
    Refused::new(ErrorCode::ScheduleUnknown, message)
}
