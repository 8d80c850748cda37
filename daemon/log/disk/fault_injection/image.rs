//! The content of a file on the simulated disk: what is synced, and what a reader sees.

use super::support::Random;

/// The content of a file. After a failed sync, reads still return the unsynced writes, of which only some may be on
/// disk; the next sync succeeds without the others, as on Linux.
#[derive(Debug, Default)]
pub(super) struct Image {
    /// The content that survives a power failure.
    pub(super) safe: Vec<u8>,
    /// The changes since, in order.
    pub(super) unsafe_changes: Vec<Change>,
    /// The content that reads return.
    pub(super) seen: Vec<u8>,
    /// A sync has failed.
    pub(super) has_dropped: bool,
}

/// A change that was not synced.
#[derive(Debug)]
pub(super) enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Image {
    /// Applies a power failure. Of the unsynced writes none, all or some are on disk, and some only in part. The file
    /// has one of its lengths since the last sync: file systems keep length changes in order.
    pub(super) fn lose_power(&mut self, random: &mut Random) {
        let Image { safe: mut bytes, unsafe_changes, .. } = std::mem::take(self);
        // One write in `lost` is lost, and one in `torn` is written in part.
        let (lost, torn) = [(1, 1), (2, 8), (4, 2), (10, 1000), (1000, 3), (1000, 1000)][random.below(6)];
        let lengths = unsafe_changes.iter().filter(|change| matches!(change, Change::Length(_))).count();
        let mut lengths = if lost == 1 { 0 } else { random.below(lengths + 1) };
        for change in unsafe_changes {
            match change {
                Change::Length(length) if lengths > 0 => {
                    resize(&mut bytes, length);
                    lengths -= 1;
                }
                Change::Length(_) => {}
                Change::Write(_, _) if random.once_in(lost) => {}
                Change::Write(start, data) => {
                    let (mut from, mut to) = (0, data.len());
                    if random.once_in(torn) {
                        (from, to) = (random.below(to + 1), random.below(to + 1));
                    }
                    to = to.min(bytes.len().saturating_sub(start));
                    if from < to {
                        bytes[start + from..start + to].copy_from_slice(&data[from..to]);
                    }
                }
            }
        }
        *self = Image { safe: bytes.clone(), seen: bytes, ..Image::default() };
    }

    /// Ends a sync: all lengths and the writes that `is_written` selects are on disk.
    pub(super) fn write_back(&mut self, is_written: impl Fn(usize) -> bool) {
        for (n, change) in std::mem::take(&mut self.unsafe_changes).into_iter().enumerate() {
            match change {
                Change::Length(length) => resize(&mut self.safe, length),
                Change::Write(start, data) if is_written(n) => {
                    self.safe[start..start + data.len()].copy_from_slice(&data);
                }
                Change::Write(..) => {}
            }
        }
    }

    pub(super) fn write(&mut self, start: usize, data: &[u8]) {
        self.seen[start..start + data.len()].copy_from_slice(data);
        self.unsafe_changes.push(Change::Write(start, data.to_vec()));
    }
}

/// `Vec::resize` is slow in debug builds.
pub(super) fn resize(bytes: &mut Vec<u8>, length: usize) {
    bytes.truncate(length);
    bytes.extend_from_slice(&vec![0; length - bytes.len()]);
}
