//! Tracks the blocks without reading them: how many of their events were evicted, and which blocks to rewrite.
//!
//! An evicted event stays in its block until evicted events make up a third of all bytes. Then each block that has lost
//! a third of its events is rewritten without them. If events are evicted in id order, no block is ever rewritten,
//! because whole blocks are removed.

use std::collections::{BTreeMap, BTreeSet};

use sse_bus::bus::history::Entry;

use super::{
    encoding::{self, BlockBuilder},
    rows::Blocks,
};

/// Maximum bytes of a block, unless one event is larger. A block of this size fits one row with a page of its own.
const BLOCK_BYTES: usize = 63 << 10;
/// New events are added to the last block while it is smaller than this, so that occasional publishes do not leave many
/// small blocks.
const EXTENDABLE_BYTES: usize = 16 << 10;
/// Maximum number of blocks that one commit rewrites. In the long run a batch makes fewer blocks sparse.
const MAX_REWRITES: usize = 512;
/// Maximum number of empty blocks that one commit removes.
const MAX_REMOVALS: usize = 4096;

/// What is known about one block.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Number of events in the block, including evicted ones.
    events: usize,
    bytes: usize,
    /// Evicted events.
    pub(super) evicted: BTreeSet<u64>,
}

impl Block {
    /// Returns a block without evicted events.
    pub(super) fn new(events: usize, bytes: usize) -> Block {
        Block { events, bytes, evicted: BTreeSet::new() }
    }

    /// Approximate bytes of one event.
    fn bytes_per_event(&self) -> usize {
        self.bytes / self.events.max(1)
    }

    /// Approximate bytes of the evicted events.
    fn dead_bytes(&self) -> usize {
        self.bytes_per_event() * self.evicted.len()
    }

    /// Returns true if all events were evicted.
    fn is_empty(&self) -> bool {
        self.evicted.len() >= self.events
    }

    /// Returns true if more than a third of the events were evicted.
    fn is_sparse(&self) -> bool {
        self.is_empty() || self.evicted.len() * 3 > self.events
    }
}

/// All blocks, by the sequence number under which each is stored.
pub(super) struct BlockIndex {
    blocks: BTreeMap<u64, Block>,
    /// The sparse blocks, indexed so that a commit need not scan all blocks.
    sparse: BTreeSet<u64>,
    /// Bytes of all blocks.
    bytes: usize,
    /// Approximate bytes of the evicted events in them.
    dead_bytes: usize,
}

/// What the next commit does to the existing blocks.
pub(super) struct Maintenance {
    remove: Vec<u64>,
    /// Blocks to rewrite, each with its evicted events.
    rewrite: Vec<(u64, BTreeSet<u64>)>,
    /// The last block, if it accepts more events.
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

    /// Records that an event was evicted.
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

    /// Returns what the next commit has to do.
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

    /// Records what a commit has changed. A block without events was removed.
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
    /// Updates the existing blocks and writes new events. Returns the blocks that were written or removed, for
    /// [`BlockIndex::record_changes`].
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
        // A failed commit may have written some of these events already.
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

/// Writes events in blocks, the first of them into the block `last` if there is one. Returns the blocks that were
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

/// Reads a block without the evicted events. Returns `None` if the block is damaged or missing.
fn without(
    blocks: &Blocks<'_>,
    first: u64,
    is_evicted: impl Fn(u64) -> bool,
) -> Result<Option<BlockBuilder>, redb::Error> {
    Ok(blocks.get(first)?.and_then(|whole| encoding::without(&whole, is_evicted)))
}
