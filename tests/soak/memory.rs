//! The daemon's memory and descriptors over time: resident memory with its slope.

use std::{fmt, fs, time::Duration};

/// MiB that memory may grow in an hour.
const ALLOWED: f64 = 1.0;
/// MiB that it may grow in a run of minutes: the load comes in bursts, each of which may be the highest so far and have
/// the allocator create another arena. That is 700 bytes an event in half a minute.
const ALLOWED_AT_FIRST: f64 = 4.0;

/// Samples a process.
pub(crate) struct Memory {
    pid: u32,
    /// Time in hours, resident memory in MiB.
    samples: Vec<(f64, f64)>,
    pub(crate) descriptors: (usize, usize),
}

impl Memory {
    pub(crate) fn of(pid: u32) -> Memory {
        Memory { pid, samples: Vec::new(), descriptors: (usize::MAX, 0) }
    }

    /// Resident memory now, in MiB.
    pub(crate) fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the daemon runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        resident.and_then(|kib| kib.parse::<f64>().ok()).expect("a size") / 1024.0
    }

    /// Descriptors now.
    pub(crate) fn open(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("the daemon runs").count()
    }

    pub(crate) fn sample(&mut self, at: Duration) {
        self.samples.push((at.as_secs_f64() / 3600.0, self.resident()));
        let (fewest, most) = self.descriptors;
        let open = self.open();
        self.descriptors = (fewest.min(open), most.max(open));
    }

    /// The trend of all samples.
    pub(crate) fn trend(&self) -> Trend {
        Trend::of(&self.samples)
    }
}

/// A straight line through samples (least squares).
pub(crate) struct Trend {
    /// MiB an hour.
    slope: f64,
    hours: f64,
    mean: f64,
}

impl Trend {
    fn of(samples: &[(f64, f64)]) -> Trend {
        assert!(samples.len() >= 10, "too few samples for a trend: {}", samples.len());
        let count = samples.len() as f64;
        let (x, mean) = samples.iter().fold((0.0, 0.0), |(x, y), sample| (x + sample.0 / count, y + sample.1 / count));
        let (xy, xx) = samples.iter().fold((0.0, 0.0), |(xy, xx), sample| {
            let dx = sample.0 - x;
            (xy + dx * (sample.1 - mean), xx + dx * dx)
        });
        Trend { slope: xy / xx, hours: samples[samples.len() - 1].0 - samples[0].0, mean }
    }

    pub(crate) fn is_flat(&self) -> bool {
        let allowed = if self.hours < 0.25 { ALLOWED_AT_FIRST } else { ALLOWED };
        self.slope * self.hours.min(1.0) <= allowed
    }
}

impl fmt::Display for Trend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trend { slope, hours, mean } = self;
        let (minutes, growth) = (hours * 60.0, slope * hours);
        write!(
            f,
            "resident memory {mean:.2} MiB, slope {slope:+.2} MiB an hour, which is {growth:+.2} MiB in {minutes:.1} minutes"
        )
    }
}
