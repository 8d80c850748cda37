//! Splits blocks of events into rows of the database.
//!
//! The size of a redb page is a power of two, and a row above 4 KiB has a page of its own. A block of 33 KiB in one row
//! would waste half of its page. So a block is split into rows that fill their pages: the first row is in [`EVENTS`],
//! the others are in [`CONTINUATION`]. Files before schema 4 have one row for each block and are read in the same way.

use std::ops::{Bound, RangeBounds};

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};

/// The first row of each block, under the sequence number of the block's first event.
const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
/// The further rows of each block, under that number and the row number.
const CONTINUATION: TableDefinition<(u64, u16), &[u8]> = TableDefinition::new("rest");

/// Bytes of a page that its only row cannot use.
const PAGE_OVERHEAD: usize = 32;
/// Bytes of the smallest and of the largest page.
const PAGE_BYTES: [usize; 2] = [4 << 10, 64 << 10];

/// Returns the size of the next row if `bytes` remain to be written, and whether more rows follow it.
fn first_row(bytes: usize) -> (usize, bool) {
    let [smallest, largest] = PAGE_BYTES;
    let needed = bytes + PAGE_OVERHEAD;
    let page = needed.next_power_of_two();
    // Wasting up to an eighth of a page is cheaper than several more rows.
    if needed <= smallest || (page <= largest && needed >= page / 8 * 7) {
        return (bytes, false);
    }
    let page = if needed > largest { largest } else { page / 2 };
    (page - PAGE_OVERHEAD, true)
}

/// Returns true if more rows may follow a first row of this size.
fn may_have_more(bytes: usize) -> bool {
    let page = bytes + PAGE_OVERHEAD;
    page.is_power_of_two() && (PAGE_BYTES[0]..=PAGE_BYTES[1]).contains(&page)
}

/// The blocks in a write transaction.
pub(super) struct Blocks<'txn> {
    events: Table<'txn, u64, &'static [u8]>,
    rest: Table<'txn, (u64, u16), &'static [u8]>,
}

impl<'txn> Blocks<'txn> {
    /// Opens the tables, and creates them if necessary.
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Blocks<'txn>, TableError> {
        Ok(Blocks { events: transaction.open_table(EVENTS)?, rest: transaction.open_table(CONTINUATION)? })
    }

    /// Reads the block that is stored under `first`.
    pub(super) fn get(&self, first: u64) -> Result<Option<Vec<u8>>, redb::Error> {
        let Some(row) = self.events.get(first)? else { return Ok(None) };
        assemble(first, row.value(), Some(&self.rest)).map(Some)
    }

    /// Writes a block, and replaces an existing one.
    pub(super) fn put(&mut self, first: u64, mut block: &[u8]) -> Result<(), redb::Error> {
        self.remove(first)?;
        let (mut length, mut has_more) = first_row(block.len());
        self.events.insert(first, &block[..length])?;
        for number in 0.. {
            if !has_more {
                break;
            }
            block = &block[length..];
            (length, has_more) = first_row(block.len());
            self.rest.insert((first, number), &block[..length])?;
        }
        Ok(())
    }

    /// Removes a block, if it exists.
    pub(super) fn remove(&mut self, first: u64) -> Result<(), redb::Error> {
        let has_more = self.events.remove(first)?.is_some_and(|row| may_have_more(row.value().len()));
        if has_more {
            self.rest.retain_in((first, 0)..=(first, u16::MAX), |_, _| false)?;
        }
        Ok(())
    }
}

/// The blocks in a read transaction.
pub(super) struct StoredBlocks {
    events: ReadOnlyTable<u64, &'static [u8]>,
    /// `None` in files before schema 4.
    rest: Option<ReadOnlyTable<(u64, u16), &'static [u8]>>,
}

impl StoredBlocks {
    pub(super) fn open(transaction: &ReadTransaction) -> Result<StoredBlocks, redb::Error> {
        let rest = match transaction.open_table(CONTINUATION) {
            Err(TableError::TableDoesNotExist(_)) => None,
            rest => Some(rest?),
        };
        Ok(StoredBlocks { events: transaction.open_table(EVENTS)?, rest })
    }

    /// Returns the number of the first block in a range.
    pub(super) fn first(&self, range: impl RangeBounds<u64>) -> Result<Option<u64>, redb::Error> {
        Ok(self.events.range(range)?.next().transpose()?.map(|(first, _)| first.value()))
    }

    /// Returns the number of the block that may contain an event: the last block that starts at or before it.
    pub(super) fn containing(&self, seq: u64) -> Result<Option<u64>, redb::Error> {
        Ok(self.events.range(..=seq)?.next_back().transpose()?.map(|(first, _)| first.value()))
    }

    /// Iterates over the blocks from `first` on, each with its number.
    pub(super) fn iter_from(
        &self,
        first: u64,
    ) -> Result<impl Iterator<Item = Result<(u64, Vec<u8>), redb::Error>>, redb::Error> {
        let rows = self.events.range((Bound::Included(first), Bound::Unbounded))?;
        Ok(rows.map(|row| {
            let (first, row) = row?;
            Ok((first.value(), assemble(first.value(), row.value(), self.rest.as_ref())?))
        }))
    }
}

/// Assembles a block from its rows.
fn assemble(
    first: u64,
    row: &[u8],
    rest: Option<&impl ReadableTable<(u64, u16), &'static [u8]>>,
) -> Result<Vec<u8>, redb::Error> {
    let mut block = row.to_vec();
    if let Some(rest) = rest.filter(|_| may_have_more(row.len())) {
        for row in rest.range((first, 0)..=(first, u16::MAX))? {
            block.extend_from_slice(row?.1.value());
        }
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use redb::{Database, ReadableDatabase as _, ReadableTableMetadata as _, backends::InMemoryBackend};

    use super::*;

    #[test]
    fn rows_fill_their_pages() {
        for bytes in (1..300_000).step_by(97) {
            let (mut remaining, mut pages) = (bytes, 0);
            loop {
                let (length, has_more) = first_row(remaining);
                pages += (length + PAGE_OVERHEAD).next_power_of_two().max(PAGE_BYTES[0]);
                remaining -= length;
                assert!(has_more == (remaining > 0) && (!has_more || may_have_more(length)), "{bytes} bytes");
                if !has_more {
                    break;
                }
            }
            // The last row of a block may have a page of 4 KiB of its own, and each page may waste an eighth.
            assert!(pages <= bytes / 7 * 8 + 2 * PAGE_BYTES[0], "{bytes} bytes take {pages}");
        }
    }

    #[test]
    fn a_block_of_any_size_is_read_replaced_and_removed() {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let block = |bytes: usize| (0..bytes).map(|n| (n % 251) as u8).collect::<Vec<_>>();
        let sizes = [0, 1, 4064, 4065, 33_000, 65_504, 65_505, 262_200, 4 << 20, 9000];
        let written = database.begin_write().unwrap();
        {
            let mut blocks = Blocks::open(&written).unwrap();
            for (number, bytes) in (1..).zip(sizes) {
                blocks.put(number, &block(bytes)).unwrap();
            }
            // Block 1 is replaced by a block of each size.
            for bytes in sizes {
                blocks.put(1, &block(bytes)).unwrap();
                assert!(blocks.get(1).unwrap() == Some(block(bytes)), "{bytes} bytes");
            }
        }
        written.commit().unwrap();
        let read = StoredBlocks::open(&database.begin_read().unwrap()).unwrap();
        let found: Vec<_> = read.iter_from(2).unwrap().map(|found| found.unwrap().1).collect();
        assert!(found.iter().map(Vec::as_slice).eq(sizes[1..].iter().map(|bytes| block(*bytes))));
        let written = database.begin_write().unwrap();
        {
            let mut blocks = Blocks::open(&written).unwrap();
            (1..=sizes.len() as u64).for_each(|number| blocks.remove(number).unwrap());
            assert_eq!((blocks.events.len().unwrap(), blocks.rest.len().unwrap()), (0, 0));
        }
    }
}
