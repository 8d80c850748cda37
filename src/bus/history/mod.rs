//! The past: what a cursor reads when its feed does not have it.
//!
//! [`History`] is the seam behind which the past is kept; [`Memory`] keeps it in the process. Each topic is bounded by
//! count, bytes and age, and all share one budget ([`Retention`]); the oldest event goes first. What goes is counted,
//! so that a subscriber who comes back for it can be told. A topic's retained event outlives these bounds until it is
//! replaced, removed or expires; [`Limits::retained_bytes`](crate::limits::Limits::retained_bytes) bounds them all.
//!
//! When very many events are beyond the bounds at once, because these have changed or time has jumped, they go in steps
//! of [`EVICT_MAX`](crate::limits::EVICT_MAX), so that nobody waits long for the bus; the past is not read until all have
//! gone.
//!
//! A history may keep a [journal](Persist): what of it has changed since it was last written down. Whoever keeps it
//! on disk takes that in [batches](super::batch::Batch), and gives back at the next start what it has. Of what is
//! written down only the newest and the retained events stay in memory as well; of the others an entry without its event
//! does, and whoever reads so far back [waits for the disk](super::fetch).

mod backend;
mod bounds;
#[cfg(debug_assertions)]
mod check;
mod dirty;
mod entry;
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

pub use self::{
    backend::History,
    bounds::Doubt,
    entry::{Entry, TopicKey, TopicUsage, Totals},
    losses::LostEvent,
    memory::Memory,
    past::{CrashLoss, TopicPast, UnattributedLosses},
    persist::{Changes, Persist},
    selection::{Selection, SnapshotKind},
};
