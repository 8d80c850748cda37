//! Schedules: events that are published later.
//!
//! A schedule is validated and authorized when it is made, and its event gets its id when it is due. It is due by the bus's
//! clock, by which history ages, too: a jump of the wall clock neither delays an event nor publishes it early. What became due
//! while no daemon ran is published at the next start, unless its TTL has expired. The TTL begins when the event is due.
//!
//! At most [`SCHEDULES_MAX`](crate::limits::SCHEDULES_MAX) schedules with at most
//! [`SCHEDULES_BYTES`](crate::limits::SCHEDULES_BYTES) wait; more are refused. An event that the bus refuses when it is due, for
//! instance because history is full, stays: the bus tries again with pauses of up to
//! [`SCHEDULE_RETRY`](crate::limits::SCHEDULE_RETRY). This is shown in the list, and each attempt is announced on
//! [`SCHEDULES_TOPIC`].
//!
//! With history on disk schedules survive: the removal of a schedule and its event are written in one transaction.

mod due;
mod manage;
mod table;
mod timing;

pub(super) use self::table::Schedules;
pub use self::{
    due::SCHEDULES_TOPIC,
    table::ScheduleRecord,
    timing::{ScheduleId, Timing, When},
};
