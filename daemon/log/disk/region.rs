//! Makes the database file grow by regions of 8 MiB.
//!
//! redb doubles its file until the file is as long as a region, and then adds regions. redb reads the region size from
//! the header of each file and never changes it; new files get regions of 4 GiB, and there is no option for another
//! size. So we put our size into the header of a new file while redb writes it. `docs/design.md` of redb describes the
//! header.

use std::io;

use redb::StorageBackend;

/// Pages of a region: a power of two, and more than the largest row needs.
const PAGES: u32 = 2048;
/// Offset of the region's page count in the header: after the magic number, the flags, the page size, and the number of
/// pages before a region's data.
const OFFSET: usize = 20;

/// Returns redb's header for a new file with our region size, or `None` if `data` is not the header.
pub(super) fn put(offset: u64, data: &[u8]) -> Option<Vec<u8>> {
    let mut data = (offset == 0).then(|| data.to_vec())?;
    data.get_mut(OFFSET..OFFSET + 4)?.copy_from_slice(&PAGES.to_le_bytes());
    Some(data)
}

/// Returns true if a file grows by regions of this size. A new file will.
pub(super) fn is_in(file: &dyn StorageBackend) -> io::Result<bool> {
    if file.len()? == 0 {
        return Ok(true);
    }
    let mut pages = [0; 4];
    file.read(OFFSET as u64, &mut pages)?;
    Ok(pages == PAGES.to_le_bytes())
}
