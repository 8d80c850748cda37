//! Events that are not in memory: a subscriber that reads them waits for the log.
//!
//! The bus does no I/O. A read that reaches such an event records what it [wants](Wanted), and waits. The owner of the log
//! takes these requests, reads without the lock of the bus, and [hands over](super::Bus::hand_over) the events. Only that
//! subscriber waits. The caller owns the events it hands over, and bounds them: once they are dropped, a cursor that has not
//! read them requests them again.
//!
//! There are two cases:
//!
//! - History on disk: the bus has an entry for each event in memory, and requests the events of entries that it knows.
//! - A log elsewhere, such as on other machines: the bus has only the newest events, the
//!   [window](super::history::Window). It requests a range of sequence numbers before the window. The reply has the matching
//!   events of the range, and the losses in it; it may cover only the beginning of the range. A cursor reads one range after
//!   another until it reaches the window.

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
    /// The check of the event before `seq`, which is a part of its id. It is set if the subscriber resumes after that event,
    /// and the log must verify that it still has it.
    pub check: Option<Check>,
    /// How often the log had been [rewritten](super::Bus::rewrite) at the time of the request. Drop the reply if the log was
    /// rewritten after it.
    pub rewrites: u64,
    /// The filters of the subscriber. The reply may contain events that they do not match.
    pub filters: FilterSet,
    /// The last sequence number to read. The reply may end earlier. Events after it are ignored, unless they are on disk.
    pub upto: u64,
    /// Which events of each topic are requested: the retained one or the newest one. None requests all events.
    pub snapshot: Option<SnapshotKind>,
    /// Milliseconds since 1970. Events before this time are not needed.
    pub since: Option<u64>,
    /// The index of the first loss to report, among all losses of the log; `u64::MAX` to report none.
    pub losses_from: u64,
    /// A sequence number. Losses of later events are reported even if their index is below `losses_from`, because the log
    /// may have lost these events after the subscription began. Such a loss is reported without a number of events.
    /// `u64::MAX` reports none of them.
    pub uncertain_after: u64,
}

/// A reply to [`Wanted`]: all requested events in a range of sequence numbers.
#[derive(Debug, Default)]
pub struct Fetched {
    /// The events, in order.
    pub events: Vec<Event>,
    /// The events that the log has lost, in the order of their sequence numbers. It is empty for history on disk: there an
    /// event of the range that is not in `events` is lost.
    pub lost: Vec<LostRange>,
    /// The index of the next loss to report, among all losses of the log.
    pub losses_end: u64,
    /// The first sequence number of the range.
    pub from: u64,
    /// The last sequence number of the range.
    pub upto: u64,
    /// True if the event before the range has another check than the request: the log has lost the event that the subscriber
    /// received, and has assigned its number again.
    pub rewritten: bool,
    /// Why the log cannot be read now. A subscription to history only then ends with this error. Any other subscription
    /// requests the events again after each such reply.
    pub refused: Option<Refused>,
}

/// Events that the log has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostRange {
    /// The sequence number of the first of them.
    pub from: u64,
    /// The sequence number of the last of them.
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
    /// It was requested and is not on disk.
    Lost,
}

/// Finds the event of an entry: in the entry itself, or in what was fetched for its reader.
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
