//! Single faults, each from beginning to end.

use sse_bus::{
    bus::{
        Bus, Now, Publication,
        batch::Batch,
        history::{CrashLoss, Memory},
    },
    limits::Limits,
    retention::Retention,
};

use super::{
    super::files::Next,
    disk::{Accident, Disk},
    support::{Random, batch, epoch, numbers, topic, write},
};

#[test]
fn batches_after_a_lost_batch_are_not_recovered_without_it() {
    let disk = Disk::holding(Default::default());
    let (mut files, _) = disk.open().unwrap();
    let [before, _] = disk.bytes();
    write(&mut files, 1, 600_000);
    write(&mut files, 2, 10);
    drop(files);
    assert_eq!(numbers(&disk.open().unwrap()), [1, 2]);
    // The commit with the large event is damaged, and the database goes back to the previous one.
    let [_, wal] = disk.bytes();
    let opened = Disk::holding([before, wal]).open().unwrap();
    assert!(numbers(&opened).is_empty());
    let recovered = opened.1.unwrap();
    assert_eq!(recovered.forgotten.crashes, [CrashLoss { after: 0, last: recovered.head }]);
}

#[test]
fn records_of_a_later_daemon_are_not_read_after_an_old_copy_is_restored() {
    let disk = Disk::holding(Default::default());
    let (mut files, _) = disk.open().unwrap();
    files.add(batch(1, 10), 1, Next::Shutdown);
    files.write().unwrap();
    drop(files);
    let [copy, _] = disk.bytes();
    let (mut files, _) = disk.open().unwrap();
    for seq in 2..6 {
        write(&mut files, seq, 10);
    }
    // The copy is restored, and the next daemon overwrites a part of the write-ahead file.
    let [_, wal] = disk.bytes();
    let disk = Disk::holding([copy, wal]);
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
fn a_removed_database_fails_the_write_and_is_then_rewritten_completely() {
    for while_the_disk_fails in [false, true] {
        for also_the_wal in [false, true] {
            let disk = Disk::holding(Default::default());
            let (mut files, _) = disk.open().unwrap();
            write(&mut files, 1, 600_000);
            write(&mut files, 2, 10);
            files.add(batch(3, 600_000), 3, Next::More);
            if while_the_disk_fails {
                disk.plan(Accident { after: 0, lasts: 1 });
                files.write().unwrap_err();
            }
            disk.remove_database();
            if also_the_wal {
                disk.remove_wal();
            }
            let why = files.write().unwrap_err().to_string();
            assert!(why.contains("was removed"), "{why}");
            files.write().unwrap();
            write(&mut files, 4, 10);
            drop(files);
            assert_eq!(numbers(&disk.open().unwrap()), [1, 2, 3, 4]);
        }
    }
}

/// Writes while the write-ahead file fails, and returns the error. Its batches go into the database, and later ones into a new
/// write-ahead file.
fn write_with_failing_wal(fail: impl Fn(&Disk)) -> String {
    let disk = Disk::holding(Default::default());
    let (mut files, _) = disk.open().unwrap();
    write(&mut files, 1, 10);
    fail(&disk);
    files.add(batch(2, 10), 2, Next::More);
    let why = files.write().unwrap_err();
    files.write().unwrap();
    assert!(files.is_checkpointed());
    write(&mut files, 3, 10);
    assert!(!files.is_checkpointed(), "it is in the write-ahead file");
    drop(files);
    assert_eq!(numbers(&disk.open().unwrap()), [1, 2, 3]);
    why.to_string()
}

#[test]
fn a_removed_write_ahead_file_fails_the_write_and_its_batches_go_into_the_database() {
    let why = write_with_failing_wal(Disk::remove_wal);
    assert!(why.contains("history.tail was removed"), "{why}");
}

#[test]
fn a_write_ahead_file_with_an_invalid_handle_is_reopened() {
    write_with_failing_wal(Disk::cut_off_wal);
}

#[test]
fn writes_dropped_by_a_failed_sync_are_written_again_before_they_are_confirmed() {
    // Each operation of a commit fails in turn, and after a failed sync the power fails at each later operation.
    let mut dropped = 0;
    for fails_after in 0..30 {
        for power_after in 0..60 {
            let disk = Disk::holding(Default::default());
            let (mut files, _) = disk.open().unwrap();
            for seq in 1..=4 {
                write(&mut files, seq, 200_000);
            }
            disk.plan(Accident { after: fails_after, lasts: 1 });
            files.add(batch(5, 600_000), 5, Next::More);
            let failed = files.write().is_err();
            if !disk.has_dropped() {
                break;
            }
            dropped += 1;
            disk.plan(Accident::power(power_after));
            let mut written = if failed && files.write().is_err() { 4 } else { 5 };
            for seq in 6..9 {
                files.add(batch(seq, 200_000), seq, Next::Idle);
                if files.write().is_err() {
                    break;
                }
                written = seq;
            }
            drop(files);
            disk.restore_power(&mut Random::new(power_after as u64));
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
fn a_compaction_loses_nothing_when_the_power_fails_at_any_operation() {
    let sample = Disk::holding(Default::default());
    let (mut files, _) = sample.open().unwrap();
    for seq in 1..=10 {
        files.add(batch(seq, 100_000), seq, Next::Idle);
        files.write().unwrap();
    }
    drop(files);
    let (mut cut, mut compacted) = (0, 0);
    for after in 0..400 {
        let disk = Disk::holding(sample.bytes());
        let (mut files, recovered) = disk.open().unwrap();
        let next = recovered.unwrap().head + 1;
        // Most events are evicted, and the size limit is below the size of the file.
        let before = disk.len();
        files.set_size_limit(0);
        files.add(Batch { removed: (1..=8).collect(), ..batch(next, 100_000) }, 1, Next::Idle);
        disk.plan(Accident::power(after));
        let (is_written, length) = (files.write().is_ok(), disk.len());
        drop(files);
        cut += usize::from(disk.has_lost_power());
        disk.restore_power(&mut Random::new(after as u64));
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

#[test]
fn a_retained_event_stays_until_the_next_one_is_on_disk() {
    let (disk, now) = (Disk::holding(Default::default()), Now { mono: 1, unix: 0 });
    let history = || Box::new(Memory::persistent(Retention::default(), 0));
    let (mut files, _) = disk.open().unwrap();
    let mut bus = Bus::new(epoch(), Limits::default(), history());
    let publish = |bus: &mut Bus, data: String, retain| {
        let mut publication = Publication::new(topic(0), data);
        publication.retain = retain;
        bus.publish(publication, None, now).unwrap().id.unwrap().seq
    };
    let first = publish(&mut bus, "first".into(), true);
    files.add(bus.take_batch(1 << 20).unwrap(), 1, Next::More);
    files.write().unwrap();
    for n in 0..60 {
        publish(&mut bus, format!("{n:0>50000}"), false);
    }
    publish(&mut bus, "second".into(), true);
    // The daemon is killed after each part of the batch.
    loop {
        let part = bus.take_batch(1 << 20).unwrap();
        let more = part.more;
        files.add(part, 1, Next::More);
        files.write().unwrap();
        let (_, recovered) = Disk::holding(disk.bytes()).open().unwrap();
        let recovered = recovered.unwrap();
        let retained = recovered.topics[0].past.retained.unwrap();
        let is_there = recovered.entries.iter().any(|entry| entry.seq == retained && entry.event.is_some());
        assert!(is_there && (retained == first) == more, "{retained} is retained");
        if !more {
            break;
        }
    }
}
