//! The end of the daemon on a disk that hangs.

use sse_bus::{
    bus::{Bus, Publication, history::Memory},
    limits::Limits,
    retention::Retention,
};

use super::{Disk, epoch, topic};
use crate::{
    clock::Relation,
    shared_bus::SharedBus,
    store::{Opened, Store},
};

/// History on a disk, at work.
fn start(disk: &Disk) -> (SharedBus, Store) {
    let history = Memory::persistent(Retention::default(), 0);
    let bus = SharedBus::new(Bus::new(epoch(), Limits::default(), Box::new(history)), 1);
    let (file, left) = disk.open().unwrap();
    let store = Opened { file, left, clocks: Relation::default() }.start(&bus).unwrap();
    (bus, store)
}

#[tokio::test]
async fn a_disk_that_hangs_does_not_keep_the_daemon_from_ending() {
    let disk = Disk::holding(Default::default());
    let (bus, store) = start(&disk);
    let publish = |data: &str| bus.with(|bus, now| bus.publish(Publication::new(topic(0), data), None, now)).unwrap();
    publish("one");
    let hanging = disk.hang();
    publish("two");
    // It passes at once while nothing else is to be done.
    tokio::time::pause();
    assert!(!store.end().await);
    tokio::time::resume();
    drop(hanging);
    assert!(store.end().await, "it was only late");
}

#[tokio::test]
async fn a_daemon_that_ends_has_written_everything() {
    let disk = Disk::holding(Default::default());
    let (bus, store) = start(&disk);
    bus.with(|bus, now| bus.publish(Publication::new(topic(0), "last"), None, now)).unwrap();
    assert!(store.end().await);
    assert_eq!(disk.open().unwrap().1.unwrap().entries.len(), 1);
}
