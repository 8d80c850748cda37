//! Events that are live only: those that were published, and what one subscriber must see of them.
//!
//! They are delivered in order, among the events of the log. One that is for this subscriber alone, and that it took, is
//! delivered whatever happens. Those about clients come from its feed: a subscriber that the feed leaves behind, or that reads
//! the past first, misses them, and a gap says so before it has everything.

use std::collections::BTreeSet;

use super::{
    log::{Log, Sent},
    wire::Envelope,
};

/// What was published.
pub struct LiveEvent {
    sent: Sent,
    /// The head at that time.
    after: u64,
    /// The client that it is about; none for an event for one client.
    about: Option<String>,
}

impl LiveEvent {
    /// A client comes or goes.
    pub fn about(client: &str, what: &str, unix: u64, after: u64) -> LiveEvent {
        LiveEvent { sent: Sent::new("$sys/clients", Some(what), None, unix, 0), after, about: Some(client.into()) }
    }

    /// An event for one client. The data must be unlike that of all others.
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
    /// Where the format has no events without an id.
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

/// What one subscriber must see.
#[derive(Debug, Default)]
pub struct Inbox {
    filters: usize,
    past_only: bool,
    /// What was published before this one is done with.
    next: usize,
    /// Events about clients are owed from this one on, and may come from that one on.
    owed_from: usize,
    may_come_from: usize,
    /// It has missed some, and no gap has said so yet.
    has_missed: bool,
    /// Events for it alone: those that it took, and those that it may have taken.
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

    /// Events that are still to come: for it alone, and about clients.
    pub fn owed(&self, log: &Log) -> [usize; 2] {
        let rest = || self.next..log.live.len();
        [rest().filter(|i| self.taken.contains(i)).count(), rest().filter(|i| self.owes_presence(*i, log)).count()]
    }

    /// Whether a gap for them has a reason. Where a gap before it was of a jump, some may have been missed after that.
    pub fn is_missing(&self, log: &Log) -> bool {
        let from = self.next.max(self.may_come_from);
        self.has_missed || (from..log.live.len()).any(|i| self.wants_presence(i, log))
    }

    /// Whether events for it alone may wait for it.
    pub fn has_unicast_waiting(&self) -> bool {
        self.taken.union(&self.perhaps).any(|index| *index >= self.next)
    }

    /// Takes one that was received after an event of the log.
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
            return Err(format!("the position {} in the place of an id", event.after));
        }
        self.next = index + 1;
        self.delivered += 1;
        Ok(())
    }

    /// Those before `end` do not come any more.
    fn pass(&mut self, end: usize, log: &Log) -> Result<(), String> {
        if let Some(index) = (self.next..end).find(|i| self.taken.contains(i)) {
            return Err(format!("first the event {index} that is for it alone"));
        }
        self.has_missed |= (self.next..end).any(|i| self.owes_presence(i, log));
        self.next = self.next.max(end);
        Ok(())
    }

    /// An event of the log was delivered: what was published before it does not come any more.
    pub fn before(&mut self, seq: u64, log: &Log) -> Result<(), String> {
        self.pass(log.live.partition_point(|event| event.after < seq), log)
    }

    /// A gap stands for those about clients so far: for all, or for those before a jump, which may be some time ago.
    pub fn gap(&mut self, has_jumped: bool, log: &Log) {
        (self.has_missed, self.owed_from) = (false, log.live.len());
        if !has_jumped {
            self.may_come_from = self.owed_from;
        }
    }

    /// Nothing is left to read.
    pub fn drained(&mut self, log: &Log) -> Result<(), String> {
        self.pass(log.live.len(), log)?;
        self.perhaps.clear();
        if self.has_missed { Err("the live events about clients, or a gap".into()) } else { Ok(()) }
    }
}
