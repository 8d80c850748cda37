//! Schedules: events that are published later.
//!
//! A schedule is validated and authorized when it is made, and its event gets its id when it is due. It is due by the bus's
//! clock, by which history ages, too: a jump of the wall clock neither delays an event nor publishes it early. What became due
//! while no daemon ran is published at the next start, unless its TTL is over, which begins when the event is due.
//!
//! At most [`SCHEDULES_MAX`] schedules with at most [`SCHEDULES_BYTES`] wait; more are refused. An event that the bus refuses when
//! it is due, for instance because history is full, stays: the bus tries again with pauses of up to [`SCHEDULE_RETRY`]. This is
//! shown in the list, and each attempt is announced on [`SCHEDULES_TOPIC`].
//!
//! With history on disk schedules survive: the removal of a schedule and its event are written in one transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Bus, Now, Publication, history::Entry};
use crate::{
    event::{Event, EventType},
    headers::Headers,
    limits::{DEDUP_ID_MAX, SCHEDULE_MAX, SCHEDULE_RETRY, SCHEDULES_AT_ONCE, SCHEDULES_BYTES, SCHEDULES_MAX},
    protocol::{ErrorCode, Publish, Refused, ScheduleInfo, Scheduled},
    time::whole_millis,
    topic::Topic,
};

/// The topic of announcements about schedules: `published`, `refused` and `expired`. They are live only: they have no id and are
/// not in history.
pub const SCHEDULES_TOPIC: &str = "$sys/schedules";

/// When a scheduled event is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// After a time.
    In(Duration),
    /// At a time, in milliseconds since 1970 (UTC). A time in the past is now.
    At(u64),
}

/// The id of a schedule: 1 to 128 bytes without control characters, white space and `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScheduleId(Arc<str>);

impl ScheduleId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses an id.
    ///
    /// # Errors
    ///
    /// It is empty, too long, or contains a character that is not allowed.
    pub fn parse(text: &str) -> Result<ScheduleId, Refused> {
        let is_illegal = |c: char| c.is_control() || c.is_whitespace() || c == '/';
        if (1..=DEDUP_ID_MAX).contains(&text.len()) && !text.contains(is_illegal) {
            return Ok(ScheduleId(text.into()));
        }
        let message = format!(
            "the id of a schedule has 1 to {DEDUP_ID_MAX} bytes without white space, control characters and `/`; choose another one"
        );
        Err(Refused::new(ErrorCode::ScheduleInvalid, message))
    }
}

/// What a publish says about when to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// When the event is due.
    pub when: When,
    /// The id of the schedule, which replaces one with the same id. Without one the bus chooses an id.
    pub id: Option<ScheduleId>,
}

impl Timing {
    /// Parses when a publish with a time is due.
    ///
    /// # Errors
    ///
    /// It has no time or two, the id is invalid, or the event has options that a scheduled event cannot have.
    pub fn parse(publish: &Publish) -> Result<Timing, Refused> {
        let refuse = |message: &str| Err(Refused::new(ErrorCode::ScheduleInvalid, message));
        let when = match (publish.in_ms, publish.at) {
            (Some(time), None) => When::In(Duration::from_millis(time)),
            (None, Some(time)) => When::At(time),
            (Some(_), Some(_)) => {
                return refuse("an event is published after a time or at a time, not both; leave one out");
            }
            (None, None) => return refuse("a schedule needs a time; add when the event is to be published"),
        };
        if publish.to.is_some() {
            return refuse("an event for one receiver cannot be scheduled; leave out the receiver or the time");
        }
        if publish.dedup_id.is_some() {
            return refuse(
                "a scheduled event has no `dedup_id`; use `schedule_id`, which replaces an earlier schedule",
            );
        }
        if publish.ack == crate::protocol::Ack::Durable {
            return refuse("a schedule is written soon after its reply and cannot be `durable`; use ack `accepted`");
        }
        Ok(Timing { when, id: publish.schedule_id.as_deref().map(ScheduleId::parse).transpose()? })
    }
}

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
struct Schedule {
    due: u64,
    /// When the bus next tries to publish the event.
    next: u64,
    created: u64,
    cost: usize,
    publication: Publication,
    /// Refusals since it was due, and the last one.
    refused: Option<(u32, String)>,
}

/// All schedules.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    by_id: BTreeMap<ScheduleId, Schedule>,
    next: BTreeSet<(u64, ScheduleId)>,
    bytes: usize,
    /// Schedules that have changed since the last write.
    changed: BTreeSet<ScheduleId>,
}

impl Schedules {
    fn insert(&mut self, id: ScheduleId, schedule: Schedule) {
        self.bytes += schedule.cost;
        self.next.insert((schedule.next, id.clone()));
        self.by_id.insert(id, schedule);
    }

    fn remove(&mut self, id: &ScheduleId) -> Option<Schedule> {
        let schedule = self.by_id.remove(id)?;
        self.bytes -= schedule.cost;
        self.next.remove(&(schedule.next, id.clone()));
        Some(schedule)
    }

    /// Refuses another schedule, in place of one with the same id, if there is no room.
    fn refuse_more(&self, id: Option<&ScheduleId>, cost: usize) -> Result<(), Refused> {
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

    /// Returns true if there are changes to write.
    pub(super) fn have_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Takes the changes since the last write.
    pub(super) fn take_changes(&mut self) -> Vec<(Box<str>, Option<ScheduleRecord>)> {
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

    fn note(&mut self, id: &ScheduleId, is_tracked: bool) {
        if is_tracked {
            self.changed.insert(id.clone());
        }
    }
}

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
            let message =
                "schedules need the history of this daemon, and its log is elsewhere; use schedules of that log";
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

    /// Returns when the next scheduled event is to be published.
    pub fn next_schedule(&self) -> Option<u64> {
        if self.is_closed { None } else { self.schedules.next.first().map(|(next, _)| *next) }
    }

    /// Publishes the events that are due, in a bounded step.
    pub(super) fn publish_due(&mut self, now: Now) {
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

#[cfg(debug_assertions)]
impl Schedules {
    pub(super) fn self_check(&self) {
        let next: BTreeSet<_> = self.by_id.iter().map(|(id, schedule)| (schedule.next, id.clone())).collect();
        assert_eq!(self.next, next, "when schedules are due");
        assert_eq!(self.bytes, self.by_id.values().map(|schedule| schedule.cost).sum::<usize>(), "bytes of schedules");
    }
}
