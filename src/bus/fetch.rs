//! Events that are not in memory: a subscriber that reads them waits for the log.
//!
//! The bus does no I/O. A read that reaches such an event records what it [wants](Wanted), and waits. The owner of the log
//! takes these requests, reads without the lock of the bus, and [hands over](super::Bus::hand_over) the events. Only that
//! subscriber waits. The caller owns the events it hands over, and bounds them: once they are dropped, a cursor that has not
//! read them requests them again.
//!
//! There are two cases. With history on disk, the bus has the entry of each event in memory, and requests a known event.
//! With a log elsewhere, the bus has a [window](super::history::Window) of it, and requests a range of sequence numbers before
//! the window: the reply has the events of the range, or of its beginning, that match the filters, and the losses among them. A
//! cursor reads such ranges one after another, each from where the last one ended, until it is in the window.

use super::{
    history::{Entry, SnapshotKind},
    ids::ClientId,
};
use crate::{
    event::{Check, Event},
    protocol::Refused,
    topic::FilterSet,
};

/// A request of a subscriber for events that are not in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The subscriber.
    pub client: ClientId,
    /// The sequence number of the next event to read.
    pub seq: u64,
    /// The end of the range that was handed over last; 0 if there was none.
    pub previous: u64,
    /// The check of the event before `seq`, if the subscriber resumes after it and the log is to verify that it still has it.
    pub check: Option<Check>,
    /// How often the log had been [rewritten](super::Bus::rewrite). Do not hand over the reply to an earlier request.
    pub rewrites: u64,
    /// The filters of its events. The reply may have events of other topics, too.
    pub filters: FilterSet,
    /// The last sequence number to read. The reply may end earlier. Events after it are ignored, unless they are on disk.
    pub upto: u64,
    /// The retained or the newest events of the topics, or None for all events.
    pub snapshot: Option<SnapshotKind>,
    /// A time in milliseconds since 1970: earlier events are not needed.
    pub since: Option<u64>,
    /// The index of the first loss to report, among all losses of the log; `u64::MAX` for none.
    pub losses_from: u64,
    /// A sequence number. Earlier losses of events after it are reported too, without a number of events: the log may have
    /// lost them after the subscription. `u64::MAX` if there are none.
    pub uncertain_after: u64,
}

/// All events of the log that were requested, in a range of sequence numbers.
#[derive(Debug, Default)]
pub struct Fetched {
    /// The events, in order.
    pub events: Vec<Event>,
    /// The events that the log has lost, by the first of each range. Empty for events on disk: an event of the range that is
    /// not in `events` cannot be read.
    pub lost: Vec<LostRange>,
    /// The index of the next loss, among all losses of the log.
    pub losses_end: u64,
    /// The first sequence number of the range.
    pub from: u64,
    /// The last sequence number of the range.
    pub upto: u64,
    /// The event before the range has another check than was wanted: the log has lost the event that the subscriber had.
    pub rewritten: bool,
    /// Why the log cannot be read now. A subscription to history only then ends with this error; any other requests the
    /// events again, at the pace of the replies.
    pub refused: Option<Refused>,
}

/// Events that the log has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostRange {
    /// The first of them.
    pub from: u64,
    /// The last of them.
    pub to: u64,
    /// How many of them match the filters; None if that is unknown.
    pub missed: Option<u64>,
}

impl Fetched {
    /// Returns true if a sequence number is in the range.
    pub(super) fn contains(&self, seq: u64) -> bool {
        (self.from..=self.upto).contains(&seq)
    }
}

/// The location of an entry's event.
pub(super) enum Found<'a> {
    /// In memory.
    Here(&'a Event),
    /// On disk; it must be requested.
    OnDisk,
    /// It should be on disk and is not.
    Lost,
}

/// Finds the event of an entry.
pub(super) fn find<'a>(entry: &'a Entry, fetched: Option<&'a Fetched>) -> Found<'a> {
    match (&entry.event, fetched) {
        (Some(event), _) => Found::Here(event),
        (None, Some(fetched)) if fetched.contains(entry.seq) => {
            let index = fetched.events.binary_search_by_key(&entry.seq, |event| event.id.seq);
            index.map_or(Found::Lost, |index| Found::Here(&fetched.events[index]))
        }
        (None, _) => Found::OnDisk,
    }
}
