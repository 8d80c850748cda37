//! Files of schema 3 are copied into the form of schema 4.

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use sse_bus::bus::batch::Batch;

use super::{
    super::{
        database::{self, BUS, STATE},
        files::Next,
        region,
        rows::StoredBlocks,
    },
    disk::{Accident, Disk},
    support::{Random, batch, numbers, write},
};

/// Returns files with two events as schema 3 wrote them: each block is one row, whatever its size.
fn of_schema_3() -> [Vec<u8>; 2] {
    let (new, old) = (Disk::holding(Default::default()), Disk::holding(Default::default()));
    let (mut files, _) = new.open().unwrap();
    write(&mut files, 1, 600_000);
    write(&mut files, 2, 10);
    files.add(Batch { entries: Vec::new(), ..batch(2, 10) }, 2, Next::Idle);
    files.write().unwrap();
    let read = files.database().get().unwrap().begin_read().unwrap();
    let database = Database::builder().create_with_backend(old.file()).unwrap();
    let written = database.begin_write().unwrap();
    {
        let mut events = written.open_table(TableDefinition::<u64, &[u8]>::new("events")).unwrap();
        for block in StoredBlocks::open(&read).unwrap().iter_from(0).unwrap() {
            let (first, block) = block.unwrap();
            events.insert(first, &*block).unwrap();
        }
        let mut topics = written.open_table(database::TOPICS).unwrap();
        for row in read.open_table(database::TOPICS).unwrap().iter().unwrap() {
            let (topic, state) = row.unwrap();
            topics.insert(topic.value(), state.value()).unwrap();
        }
        let state = read.open_table(STATE).unwrap().get(BUS).unwrap().unwrap().value().to_vec();
        let state = String::from_utf8(state).unwrap().replace("\"schema\":5", "\"schema\":3");
        assert!(state.contains("\"schema\":3"));
        written.open_table(STATE).unwrap().insert(BUS, state.as_bytes()).unwrap();
    }
    written.commit().unwrap();
    drop(database);
    old.bytes()
}

#[test]
fn a_file_of_schema_3_is_copied_despite_power_failures_and_full_disks() {
    let (bytes, mut copied, mut kept) = (of_schema_3(), 0, 0);
    for after in 0..80 {
        for accident in [Accident::power(after), Accident::full(after)] {
            let disk = Disk::holding(bytes.clone());
            disk.plan(accident);
            drop(disk.open());
            disk.restore_power(&mut Random::new(after as u64));
            kept += usize::from(!region::is_in(&disk.file()).unwrap());
            let opened = disk.open().unwrap();
            assert_eq!(numbers(&opened), [1, 2], "{accident:?}");
            assert_eq!(disk.set_aside() + disk.wals_set_aside(), 0, "{accident:?}");
            assert!(region::is_in(&disk.file()).unwrap());
            copied += 1;
        }
    }
    assert!(copied == 160 && kept > 20, "{copied} copied, {kept} kept at first");
}
