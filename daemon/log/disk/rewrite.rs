//! Copies the database into a new file, which then replaces the old one.
//!
//! The copy reads from the open file, even if that file was removed or a sync of it failed. The old file is never
//! changed: until the new one has its name, a crash leaves the old one as it was. Files before schema 4 are copied at
//! the start, so that they grow by [regions](super::region) of our size.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, atomic::AtomicBool},
};

use parking_lot::Mutex;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, StorageBackend};

use super::{
    database::{self, STATE, TOPICS, Tables, guarded},
    error::StoreError,
    rows::StoredBlocks,
    storage::Storage,
};

/// The unit of change in an [`Overlay`], in bytes.
const BLOCK: usize = 4096;

/// Copies a database into a new file and renames that file. Also returns the flag that reports failed syncs of it.
pub(super) fn rewrite(storage: &dyn Storage, source: &Database) -> Result<(Database, Arc<AtomicBool>), StoreError> {
    let copied = copy(storage, source)?;
    storage.replace()?;
    Ok(copied)
}

/// Copies a database into a replacement file, which is removed after an error.
pub(super) fn copy(storage: &dyn Storage, source: &Database) -> Result<(Database, Arc<AtomicBool>), StoreError> {
    let sync_failed = Arc::default();
    let copied = storage.replacement().map_err(StoreError::from).and_then(|file| {
        let target = database::open_file(file, &sync_failed)?;
        guarded(|| fill(&target, source))?;
        Ok(target)
    });
    match copied {
        Ok(target) => Ok((target, sync_failed)),
        Err(error) => {
            storage.discard_replacement();
            Err(error)
        }
    }
}

fn fill(target: &Database, source: &Database) -> Result<(), redb::Error> {
    let (from, to) = (source.begin_read()?, target.begin_write()?);
    {
        let Tables { mut blocks, mut topics, mut consumers, mut publishes } = Tables::open(&to)?;
        for found in StoredBlocks::open(&from)?.iter_from(0)? {
            let (first, block) = found?;
            blocks.put(first, &block)?;
        }
        for row in from.open_table(TOPICS)?.iter()? {
            let (topic, state) = row?;
            topics.insert(topic.value(), state.value())?;
        }
        consumers.copy(&from)?;
        publishes.copy(&from)?;
        let mut states = to.open_table(STATE)?;
        for row in from.open_table(STATE)?.iter()? {
            let (name, state) = row?;
            states.insert(name.value(), state.value())?;
        }
    }
    to.commit()?;
    Ok(())
}

/// Opens a file without changing it: what redb writes during opening stays in memory.
pub(super) fn open_unchanged(storage: &dyn Storage) -> Result<Database, StoreError> {
    let file = storage.opened()?;
    let overlay = Overlay { length: file.len()?.into(), file, changed: Mutex::default() };
    database::open_file(Box::new(overlay), &Arc::default())
}

/// A file whose changes are kept in memory.
#[derive(Debug)]
struct Overlay {
    file: Box<dyn StorageBackend>,
    length: Mutex<u64>,
    changed: Mutex<HashMap<u64, Box<[u8; BLOCK]>>>,
}

impl Overlay {
    fn length(&self) -> u64 {
        *self.length.lock()
    }

    /// Returns a block of the unchanged file, filled with zeros after the file's end.
    fn block(&self, number: u64) -> io::Result<Box<[u8; BLOCK]>> {
        let (mut block, start) = (Box::new([0; BLOCK]), number * BLOCK as u64);
        let there = self.file.len()?.saturating_sub(start).min(BLOCK as u64) as usize;
        self.file.read(start, &mut block[..there])?;
        Ok(block)
    }

    /// Splits a range into parts of blocks: block number, offset in the block, and length.
    fn parts(mut offset: u64, mut length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
        std::iter::from_fn(move || {
            let (number, start) = (offset / BLOCK as u64, (offset % BLOCK as u64) as usize);
            let part = length.min(BLOCK - start);
            (offset, length) = (offset + part as u64, length - part);
            (part > 0).then_some((number, start, part))
        })
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.length())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > self.length() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let changed = self.changed.lock();
        let mut at = 0;
        for (number, start, part) in Overlay::parts(offset, out.len()) {
            let into = &mut out[at..at + part];
            match changed.get(&number) {
                Some(block) => into.copy_from_slice(&block[start..start + part]),
                None => into.copy_from_slice(&self.block(number)?[start..start + part]),
            }
            at += part;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        *self.length.lock() = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changed = self.changed.lock();
        let mut at = 0;
        for (number, start, part) in Overlay::parts(offset, data.len()) {
            let block = match changed.entry(number) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => new.insert(self.block(number)?),
            };
            block[start..start + part].copy_from_slice(&data[at..at + part]);
            at += part;
        }
        Ok(())
    }
}
