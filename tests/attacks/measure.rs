//! Measurements: the daemon's memory and processor time, and the latencies of a well-behaved publisher.

use std::{
    fmt, fs,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::harness::{Daemon, Lines, until};

/// The tests of this binary run one at a time: they share two cores with what they measure.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    // A failed test poisons the lock, which is otherwise intact.
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resident memory of the daemon, in KiB.
pub(crate) fn resident(daemon: &Daemon) -> usize {
    memory(daemon, "VmRSS:")
}

/// The peak of its resident memory.
pub(crate) fn peak(daemon: &Daemon) -> usize {
    memory(daemon, "VmHWM:")
}

fn memory(daemon: &Daemon, what: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(what)?.trim().strip_suffix(" kB"));
    value.unwrap().parse().unwrap()
}

/// Processor time that the daemon has used.
pub(crate) fn processor_time(daemon: &Daemon) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    // proc(5): the name may hold spaces, but no parenthesis follows it; user and system time are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// Descriptors that the daemon has open.
pub(crate) fn descriptors(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

/// Latencies, sorted.
#[derive(Clone)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn of(mut latencies: Vec<Duration>) -> Latencies {
        assert!(!latencies.is_empty(), "nothing was measured");
        latencies.sort_unstable();
        Latencies(latencies)
    }

    /// A percentile, such as 99.
    pub(crate) fn p(&self, percent: usize) -> Duration {
        self.0[(self.0.len() * percent / 100).min(self.0.len() - 1)]
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latencies(all) = self;
        write!(f, "p50 {:.2?}, p99 {:.2?}, most {:.2?} of {}", self.p(50), self.p(99), all[all.len() - 1], all.len())
    }
}

/// A well-behaved publisher: an event every few milliseconds over the local socket, each answered before the next. Runs
/// until it is dropped.
pub(crate) struct OtherPublisher {
    taken: Arc<Mutex<Vec<Duration>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl OtherPublisher {
    pub(crate) fn start(daemon: &Daemon) -> OtherPublisher {
        let (taken, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (noted, stopped, mut lines) = (taken.clone(), stop.clone(), daemon.lines());
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let latency = publish(&mut lines);
                noted.lock().unwrap().push(latency);
                thread::sleep(Duration::from_millis(2));
            }
        });
        OtherPublisher { taken, stop, thread: Some(thread) }
    }

    /// Discards the latencies so far.
    pub(crate) fn begin(&self) {
        self.taken.lock().unwrap().clear();
    }

    /// The latencies since the last call of `begin`, at least this many.
    pub(crate) fn latencies(&self, least: usize) -> Latencies {
        until("the other publisher continues", || (self.taken.lock().unwrap().len() >= least).then_some(()));
        Latencies::of(self.taken.lock().unwrap().clone())
    }
}

impl Drop for OtherPublisher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.thread.take().is_some_and(|thread| thread.join().is_err());
        assert!(!failed || thread::panicking(), "the other publisher was not served");
    }
}

/// Publishes one event and returns the time until its reply.
pub(crate) fn publish(lines: &mut Lines) -> Duration {
    let began = Instant::now();
    let reply = lines.ask(r#"{"publish":{"topic":"witness","data":"x"}}"#);
    assert!(reply["published"].is_object(), "{reply}");
    began.elapsed()
}
