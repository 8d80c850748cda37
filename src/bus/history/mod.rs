//! History: a bounded store of recent events. A cursor reads it when its feed no longer holds the events it needs.
//!
//! [`History`] is its interface, which [`Memory`] implements. Each topic is bounded by count, bytes
//! and age, and all topics share one budget ([`Retention`](crate::retention::Retention)); the oldest events are evicted
//! first. Evictions are recorded, so that a subscriber that resumes before them is notified. A topic's retained event
//! outlives these bounds until it is replaced, removed or expires;
//! [`Limits::retained_bytes`](crate::limits::Limits::retained_bytes) bounds all retained events. Expired events are hidden at
//! once, and removed in steps of [`EXPIRE_MAX`](crate::limits::EXPIRE_MAX) soon after; they are no losses.
//!
//! When many events exceed the bounds at once, because the bounds have changed or time has jumped, they are evicted in steps
//! of [`EVICT_MAX`](crate::limits::EVICT_MAX), so that no call holds the bus for long; history is not read until all of them
//! are evicted.
//!
//! A [persistent](Persist) history records its changes since the last write. The owner of the files takes them in
//! [batches](super::batch::Batch), and restores history from the files at the next start. After events are in the database,
//! memory keeps the newest and the retained ones; for the others it keeps an [`Entry`] without the event, and a subscriber
//! that reads them [waits for the disk](super::fetch).

mod bounds;
#[cfg(debug_assertions)]
mod check;
mod dirty;
mod entry;
mod held;
mod index;
mod losses;
mod memory;
mod memory_history;
mod memory_persist;
mod merge;
mod newest;
mod past;
mod persist;
mod scan;
mod selection;
mod snapshot;
mod window;

pub use self::{
    bounds::Doubt,
    entry::{Entry, TopicKey, TopicUsage, Totals},
    held::HeldEvent,
    index::History,
    losses::LostEvent,
    memory::Memory,
    past::{CrashLoss, TopicPast, UnattributedLosses},
    persist::{Changes, Persist},
    selection::{Selection, SnapshotKind},
    window::Window,
};
