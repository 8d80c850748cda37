//! Measures how long the lock of the bus is held.

use std::time::{Duration, Instant};

/// A clock that measures how long the lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoldClock {
    Real,
    /// The processor time of the thread, which excludes what other work on the machine takes. Reading it costs a system call,
    /// so only benchmarks enable it, with the variable `SSE_BUS_HOLD_CLOCK=cpu`.
    #[cfg(target_os = "linux")]
    Processor,
}

impl HoldClock {
    /// Returns the clock that the environment chooses.
    pub(crate) fn chosen() -> HoldClock {
        #[cfg(target_os = "linux")]
        if std::env::var_os("SSE_BUS_HOLD_CLOCK").is_some_and(|clock| clock == "cpu") {
            return HoldClock::Processor;
        }
        HoldClock::Real
    }
}

/// The time at which a thread got the lock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Locked {
    Real(Instant),
    #[cfg(target_os = "linux")]
    Processor(Duration),
}

impl Locked {
    /// Returns the present time of a clock.
    pub(crate) fn now(clock: HoldClock) -> Locked {
        match clock {
            HoldClock::Real => Locked::Real(Instant::now()),
            #[cfg(target_os = "linux")]
            HoldClock::Processor => Locked::Processor(Locked::processor_time()),
        }
    }

    /// Returns how long the lock has been held.
    pub(crate) fn elapsed(&self) -> Duration {
        match self {
            Locked::Real(locked) => locked.elapsed(),
            #[cfg(target_os = "linux")]
            Locked::Processor(locked) => Locked::processor_time().saturating_sub(*locked),
        }
    }

    #[cfg(target_os = "linux")]
    fn processor_time() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(time).unwrap_or_default()
    }
}
