//! Single accidents, each from its beginning to its end.

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use sse_bus::{
    bus::{
        Bus, Now, Publication,
        batch::{Batch, Gone, TopicRecord},
        history::{CrashLoss, Memory, TopicPast, UnattributedLosses},
    },
    limits::Limits,
    retention::Retention,
};

use super::{
    super::{
        database::{self, BUS, STATE},
        file::{File, Next},
        left::Left,
        region,
        rows::StoredBlocks,
    },
    Disk, Random, TOPICS,
    disk::Accident,
    epoch, events, topic,
};

/// A batch of one event of so many bytes.
fn batch(seq: u64, size: usize) -> Batch {
    let record = |n| TopicRecord { topic: topic(n), published: seq, last: None, past: TopicPast::default() };
    Batch {
        entries: vec![Random::new(seq).entry(seq, size)],
        gone: Gone::default(),
        topics: (0..TOPICS).map(record).collect(),
        removed: Vec::new(),
        forgotten: UnattributedLosses::default(),
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
    assert_eq!(left.forgotten.crashes, [CrashLoss { after: 0, last: left.head }]);
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
fn a_database_that_was_taken_away_is_not_durable_and_then_written_anew_with_all_that_it_held() {
    for while_the_disk_fails in [false, true] {
        for also_the_tail in [false, true] {
            let disk = Disk::holding(Default::default());
            let (mut file, _) = disk.open().unwrap();
            write(&mut file, 1, 600_000);
            write(&mut file, 2, 10);
            file.add(batch(3, 600_000), 3, Next::More);
            if while_the_disk_fails {
                disk.plan(Accident { after: 0, lasts: 1 });
                file.write().unwrap_err();
            }
            disk.remove_database();
            if also_the_tail {
                disk.remove_tail();
            }
            let why = file.write().unwrap_err();
            assert!(why.contains("was removed"), "{why}");
            file.write().unwrap();
            write(&mut file, 4, 10);
            drop(file);
            assert_eq!(numbers(&disk.open().unwrap()), [1, 2, 3, 4]);
        }
    }
}

#[test]
fn a_start_on_a_full_disk_serves_what_is_there_and_writes_when_there_is_room() {
    let sample = Disk::holding(Default::default());
    let (mut file, _) = sample.open().unwrap();
    write(&mut file, 1, 600_000);
    write(&mut file, 2, 10);
    drop(file);
    let mut full = 0;
    for after in 0..60 {
        for is_cut_off in [false, true] {
            let disk = Disk::holding(sample.bytes());
            disk.plan(Accident::full(after));
            let (mut file, left) = disk.open().unwrap();
            assert_eq!(disk.set_aside() + disk.tails_set_aside(), 0);
            if file.full().is_none() {
                continue;
            }
            full += 1;
            let left = left.unwrap();
            let head = left.head;
            let numbers_left: Vec<_> = events(&file, &left).iter().map(|entry| entry.seq).collect();
            assert_eq!(numbers_left, [1, 2], "full after {after}");
            file.add(batch(head + 1, 10), 3, Next::More);
            file.write().unwrap_err();
            file.write().unwrap_err();
            if is_cut_off {
                drop(file);
                disk.power_returns(&mut Random::new(after as u64));
                let opened = disk.open().unwrap();
                assert_eq!(numbers(&opened), [1, 2], "full after {after}");
                assert_ne!(opened.1.unwrap().head, head, "numbers are used twice");
                continue;
            }
            disk.has_room();
            file.write().unwrap();
            assert!(file.full().is_none() && file.is_settled());
            write(&mut file, head + 2, 10);
            drop(file);
            assert_eq!(numbers(&disk.open().unwrap()), [1, 2, head + 1, head + 2], "full after {after}");
        }
    }
    assert!(full > 20, "{full} starts were on a full disk");
}

#[test]
fn a_first_start_on_a_full_disk_makes_the_files_when_there_is_room() {
    let mut full = 0;
    for after in 0..30 {
        let disk = Disk::holding(Default::default());
        disk.plan(Accident::full(after));
        let (mut file, _) = disk.open().unwrap();
        full += usize::from(file.full().is_some());
        file.add(batch(1, 10), 1, Next::More);
        let written = file.write();
        assert!(file.full().is_none() || written.is_err());
        disk.has_room();
        if written.is_err() {
            file.write().unwrap();
        }
        drop(file);
        assert_eq!(numbers(&disk.open().unwrap()), [1], "full after {after}");
        assert_eq!(disk.set_aside() + disk.tails_set_aside(), 0);
    }
    assert!(full > 10, "{full} starts were on a full disk");
}

#[test]
fn a_tail_that_was_taken_away_is_not_durable_and_then_what_it_held_is_in_the_database() {
    let disk = Disk::holding(Default::default());
    let (mut file, _) = disk.open().unwrap();
    write(&mut file, 1, 10);
    disk.remove_tail();
    file.add(batch(2, 10), 2, Next::More);
    let why = file.write().unwrap_err();
    assert!(why.contains("history.tail was removed"), "{why}");
    file.write().unwrap();
    assert!(file.is_settled());
    write(&mut file, 3, 10);
    assert!(!file.is_settled(), "it is in the tail");
    drop(file);
    assert_eq!(numbers(&disk.open().unwrap()), [1, 2, 3]);
}

#[test]
fn what_a_failed_sync_has_dropped_is_not_believed_when_the_power_fails_at_any_moment_after_it() {
    // Each change and sync of a commit fails in its turn, and after a sync the power after each later one.
    let mut dropped = 0;
    for fails_after in 0..30 {
        for power_after in 0..60 {
            let disk = Disk::holding(Default::default());
            let (mut file, _) = disk.open().unwrap();
            for seq in 1..=4 {
                write(&mut file, seq, 200_000);
            }
            disk.plan(Accident { after: fails_after, lasts: 1 });
            file.add(batch(5, 600_000), 5, Next::More);
            let failed = file.write().is_err();
            if !disk.has_dropped() {
                break;
            }
            dropped += 1;
            disk.plan(Accident::power(power_after));
            let mut written = if failed && file.write().is_err() { 4 } else { 5 };
            for seq in 6..9 {
                file.add(batch(seq, 200_000), seq, Next::Rest);
                if file.write().is_err() {
                    break;
                }
                written = seq;
            }
            drop(file);
            disk.power_returns(&mut Random::new(power_after as u64));
            let opened = disk.open().unwrap();
            assert_eq!(disk.set_aside(), 0, "failed after {fails_after}, power after {power_after}");
            let numbers = numbers(&opened);
            let is_there = (1..=written).all(|seq| numbers.contains(&seq));
            assert!(
                is_there,
                "failed after {fails_after}, power after {power_after}: {numbers:?}, not all to {written}"
            );
        }
    }
    assert!(dropped >= 60, "{dropped} times a sync failed");
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
fn a_compaction_leaves_everything_wherever_the_power_fails() {
    let sample = Disk::holding(Default::default());
    let (mut file, _) = sample.open().unwrap();
    for seq in 1..=10 {
        file.add(batch(seq, 100_000), seq, Next::Rest);
        file.write().unwrap();
    }
    drop(file);
    let (mut cut, mut compacted) = (0, 0);
    for after in 0..400 {
        let disk = Disk::holding(sample.bytes());
        let (mut file, left) = disk.open().unwrap();
        let next = left.unwrap().head + 1;
        // Most of it is evicted, and there is room for less than the file has.
        let before = disk.len();
        file.note_room(0);
        file.add(Batch { removed: (1..=8).collect(), ..batch(next, 100_000) }, 1, Next::Rest);
        disk.plan(Accident::power(after));
        let (is_written, length) = (file.write().is_ok(), disk.len());
        drop(file);
        cut += usize::from(disk.is_without_power());
        disk.power_returns(&mut Random::new(after as u64));
        let opened = disk.open().unwrap();
        let numbers = numbers(&opened);
        let kept: Vec<_> = [9, 10].into_iter().chain(is_written.then_some(next)).collect();
        assert!(kept.iter().all(|seq| numbers.contains(seq)), "power after {after}: {numbers:?}");
        assert_eq!(disk.set_aside(), 0, "power after {after}");
        if is_written {
            compacted += 1;
            assert!(length < before / 2, "{length} of {before} bytes");
            if compacted > 5 {
                break;
            }
        }
    }
    assert!(cut > 30 && compacted > 5, "{cut} cut, {compacted} compacted");
}

/// Files with two events as version 3 of the form has written them: a block is one row, whatever its size.
fn of_schema_3() -> [Vec<u8>; 2] {
    let (new, old) = (Disk::holding(Default::default()), Disk::holding(Default::default()));
    let (mut file, _) = new.open().unwrap();
    write(&mut file, 1, 600_000);
    write(&mut file, 2, 10);
    file.add(Batch { entries: Vec::new(), ..batch(2, 10) }, 2, Next::Rest);
    file.write().unwrap();
    let read = file.shelf().get().unwrap().begin_read().unwrap();
    let database = Database::builder().create_with_backend(old.file()).unwrap();
    let written = database.begin_write().unwrap();
    {
        let mut events = written.open_table(TableDefinition::<u64, &[u8]>::new("events")).unwrap();
        for block in StoredBlocks::open(&read).unwrap().from(0).unwrap() {
            let (first, block) = block.unwrap();
            events.insert(first, &*block).unwrap();
        }
        let mut topics = written.open_table(database::TOPICS).unwrap();
        for row in read.open_table(database::TOPICS).unwrap().iter().unwrap() {
            let (topic, state) = row.unwrap();
            topics.insert(topic.value(), state.value()).unwrap();
        }
        let state = read.open_table(STATE).unwrap().get(BUS).unwrap().unwrap().value().to_vec();
        let state = String::from_utf8(state).unwrap().replace("\"schema\":4", "\"schema\":3");
        assert!(state.contains("\"schema\":3"));
        written.open_table(STATE).unwrap().insert(BUS, state.as_bytes()).unwrap();
    }
    written.commit().unwrap();
    drop(database);
    old.bytes()
}

#[test]
fn a_file_that_grows_by_doubling_is_copied_wherever_the_power_fails_or_the_disk_is_full() {
    let (bytes, mut copied, mut kept) = (of_schema_3(), 0, 0);
    for after in 0..80 {
        for accident in [Accident::power(after), Accident::full(after)] {
            let disk = Disk::holding(bytes.clone());
            disk.plan(accident);
            drop(disk.open());
            disk.power_returns(&mut Random::new(after as u64));
            kept += usize::from(!region::is_in(&disk.file()).unwrap());
            let opened = disk.open().unwrap();
            assert_eq!(numbers(&opened), [1, 2], "{accident:?}");
            assert_eq!(disk.set_aside() + disk.tails_set_aside(), 0, "{accident:?}");
            assert!(region::is_in(&disk.file()).unwrap());
            copied += 1;
        }
    }
    assert!(copied == 160 && kept > 20, "{copied} copied, {kept} kept at first");
}

#[test]
fn a_retained_event_stays_until_the_next_one_is_on_disk() {
    let (disk, now) = (Disk::holding(Default::default()), Now { mono: 1, unix: 0 });
    let history = || Box::new(Memory::persistent(Retention::default(), 0));
    let (mut file, _) = disk.open().unwrap();
    let mut bus = Bus::new(epoch(), Limits::default(), history());
    let publish = |bus: &mut Bus, data: String, retain| {
        let mut publication = Publication::new(topic(0), data);
        publication.retain = retain;
        bus.publish(publication, None, now).unwrap().id.unwrap().seq
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
