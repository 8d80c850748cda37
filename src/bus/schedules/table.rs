//! The table of schedules: by id, and by when they are due.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::timing::ScheduleId;
use crate::{
    bus::Publication,
    limits::{SCHEDULES_BYTES, SCHEDULES_MAX},
    protocol::{ErrorCode, Refused},
    time::whole_millis,
};

/// A schedule, as written to disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleRecord {
    /// When it is due, in milliseconds of the bus's clock.
    pub due: u64,
    /// When it was made, in milliseconds since 1970.
    pub created: u64,
    /// The topic of its event.
    pub topic: String,
    /// The type of its event.
    pub event_type: Option<String>,
    /// The headers of its event, as lines.
    pub headers: String,
    /// The data of its event.
    pub data: String,
    /// The event becomes the retained event of its topic.
    pub retain: bool,
    /// The TTL of its event in milliseconds.
    pub ttl: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) due: u64,
    /// When the bus next tries to publish the event.
    pub(super) next: u64,
    pub(super) created: u64,
    pub(super) cost: usize,
    pub(super) publication: Publication,
    /// Refusals since it was due, and the last one.
    pub(super) refused: Option<(u32, String)>,
}

/// All schedules.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    pub(super) by_id: BTreeMap<ScheduleId, Schedule>,
    pub(super) next: BTreeSet<(u64, ScheduleId)>,
    bytes: usize,
    /// Schedules that have changed since the last write.
    changed: BTreeSet<ScheduleId>,
}

impl Schedules {
    pub(super) fn insert(&mut self, id: ScheduleId, schedule: Schedule) {
        self.bytes += schedule.cost;
        self.next.insert((schedule.next, id.clone()));
        self.by_id.insert(id, schedule);
    }

    pub(super) fn remove(&mut self, id: &ScheduleId) -> Option<Schedule> {
        let schedule = self.by_id.remove(id)?;
        self.bytes -= schedule.cost;
        self.next.remove(&(schedule.next, id.clone()));
        Some(schedule)
    }

    /// Refuses another schedule, in place of one with the same id, if there is no room.
    pub(super) fn refuse_more(&self, id: Option<&ScheduleId>, cost: usize) -> Result<(), Refused> {
        let replaced = id.and_then(|id| self.by_id.get(id));
        let (have, bytes) = match replaced {
            Some(replaced) => (self.by_id.len() - 1, self.bytes - replaced.cost),
            None => (self.by_id.len(), self.bytes),
        };
        if have < SCHEDULES_MAX && bytes + cost <= SCHEDULES_BYTES {
            return Ok(());
        }
        let message = format!(
            "{have} events with {bytes} bytes are scheduled, of at most {SCHEDULES_MAX} with {SCHEDULES_BYTES} bytes; cancel some, \
             or schedule it later"
        );
        Err(Refused::new(ErrorCode::LimitSchedules, message))
    }

    /// Returns the bytes of the events of all schedules.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns true if there are changes to write.
    pub(crate) fn have_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Takes the changes since the last write.
    pub(crate) fn take_changes(&mut self) -> Vec<(Box<str>, Option<ScheduleRecord>)> {
        let record = |id: ScheduleId| {
            let record = self.by_id.get(&id).map(|Schedule { due, created, publication, .. }| ScheduleRecord {
                due: *due,
                created: *created,
                topic: publication.topic.to_string(),
                event_type: publication.event_type.as_ref().map(|name| name.as_str().into()),
                headers: publication.headers.as_lines().into(),
                data: publication.data.clone(),
                retain: publication.retain,
                ttl: publication.ttl.map(whole_millis),
            });
            ((&*id.0).into(), record)
        };
        std::mem::take(&mut self.changed).into_iter().map(record).collect()
    }

    pub(super) fn note(&mut self, id: &ScheduleId, is_tracked: bool) {
        if is_tracked {
            self.changed.insert(id.clone());
        }
    }
}

#[cfg(debug_assertions)]
impl Schedules {
    pub(crate) fn self_check(&self) {
        let next: BTreeSet<_> = self.by_id.iter().map(|(id, schedule)| (schedule.next, id.clone())).collect();
        assert_eq!(self.next, next, "when schedules are due");
        assert_eq!(self.bytes, self.by_id.values().map(|schedule| schedule.cost).sum::<usize>(), "bytes of schedules");
    }
}
