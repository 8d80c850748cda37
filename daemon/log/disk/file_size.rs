//! The size of the database file: when the file is compacted.

/// The size of the database file.
pub(super) struct FileSize {
    /// Maximum bytes of the file.
    limit: u64,
    /// Bytes of the file that did not belong to blocks after the last compaction.
    overhead: u64,
    /// Compact the file when the bus is idle.
    needs_compaction: bool,
}

impl Default for FileSize {
    fn default() -> FileSize {
        FileSize { limit: u64::MAX, overhead: 0, needs_compaction: false }
    }
}

impl FileSize {
    /// Sets the maximum bytes of the file.
    pub(super) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Returns true if the file is to be compacted once the bus is idle.
    pub(super) fn needs_compaction(&self) -> bool {
        self.needs_compaction
    }

    /// Returns true if the file is to be compacted now: it is near its limit and has free space, or the bus is idle and most of
    /// the file is free. `length` is the size of the file, and `blocks` are the bytes of its blocks.
    pub(super) fn is_compaction_due(&mut self, length: u64, blocks: u64, is_idle: bool) -> bool {
        let needed = blocks + self.overhead;
        self.needs_compaction = length > 2 * needed + self.limit / 8;
        let is_urgent = length > self.limit / 8 * 7 && length > needed + needed / 4;
        is_urgent || (self.needs_compaction && is_idle)
    }

    /// Records that a compaction begins, which is not to be repeated if it fails.
    pub(super) fn begin_compaction(&mut self) {
        self.needs_compaction = false;
    }

    /// Records that the file was compacted to this length.
    pub(super) fn compacted(&mut self, length: u64, blocks: u64) {
        self.overhead = length.saturating_sub(blocks);
    }
}
