//! When a scheduled event is due, and by which id it is known.

use std::{sync::Arc, time::Duration};

use crate::{
    limits::DEDUP_ID_MAX,
    protocol::{Ack, ErrorCode, Publish, Refused},
};

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
pub struct ScheduleId(pub(super) Arc<str>);

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
        if publish.ack == Ack::Durable {
            return refuse("a schedule is written soon after its reply and cannot be `durable`; use ack `accepted`");
        }
        Ok(Timing { when, id: publish.schedule_id.as_deref().map(ScheduleId::parse).transpose()? })
    }
}
