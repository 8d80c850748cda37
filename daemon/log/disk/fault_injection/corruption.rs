//! Flipped bits and truncated files, at any offset: damage is always detected.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use sse_bus::bus::{
    batch::{Batch, Gone, PublishChanges, TopicRecord},
    history::{Entry, TopicPast, UnattributedLosses},
};

use super::{
    super::files::{Files, Next},
    disk::Disk,
    support::{self, Random, TOPICS, events, is_same, topic},
};

/// Events up to this sequence number are evicted.
const EVICTED_UP_TO: u64 = 50;

/// How the previous daemon ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    /// It shut down cleanly.
    Clean,
    /// It was killed while it wrote.
    Killed,
    /// It was killed before it wrote any of the events it had accepted.
    KilledAtStart,
}

/// The files and what was written to them.
struct Sample {
    end: Ending,
    bytes: [Vec<u8>; 2],
    events: BTreeMap<u64, Entry>,
    topics: Vec<TopicRecord>,
    head: u64,
}

impl Sample {
    fn new(end: Ending) -> Sample {
        let disk = Disk::holding(Default::default());
        let mut sample =
            Sample { end, bytes: Default::default(), events: BTreeMap::new(), topics: Vec::new(), head: 0 };
        let (mut files, _) = disk.open().unwrap();
        let mut random = Random::new(0);
        sample.write_to(&mut files, &mut random, true);
        drop(files);
        let (mut files, _) = disk.open().unwrap();
        if end != Ending::KilledAtStart {
            sample.write_to(&mut files, &mut random, end == Ending::Clean);
        }
        sample.bytes = disk.bytes();
        if end == Ending::Clean {
            drop(files);
            sample.bytes = disk.bytes();
        }
        if end == Ending::KilledAtStart {
            sample.head += 7;
        }
        sample
    }

    /// Writes batches of several sizes and evicts some events, so that blocks are rewritten and pages become free.
    fn write_to(&mut self, files: &mut Files, random: &mut Random, ends: bool) {
        for n in 0..12 {
            let count = [1, 3, 60][n % 3];
            let entries: Vec<_> = (1..=count).map(|n| random.entry(self.head + n, 400)).collect();
            self.head += count;
            let removed: Vec<_> =
                self.events.keys().take_while(|seq| n == 8 && **seq <= EVICTED_UP_TO).copied().collect();
            self.events.retain(|seq, _| !removed.contains(seq));
            self.events.extend(entries.iter().map(|entry| (entry.seq, entry.clone())));
            let past = TopicPast { first: self.head, ..TopicPast::default() };
            let record = |n| TopicRecord { topic: topic(n), published: self.head, last: Some((self.head, 1)), past };
            let topics: Vec<_> = (0..TOPICS).map(record).collect();
            self.topics.extend(topics.clone());
            let (gone, forgotten) = (Gone::default(), UnattributedLosses::default());
            let batch = Batch {
                entries,
                gone,
                topics,
                removed,
                forgotten,
                publishes: PublishChanges::default(),
                head: self.head,
                more: false,
            };
            let next = if n % 4 == 2 { Next::Idle } else { Next::More };
            files.add(batch, 1, if ends && n == 11 { Next::Shutdown } else { next });
            files.write().unwrap();
        }
    }

    /// Returns the files with flipped bits, or with one of them truncated, and a description of the damage.
    fn damaged(&self, random: &mut Random) -> (String, [Vec<u8>; 2]) {
        let mut files = self.bytes.clone();
        let which = usize::from(!files[1].is_empty() && random.once_in(3));
        let bytes = &mut files[which];
        if random.once_in(4) {
            let length = random.below(bytes.len());
            // Half of the time at a page boundary, as a file system would.
            let length = if random.once_in(2) { length & !0xfff } else { length };
            bytes.truncate(length);
            return (format!("file {which} truncated at {length}"), files);
        }
        let mut offsets = Vec::new();
        for _ in 0..[1, 1, 1, 3][random.below(4)] {
            // In the header, in a byte that is not zero, or anywhere.
            let offset = match random.below(5) {
                0 => random.below(320.min(bytes.len())),
                1 => random.below(bytes.len()),
                _ => std::iter::repeat_with(|| random.below(bytes.len())).find(|offset| bytes[*offset] != 0).unwrap(),
            };
            let bit = random.below(8);
            bytes[offset] ^= 1 << bit;
            offsets.push((offset, bit));
        }
        (format!("bits of file {which} flipped at {offsets:?}"), files)
    }
}

#[derive(Debug, Default)]
struct Counts {
    /// All events were recovered.
    whole: usize,
    /// Events were lost and the loss was reported.
    reported: usize,
    set_aside: usize,
    wal_set_aside: usize,
    /// The database was empty.
    empty: usize,
    refused: usize,
    /// The files were written and opened again.
    continued: usize,
}

/// Opens damaged files as the next daemon does.
fn open(disk: &Disk, sample: &Sample, random: &mut Random, counts: &mut Counts) {
    let (mut files, recovered) = match disk.open() {
        Ok(opened) => opened,
        Err(why) => {
            assert!(why.to_string().contains("--state-dir") && disk.set_aside() == 0, "{why}");
            counts.refused += 1;
            return;
        }
    };
    let Some(recovered) = recovered else {
        let what = if disk.set_aside() == 1 { &mut counts.set_aside } else { &mut counts.empty };
        *what += 1;
        return;
    };
    assert_eq!(disk.set_aside(), 0);
    counts.wal_set_aside += disk.wals_set_aside();
    assert!(recovered.head >= sample.head, "sequence numbers go back to {}", recovered.head);
    let (events, mut found) = (events(&files, &recovered), 0);
    assert!(events.is_sorted_by_key(|entry| entry.seq));
    for entry in &events {
        match sample.events.get(&entry.seq) {
            Some(written) => assert!(is_same(entry, written), "{entry:?}"),
            None => assert!(entry.seq <= EVICTED_UP_TO, "{entry:?} was never written"),
        }
        found += usize::from(sample.events.contains_key(&entry.seq));
    }
    assert!(recovered.topics.iter().all(|topic| sample.topics.contains(topic)), "{:?}", recovered.topics);
    let expected: Vec<_> = recovered.has_losses.then_some(recovered.head).into_iter().collect();
    let reported: Vec<_> = recovered.forgotten.crashes.iter().map(|crash| crash.last).collect();
    assert!(recovered.clock == 1 && reported == expected, "{:?}", recovered.forgotten);
    if found == sample.events.len() {
        counts.whole += 1;
    } else {
        assert!(recovered.has_losses, "a loss is not reported");
        counts.reported += 1;
    }
    // Continues to write to the recovered files.
    if random.once_in(4) {
        let new = random.entry(recovered.head + 1, 100);
        let batch = Batch {
            entries: vec![new.clone()],
            gone: Gone::default(),
            topics: Vec::new(),
            removed: events.iter().map(|entry| entry.seq).collect(),
            forgotten: UnattributedLosses::default(),
            publishes: PublishChanges::default(),
            head: new.seq,
            more: false,
        };
        files.add(batch, 1, Next::Shutdown);
        files.write().expect("files that were opened can be written");
        drop(files);
        let (files, recovered) = disk.open().unwrap();
        let recovered = recovered.expect("the written batch is recovered");
        assert!(is_same(support::events(&files, &recovered).last().unwrap(), &new) && !recovered.has_losses);
        counts.continued += 1;
    }
}

#[test]
fn damage_at_any_offset_is_detected() {
    // An environment variable sets a larger number.
    let runs = std::env::var("SSE_BUS_TEST_DAMAGES").map_or(2000, |runs| runs.parse().unwrap());
    for sample in [Ending::Clean, Ending::Killed, Ending::KilledAtStart].map(Sample::new) {
        let (began, mut counts, mut random) = (Instant::now(), Counts::default(), Random::new(1));
        for _ in 0..runs / 3 {
            let (what, bytes) = sample.damaged(&mut random);
            let opened = catch_unwind(AssertUnwindSafe(|| {
                open(&Disk::holding(bytes), &sample, &mut random, &mut counts);
            }));
            assert!(opened.is_ok(), "{:?}, {what}", sample.end);
        }
        let Sample { end, bytes, events, .. } = sample;
        let (size, took) = (bytes.map(|file| file.len()), began.elapsed());
        eprintln!("{} events in {size:?} bytes, end {end:?}: {counts:?}, in {took:?}", events.len());
        assert!(counts.whole > 0 && counts.set_aside > 0 && counts.continued > 0);
    }
}
