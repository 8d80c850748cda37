//! Shutdown of the daemon on a disk that hangs.

use sse_bus::{
    bus::{Bus, Publication, history::Memory},
    limits::Limits,
    retention::Retention,
};

use super::{
    disk::Disk,
    support::{epoch, topic},
};
use crate::{
    clock::Relation,
    log::disk::{Opened, Store},
    shared_bus::SharedBus,
};

/// Starts history on a disk.
fn start(disk: &Disk) -> (SharedBus, Store) {
    let history = Memory::persistent(Retention::default(), 0);
    let bus = SharedBus::new(Bus::new(epoch(), Limits::default(), Box::new(history)), 1);
    let (files, recovered) = disk.open().unwrap();
    let store = Opened { files, recovered, clocks: Relation::default() }.start(&bus).unwrap();
    (bus, store)
}

#[tokio::test]
async fn a_hanging_disk_does_not_block_shutdown() {
    let disk = Disk::holding(Default::default());
    let (bus, store) = start(&disk);
    let publish = |data: &str| bus.with(|bus, now| bus.publish(Publication::new(topic(0), data), None, now)).unwrap();
    publish("one");
    let hanging = disk.hang_next_sync();
    publish("two");
    // With paused time the timeout expires as soon as nothing else is ready.
    tokio::time::pause();
    assert!(!store.end().await);
    tokio::time::resume();
    drop(hanging);
    assert!(store.end().await, "the write succeeds once the disk responds");
}

#[tokio::test]
async fn shutdown_writes_everything() {
    let disk = Disk::holding(Default::default());
    let (bus, store) = start(&disk);
    bus.with(|bus, now| bus.publish(Publication::new(topic(0), "last"), None, now)).unwrap();
    assert!(store.end().await);
    assert_eq!(disk.open().unwrap().1.unwrap().entries.len(), 1);
}
