//! What is known of the blocks without reading them: how many of their events were evicted, and which are to be written
//! again.
//!
//! An evicted event stays in its block until evicted events are a third of all bytes. Then the blocks that have lost a third
//! are written again without them. In a history whose events are evicted in the order of their ids this is never necessary:
//! whole blocks go.

use std::collections::{BTreeMap, BTreeSet};

use sse_bus::bus::history::Entry;

use super::{
    encoding::{self, BlockBuilder},
    rows::Blocks,
};

/// Bytes of one block, unless a single event is larger: it fits one row, which has a page of its own.
const BLOCK_BYTES: usize = 63 << 10;
/// The last block takes more events while it has fewer bytes, so that a publish now and then does not leave many small
/// ones.
const EXTENDABLE_BYTES: usize = 16 << 10;
/// Blocks that one commit rewrites, at most: more than a batch can make sparse for long.
const MAX_REWRITES: usize = 512;
/// Blocks of which nothing is left that one commit removes, at most.
const MAX_REMOVALS: usize = 4096;

/// What is in a block.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Events that stand in it, also those that are gone.
    events: usize,
    bytes: usize,
    /// Events that history has let go.
    pub(super) evicted: BTreeSet<u64>,
}

impl Block {
    /// One that is whole.
    pub(super) fn new(events: usize, bytes: usize) -> Block {
        Block { events, bytes, evicted: BTreeSet::new() }
    }

    /// Bytes of one of its events, about.
    fn bytes_per_event(&self) -> usize {
        self.bytes / self.events.max(1)
    }

    /// About what is gone and stands there still, in bytes.
    fn dead_bytes(&self) -> usize {
        self.bytes_per_event() * self.evicted.len()
    }

    /// Whether nothing of it is left.
    fn is_empty(&self) -> bool {
        self.evicted.len() >= self.events
    }

    /// Whether more than a third of it is gone.
    fn is_sparse(&self) -> bool {
        self.is_empty() || self.evicted.len() * 3 > self.events
    }
}

/// All blocks, by the number under which they are written.
pub(super) struct BlockIndex {
    blocks: BTreeMap<u64, Block>,
    /// Those that are sparse, noted so that a commit need not look at all of them.
    sparse: BTreeSet<u64>,
    /// Bytes of all blocks.
    bytes: usize,
    /// Of these, about those of evicted events.
    dead_bytes: usize,
}

/// What a commit does with the blocks that are there.
pub(super) struct Maintenance {
    remove: Vec<u64>,
    /// Each with its evicted events.
    rewrite: Vec<(u64, BTreeSet<u64>)>,
    /// The last block, if it takes more events.
    extend: Option<(u64, BTreeSet<u64>)>,
}

impl BlockIndex {
    pub(super) fn new(blocks: BTreeMap<u64, Block>) -> BlockIndex {
        BlockIndex {
            sparse: blocks.iter().filter(|(_, block)| block.is_sparse()).map(|(first, _)| *first).collect(),
            bytes: blocks.values().map(|block| block.bytes).sum(),
            dead_bytes: blocks.values().map(Block::dead_bytes).sum(),
            blocks,
        }
    }

    /// Bytes of all blocks.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// Notes that an event was evicted.
    pub(super) fn evict(&mut self, seq: u64) {
        if let Some((first, block)) = self.blocks.range_mut(..=seq).next_back() {
            if block.evicted.insert(seq) {
                self.dead_bytes += block.bytes_per_event();
            }
            if block.is_sparse() {
                self.sparse.insert(*first);
            }
        }
    }

    /// Returns what the next commit is to do.
    pub(super) fn maintenance(&self) -> Maintenance {
        let sparse = self.sparse.iter().filter_map(|first| self.blocks.get_key_value(first));
        let (empty, sparse): (Vec<_>, Vec<_>) = sparse.partition(|(_, block)| block.is_empty());
        let rewrites = if self.dead_bytes * 3 > self.bytes { MAX_REWRITES } else { 0 };
        let last =
            self.blocks.last_key_value().filter(|(_, block)| block.bytes < EXTENDABLE_BYTES && !block.is_sparse());
        let with_evicted = |(first, block): (&u64, &Block)| (*first, block.evicted.clone());
        Maintenance {
            remove: empty.into_iter().take(MAX_REMOVALS).map(|(first, _)| *first).collect(),
            rewrite: sparse.into_iter().take(rewrites).map(with_evicted).collect(),
            extend: last.map(with_evicted),
        }
    }

    /// Notes what a commit has written. A block without events was removed.
    pub(super) fn record_changes(&mut self, written: Vec<(u64, Block)>) {
        for (first, block) in written {
            self.sparse.remove(&first);
            if let Some(before) = self.blocks.remove(&first) {
                self.bytes -= before.bytes;
                self.dead_bytes -= before.dead_bytes();
            }
            if block.events > 0 {
                self.bytes += block.bytes;
                self.blocks.insert(first, block);
            }
        }
    }
}

impl Maintenance {
    /// Does it, and writes new events. Returns the blocks that were written or removed, for [`BlockIndex::note`].
    pub(super) fn run(&self, blocks: &mut Blocks<'_>, entries: &[Entry]) -> Result<Vec<(u64, Block)>, redb::Error> {
        let mut written = Vec::new();
        for first in &self.remove {
            blocks.remove(*first)?;
            written.push((*first, Block::default()));
        }
        for (first, evicted) in &self.rewrite {
            if let Some(less) = without(blocks, *first, |seq| evicted.contains(&seq))? {
                let (events, bytes) = (less.events(), less.finish());
                blocks.put(*first, &bytes)?;
                written.push((*first, Block::new(events, bytes.len())));
            } else {
                blocks.remove(*first)?;
                written.push((*first, Block::default()));
            }
        }
        // After a commit that has failed they may be there already.
        let is_new = |seq| entries.first().is_some_and(|first| seq >= first.seq);
        let last = match &self.extend {
            Some((first, evicted)) => {
                without(blocks, *first, |seq| evicted.contains(&seq) || is_new(seq))?.map(|last| (*first, last))
            }
            None => None,
        };
        written.extend(write_events(blocks, last, entries)?);
        Ok(written)
    }
}

/// Writes events in blocks. The first of them go into the block `last`, if there is one. Returns the blocks that were
/// written, with their numbers.
pub(super) fn write_events(
    blocks: &mut Blocks<'_>,
    last: Option<(u64, BlockBuilder)>,
    mut entries: &[Entry],
) -> Result<Vec<(u64, Block)>, redb::Error> {
    let (mut written, mut last) = (Vec::new(), last);
    while let Some(first) = entries.first() {
        let (number, mut block) = last.take().unwrap_or_else(|| (first.seq, BlockBuilder::default()));
        let taken = block.fill(entries, BLOCK_BYTES);
        let events = block.events();
        let bytes = block.finish();
        blocks.put(number, &bytes)?;
        written.push((number, Block::new(events, bytes.len())));
        entries = &entries[taken..];
    }
    Ok(written)
}

/// Reads a block, without some of its events. Nothing if it is damaged.
fn without(
    blocks: &Blocks<'_>,
    first: u64,
    is_evicted: impl Fn(u64) -> bool,
) -> Result<Option<BlockBuilder>, redb::Error> {
    Ok(blocks.get(first)?.and_then(|whole| encoding::without(&whole, is_evicted)))
}
