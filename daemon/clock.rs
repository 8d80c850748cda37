//! The bus's clock across restarts.
//!
//! Within one boot of the machine it follows the boot clock, which never jumps. Across boots only the wall clock shows how much
//! time has passed, and it may be wrong. Events that are too old by the wall clock alone are therefore hidden at first, and
//! deleted only once the daemon has run for [`PROBATION`] without a jump of the wall clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sse_bus::{bus::history::Doubt, time::unix_now};

/// How long a daemon runs before it trusts the time that has passed between two boots.
pub(crate) const PROBATION: Duration = Duration::from_hours(1);
/// How far the wall clock may have drifted from the bus's clock in that time, in milliseconds.
const TOLERANCE: u64 = 60_000;
/// Number of restarts, after which the wall clock was not trusted, that are tracked individually. Earlier ones are merged, with
/// the largest doubt among them.
const STEPS_MAX: usize = 8;

/// The clocks of the machine, in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Identifies the boot, if the system does.
    boot: Option<String>,
    since_boot: u64,
    unix: u64,
}

impl Machine {
    /// Reads the clocks.
    pub(crate) fn now() -> Machine {
        let (boot, since_boot) = boot().unzip();
        Machine { boot, since_boot: since_boot.unwrap_or(0), unix: unix_now() }
    }

    /// Returns the milliseconds since 1970 (UTC).
    pub(crate) fn unix(&self) -> u64 {
        self.unix
    }
}

#[cfg(target_os = "linux")]
fn boot() -> Option<(String, u64)> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let since_boot = Duration::new(time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?);
    Some((boot.trim().to_owned(), since_boot.as_millis().try_into().ok()?))
}

#[cfg(not(target_os = "linux"))]
fn boot() -> Option<(String, u64)> {
    None
}

/// The offsets between the bus's clock and the clocks of the machine, as stored. A file of an earlier version has none: there
/// the bus's clock started at the wall clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Relation {
    boot: Option<String>,
    /// How far the bus's clock is ahead of the boot clock.
    ahead_of_boot: i64,
    /// How far the wall clock is ahead of the bus's clock.
    unix_ahead: i64,
    /// The parts of events' ages that are in doubt, oldest first.
    steps: Vec<Step>,
}

/// A restart since which the wall clock has not been trusted yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Step {
    /// It concerns events that were accepted up to this time.
    until: u64,
    /// How far the wall clock was ahead of the bus's clock then.
    unix_ahead: i64,
    /// How far the bus's clock has advanced since by the wall clock alone.
    extra: u64,
}

impl Relation {
    /// Returns the clock with which a bus continues, after one that was at `clock` when this was stored.
    pub(crate) fn go_on(mut self, clock: u64, machine: &Machine) -> (u64, Relation) {
        let next = clock.saturating_add(1);
        let next = if machine.boot.is_some() && machine.boot == self.boot {
            next.max(machine.since_boot.saturating_add_signed(self.ahead_of_boot))
        } else {
            let away = machine.unix.saturating_sub(clock.saturating_add_signed(self.unix_ahead));
            if away > 0 {
                self.doubt_since(clock, away);
            }
            next.saturating_add(away)
        };
        (next, self.at(next, machine))
    }

    /// Notes that only the wall clock shows that `away` milliseconds have passed.
    fn doubt_since(&mut self, until: u64, away: u64) {
        self.steps.push(Step { until, unix_ahead: self.unix_ahead, extra: 0 });
        for step in &mut self.steps {
            step.extra = step.extra.saturating_add(away);
        }
        if self.steps.len() > STEPS_MAX {
            // The doubt about the oldest is greater. The merged step has the values that keep events longer.
            let oldest = self.steps.remove(0);
            let next = &mut self.steps[0];
            (next.unix_ahead, next.extra) = (oldest.unix_ahead.max(next.unix_ahead), oldest.extra.max(next.extra));
        }
    }

    /// Returns the relation at a time of the bus's clock.
    pub(crate) fn at(self, clock: u64, machine: &Machine) -> Relation {
        let ahead_of_boot = clock.cast_signed().wrapping_sub(machine.since_boot.cast_signed());
        let unix_ahead = machine.unix.cast_signed().wrapping_sub(clock.cast_signed());
        Relation { boot: machine.boot.clone(), ahead_of_boot, unix_ahead, ..self }
    }

    /// Returns the parts of events' ages that are in doubt.
    pub(crate) fn doubt(&self) -> Doubt {
        Doubt { steps: self.steps.iter().map(|step| (step.until, step.extra)).collect() }
    }

    /// Returns true if the wall clock has not jumped since this relation.
    pub(crate) fn is_plausible(&self, now: &Relation) -> bool {
        self.unix_ahead.abs_diff(now.unix_ahead) <= TOLERANCE
    }

    /// Trusts the wall clock. Only what the bus's clock has advanced further than the wall clock remains in doubt.
    pub(crate) fn believe(mut self) -> Relation {
        let now = self.unix_ahead;
        self.steps.retain_mut(|step| {
            let ahead = step.unix_ahead.saturating_sub(now).max(0).cast_unsigned();
            step.extra = step.extra.min(ahead);
            step.extra > TOLERANCE
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;
    const TEN_YEARS: u64 = 3650 * DAY;
    /// A time of day, and of a bus that began with it.
    const NOW: u64 = 20_000 * DAY;

    fn machine(boot: &str, since_boot: u64, unix: u64) -> Machine {
        Machine { boot: Some(boot.into()), since_boot, unix }
    }

    /// A bus that began in a boot.
    fn first() -> Relation {
        Relation::default().at(NOW, &machine("a", HOUR, NOW))
    }

    fn doubt(steps: &[(u64, u64)]) -> Doubt {
        Doubt { steps: steps.to_vec() }
    }

    #[test]
    fn within_a_boot_only_the_boot_clock_counts() {
        for unix in [NOW + TEN_YEARS, 0, NOW] {
            let (clock, relation) = first().go_on(NOW, &machine("a", 3 * HOUR, unix));
            assert_eq!((clock, relation.doubt()), (NOW + 2 * HOUR, doubt(&[])), "with the wall clock at {unix}");
        }
    }

    #[test]
    fn across_boots_the_wall_clock_is_believed_after_a_while() {
        let (clock, relation) = first().go_on(NOW, &machine("b", 0, NOW + 2 * DAY));
        assert_eq!(clock, NOW + 2 * DAY + 1);
        assert_eq!(relation.doubt(), doubt(&[(NOW, 2 * DAY)]));
        let later = relation.clone().at(clock + HOUR, &machine("b", HOUR, NOW + 2 * DAY + HOUR));
        assert!(relation.is_plausible(&later));
        assert_eq!(later.believe().doubt(), doubt(&[]));
    }

    #[test]
    fn a_clock_that_jumped_is_never_believed_when_it_is_right_again() {
        let (ahead, relation) = first().go_on(NOW, &machine("b", 0, NOW + TEN_YEARS));
        // It is set right while the daemon runs, and stays so over restarts.
        let later = relation.clone().at(ahead + HOUR, &machine("b", HOUR, NOW + HOUR));
        assert!(!relation.is_plausible(&later));
        let (clock, left) = later.go_on(ahead + HOUR, &machine("c", 0, NOW + 3 * HOUR));
        let (_, left) = left.go_on(clock, &machine("d", 0, NOW + DAY));
        let untrusted = TEN_YEARS + DAY - HOUR;
        assert_eq!(left.doubt(), doubt(&[(NOW, untrusted), (ahead + HOUR, DAY - HOUR), (clock, DAY - 3 * HOUR)]));
        // What came before is younger than it seems; all that came since has the age that it seems to have.
        let believed = left.believe().doubt();
        assert!(matches!(*believed.steps, [(NOW, extra)] if extra.abs_diff(TEN_YEARS) < TOLERANCE), "{believed:?}");
    }

    #[test]
    fn of_many_restarts_in_doubt_nothing_seems_older_than_it_may_be() {
        let (mut clock, mut relation) = (NOW, first());
        for boot in 1..=20 {
            (clock, relation) = relation.go_on(clock, &machine(&boot.to_string(), 0, NOW + boot * DAY));
        }
        let steps = relation.doubt().steps;
        assert!(steps.len() == STEPS_MAX && steps[0].1 >= 19 * DAY && steps.is_sorted(), "{steps:?}");
        assert!(steps.is_sorted_by(|a, b| a.1 > b.1), "{steps:?}");
    }

    #[test]
    fn a_file_of_an_earlier_version_continues_by_the_wall_clock_and_doubts_it() {
        let (clock, relation) = Relation::default().go_on(NOW, &machine("a", HOUR, NOW + DAY));
        assert_eq!((clock, relation.doubt()), (NOW + DAY + 1, doubt(&[(NOW, DAY)])));
        let (clock, relation) = Relation::default().go_on(NOW, &machine("a", HOUR, 0));
        assert_eq!((clock, relation.doubt()), (NOW + 1, doubt(&[])));
    }
}
