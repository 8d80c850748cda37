//! A disk that forgets what was not synced, and that can fail at any moment.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use redb::StorageBackend;
use tempfile::TempDir;

use super::{
    super::{file::File, left::Left},
    Random, epoch,
};

/// A disk with the file on it. A name in a folder stands for the file, so that it can be set aside.
pub(super) struct Disk {
    folder: TempDir,
    bytes: Bytes,
}

/// The bytes of a file.
#[derive(Clone, Debug)]
struct Bytes(Arc<Mutex<Image>>);

#[derive(Debug, Default)]
struct Image {
    /// What is there even if the power fails now.
    safe: Vec<u8>,
    /// What was changed since, in order.
    unsafe_changes: Vec<Change>,
    /// What a reader sees.
    seen: Vec<u8>,
    accident: Option<Accident>,
}

#[derive(Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

/// After so many changes and syncs nothing works for so many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accident {
    pub(super) after: usize,
    pub(super) lasts: usize,
}

impl Accident {
    /// The power fails: nothing works any more.
    pub(super) fn power(after: usize) -> Accident {
        Accident { after, lasts: usize::MAX }
    }
}

impl Disk {
    /// A disk with these bytes in the file, or an empty one.
    pub(super) fn holding(bytes: Vec<u8>) -> Disk {
        let image = Image { safe: bytes.clone(), seen: bytes, ..Image::default() };
        let disk = Disk { folder: tempfile::tempdir().unwrap(), bytes: Bytes(Arc::new(Mutex::new(image))) };
        fs::write(disk.path(), "").unwrap();
        disk
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("history.redb")
    }

    /// Opens the file as the daemon does.
    pub(super) fn open(&self) -> Result<(File, Option<Left>), String> {
        let (path, bytes) = (self.path(), self.bytes.clone());
        let create = Box::new(move |builder: &redb::Builder| {
            if !path.exists() {
                *bytes.image() = Image::default();
                fs::write(&path, "").unwrap();
            }
            builder.create_with_backend(bytes.clone())
        });
        File::open_with(&self.path(), create, epoch())
    }

    /// How many files were set aside so far.
    pub(super) fn set_aside(&self) -> usize {
        fs::read_dir(self.folder.path()).unwrap().count() - usize::from(self.path().exists())
    }

    /// What is in the file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.bytes.image().seen.clone()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.image().seen.len()
    }

    pub(super) fn plan(&self, accident: Accident) {
        self.bytes.image().accident = Some(accident);
    }

    /// The power is back. Of what was not synced nothing is there, or all, or what had reached the disk by chance, and
    /// of some of it a part. The file has one of the lengths that it had since: file systems keep these in order.
    pub(super) fn power_returns(&self, random: &mut Random) {
        let mut image = self.bytes.image();
        let Image { safe: mut bytes, unsafe_changes, .. } = std::mem::take(&mut *image);
        // One in so many is lost, and one in so many is torn.
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
        *image = Image { safe: bytes.clone(), seen: bytes, ..Image::default() };
    }
}

impl Bytes {
    fn image(&self) -> MutexGuard<'_, Image> {
        self.0.lock().unwrap()
    }
}

impl Image {
    /// Counts a change or a sync. Says whether it fails.
    fn fails(&mut self) -> bool {
        let Some(Accident { after, lasts }) = &mut self.accident else { return false };
        match (&mut *after, &mut *lasts) {
            (0, 0) => {
                self.accident = None;
                false
            }
            (0, lasts) => {
                *lasts -= 1;
                true
            }
            (after, _) => {
                *after -= 1;
                false
            }
        }
    }

    fn write(&mut self, start: usize, data: &[u8]) {
        self.seen[start..start + data.len()].copy_from_slice(data);
        self.unsafe_changes.push(Change::Write(start, data.to_vec()));
    }
}

/// `Vec::resize` takes one byte after the other in debug builds.
fn resize(bytes: &mut Vec<u8>, length: usize) {
    bytes.truncate(length);
    bytes.extend_from_slice(&vec![0; length - bytes.len()]);
}

fn failed() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

impl StorageBackend for Bytes {
    fn len(&self) -> io::Result<u64> {
        Ok(self.image().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (image, start) = (self.image(), offset as usize);
        if matches!(image.accident, Some(Accident { after: 0, lasts: 1_000.. })) {
            return Err(failed());
        }
        let end = start.checked_add(out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(image.seen.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let (mut image, length) = (self.image(), length as usize);
        if image.fails() {
            return Err(failed());
        }
        resize(&mut image.seen, length);
        image.unsafe_changes.push(Change::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut image = self.image();
        if image.fails() {
            return Err(failed());
        }
        let Image { safe, unsafe_changes, .. } = &mut *image;
        for change in unsafe_changes.drain(..) {
            match change {
                Change::Length(length) => resize(safe, length),
                Change::Write(start, data) => safe[start..start + data.len()].copy_from_slice(&data),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut image = self.image();
        if image.fails() {
            // A full disk may have taken a part.
            image.write(offset as usize, &data[..data.len() / 2]);
            return Err(failed());
        }
        image.write(offset as usize, data);
        Ok(())
    }
}
