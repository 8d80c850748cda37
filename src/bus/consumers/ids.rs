//! The keys of consumers, and their timers.

/// Identifies a consumer. It is never used twice.
pub(super) type ConsumerKey = usize;

/// What a timer of a consumer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The consumer has had no worker for `inactive_after`.
    Inactive,
    /// A deadline, or the end of a back-off.
    Event(u64),
    /// The end of a worker's turn.
    Turn,
}
