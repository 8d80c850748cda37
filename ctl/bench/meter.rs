//! CPU time and memory of the daemon's process: on Linux from `/proc`, on other systems unknown.

use std::time::Duration;

/// Measures one process.
pub(super) struct Meter {
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux is supported"))]
    pid: u32,
}

impl Meter {
    pub(super) fn new(pid: u32) -> Meter {
        Meter { pid }
    }
}

#[cfg(target_os = "linux")]
impl Meter {
    /// Returns the CPU time of all threads of the process.
    pub(super) fn cpu(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        // The second field is a name in parentheses, which can contain any character. User and system time are fields
        // 14 and 15.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        let second = rustix::param::clock_ticks_per_second();
        Some(Duration::from_secs_f64(ticks as f64 / second as f64))
    }

    /// Returns the private memory of the process, in bytes.
    pub(super) fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
    }
}

#[cfg(not(target_os = "linux"))]
impl Meter {
    /// Returns the CPU time of all threads of the process.
    #[expect(clippy::unused_self, reason = "used on Linux")]
    pub(super) fn cpu(&self) -> Option<Duration> {
        None
    }

    /// Returns the private memory of the process, in bytes.
    #[expect(clippy::unused_self, reason = "used on Linux")]
    pub(super) fn memory(&self) -> Option<u64> {
        None
    }
}
