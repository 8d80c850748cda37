//! How the blocks of events are cut into rows of the database.
//!
//! A page of redb has a power of two of bytes, and a row of more than 4 KiB has a page of its own. A block of 33 KiB in one
//! row would fill half of its page. So a block is cut into rows that fill theirs: the first one stands in [`EVENTS`], the
//! others in [`REST`]. Files before schema 4 have one row for each block, and are read in the same way.

use std::ops::{Bound, RangeBounds};

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};

/// The beginning of each block, under the number of its first event.
const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
/// What follows it, under that number and the number of the row.
const REST: TableDefinition<(u64, u16), &[u8]> = TableDefinition::new("rest");

/// Bytes of a page beside its only row.
const BESIDE: usize = 32;
/// Bytes of the smallest and the largest page.
const PAGES: [usize; 2] = [4 << 10, 64 << 10];

/// Bytes of the row that comes first if so many are to be written, and whether more rows follow it.
fn first_row(bytes: usize) -> (usize, bool) {
    let [smallest, largest] = PAGES;
    let room = bytes + BESIDE;
    let page = room.next_power_of_two();
    // A page that is full but for an eighth is worth more than a few rows.
    if room <= smallest || (page <= largest && room >= page / 8 * 7) {
        return (bytes, false);
    }
    let page = if room > largest { largest } else { page / 2 };
    (page - BESIDE, true)
}

/// Returns true if more rows may follow a first one of so many bytes.
fn may_go_on(bytes: usize) -> bool {
    let page = bytes + BESIDE;
    page.is_power_of_two() && (PAGES[0]..=PAGES[1]).contains(&page)
}

/// The blocks, in a transaction that writes.
pub(super) struct Blocks<'txn> {
    events: Table<'txn, u64, &'static [u8]>,
    rest: Table<'txn, (u64, u16), &'static [u8]>,
}

impl<'txn> Blocks<'txn> {
    /// Opens the tables, which are made if they are not there.
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Blocks<'txn>, TableError> {
        Ok(Blocks { events: transaction.open_table(EVENTS)?, rest: transaction.open_table(REST)? })
    }

    /// Reads the block whose first event had this number.
    pub(super) fn get(&self, first: u64) -> Result<Option<Vec<u8>>, redb::Error> {
        let Some(row) = self.events.get(first)? else { return Ok(None) };
        whole(first, row.value(), Some(&self.rest)).map(Some)
    }

    /// Writes a block, in the place of the one that is there.
    pub(super) fn put(&mut self, first: u64, mut block: &[u8]) -> Result<(), redb::Error> {
        self.remove(first)?;
        let (mut length, mut goes_on) = first_row(block.len());
        self.events.insert(first, &block[..length])?;
        for number in 0.. {
            if !goes_on {
                break;
            }
            block = &block[length..];
            (length, goes_on) = first_row(block.len());
            self.rest.insert((first, number), &block[..length])?;
        }
        Ok(())
    }

    /// Removes a block, if it is there.
    pub(super) fn remove(&mut self, first: u64) -> Result<(), redb::Error> {
        let goes_on = self.events.remove(first)?.is_some_and(|row| may_go_on(row.value().len()));
        if goes_on {
            self.rest.retain_in((first, 0)..=(first, u16::MAX), |_, _| false)?;
        }
        Ok(())
    }
}

/// The blocks, in a transaction that reads.
pub(super) struct StoredBlocks {
    events: ReadOnlyTable<u64, &'static [u8]>,
    /// Not there in files before schema 4.
    rest: Option<ReadOnlyTable<(u64, u16), &'static [u8]>>,
}

impl StoredBlocks {
    pub(super) fn open(transaction: &ReadTransaction) -> Result<StoredBlocks, redb::Error> {
        let rest = match transaction.open_table(REST) {
            Err(TableError::TableDoesNotExist(_)) => None,
            rest => Some(rest?),
        };
        Ok(StoredBlocks { events: transaction.open_table(EVENTS)?, rest })
    }

    /// The number of the first block in a range.
    pub(super) fn first(&self, range: impl RangeBounds<u64>) -> Result<Option<u64>, redb::Error> {
        Ok(self.events.range(range)?.next().transpose()?.map(|(first, _)| first.value()))
    }

    /// The number of the block that an event is in, if it is in any.
    pub(super) fn of(&self, seq: u64) -> Result<Option<u64>, redb::Error> {
        Ok(self.events.range(..=seq)?.next_back().transpose()?.map(|(first, _)| first.value()))
    }

    /// The blocks from a number on, each with its number.
    pub(super) fn from(
        &self,
        first: u64,
    ) -> Result<impl Iterator<Item = Result<(u64, Vec<u8>), redb::Error>>, redb::Error> {
        let rows = self.events.range((Bound::Included(first), Bound::Unbounded))?;
        Ok(rows.map(|row| {
            let (first, row) = row?;
            Ok((first.value(), whole(first.value(), row.value(), self.rest.as_ref())?))
        }))
    }
}

/// A block, put together from its rows.
fn whole(
    first: u64,
    row: &[u8],
    rest: Option<&impl ReadableTable<(u64, u16), &'static [u8]>>,
) -> Result<Vec<u8>, redb::Error> {
    let mut block = row.to_vec();
    if let Some(rest) = rest.filter(|_| may_go_on(row.len())) {
        for row in rest.range((first, 0)..=(first, u16::MAX))? {
            block.extend_from_slice(row?.1.value());
        }
    }
    Ok(block)
}
