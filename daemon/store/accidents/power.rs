//! The power fails, or the disk for a while, after any number of changes: whatever was said to be written is there.

use std::{collections::BTreeMap, time::Instant};

use sse_bus::{
    Topic,
    bus::{
        batch::{Batch, Gone, TopicRecord},
        history::{CrashLoss, Entry, TopicPast, UnattributedLosses},
    },
};

use super::{
    super::{
        file::{File, Next},
        left::Left,
    },
    Disk, Random, TOPICS,
    disk::Accident,
    events, is_same, topic,
};

/// What must be in the file.
#[derive(Clone, Debug, Default)]
struct Content {
    events: BTreeMap<u64, Entry>,
    topics: BTreeMap<Topic, TopicRecord>,
    forgotten: UnattributedLosses,
    /// Everything up to here is written.
    upto: u64,
    clock: u64,
    ended: bool,
}

impl Content {
    /// What it is after a batch.
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

    /// Whether a file has it. Events that are not needed any more may be there, too.
    fn is_in(&self, left: &Left, events: &[Entry]) -> bool {
        let mut forgotten = self.forgotten.clone();
        if left.is_torn {
            forgotten.add_crash(CrashLoss { after: self.upto, last: left.head });
        }
        let mut found = events.iter().filter(|entry| self.events.contains_key(&entry.seq));
        self.events.values().all(|entry| found.next().is_some_and(|found| is_same(found, entry)))
            && left.topics.iter().eq(self.topics.values())
            && (&left.forgotten, left.clock) == (&forgotten, self.clock)
    }
}

/// A file, and all that is known about it.
struct World {
    disk: Disk,
    random: Random,
    /// What was confirmed last; nothing while it is new.
    confirmed: Option<Content>,
    /// What was under way when the power failed: it may be there, or not.
    under_way: Option<Content>,
    /// All that was ever given to it.
    ever: BTreeMap<u64, Entry>,
    /// The last number that was used.
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

impl World {
    fn new(seed: u64) -> World {
        let (disk, random) = (Disk::holding([Vec::new(), Vec::new()]), Random::new(seed));
        let (ever, counts) = (BTreeMap::new(), Counts::default());
        World { disk, random, confirmed: None, under_way: None, ever, head: 0, counts }
    }

    /// The file is opened and written a few times, until the power fails or the daemon ends.
    fn live(&mut self) {
        if self.random.once_in(4) {
            let accident = Accident::power(self.random.below(15));
            self.disk.plan(accident);
        }
        // A file that was never whole may be set aside.
        let (is_new, set_aside) = (self.confirmed.is_none(), self.disk.set_aside());
        if let Ok((file, left)) = self.disk.open() {
            self.write_some(file, left);
        } else {
            self.counts.cut_while_opening += 1;
            // It may say already that a daemon runs.
            let running = |content: &Content| Content { ended: false, ..content.clone() };
            self.under_way = self.under_way.take().or_else(|| self.confirmed.as_ref().map(running));
        }
        assert!(is_new || self.disk.set_aside() == set_aside, "it was taken for damaged");
        assert_eq!(self.disk.tails_set_aside(), 0, "it was taken for damaged");
        self.disk.power_returns(&mut self.random);
    }

    fn write_some(&mut self, mut file: File, left: Option<Left>) {
        self.look(&mut file, left);
        for _ in 0..self.random.below(6) {
            let after = self.random.below(12);
            match self.random.below(12) {
                0..2 => self.disk.plan(Accident { after, lasts: 1 + self.random.below(6) }),
                2..5 => self.disk.plan(Accident::power(after)),
                _ => {}
            }
            let batch = self.batch();
            if !self.write(&mut file, &batch, false) {
                return;
            }
        }
        if self.random.once_in(3) {
            let batch = self.batch();
            if self.write(&mut file, &batch, true) && self.random.once_in(2) {
                // The power may also fail while the file is closed.
                let accident = Accident::power(self.random.below(6));
                self.disk.plan(accident);
            }
        }
    }

    /// Writes a batch, again and again as the daemon does. Says whether it is written; otherwise the power has failed.
    fn write(&mut self, file: &mut File, batch: &Batch, ends: bool) -> bool {
        self.head = batch.head;
        self.ever.extend(batch.entries.iter().map(|entry| (entry.seq, entry.clone())));
        let clock = self.random.next() >> 20;
        let content = self.confirmed.as_ref().map(|content| content.after(batch, clock, ends));
        let next = if self.random.once_in(4) { Next::Rest } else { Next::More };
        // Now and then the file is too large in any case.
        file.note_room(if self.random.once_in(4) { 0 } else { 8 << 20 });
        let mut batch = batch.clone();
        if batch.entries.len() > 1 && self.random.once_in(4) {
            // The events come in two parts, the rest with the first.
            let entries = batch.entries.split_off(batch.entries.len() / 2);
            let (forgotten, head) = (batch.forgotten.clone(), batch.head);
            file.add(Batch { more: true, ..batch }, clock, Next::More);
            let (gone, topics, removed) = (Gone::default(), Vec::new(), Vec::new());
            batch = Batch { entries, gone, topics, removed, forgotten, head, more: false };
        }
        file.add(batch, clock, if ends { Next::End } else { next });
        for attempt in 0..20 {
            if file.write().is_ok() {
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

    /// Looks at what is left, and goes on with it as the bus does.
    fn look(&mut self, file: &mut File, left: Option<Left>) {
        self.counts.opened += 1;
        let under_way = self.under_way.take();
        let Some(left) = left else {
            assert!(self.confirmed.is_none(), "everything is lost");
            self.confirmed = Some(Content::default());
            return;
        };
        let events = events(file, &left);
        // The power may have failed in the very moment in which a new file was whole.
        let mut content = self.confirmed.take().unwrap_or_default();
        if let Some(under_way) = under_way.filter(|under_way| under_way.is_in(&left, &events)) {
            self.counts.there_though_cut += usize::from(under_way.events.len() != content.events.len());
            // What is there of both may be of either.
            if !content.is_in(&left, &events) || left.is_torn != under_way.ended {
                content = under_way;
            }
        }
        assert!(content.is_in(&left, &events), "something is lost or has changed");
        assert_eq!(left.is_torn, !content.ended);
        assert!(if content.ended { left.head == self.head } else { left.head >= self.head }, "numbers go back");
        assert!(events.is_sorted_by_key(|entry| entry.seq));
        for entry in &events {
            assert!(self.ever.get(&entry.seq).is_some_and(|ever| is_same(entry, ever)), "{entry:?} was never written");
            if !content.events.contains_key(&entry.seq) {
                file.drop_event(entry.seq);
            }
        }
        self.head = left.head;
        // It says from the beginning what the crash has taken.
        self.confirmed = Some(Content { ended: false, forgotten: left.forgotten, upto: left.head, ..content });
    }

    /// Some change.
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
            // The oldest, or one here and there.
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
        // An event needs its topic; the other one comes and goes.
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
        Batch { entries, gone, topics, removed, forgotten, head, more: false }
    }
}

#[test]
fn what_was_written_is_there_whenever_the_power_fails() {
    // A variable says if there are to be more.
    let lives = std::env::var("SSE_BUS_TEST_POWER_CUTS").map_or(1000, |lives| lives.parse().unwrap());
    let (began, mut counts) = (Instant::now(), Counts::default());
    for seed in 0..lives / 40 {
        let mut world = World { counts, ..World::new(seed) };
        // What a panic shows.
        eprintln!("seed {seed}");
        for _ in 0..40 {
            world.live();
        }
        counts = world.counts;
    }
    eprintln!("{lives} ends: {counts:?}, in {:?}", began.elapsed());
    let many = lives as usize / 50;
    assert!(counts.cut_while_opening > many && counts.cut_while_writing > many && counts.repeated > many);
    assert!(counts.there_though_cut > 0);
}
