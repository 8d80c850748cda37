//! What the daemon's process has used, as the system tells: on Linux from `/proc`, elsewhere unknown.

use std::time::Duration;

/// Looks at one process.
pub(super) struct Meter {
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "nothing is known of it"))]
    pid: u32,
}

impl Meter {
    pub(super) fn new(pid: u32) -> Meter {
        Meter { pid }
    }
}

#[cfg(target_os = "linux")]
impl Meter {
    /// The time that the process has run on a processor, all threads together.
    pub(super) fn cpu(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        // The second field is a name that may hold anything, in parentheses; user and system time are the 14th and 15th.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        let second = rustix::param::clock_ticks_per_second();
        Some(Duration::from_secs_f64(ticks as f64 / second as f64))
    }

    /// The memory that the process has of its own, in bytes.
    pub(super) fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
    }
}

#[cfg(not(target_os = "linux"))]
impl Meter {
    /// The time that the process has run on a processor, all threads together.
    #[expect(clippy::unused_self, reason = "elsewhere it is needed")]
    pub(super) fn cpu(&self) -> Option<Duration> {
        None
    }

    /// The memory that the process has of its own, in bytes.
    #[expect(clippy::unused_self, reason = "elsewhere it is needed")]
    pub(super) fn memory(&self) -> Option<u64> {
        None
    }
}
