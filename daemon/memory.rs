//! Returns freed memory to the system while the daemon rests.
//!
//! glibc returns memory by itself only from the end of an arena. After a flood the freed memory lies between blocks that
//! are still in use, and stays resident: hundreds of MiB for a few in use. `malloc_trim` returns it. It locks one arena
//! after the other for some milliseconds, so it runs only while the daemon rests. Other systems return memory by
//! themselves.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::{task::spawn_blocking, time::sleep};

/// How often the daemon checks whether it rests. Twice this time passes at most until memory is returned.
const CHECK: Duration = Duration::from_secs(20);
/// Processor time between two checks below which the daemon rests.
const REST: Duration = Duration::from_secs(2);
/// Processor time since memory was returned above which there may be more to return.
const WORTHWHILE: Duration = Duration::from_millis(100);

/// Returns memory whenever the daemon rests after work. Never ends.
pub(crate) async fn return_at_rest() {
    let (mut before, mut returned) = (Duration::ZERO, None);
    loop {
        sleep(CHECK).await;
        let now = processor_time();
        if is_due(before, now, returned) {
            // Ends with an error only if the runtime does.
            let _ = spawn_blocking(trim).await;
            // Not `now`: the work before it may not have freed everything yet.
            returned = Some(before);
        }
        before = now;
    }
}

/// Whether the daemon rested between two checks, and has worked since the check before memory was last returned. All
/// arguments are processor times of this process.
fn is_due(before: Duration, now: Duration, returned: Option<Duration>) -> bool {
    now.saturating_sub(before) < REST && returned.is_none_or(|returned| now.saturating_sub(returned) > WORTHWHILE)
}

/// The processor time that this process has used.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

#[expect(unsafe_code, reason = "the C library has no safe interface for it, and no crate wraps it")]
fn trim() {
    // SAFETY: it takes no pointer, frees nothing that is in use, and may be called by any thread at any time
    // (malloc_trim(3): MT-Safe).
    unsafe { libc::malloc_trim(0) };
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
}
