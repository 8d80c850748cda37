//! The power fails, or the disk fails for a while, after any number of operations: all confirmed events and all changes of
//! consumers survive, and those of a batch together.

use std::{collections::BTreeMap, time::Instant};

use sse_bus::{
    Topic,
    bus::{
        batch::{Batch, Gone, PublishChanges, TopicRecord},
        consumers::{ConsumerChanges, ConsumerName, ConsumerRecord, EventRecord},
        history::{CrashLoss, Entry, TopicPast, UnattributedLosses},
    },
};

use super::{
    super::{
        files::{Files, Next},
        recovery::Recovered,
    },
    disk::{Accident, Disk},
    support::{Random, TOPICS, events, is_same, topic},
};

/// What the files must contain.
#[derive(Clone, Debug, Default)]
struct Content {
    events: BTreeMap<u64, Entry>,
    topics: BTreeMap<Topic, TopicRecord>,
    forgotten: UnattributedLosses,
    consumers: BTreeMap<ConsumerName, ConsumerRecord>,
    event_states: BTreeMap<(ConsumerName, u64), EventRecord>,
    /// All events up to this sequence number are written.
    upto: u64,
    clock: u64,
    ended: bool,
}

impl Content {
    /// Returns the content after a batch.
    fn after(&self, batch: &Batch, clock: u64, ended: bool) -> Content {
        let (forgotten, upto) = (batch.forgotten.clone(), batch.head);
        let mut content = Content { forgotten, upto, clock, ended, ..self.clone() };
        match &batch.gone {
            Gone::Topics(topics) => content.topics.retain(|topic, _| !topics.contains(topic)),
            Gone::AllOthers => content.topics.clear(),
        }
        content.topics.extend(batch.topics.iter().map(|record| (record.topic.clone(), record.clone())));
        for seq in &batch.removed {
            content.events.remove(seq);
        }
        content.events.extend(batch.entries.iter().map(|entry| (entry.seq, entry.clone())));
        content
    }

    /// Returns the content after changes of consumers.
    fn with_consumers(mut self, changes: &ConsumerChanges) -> Content {
        for name in &changes.removed {
            self.consumers.remove(name);
            self.event_states.retain(|(of, _), _| of != name);
        }
        self.consumers.extend(changes.records.iter().map(|record| (record.name.clone(), record.clone())));
        for (name, seq, record) in &changes.events {
            match record {
                Some(record) => drop(self.event_states.insert((name.clone(), *seq), record.clone())),
                None => drop(self.event_states.remove(&(name.clone(), *seq))),
            }
        }
        self
    }

    /// Returns true if the files have this content. They may also have evicted events.
    fn is_in(&self, recovered: &Recovered, events: &[Entry]) -> bool {
        let mut forgotten = self.forgotten.clone();
        if recovered.has_losses {
            forgotten.add_crash(CrashLoss { after: self.upto, last: recovered.head });
        }
        let mut found = events.iter().filter(|entry| self.events.contains_key(&entry.seq));
        self.events.values().all(|entry| found.next().is_some_and(|found| is_same(found, entry)))
            && recovered.topics.iter().eq(self.topics.values())
            && (&recovered.forgotten, recovered.clock) == (&forgotten, self.clock)
            && recovered.consumers.records.iter().eq(self.consumers.values())
            && recovered
                .consumers
                .events
                .iter()
                .map(|(name, seq, record)| ((name.clone(), *seq), record))
                .eq(self.event_states.iter().map(|(key, record)| (key.clone(), record)))
    }
}

/// A disk, and what is known about its files.
struct Simulation {
    disk: Disk,
    random: Random,
    /// The content that was confirmed last; `None` while the files are new.
    confirmed: Option<Content>,
    /// The unconfirmed content when the power failed, which may have been written.
    under_way: Option<Content>,
    /// All events that were ever written.
    ever: BTreeMap<u64, Entry>,
    /// The last sequence number that was used.
    head: u64,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    opened: usize,
    cut_while_opening: usize,
    written: usize,
    repeated: usize,
    cut_while_writing: usize,
    there_though_cut: usize,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let (disk, random) = (Disk::holding([Vec::new(), Vec::new()]), Random::new(seed));
        let (ever, counts) = (BTreeMap::new(), Counts::default());
        Simulation { disk, random, confirmed: None, under_way: None, ever, head: 0, counts }
    }

    /// Opens the files and writes several batches, until the power fails or the daemon ends.
    fn run_daemon(&mut self) {
        if self.random.once_in(4) {
            let accident = Accident::power(self.random.below(15));
            self.disk.plan(accident);
        }
        // An incomplete new file may be set aside.
        let (is_new, set_aside) = (self.confirmed.is_none(), self.disk.set_aside());
        if let Ok((files, recovered)) = self.disk.open() {
            self.write_some(files, recovered);
        } else {
            self.counts.cut_while_opening += 1;
            // It may be marked as in use already.
            let running = |content: &Content| Content { ended: false, ..content.clone() };
            self.under_way = self.under_way.take().or_else(|| self.confirmed.as_ref().map(running));
        }
        assert!(is_new || self.disk.set_aside() == set_aside, "valid files were set aside");
        assert_eq!(self.disk.wals_set_aside(), 0, "valid files were set aside");
        self.disk.restore_power(&mut self.random);
    }

    fn write_some(&mut self, mut files: Files, recovered: Option<Recovered>) {
        self.inspect(&mut files, recovered);
        for _ in 0..self.random.below(6) {
            let after = self.random.below(12);
            match self.random.below(12) {
                0..2 => self.disk.plan(Accident { after, lasts: 1 + self.random.below(6) }),
                2..5 => self.disk.plan(Accident::power(after)),
                _ => {}
            }
            let batch = self.batch();
            if !self.write(&mut files, &batch, false) {
                return;
            }
        }
        if self.random.once_in(3) {
            let batch = self.batch();
            if self.write(&mut files, &batch, true) && self.random.once_in(2) {
                // The power may also fail while the files are closed.
                let accident = Accident::power(self.random.below(6));
                self.disk.plan(accident);
            }
        }
    }

    /// Writes a batch with retries, as the daemon does. Returns true if it is written; otherwise the power has failed.
    fn write(&mut self, files: &mut Files, batch: &Batch, ends: bool) -> bool {
        self.head = batch.head;
        self.ever.extend(batch.entries.iter().map(|entry| (entry.seq, entry.clone())));
        let clock = self.random.next() >> 20;
        // In two parts, as the bus may return them.
        let (first, changes) = (self.random.consumer_changes(), self.random.consumer_changes());
        let after =
            |content: &Content| content.after(batch, clock, ends).with_consumers(&first).with_consumers(&changes);
        let content = self.confirmed.as_ref().map(after);
        files.add_consumers(first);
        let next = if self.random.once_in(4) { Next::Idle } else { Next::More };
        // Sometimes the size limit is always exceeded.
        files.set_size_limit(if self.random.once_in(4) { 0 } else { 8 << 20 });
        let mut batch = batch.clone();
        if batch.entries.len() > 1 && self.random.once_in(4) {
            // The events arrive in two parts, everything else with the first one.
            let entries = batch.entries.split_off(batch.entries.len() / 2);
            let (forgotten, head) = (batch.forgotten.clone(), batch.head);
            files.add(Batch { more: true, ..batch }, clock, Next::More);
            let (gone, topics, removed) = (Gone::default(), Vec::new(), Vec::new());
            batch = Batch {
                entries,
                gone,
                topics,
                removed,
                forgotten,
                publishes: PublishChanges::default(),
                head,
                more: false,
            };
        }
        files.add_consumers(changes);
        files.add(batch, clock, if ends { Next::Shutdown } else { next });
        for attempt in 0..20 {
            if files.write().is_ok() {
                self.confirmed = content;
                self.counts.written += 1;
                self.counts.repeated += usize::from(attempt > 0);
                return true;
            }
        }
        self.counts.cut_while_writing += 1;
        self.under_way = content;
        false
    }

    /// Checks what was recovered, and continues from it as the bus does.
    fn inspect(&mut self, files: &mut Files, recovered: Option<Recovered>) {
        self.counts.opened += 1;
        let under_way = self.under_way.take();
        let Some(recovered) = recovered else {
            assert!(self.confirmed.is_none(), "everything is lost");
            self.confirmed = Some(Content::default());
            return;
        };
        let events = events(files, &recovered);
        // The power may have failed exactly when a new file was complete.
        let mut content = self.confirmed.take().unwrap_or_default();
        if let Some(under_way) = under_way.filter(|under_way| under_way.is_in(&recovered, &events)) {
            self.counts.there_though_cut += usize::from(under_way.events.len() != content.events.len());
            // If both match, only the mark of a clean shutdown tells them apart.
            if !content.is_in(&recovered, &events) || recovered.has_losses != under_way.ended {
                content = under_way;
            }
        }
        assert!(content.is_in(&recovered, &events), "events are lost or have changed");
        assert_eq!(recovered.has_losses, !content.ended);
        assert!(
            if content.ended { recovered.head == self.head } else { recovered.head >= self.head },
            "sequence numbers go back"
        );
        assert!(events.is_sorted_by_key(|entry| entry.seq));
        for entry in &events {
            assert!(self.ever.get(&entry.seq).is_some_and(|ever| is_same(entry, ever)), "{entry:?} was never written");
            if !content.events.contains_key(&entry.seq) {
                files.drop_event(entry.seq);
            }
        }
        self.head = recovered.head;
        // The recovered state includes the losses of the crash.
        self.confirmed =
            Some(Content { ended: false, forgotten: recovered.forgotten, upto: recovered.head, ..content });
    }

    /// Returns a random batch.
    fn batch(&mut self) -> Batch {
        let random = &mut self.random;
        let (most, size) = [(1, 100), (5, 500), (300, 100), (6, 50_000)][random.below(4)];
        let mut head = self.head;
        let entries: Vec<_> = (0..random.below(most + 1))
            .map(|_| {
                head += 1 + random.below(3) as u64;
                let size = random.below(size);
                random.entry(head, size)
            })
            .collect();
        let known = self.confirmed.iter().flat_map(|content| content.events.keys().copied());
        let removed = match random.below(4) {
            // The oldest events, or random ones.
            0 => known.take(random.below(400)).collect(),
            1 => known.filter(|_| random.once_in(3)).collect(),
            _ => Vec::new(),
        };
        let other = Topic::parse("other").unwrap();
        let gone = match random.below(6) {
            0 => Gone::AllOthers,
            1 => Gone::Topics(vec![other.clone()]),
            _ => Gone::default(),
        };
        // An event needs its topic, so only the topic `other`, which has no events, is added and removed.
        let names = (0..TOPICS).map(topic).chain(random.once_in(3).then_some(other));
        let names: Vec<_> = names.collect();
        let record = |topic| TopicRecord {
            topic,
            published: random.next() >> 20,
            last: None,
            past: TopicPast { first: random.next() >> 20, ..TopicPast::default() },
        };
        let topics = names.into_iter().map(record).collect();
        let forgotten = self.confirmed.as_ref().map(|content| content.forgotten.clone()).unwrap_or_default();
        let forgotten = UnattributedLosses { last: self.head, ..forgotten };
        head += random.below(2) as u64;
        Batch { entries, gone, topics, removed, forgotten, publishes: PublishChanges::default(), head, more: false }
    }
}

#[test]
fn confirmed_events_survive_a_power_failure_at_any_operation() {
    // An environment variable sets a larger number.
    let runs = std::env::var("SSE_BUS_TEST_POWER_CUTS").map_or(1000, |runs| runs.parse().unwrap());
    let (began, mut counts) = (Instant::now(), Counts::default());
    for seed in 0..runs / 40 {
        let mut simulation = Simulation { counts, ..Simulation::new(seed) };
        // Shown if the test panics.
        eprintln!("seed {seed}");
        for _ in 0..40 {
            simulation.run_daemon();
        }
        counts = simulation.counts;
    }
    eprintln!("{runs} ends: {counts:?}, in {:?}", began.elapsed());
    let many = runs as usize / 50;
    assert!(counts.cut_while_opening > many && counts.cut_while_writing > many && counts.repeated > many);
    assert!(counts.there_though_cut > 0);
}
