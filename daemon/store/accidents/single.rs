//! Single accidents, each from its beginning to its end.

use sse_bus::{
    bus::{
        Bus, Now, Publication,
        history::{Forgotten, Memory, TopicPast, Torn},
        journal::{Batch, Gone, TopicRecord},
    },
    limits::{Limits, Retention},
};

use super::{
    super::{
        file::{File, Next},
        left::Left,
    },
    Disk, Random, TOPICS, epoch, events, topic,
};

/// A batch of one event of so many bytes.
fn batch(seq: u64, size: usize) -> Batch {
    let record = |n| TopicRecord { topic: topic(n), published: seq, last: None, past: TopicPast::default() };
    Batch {
        entries: vec![Random::new(seq).entry(seq, size)],
        gone: Gone::default(),
        topics: (0..TOPICS).map(record).collect(),
        removed: Vec::new(),
        forgotten: Forgotten::default(),
        head: seq,
        more: false,
    }
}

fn write(file: &mut File, seq: u64, size: usize) {
    file.add(batch(seq, size), seq, Next::More);
    file.write().unwrap();
}

/// The numbers of the events that are left.
fn numbers((file, left): &(File, Option<Left>)) -> Vec<u64> {
    events(file, left.as_ref().unwrap()).iter().map(|entry| entry.seq).collect()
}

#[test]
fn what_follows_a_batch_that_is_lost_is_not_told_as_if_nothing_were_missing() {
    let disk = Disk::holding(Default::default());
    let (mut file, _) = disk.open().unwrap();
    let [before, _] = disk.bytes();
    write(&mut file, 1, 600_000);
    write(&mut file, 2, 10);
    drop(file);
    assert_eq!(numbers(&disk.open().unwrap()), [1, 2]);
    // The commit with the large one is damaged, and the database goes back to the one before.
    let [_, tail] = disk.bytes();
    let opened = Disk::holding([before, tail]).open().unwrap();
    assert!(numbers(&opened).is_empty());
    let left = opened.1.unwrap();
    assert_eq!(left.forgotten.torn, [Torn { after: 0, last: left.head }]);
}

#[test]
fn the_tail_of_a_later_daemon_is_not_taken_for_the_next_ones() {
    let disk = Disk::holding(Default::default());
    let (mut file, _) = disk.open().unwrap();
    file.add(batch(1, 10), 1, Next::End);
    file.write().unwrap();
    drop(file);
    let [copy, _] = disk.bytes();
    let (mut file, _) = disk.open().unwrap();
    for seq in 2..6 {
        write(&mut file, seq, 10);
    }
    // The copy comes back, and the next daemon writes over a part of the tail.
    let [_, tail] = disk.bytes();
    let disk = Disk::holding([copy, tail]);
    let mut opened = disk.open().unwrap();
    assert_eq!(numbers(&opened), [1]);
    drop(opened);
    opened = disk.open().unwrap();
    assert_eq!(numbers(&opened), [1]);
    write(&mut opened.0, 2, 10);
    drop(opened);
    assert_eq!(numbers(&disk.open().unwrap()), [1, 2]);
}

#[test]
fn a_database_that_was_taken_away_while_the_disk_failed_is_not_begun_anew() {
    let disk = Disk::holding(Default::default());
    let (mut file, _) = disk.open().unwrap();
    write(&mut file, 1, 600_000);
    disk.plan(super::disk::Accident { after: 0, lasts: 1 });
    file.add(batch(2, 600_000), 2, Next::More);
    file.write().unwrap_err();
    disk.remove_database();
    for _ in 0..5 {
        let why = file.write().unwrap_err();
        assert!(why.contains("restart sse-busd"), "{why}");
    }
}

#[test]
fn who_is_cut_off_from_the_tail_opens_it_again() {
    let disk = Disk::holding(Default::default());
    let (mut file, _) = disk.open().unwrap();
    write(&mut file, 1, 10);
    disk.cut_off_tail();
    file.add(batch(2, 10), 2, Next::More);
    file.write().unwrap_err();
    file.write().unwrap();
    assert!(file.is_settled());
    write(&mut file, 3, 10);
    assert!(!file.is_settled(), "it is in the tail");
    drop(file);
    assert_eq!(numbers(&disk.open().unwrap()), [1, 2, 3]);
}

#[test]
fn a_retained_event_stays_until_the_next_one_is_on_disk() {
    let (disk, now) = (Disk::holding(Default::default()), Now { mono: 1, unix: 0 });
    let history = || Box::new(Memory::journaled(Retention::default(), 0));
    let (mut file, _) = disk.open().unwrap();
    let mut bus = Bus::new(epoch(), Limits::default(), history());
    let publish = |bus: &mut Bus, data: String, retain| {
        let publication =
            Publication { topic: topic(0), kind: None, data, retain, ttl: None, to: None, durable: false };
        bus.publish(publication, None, now).unwrap().id.seq
    };
    let first = publish(&mut bus, "first".into(), true);
    file.add(bus.take_batch(1 << 20).unwrap(), 1, Next::More);
    file.write().unwrap();
    for n in 0..60 {
        publish(&mut bus, format!("{n:0>50000}"), false);
    }
    publish(&mut bus, "second".into(), true);
    // The daemon is killed after each part of what it has to write.
    loop {
        let part = bus.take_batch(1 << 20).unwrap();
        let more = part.more;
        file.add(part, 1, Next::More);
        file.write().unwrap();
        let (_, left) = Disk::holding(disk.bytes()).open().unwrap();
        let left = left.unwrap();
        let retained = left.topics[0].past.retained.unwrap();
        let is_there = left.entries.iter().any(|entry| entry.seq == retained && entry.event.is_some());
        assert!(is_there && (retained == first) == more, "{retained} is retained");
        if !more {
            break;
        }
    }
}
