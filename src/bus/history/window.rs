//! The window of a log elsewhere: history that holds the newest events of the log only.
//!
//! The window has every event after its [start](super::History::start) that the log still has, and applies the same bounds
//! to them as the log. Events up to its start are in the log only: they are no losses, and a cursor that is before the start
//! [waits](super::super::fetch) for the log. Only whole prefixes leave the window, so its start is one number.

use super::Memory;

/// The bounds of a window. Above them, its oldest events leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Maximum number of events, retained ones included; at least 1.
    pub events: usize,
    /// Maximum cost of the events that topics have within their bounds, in bytes. The newest event always stays.
    pub bytes: usize,
}

impl Memory {
    /// Removes the oldest events from the window while it is above its bounds. Each event adds one, so this is one step after
    /// each, except for events that are larger than those before.
    pub(super) fn slide(&mut self) {
        let Some(window) = self.window else { return };
        while self.log.len() + self.pinned.len() > window.events
            || (self.totals.bytes > window.bytes && self.log.len() > 1)
        {
            let (log, pinned) = (self.log.first_key_value(), self.pinned.first_key_value());
            let oldest = log.into_iter().chain(pinned).map(|(seq, entry)| (*seq, entry.topic)).min();
            let Some((seq, key)) = oldest else { return };
            self.start = seq;
            if let Some(entry) = self.log.remove(&seq) {
                let topic = &mut self.topics[key];
                topic.seqs.pop_front();
                topic.newest.remove_oldest(seq);
                topic.bytes -= entry.cost;
                self.totals.bytes -= entry.cost;
                self.totals.events -= 1;
                self.forget_retained(key, seq, entry.cost, entry.expires);
            } else if let Some(entry) = self.pinned.remove(&seq) {
                self.forget_retained(key, seq, entry.cost, entry.expires);
            }
        }
    }
}
