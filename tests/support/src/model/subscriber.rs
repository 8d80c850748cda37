//! What one subscriber must receive according to the model.
//!
//! The rule: before an event is delivered, every earlier event that matches was delivered or covered by a gap. So a
//! client that disconnects at any id and resumes from it misses nothing silently.

use std::{collections::BTreeSet, sync::Arc};

use sse_bus::{
    bus::{ClientId, Format, SharedCursorId, history::SnapshotKind},
    protocol::Slow,
};

use super::{
    live::{Inbox, Received},
    log::Log,
    subscription::{Asked, Counter},
    wire::{Envelope, Item},
};

/// A gap that was sent.
#[derive(Debug)]
struct SentGap {
    text: String,
    missed: Option<u64>,
    /// The events that it adds: those that it covers and no earlier gap did.
    events: BTreeSet<u64>,
}

#[derive(Debug)]
pub struct Subscriber {
    pub id: ClientId,
    pub asked: Asked,
    /// Its shared cursor while it is up to date.
    pub shared: Option<SharedCursorId>,
    pub connected: bool,
    /// The subscriber must receive all matching events after this one.
    pub start: u64,
    /// Events up to `start` that it must receive as well: retained and newest events.
    pub older: BTreeSet<u64>,
    /// The snapshot that it begins with.
    pub snapshot: Option<SnapshotKind>,
    /// Later events that it need not receive: evicted before it subscribed.
    pub excused: BTreeSet<u64>,
    /// Events that exceeded the bounds when it subscribed but were not yet evicted: delivered only if the bounds are widened.
    pub stale: BTreeSet<u64>,
    /// Events that exceed the bounds now but are not yet evicted: no snapshot contains them.
    pub hidden: BTreeSet<u64>,
    /// The reason of the gap that must come first, if the bus does not know the requested id.
    pub lost_position: Option<&'static str>,
    /// The expected live-only events.
    pub inbox: Inbox,
    /// All ids received, in order.
    pub ids: Vec<String>,
    pub delivered: BTreeSet<u64>,
    gaps: Vec<SentGap>,
    /// The sequence number up to which everything was delivered or covered.
    accounted: u64,
    last_event: Option<u64>,
    last_id: u64,
    /// Its stream sends positions: first, and when the last id has become old.
    pub has_position: bool,
    /// It has received nothing yet.
    is_new: bool,
    /// A gap's range extends past its id: the next event must be within it.
    open_range: Option<u64>,
    pub wakes: Arc<Counter>,
    /// The wake-ups counted when it began to wait.
    pub waiting: Option<usize>,
    /// The head of the log when it last was up to date.
    pub drained_at: u64,
}

impl Subscriber {
    pub fn new(id: ClientId, asked: Asked, start: u64, log: &Log) -> Subscriber {
        Subscriber {
            id,
            inbox: Inbox::new(asked.filters, asked.past_only, log),
            asked,
            shared: None,
            connected: true,
            start,
            older: BTreeSet::new(),
            snapshot: None,
            excused: BTreeSet::new(),
            stale: BTreeSet::new(),
            hidden: BTreeSet::new(),
            lost_position: None,
            ids: Vec::new(),
            delivered: BTreeSet::new(),
            gaps: Vec::new(),
            accounted: start,
            last_event: None,
            last_id: 0,
            has_position: false,
            is_new: true,
            open_range: None,
            wakes: Arc::default(),
            waiting: None,
            drained_at: log.head(),
        }
    }

    pub fn wake_count(&self) -> usize {
        self.wakes.count()
    }

    /// Checks a read. `Err` is what was wrong with it.
    pub fn take(&mut self, item: &Item, log: &Log) -> Result<(), String> {
        let is_first = std::mem::take(&mut self.is_new);
        let is_position = matches!(item, Item::Position { .. });
        if is_first && self.has_position && self.lost_position.is_none() && !is_position {
            return Err("its position first".into());
        }
        match item {
            Item::Position { id } => self.position(id, log),
            Item::Event { id: Some(id), kind, data, envelope, .. } => {
                self.event(id, kind.as_deref(), data, envelope.as_ref(), log)
            }
            Item::Event { id: None, position, kind, data, envelope } => {
                if let Some(reason) = self.lost_position {
                    return Err(format!("first a gap `{reason}`"));
                }
                let is_text = self.asked.format == Format::SseData;
                let (kind, envelope, position) = (kind.as_deref(), envelope.as_ref(), position.as_deref());
                self.inbox.take(&Received { kind, data, envelope, position, is_text }, self.last_event, log)
            }
            Item::Gap { id, reason, missed, from, to } => self.gap(id, reason, *missed, from, to, log),
            Item::End { position } if self.asked.past_only && *position == log.id(log.head()) => Ok(()),
            Item::End { .. } => Err(format!("no end, or one at {}", log.id(log.head()))),
        }
    }

    fn event(
        &mut self,
        id: &str,
        kind: Option<&str>,
        data: &str,
        envelope: Option<&Envelope>,
        log: &Log,
    ) -> Result<(), String> {
        let seq = log.seq(id)?;
        let event = log.get(seq).ok_or("an event that was published")?;
        if let Some(reason) = self.lost_position {
            return Err(format!("first a gap `{reason}`"));
        }
        if self.last_event.is_some_and(|last| last >= seq) || self.last_id > seq {
            return Err(format!("an id above {}", self.last_id));
        }
        if self.open_range.take().is_some_and(|to| to < seq) {
            return Err("a gap whose id is its `to`, as no event follows within its range".into());
        }
        event.check(kind, data, envelope, self.asked.format == Format::SseData)?;
        if !log.wants(self.asked.filters, seq) {
            return Err("only events that it subscribed to".into());
        }
        if seq <= self.start && !self.older.contains(&seq) && !self.is_in_snapshot(seq, log) {
            return Err(format!("only events after {}, and {:?}", self.start, self.older));
        }
        if self.excused.contains(&seq) {
            return Err("no event that history had evicted before".into());
        }
        if self.stale.contains(&seq) {
            return Err("no event that was outside of its bounds before".into());
        }
        self.account(seq, log)?;
        self.inbox.before(seq, log)?;
        self.delivered.insert(seq);
        (self.last_event, self.last_id) = (Some(seq), seq);
        self.ids.push(id.into());
        Ok(())
    }

    /// A subscription from a position misses nothing.
    fn position(&mut self, id: &str, log: &Log) -> Result<(), String> {
        let seq = log.seq(id)?;
        if !self.has_position || self.lost_position.is_some() {
            return Err("no position".into());
        }
        if seq < self.last_id || seq > log.head() {
            return Err(format!("a position from {} to {}", self.last_id, log.head()));
        }
        self.account(seq + 1, log)?;
        self.last_id = seq;
        self.ids.push(id.into());
        Ok(())
    }

    fn gap(
        &mut self,
        id: &str,
        reason: &str,
        missed: Option<u64>,
        from: &str,
        to: &str,
        log: &Log,
    ) -> Result<(), String> {
        let (position, last) = (log.seq(id)?, log.seq(to)?);
        let unknown_position = self.lost_position.take();
        let from = if unknown_position.is_some() { 1 } else { log.seq(from)? };
        let expected = unknown_position.map_or(["evicted", "lagged"], |reason| [reason, reason]);
        if !expected.contains(&reason) {
            return Err(format!("a reason among {expected:?}"));
        }
        if unknown_position.is_some() && missed.is_some() {
            return Err("no number for what cannot be known".into());
        }
        if position < self.last_id || position > last {
            return Err(format!("an id from {} to {last}", self.last_id));
        }
        if position < last {
            self.open_range = Some(last);
        }
        // Events skipped by `latest` may still be in history. All other missed ones must be gone.
        let jumped = reason == "lagged" && self.asked.slow == Slow::Latest;
        let first = from.max(self.start + 1).max(self.accounted + 1);
        let events: BTreeSet<u64> = (first..=last)
            .filter(|seq| self.owes(*seq, log) && !self.covers(*seq))
            .filter(|seq| jumped || log.is_gone(*seq))
            .collect();
        let is_empty = if jumped { !(from..=last).any(|seq| self.owes(seq, log)) } else { events.is_empty() };
        let may_be_live = reason == "lagged" && missed.is_none();
        let misses_live = may_be_live && self.inbox.is_missing(log);
        let may_repeat = log.has_forgotten || (log.has_window && missed.is_none());
        if is_empty && unknown_position.is_none() && !may_repeat && !misses_live {
            return Err("a gap only where something was missed".into());
        }
        if may_be_live {
            self.inbox.gap(jumped, log);
        }
        let text = format!("{reason} {from}..={last} missed {missed:?}");
        self.gaps.push(SentGap { text, missed, events });
        self.account(position + 1, log)?;
        self.last_id = position;
        self.ids.push(id.into());
        Ok(())
    }

    /// Returns true if the subscriber must receive an event of the log, or a gap for it.
    fn owes(&self, seq: u64, log: &Log) -> bool {
        log.wants(self.asked.filters, seq) && !self.delivered.contains(&seq) && !self.excused.contains(&seq)
    }

    fn covers(&self, seq: u64) -> bool {
        self.gaps.iter().any(|gap| gap.events.contains(&seq))
    }

    /// Returns true if its initial snapshot contains an event now: events replaced or evicted since the subscription
    /// are not in it any more, and those that they hid are.
    fn is_in_snapshot(&self, seq: u64, log: &Log) -> bool {
        match self.snapshot {
            Some(SnapshotKind::Newest) => log.newest(self.asked.filters, &self.stale).any(|newest| newest == seq),
            Some(SnapshotKind::Retained) => log.retained(self.asked.filters).any(|retained| retained == seq),
            None => false,
        }
    }

    /// Checks that everything before `end` was delivered or covered.
    fn account(&mut self, end: u64, log: &Log) -> Result<(), String> {
        let silent = |seq: &u64| self.owes(*seq, log) && !self.covers(*seq) && !log.has_expired(*seq);
        if let Some(seq) = (self.accounted + 1..end).find(silent) {
            return Err(format!("first event {seq} (topic {}), or a gap for it", log.topic(seq)));
        }
        let is_owed = |seq: &&u64| {
            !self.delivered.contains(seq)
                && !self.hidden.contains(seq)
                && !log.has_expired(**seq)
                && self.is_in_snapshot(**seq, log)
        };
        if let Some(seq) = self.older.range(..end).find(is_owed) {
            return Err(format!("first the older event {seq} (topic {})", log.topic(*seq)));
        }
        if end > self.start {
            // Its snapshot has been read.
            (self.snapshot, self.older) = (None, BTreeSet::new());
        }
        self.accounted = self.accounted.max(end - 1);
        Ok(())
    }

    /// Nothing is left to read.
    pub fn drained(&mut self, log: &Log) -> Result<(), String> {
        if let Some(reason) = self.lost_position {
            return Err(format!("a gap `{reason}`"));
        }
        self.account(log.head() + 1, log)?;
        if self.is_new && self.has_position {
            return Err("its position".into());
        }
        self.inbox.drained(log)?;
        self.drained_at = log.head();
        self.count(log)?;
        // With any policy, the newest event of each topic has been delivered.
        for seq in log.newest(self.asked.filters, &self.stale).filter(|seq| *seq > self.start && log.is_newest(*seq)) {
            if !self.delivered.contains(&seq) && !log.has_expired(seq) {
                return Err(format!("event {seq}, the newest of {}", log.topic(seq)));
            }
        }
        Ok(())
    }

    /// The numbers in gaps are exact; a missed event with a TTL may be counted or not.
    fn count(&self, log: &Log) -> Result<(), String> {
        let bounds = |gap: &SentGap| {
            let missed = || gap.events.iter().filter(|seq| !self.delivered.contains(seq));
            (missed().filter(|seq| !log.has_ttl(**seq)).count() as u64, missed().count() as u64)
        };
        let (mut least, mut most, mut sum) = (0, 0, Some(0));
        for gap in &self.gaps {
            let (low, high) = bounds(gap);
            (least, most) = (least + low, most + high);
            sum = sum.zip(gap.missed).map(|(a, b)| a + b);
            if self.asked.slow != Slow::Latest && gap.missed.is_some_and(|n| n < low || n > high) {
                return Err(format!("{low} to {high} missed in the gap {}, which covers {:?}", gap.text, gap.events));
            }
        }
        match sum {
            Some(sum) if sum < least || sum > most => Err(format!("{least} to {most} missed in all, not {sum}")),
            _ => Ok(()),
        }
    }

    /// The number of matching events since it was last up to date that have not reached it.
    pub fn behind(&self, log: &Log) -> u64 {
        let newer = self.drained_at + 1..=log.head();
        let newer = newer.filter(|seq| log.wants(self.asked.filters, *seq) && !self.delivered.contains(seq));
        (newer.count() + self.inbox.owed(log)[1]) as u64
    }

    /// Events that it has received.
    pub fn received(&self) -> u64 {
        self.delivered.len() as u64 + self.inbox.delivered
    }

    pub fn gaps_received(&self) -> u64 {
        self.gaps.len() as u64
    }
}
