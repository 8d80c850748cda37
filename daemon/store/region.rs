//! How the file of the database grows: by regions of 8 MiB.
//!
//! redb doubles its file until that is as long as a region, and then adds regions. The size of a region stands in the
//! header of each file, where redb reads it and never changes it; redb itself makes files with regions of 4 GiB, and has no
//! option for another size. So the size is put into the header of a new file while redb writes it. `docs/design.md` of redb
//! describes the header.

use std::io;

use redb::StorageBackend;

/// Pages of a region: a power of two, and more than the largest row needs.
const PAGES: u32 = 2048;
/// Where the header has the number of pages of a region: behind the magic number, flags, the size of a page, and the pages
/// before a region's data.
const OFFSET: usize = 20;

/// Puts the size of a region into the header of a new file, if this is what redb writes.
pub(super) fn put(offset: u64, data: &[u8]) -> Option<Vec<u8>> {
    let mut data = (offset == 0).then(|| data.to_vec())?;
    data.get_mut(OFFSET..OFFSET + 4)?.copy_from_slice(&PAGES.to_le_bytes());
    Some(data)
}

/// Returns true if a file grows by regions of this size. One that is new will.
pub(super) fn is_in(file: &dyn StorageBackend) -> io::Result<bool> {
    if file.len()? == 0 {
        return Ok(true);
    }
    let mut pages = [0; 4];
    file.read(OFFSET as u64, &mut pages)?;
    Ok(pages == PAGES.to_le_bytes())
}
