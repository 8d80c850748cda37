//! What the daemon holds over time: resident memory with its slope, and descriptors.

use std::{fmt, fs, time::Duration};

/// Growth that is allowed, in MiB an hour.
const ALLOWED: f64 = 1.0;

/// Looks at a process now and then.
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
    pub(crate) slope: f64,
    /// What the samples move around the line, in MiB: nine in ten of them within.
    spread: f64,
    hours: f64,
    mean: f64,
}

impl Trend {
    fn of(samples: &[(f64, f64)]) -> Trend {
        assert!(samples.len() >= 10, "too few samples for a trend: {}", samples.len());
        let count = samples.len() as f64;
        let (x, y) = samples.iter().fold((0.0, 0.0), |(x, y), sample| (x + sample.0 / count, y + sample.1 / count));
        let (xy, xx) = samples.iter().fold((0.0, 0.0), |(xy, xx), sample| {
            let dx = sample.0 - x;
            (xy + dx * (sample.1 - y), xx + dx * dx)
        });
        let slope = xy / xx;
        let mut off: Vec<f64> = samples.iter().map(|sample| sample.1 - y - slope * (sample.0 - x)).collect();
        off.sort_unstable_by(f64::total_cmp);
        let spread = off[off.len() * 95 / 100] - off[off.len() * 5 / 100];
        Trend { slope, spread, hours: samples[samples.len() - 1].0 - samples[0].0, mean: y }
    }

    /// The steepest slope that is allowed: where memory moves by so much anyway, a short run cannot tell a smaller one.
    pub(crate) fn bound(&self) -> f64 {
        ALLOWED + self.spread / self.hours
    }
}

impl fmt::Display for Trend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trend { slope, spread, hours, mean } = self;
        let (minutes, bound) = (hours * 60.0, self.bound());
        write!(
            f,
            "resident memory {mean:.2} MiB, moving by {spread:.2} MiB, slope {slope:+.2} MiB an hour over \
             {minutes:.1} minutes (at most {bound:.2})"
        )
    }
}
