//! Bits that are wrong and parts that are missing, at any place of the file: nothing wrong is taken for right.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use sse_bus::bus::{
    batch::{Batch, Gone, TopicRecord},
    history::{Entry, TopicPast, UnattributedLosses},
};

use super::{
    super::file::{File, Next},
    Disk, Random, TOPICS, events, is_same, topic,
};

/// Events up to here are let go.
const GONE: u64 = 50;

/// How the last daemon has left the file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// It has said that it ends.
    Told,
    /// It was killed while it wrote.
    Killed,
    /// It was killed before it has written any of the events that it had taken.
    KilledAtOnce,
}

/// The files, and what was put into them.
struct Sample {
    end: End,
    bytes: [Vec<u8>; 2],
    events: BTreeMap<u64, Entry>,
    topics: Vec<TopicRecord>,
    head: u64,
}

impl Sample {
    fn new(end: End) -> Sample {
        let disk = Disk::holding(Default::default());
        let mut sample =
            Sample { end, bytes: Default::default(), events: BTreeMap::new(), topics: Vec::new(), head: 0 };
        let (mut file, _) = disk.open().unwrap();
        let mut random = Random::new(0);
        sample.write_to(&mut file, &mut random, true);
        drop(file);
        let (mut file, _) = disk.open().unwrap();
        if end != End::KilledAtOnce {
            sample.write_to(&mut file, &mut random, end == End::Told);
        }
        sample.bytes = disk.bytes();
        if end == End::Told {
            drop(file);
            sample.bytes = disk.bytes();
        }
        if end == End::KilledAtOnce {
            sample.head += 7;
        }
        sample
    }

    /// Writes batches of all sizes, and lets go a part, so that blocks are written again and space is free.
    fn write_to(&mut self, file: &mut File, random: &mut Random, ends: bool) {
        for n in 0..12 {
            let count = [1, 3, 60][n % 3];
            let entries: Vec<_> = (1..=count).map(|n| random.entry(self.head + n, 400)).collect();
            self.head += count;
            let removed: Vec<_> = self.events.keys().take_while(|seq| n == 8 && **seq <= GONE).copied().collect();
            self.events.retain(|seq, _| !removed.contains(seq));
            self.events.extend(entries.iter().map(|entry| (entry.seq, entry.clone())));
            let past = TopicPast { first: self.head, ..TopicPast::default() };
            let record = |n| TopicRecord { topic: topic(n), published: self.head, last: Some((self.head, 1)), past };
            let topics: Vec<_> = (0..TOPICS).map(record).collect();
            self.topics.extend(topics.clone());
            let (gone, forgotten) = (Gone::default(), UnattributedLosses::default());
            let batch = Batch { entries, gone, topics, removed, forgotten, head: self.head, more: false };
            let next = if n % 4 == 2 { Next::Rest } else { Next::More };
            file.add(batch, 1, if ends && n == 11 { Next::End } else { next });
            file.write().unwrap();
        }
    }

    /// Bits turned over or a part cut off, at a place of any kind.
    fn damaged(&self, random: &mut Random) -> (String, [Vec<u8>; 2]) {
        let mut files = self.bytes.clone();
        let which = usize::from(!files[1].is_empty() && random.once_in(3));
        let bytes = &mut files[which];
        if random.once_in(4) {
            let length = random.below(bytes.len());
            // To a whole page in half of the cases, as a file system would.
            let length = if random.once_in(2) { length & !0xfff } else { length };
            bytes.truncate(length);
            return (format!("file {which} cut off at {length}"), files);
        }
        let mut places = Vec::new();
        for _ in 0..[1, 1, 1, 3][random.below(4)] {
            // In the header, where something is, or anywhere.
            let place = match random.below(5) {
                0 => random.below(320.min(bytes.len())),
                1 => random.below(bytes.len()),
                _ => std::iter::repeat_with(|| random.below(bytes.len())).find(|place| bytes[*place] != 0).unwrap(),
            };
            let bit = random.below(8);
            bytes[place] ^= 1 << bit;
            places.push((place, bit));
        }
        (format!("bits of file {which} turned over at {places:?}"), files)
    }
}

#[derive(Debug, Default)]
struct Counts {
    /// Everything was there.
    whole: usize,
    /// Something was not, and that was told.
    told: usize,
    set_aside: usize,
    tail_set_aside: usize,
    /// Nothing was in it.
    empty: usize,
    refused: usize,
    /// It was written and opened again.
    went_on: usize,
}

/// Opens a damaged file as the next daemon does.
fn open(disk: &Disk, sample: &Sample, random: &mut Random, counts: &mut Counts) {
    let (mut file, left) = match disk.open() {
        Ok(opened) => opened,
        Err(why) => {
            assert!(why.contains("--state-dir") && disk.set_aside() == 0, "{why}");
            counts.refused += 1;
            return;
        }
    };
    let Some(left) = left else {
        let what = if disk.set_aside() == 1 { &mut counts.set_aside } else { &mut counts.empty };
        *what += 1;
        return;
    };
    assert_eq!(disk.set_aside(), 0);
    counts.tail_set_aside += disk.tails_set_aside();
    assert!(left.head >= sample.head, "numbers go back to {}", left.head);
    let (events, mut found) = (events(&file, &left), 0);
    assert!(events.is_sorted_by_key(|entry| entry.seq));
    for entry in &events {
        match sample.events.get(&entry.seq) {
            Some(written) => assert!(is_same(entry, written), "{entry:?}"),
            None => assert!(entry.seq <= GONE, "{entry:?} was never written"),
        }
        found += usize::from(sample.events.contains_key(&entry.seq));
    }
    assert!(left.topics.iter().all(|topic| sample.topics.contains(topic)), "{:?}", left.topics);
    let torn: Vec<_> = left.is_torn.then_some(left.head).into_iter().collect();
    let told: Vec<_> = left.forgotten.crashes.iter().map(|torn| torn.last).collect();
    assert!(left.clock == 1 && told == torn, "{:?}", left.forgotten);
    if found == sample.events.len() {
        counts.whole += 1;
    } else {
        assert!(left.is_torn, "a loss is not told");
        counts.told += 1;
    }
    // And goes on with it.
    if random.once_in(4) {
        let new = random.entry(left.head + 1, 100);
        let batch = Batch {
            entries: vec![new.clone()],
            gone: Gone::default(),
            topics: Vec::new(),
            removed: events.iter().map(|entry| entry.seq).collect(),
            forgotten: UnattributedLosses::default(),
            head: new.seq,
            more: false,
        };
        file.add(batch, 1, Next::End);
        file.write().expect("a file that could be opened can be written");
        drop(file);
        let (file, left) = disk.open().unwrap();
        let left = left.expect("what was written is there");
        assert!(is_same(super::events(&file, &left).last().unwrap(), &new) && !left.is_torn);
        counts.went_on += 1;
    }
}

#[test]
fn wherever_the_file_is_damaged_nothing_wrong_is_taken_for_right() {
    // A variable says if there are to be more.
    let places = std::env::var("SSE_BUS_TEST_DAMAGES").map_or(2000, |places| places.parse().unwrap());
    for sample in [End::Told, End::Killed, End::KilledAtOnce].map(Sample::new) {
        let (began, mut counts, mut random) = (Instant::now(), Counts::default(), Random::new(1));
        for _ in 0..places / 3 {
            let (what, bytes) = sample.damaged(&mut random);
            let opened = catch_unwind(AssertUnwindSafe(|| {
                open(&Disk::holding(bytes), &sample, &mut random, &mut counts);
            }));
            assert!(opened.is_ok(), "{:?}, {what}", sample.end);
        }
        let Sample { end, bytes, events, .. } = sample;
        let (size, took) = (bytes.map(|file| file.len()), began.elapsed());
        eprintln!("{} events in {size:?} bytes, end {end:?}: {counts:?}, in {took:?}", events.len());
        assert!(counts.whole > 0 && counts.set_aside > 0 && counts.went_on > 0);
    }
}
