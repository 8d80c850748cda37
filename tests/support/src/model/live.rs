//! Live-only events: which were published, and which of them one subscriber must receive.
//!
//! They are delivered in order, between the events of the log. An event for this subscriber alone, once accepted, is always
//! delivered. Events about clients are in its feed only: a subscriber that falls behind its feed, or reads history first,
//! misses them, and receives a gap for them before it is up to date.

use std::collections::BTreeSet;

use super::{
    log::{Log, Sent},
    wire::Envelope,
};

/// A published live-only event.
pub struct LiveEvent {
    sent: Sent,
    /// The head of the log when it was published.
    after: u64,
    /// The client that it describes; None for an event for one client.
    about: Option<String>,
}

impl LiveEvent {
    /// Returns the event that a client has connected or disconnected.
    pub fn about(client: &str, what: &str, unix: u64, after: u64) -> LiveEvent {
        LiveEvent { sent: Sent::new("$sys/clients", Some(what), None, unix, 0), after, about: Some(client.into()) }
    }

    /// Returns an event for one client. Its data must differ from that of all other events.
    pub fn unicast(sent: Sent, after: u64) -> LiveEvent {
        LiveEvent { sent, after, about: None }
    }

    fn is_unicast(&self) -> bool {
        self.about.is_none()
    }
}

/// An event without an id that was received.
pub struct Received<'a> {
    pub kind: Option<&'a str>,
    pub data: &'a str,
    pub envelope: Option<&'a Envelope>,
    /// The id that the format sends instead, if it has no events without an id.
    pub position: Option<&'a str>,
    pub is_text: bool,
}

impl Received<'_> {
    fn is(&self, event: &LiveEvent) -> bool {
        let about = || serde_json::from_str::<serde_json::Value>(self.data).ok()?["id"].as_str().map(str::to_owned);
        (event.is_unicast() || about() == event.about)
            && event.sent.check(self.kind, self.data, self.envelope, self.is_text).is_ok()
    }
}

/// The live-only events that one subscriber must receive.
#[derive(Debug, Default)]
pub struct Inbox {
    filters: usize,
    past_only: bool,
    /// The index of the first live-only event that may still be delivered.
    next: usize,
    /// The indexes from which on events about clients must be delivered, and may be delivered.
    owed_from: usize,
    may_come_from: usize,
    /// It has missed some, and no gap has reported that yet.
    has_missed: bool,
    /// Events for it alone: those that were accepted, and those that may have been.
    pub taken: BTreeSet<usize>,
    pub perhaps: BTreeSet<usize>,
    pub delivered: u64,
}

impl Inbox {
    pub fn new(filters: usize, past_only: bool, log: &Log) -> Inbox {
        let now = log.live.len();
        Inbox { filters, past_only, next: now, owed_from: now, may_come_from: now, ..Inbox::default() }
    }

    fn wants_presence(&self, index: usize, log: &Log) -> bool {
        let event = &log.live[index];
        !self.past_only && !event.is_unicast() && event.sent.is_wanted(self.filters)
    }

    fn owes_presence(&self, index: usize, log: &Log) -> bool {
        index >= self.owed_from && self.wants_presence(index, log)
    }

    fn may_come(&self, index: usize, log: &Log) -> bool {
        let is_own = self.taken.contains(&index) || self.perhaps.contains(&index);
        is_own || (index >= self.may_come_from && self.wants_presence(index, log))
    }

    /// Returns how many events must still be delivered: those for it alone, and those about clients.
    pub fn owed(&self, log: &Log) -> [usize; 2] {
        let rest = || self.next..log.live.len();
        [rest().filter(|i| self.taken.contains(i)).count(), rest().filter(|i| self.owes_presence(*i, log)).count()]
    }

    /// Returns true if a gap may be for live-only events. After a gap for a jump, more of them may have been missed.
    pub fn is_missing(&self, log: &Log) -> bool {
        let from = self.next.max(self.may_come_from);
        self.has_missed || (from..log.live.len()).any(|i| self.wants_presence(i, log))
    }

    /// Returns true if events for it alone may be waiting.
    pub fn has_unicast_waiting(&self) -> bool {
        self.taken.union(&self.perhaps).any(|index| *index >= self.next)
    }

    /// Checks a live-only event that was received after an event of the log.
    pub fn take(&mut self, received: &Received<'_>, last_event: Option<u64>, log: &Log) -> Result<(), String> {
        let found = (self.next..log.live.len()).find(|i| self.may_come(*i, log) && received.is(&log.live[*i]));
        let index = found.ok_or("an event without an id only if it was published for this client, and in order")?;
        let event = &log.live[index];
        if !event.is_unicast() && (self.has_missed || (self.next..index).any(|i| self.owes_presence(i, log))) {
            return Err("first a gap, or the live events before".into());
        }
        self.pass(index, log)?;
        if last_event.is_some_and(|last| last > event.after) {
            return Err(format!("the live event before events after {}", event.after));
        }
        if received.position.is_some_and(|position| position != log.id(event.after)) {
            return Err(format!("the position {} instead of an id", event.after));
        }
        self.next = index + 1;
        self.delivered += 1;
        Ok(())
    }

    /// Ends the delivery of the events before `end`.
    fn pass(&mut self, end: usize, log: &Log) -> Result<(), String> {
        if let Some(index) = (self.next..end).find(|i| self.taken.contains(i)) {
            return Err(format!("first the event {index} that is for it alone"));
        }
        self.has_missed |= (self.next..end).any(|i| self.owes_presence(i, log));
        self.next = self.next.max(end);
        Ok(())
    }

    /// Ends the delivery of what was published before an event of the log, which was delivered.
    pub fn before(&mut self, seq: u64, log: &Log) -> Result<(), String> {
        self.pass(log.live.partition_point(|event| event.after < seq), log)
    }

    /// Records that a gap was sent for the events about clients: for all of them, or for those before an earlier jump.
    pub fn gap(&mut self, has_jumped: bool, log: &Log) {
        (self.has_missed, self.owed_from) = (false, log.live.len());
        if !has_jumped {
            self.may_come_from = self.owed_from;
        }
    }

    /// Checks that nothing is missing when nothing is left to read.
    pub fn drained(&mut self, log: &Log) -> Result<(), String> {
        self.pass(log.live.len(), log)?;
        self.perhaps.clear();
        if self.has_missed { Err("the live events about clients, or a gap".into()) } else { Ok(()) }
    }
}
