//! What one subscriber must see, as the model has it.
//!
//! The rule: when an event is delivered, every earlier event that the subscriber wants has been delivered, or a gap that
//! covers it has been told. Then whoever leaves at any id and comes back with it misses nothing silently.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Wake,
};

use sse_bus::{
    bus::{ClientId, Format, GroupId, history::SnapshotKind},
    protocol::{Slow, sse::PositionForm},
};

use super::{
    live::{Inbox, Received},
    log::Log,
    wire::{Envelope, Item},
};

/// Counts how often it is woken.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicUsize);

impl Counter {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A gap that was told.
#[derive(Debug)]
struct Told {
    text: String,
    missed: Option<u64>,
    /// The events that it stands for: those that it covers and no earlier gap did.
    events: BTreeSet<u64>,
}

/// What a subscriber asks for, but where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) filters: usize,
    pub(crate) format: Format,
    pub(crate) slow: Slow,
    pub(crate) name: Option<String>,
    pub(crate) past_only: bool,
    /// Who reads for it while it has everything.
    pub(crate) reader: Option<usize>,
}

impl Asked {
    /// Each form in turn; streams alone have any.
    pub(crate) fn position_form(&self, number: usize) -> PositionForm {
        let form = [PositionForm::Event, PositionForm::Id, PositionForm::None][number % 3];
        if self.format.has_heartbeat() { form } else { PositionForm::None }
    }

    pub(crate) fn feed(&self) -> (usize, Format) {
        (self.filters, self.format)
    }
}

#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) id: ClientId,
    pub(crate) asked: Asked,
    /// The group in which it is while it has everything.
    pub(crate) group: Option<GroupId>,
    pub(crate) connected: bool,
    /// All wanted events after this one are owed.
    pub(crate) start: u64,
    /// Owed although they came earlier: retained and newest events.
    pub(crate) older: BTreeSet<u64>,
    /// What it begins with.
    pub(crate) snapshot: Option<SnapshotKind>,
    /// Not owed although they came later: gone before the subscription.
    pub(crate) excused: BTreeSet<u64>,
    /// Not to be delivered unless the bounds become wider: the bus still had them at the subscription, but beyond those.
    pub(crate) stale: BTreeSet<u64>,
    /// Beyond their bounds now, where the bus has not evicted all such events yet: no snapshot shows them.
    pub(crate) hidden: BTreeSet<u64>,
    /// The reason of the gap that must come first, if its own place is unknown to the bus.
    pub(crate) lost_place: Option<&'static str>,
    /// What is live only.
    pub(crate) inbox: Inbox,
    /// All ids received, in order.
    pub(crate) ids: Vec<String>,
    pub(crate) delivered: BTreeSet<u64>,
    told: Vec<Told>,
    /// Up to here everything is accounted for.
    accounted: u64,
    last_event: Option<u64>,
    last_id: u64,
    /// Its stream tells its position: first of all, and when the last id has become old.
    pub(crate) has_position: bool,
    /// It has received nothing yet.
    is_new: bool,
    /// A gap's range goes on behind its id: the next event must be within it.
    open_range: Option<u64>,
    pub(crate) wakes: Arc<Counter>,
    /// How often it had been woken when it began to wait.
    pub(crate) waiting: Option<usize>,
    /// The head when it last had read everything.
    pub(crate) drained_at: u64,
}

impl Subscriber {
    pub(crate) fn new(id: ClientId, asked: Asked, start: u64, log: &Log) -> Subscriber {
        Subscriber {
            id,
            inbox: Inbox::new(asked.filters, asked.past_only, log),
            asked,
            group: None,
            connected: true,
            start,
            older: BTreeSet::new(),
            snapshot: None,
            excused: BTreeSet::new(),
            stale: BTreeSet::new(),
            hidden: BTreeSet::new(),
            lost_place: None,
            ids: Vec::new(),
            delivered: BTreeSet::new(),
            told: Vec::new(),
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

    pub(crate) fn wake_count(&self) -> usize {
        self.wakes.count()
    }

    /// Takes what was read. `Err` says what was wrong with it.
    pub(crate) fn take(&mut self, item: &Item, log: &Log) -> Result<(), String> {
        let is_first = std::mem::take(&mut self.is_new);
        let is_position = matches!(item, Item::Position { .. });
        if is_first && self.has_position && self.lost_place.is_none() && !is_position {
            return Err("its position first".into());
        }
        match item {
            Item::Position { id } => self.position(id, log),
            Item::Event { id: Some(id), kind, data, envelope, .. } => {
                self.event(id, kind.as_deref(), data, envelope.as_ref(), log)
            }
            Item::Event { id: None, position, kind, data, envelope } => {
                if let Some(reason) = self.lost_place {
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
        if let Some(reason) = self.lost_place {
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
            return Err("no event that history had let go before".into());
        }
        if self.stale.contains(&seq) {
            return Err("no event that was beyond its bounds before".into());
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
        if !self.has_position || self.lost_place.is_some() {
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
        let (place, last) = (log.seq(id)?, log.seq(to)?);
        let unknown_place = self.lost_place.take();
        let from = if unknown_place.is_some() { 1 } else { log.seq(from)? };
        let expected = unknown_place.map_or(["evicted", "lagged"], |reason| [reason, reason]);
        if !expected.contains(&reason) {
            return Err(format!("a reason among {expected:?}"));
        }
        if unknown_place.is_some() && missed.is_some() {
            return Err("no number for what cannot be known".into());
        }
        if place < self.last_id || place > last {
            return Err(format!("an id from {} to {last}", self.last_id));
        }
        if place < last {
            self.open_range = Some(last);
        }
        // What `latest` leaves out may still be in history. All else that is told must be gone.
        let jumped = reason == "lagged" && self.asked.slow == Slow::Latest;
        let first = from.max(self.start + 1).max(self.accounted + 1);
        let events: BTreeSet<u64> = (first..=last)
            .filter(|seq| self.owes(*seq, log) && !self.covers(*seq))
            .filter(|seq| jumped || log.is_gone(*seq))
            .collect();
        let is_empty = if jumped { !(from..=last).any(|seq| self.owes(seq, log)) } else { events.is_empty() };
        let may_be_live = reason == "lagged" && missed.is_none();
        let misses_live = may_be_live && self.inbox.is_missing(log);
        if is_empty && unknown_place.is_none() && !log.has_forgotten && !misses_live {
            return Err("a gap only where something was missed".into());
        }
        if may_be_live {
            self.inbox.gap(jumped, log);
        }
        let text = format!("{reason} {from}..={last} missed {missed:?}");
        self.told.push(Told { text, missed, events });
        self.account(place + 1, log)?;
        self.last_id = place;
        self.ids.push(id.into());
        Ok(())
    }

    /// Whether the subscriber must get an event of the log, or be told that it does not.
    fn owes(&self, seq: u64, log: &Log) -> bool {
        log.wants(self.asked.filters, seq) && !self.delivered.contains(&seq) && !self.excused.contains(&seq)
    }

    fn covers(&self, seq: u64) -> bool {
        self.told.iter().any(|told| told.events.contains(&seq))
    }

    /// Whether the snapshot that it begins with has an event now: what was replaced or evicted since the subscription is not
    /// in it any more, and what it hid is.
    fn is_in_snapshot(&self, seq: u64, log: &Log) -> bool {
        match self.snapshot {
            Some(SnapshotKind::Newest) => log.newest(self.asked.filters, &self.stale).any(|newest| newest == seq),
            Some(SnapshotKind::Retained) => log.retained(self.asked.filters).any(|retained| retained == seq),
            None => false,
        }
    }

    /// Everything before `end` must be delivered or told now.
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
    pub(crate) fn drained(&mut self, log: &Log) -> Result<(), String> {
        if let Some(reason) = self.lost_place {
            return Err(format!("a gap `{reason}`"));
        }
        self.account(log.head() + 1, log)?;
        if self.is_new && self.has_position {
            return Err("its position".into());
        }
        self.inbox.drained(log)?;
        self.drained_at = log.head();
        self.count(log)?;
        // Whatever the policy, the newest of each topic has been delivered.
        for seq in log.newest(self.asked.filters, &self.stale).filter(|seq| *seq > self.start && log.is_newest(*seq)) {
            if !self.delivered.contains(&seq) && !log.has_expired(seq) {
                return Err(format!("event {seq}, the newest of {}", log.topic(seq)));
            }
        }
        Ok(())
    }

    /// The numbers in gaps are exact; the TTL of a missed event may make it count or not.
    fn count(&self, log: &Log) -> Result<(), String> {
        let bounds = |told: &Told| {
            let missed = || told.events.iter().filter(|seq| !self.delivered.contains(seq));
            (missed().filter(|seq| !log.has_ttl(**seq)).count() as u64, missed().count() as u64)
        };
        let (mut least, mut most, mut sum) = (0, 0, Some(0));
        for told in &self.told {
            let (low, high) = bounds(told);
            (least, most) = (least + low, most + high);
            sum = sum.zip(told.missed).map(|(a, b)| a + b);
            if self.asked.slow != Slow::Latest && told.missed.is_some_and(|n| n < low || n > high) {
                return Err(format!(
                    "{low} to {high} missed in the gap {}, which stands for {:?}",
                    told.text, told.events
                ));
            }
        }
        match sum {
            Some(sum) if sum < least || sum > most => Err(format!("{least} to {most} missed in all, not {sum}")),
            _ => Ok(()),
        }
    }

    /// How many of the events that it wants came after it last had read everything, and have not reached it.
    pub(crate) fn behind(&self, log: &Log) -> u64 {
        let newer = self.drained_at + 1..=log.head();
        let newer = newer.filter(|seq| log.wants(self.asked.filters, *seq) && !self.delivered.contains(seq));
        (newer.count() + self.inbox.owed(log)[1]) as u64
    }

    /// Events that it has received.
    pub(crate) fn received(&self) -> u64 {
        self.delivered.len() as u64 + self.inbox.delivered
    }

    pub(crate) fn gaps_told(&self) -> u64 {
        self.told.len() as u64
    }
}
