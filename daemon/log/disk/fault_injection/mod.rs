//! The files of history under all faults: power failures, full disks, flipped bits, missing parts.
//!
//! A simulated [`Disk`](disk::Disk) replaces the file system; everything above it is the daemon's own code.

mod corruption;
mod disk;
mod file_size;
mod full_disk;
mod image;
mod old_files;
mod power_loss;
mod scenarios;
mod shutdown;
mod support;
