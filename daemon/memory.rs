//! Returns freed memory to the system.
//!
//! glibc returns memory by itself only from the end of an arena. After a flood the freed memory lies between blocks that
//! are still in use, and stays resident: hundreds of MiB for a few in use. `malloc_trim` returns it. It locks one arena
//! after the other for some milliseconds, in which other threads that allocate in that arena wait. So it runs while the
//! daemon rests. A daemon that never rests returns memory too, but only if it holds much more than it uses, and seldom:
//! see [`BUSY`]. Other systems return memory by themselves.

use std::{fs, time::Duration};

use rustix::{
    param::page_size,
    time::{ClockId, clock_gettime},
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};
use tracing::debug;

/// How often the daemon checks whether it rests. Twice this time passes at most until memory is returned.
const CHECK: Duration = Duration::from_secs(20);
/// Processor time between two checks below which the daemon rests.
const REST: Duration = Duration::from_secs(2);
/// Processor time since memory was returned above which there may be more to return.
const WORTHWHILE: Duration = Duration::from_millis(100);
/// A daemon that does not rest returns memory at most this often.
const BUSY: Duration = Duration::from_mins(5);
/// And only if it has this many bytes more resident than are in use, and more than half of its resident memory.
const EXCESS: usize = 64 << 20;

/// Returns memory whenever the daemon rests after work, and seldom while it works. Never ends.
pub(crate) async fn return_freed() {
    let (mut before, mut returned, mut at) = (Duration::ZERO, None, Instant::now());
    loop {
        sleep(CHECK).await;
        let now = processor_time();
        let is_resting = is_due(before, now, returned);
        // The checks read a file, and lock each arena for a moment.
        let trimmed = spawn_blocking(move || {
            let is_wanted =
                is_resting || at.elapsed() >= BUSY && resident() > EXCESS && is_excessive(resident(), in_use());
            is_wanted.then(trim).is_some()
        });
        // Fails only if the runtime ends.
        if trimmed.await.unwrap_or_default() {
            // Not `now`: the work before it may not have freed everything yet.
            (returned, at) = (Some(before), Instant::now());
        }
        before = now;
    }
}

/// Returns true if the daemon rested between two checks, and has worked since the check before memory was last returned. All
/// arguments are processor times of this process.
fn is_due(before: Duration, now: Duration, returned: Option<Duration>) -> bool {
    now.saturating_sub(before) < REST && returned.is_none_or(|returned| now.saturating_sub(returned) > WORTHWHILE)
}

/// Returns true if so much memory is resident and not in use that a working daemon returns it.
fn is_excessive(resident: usize, in_use: usize) -> bool {
    let free = resident.saturating_sub(in_use);
    free > EXCESS && free > resident / 2
}

/// The bytes of resident memory that belong to no file, or 0 if the system does not report them.
fn resident() -> usize {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = text.split(' ').skip(1).map_while(|field| field.parse::<usize>().ok());
    match (pages.next(), pages.next()) {
        (Some(resident), Some(of_files)) => resident.saturating_sub(of_files) * page_size(),
        _ => 0,
    }
}

/// The processor time that this process has used.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// The bytes that are allocated.
#[expect(unsafe_code, reason = "the C library has no safe interface for it, and no crate wraps it")]
fn in_use() -> usize {
    // SAFETY: it takes no pointer, returns a struct by value, and may be called by any thread at any time (mallinfo2(3):
    // MT-Safe but for mallopt(3), which nobody calls).
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

#[expect(unsafe_code, reason = "the C library has no safe interface for it, and no crate wraps it")]
fn trim() {
    let (began, before) = (std::time::Instant::now(), resident());
    // SAFETY: it takes no pointer, frees nothing that is in use, and may be called by any thread at any time
    // (malloc_trim(3): MT-Safe).
    unsafe { libc::malloc_trim(0) };
    debug!(took = ?began.elapsed(), before, after = resident(), "memory was returned");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_returned_after_work_and_once_for_each() {
        let s = Duration::from_secs;
        // Once after the start, whatever it took.
        assert!(is_due(s(0), s(1), None));
        // Not under load, but at the first check after it.
        assert!(!is_due(s(1), s(9), Some(s(0))));
        assert!(is_due(s(9), s(9), Some(s(0))));
        // The work may have ended just before: once more, then no more.
        let (end, idle) = (s(10), s(10) + WORTHWHILE / 2);
        assert!(is_due(s(9), end, Some(s(0))));
        assert!(is_due(end, idle, Some(s(9))));
        assert!(!is_due(idle, idle, Some(end)));
    }

    #[test]
    fn a_working_daemon_returns_memory_only_if_most_of_it_is_free() {
        let mib = |mib: usize| mib << 20;
        assert!(!is_excessive(mib(100), mib(90)));
        assert!(!is_excessive(mib(60), mib(1)), "too little to matter");
        assert!(!is_excessive(mib(1000), mib(600)), "it needs most of it");
        assert!(is_excessive(mib(700), mib(20)));
        assert!(!is_excessive(0, mib(20)));
    }

    #[test]
    fn freed_memory_between_blocks_in_use_is_counted_and_returned() {
        const BLOCK: usize = 8 << 10;
        const BLOCKS: usize = 20_000;
        let mut blocks: Vec<_> = (0..BLOCKS).map(|n| Some(vec![n as u8; BLOCK])).collect();
        let full = in_use();
        blocks.iter_mut().enumerate().filter(|(n, _)| n % 8 != 0).for_each(|(_, block)| *block = None);
        let (resident_before, used) = (resident(), in_use());
        assert!(full - used > BLOCK * BLOCKS / 2, "{full} bytes in use, then {used}");
        assert!(is_excessive(resident_before, used), "{resident_before} bytes resident, {used} in use");
        trim();
        let after = resident();
        assert!(resident_before - after > BLOCK * BLOCKS / 2, "{resident_before} bytes resident, then {after}");
        drop(blocks);
    }
}
