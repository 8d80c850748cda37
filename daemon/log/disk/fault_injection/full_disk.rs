//! Starts on a full disk.

use super::{
    super::files::Next,
    disk::{Accident, Disk},
    support::{Random, batch, events, numbers, write},
};

#[test]
fn a_start_on_a_full_disk_serves_history_and_writes_when_there_is_space() {
    let sample = Disk::holding(Default::default());
    let (mut files, _) = sample.open().unwrap();
    write(&mut files, 1, 600_000);
    write(&mut files, 2, 10);
    drop(files);
    let mut full = 0;
    for after in 0..60 {
        for is_cut_off in [false, true] {
            let disk = Disk::holding(sample.bytes());
            disk.plan(Accident::full(after));
            let (mut files, recovered) = disk.open().unwrap();
            assert_eq!(disk.set_aside() + disk.wals_set_aside(), 0);
            if files.disk_full().is_none() {
                continue;
            }
            full += 1;
            let recovered = recovered.unwrap();
            let head = recovered.head;
            let numbers_left: Vec<_> = events(&files, &recovered).iter().map(|entry| entry.seq).collect();
            assert_eq!(numbers_left, [1, 2], "full after {after}");
            files.add(batch(head + 1, 10), 3, Next::More);
            files.write().unwrap_err();
            files.write().unwrap_err();
            if is_cut_off {
                drop(files);
                disk.restore_power(&mut Random::new(after as u64));
                let opened = disk.open().unwrap();
                assert_eq!(numbers(&opened), [1, 2], "full after {after}");
                assert_ne!(opened.1.unwrap().head, head, "sequence numbers are used twice");
                continue;
            }
            disk.free_space();
            files.write().unwrap();
            assert!(files.disk_full().is_none() && files.is_checkpointed());
            write(&mut files, head + 2, 10);
            drop(files);
            assert_eq!(numbers(&disk.open().unwrap()), [1, 2, head + 1, head + 2], "full after {after}");
        }
    }
    assert!(full > 20, "{full} starts were on a full disk");
}

#[test]
fn a_first_start_on_a_full_disk_creates_the_files_when_there_is_space() {
    let mut full = 0;
    for after in 0..30 {
        let disk = Disk::holding(Default::default());
        disk.plan(Accident::full(after));
        let (mut files, _) = disk.open().unwrap();
        full += usize::from(files.disk_full().is_some());
        files.add(batch(1, 10), 1, Next::More);
        let written = files.write();
        assert!(files.disk_full().is_none() || written.is_err());
        disk.free_space();
        if written.is_err() {
            files.write().unwrap();
        }
        drop(files);
        assert_eq!(numbers(&disk.open().unwrap()), [1], "full after {after}");
        assert_eq!(disk.set_aside() + disk.wals_set_aside(), 0);
    }
    assert!(full > 10, "{full} starts were on a full disk");
}
