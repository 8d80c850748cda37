//! The window of a log elsewhere: history that holds the newest events of the log only.
//!
//! The window has every event after its [start](super::History::start) that the log still has, and applies the same bounds
//! to them as the log. Events up to its start are in the log only: they are no losses, and a cursor that is before the start
//! [waits](super::super::fetch) for the log. Only whole prefixes leave the window, so its start is one sequence number.

/// The bounds of a window. Above them, its oldest events leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Maximum number of events, retained ones included; at least 1.
    pub events: usize,
    /// Maximum cost of the events that topics have within their bounds, in bytes. The newest event always stays.
    pub bytes: usize,
}
