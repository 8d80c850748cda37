//! Checks that consumers make progress: no dead letters, none that is paused, and none without workers whose events fill history.

use sse_bus::{
    protocol::{ConsumerInfo, Status},
    shell::quoted,
};
use tokio::time::timeout;

use super::{finding::Finding, program::PATIENCE, target::Target};
use crate::units::count;

const CHECK: &str = "consumers";

pub(super) async fn check(target: &Target, status: &Status) -> Vec<Finding> {
    if status.consumers == 0 {
        return vec![Finding::ok(CHECK, "no consumers")];
    }
    let consumers = timeout(PATIENCE, async { target.connect().await?.consumers().await.ok() });
    let Some(consumers) = consumers.await.ok().flatten() else {
        return vec![Finding::unknown(CHECK, "the daemon does not list its consumers")];
    };
    let is_full = status.limits.iter().any(|limit| limit.limit == "held_bytes" && limit.is_near());
    findings(&consumers, is_full)
}

/// Returns a finding for each problem that consumers have. `is_full` means that history has little room left for events that
/// consumers hold.
fn findings(consumers: &[ConsumerInfo], is_full: bool) -> Vec<Finding> {
    let dead = most(consumers, |consumer| consumer.dead).map(|(worst, others)| {
        let message = format!("the consumer {} has {}{}", worst.name, count(worst.dead, "dead letter"), also(others));
        Finding::warning(CHECK, message, format!("sse-busctl dead list {}", quoted(&worst.name)))
    });
    // One that has nothing to deliver counts as well.
    let paused = most(consumers, |consumer| if consumer.paused { unfinished(consumer) + 1 } else { 0 });
    let paused = paused.map(|(worst, others)| {
        let waiting = count(unfinished(worst), "event");
        let message = format!("the consumer {} is paused, with {waiting} to deliver{}", worst.name, also(others));
        Finding::warning(CHECK, message, format!("sse-busctl consumer resume {}", quoted(&worst.name)))
    });
    let is_idle = |consumer: &ConsumerInfo| is_full && consumer.holding && consumer.workers == 0 && !consumer.paused;
    let idle = most(consumers, |consumer| if is_idle(consumer) { unfinished(consumer) } else { 0 });
    let idle = idle.map(|(worst, others)| {
        let events = count(unfinished(worst), "event");
        let message = format!(
            "the consumer {} has no workers, and history is nearly full with events such as the {events} that it holds{}",
            worst.name,
            also(others)
        );
        // It may be needed: only the user knows.
        let name = quoted(&worst.name);
        Finding::warning(CHECK, message, format!("sse-busctl work {name} --exec COMMAND, or sse-busctl consumer delete {name}"))
    });
    let found: Vec<_> = dead.into_iter().chain(paused).chain(idle).collect();
    if !found.is_empty() {
        return found;
    }
    vec![Finding::ok(CHECK, format!("{}, no dead letters", count(consumers.len() as u64, "consumer")))]
}

/// Returns the consumer with the highest number, and how many others have one above 0.
fn most(consumers: &[ConsumerInfo], number: impl Fn(&ConsumerInfo) -> u64) -> Option<(&ConsumerInfo, u64)> {
    let found: Vec<_> = consumers.iter().filter(|consumer| number(consumer) > 0).collect();
    let others = found.len().saturating_sub(1) as u64;
    found.into_iter().max_by_key(|consumer| number(consumer)).map(|worst| (worst, others))
}

/// Returns the number of events that are not done.
fn unfinished(consumer: &ConsumerInfo) -> u64 {
    consumer.pending + consumer.in_flight + consumer.waiting
}

/// Returns the end of a sentence about one consumer, if it is true for others as well.
fn also(others: u64) -> String {
    if others == 0 { String::new() } else { format!("; the same is true of {}", count(others, "other consumer")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(name: &str, change: impl FnOnce(&mut ConsumerInfo)) -> ConsumerInfo {
        let mut info = ConsumerInfo::default();
        (info.name, info.holding, info.workers) = (name.into(), true, 1);
        change(&mut info);
        info
    }

    fn warning(message: &str, fix: &str) -> Vec<Finding> {
        vec![Finding::warning(CHECK, message, fix)]
    }

    #[test]
    fn the_consumer_with_the_most_dead_letters_is_named_with_the_command_that_lists_them() {
        let with = |name, dead| consumer(name, |info| info.dead = dead);
        assert_eq!(
            findings(&[with("a", 1), with("b", 0)], false),
            warning("the consumer a has 1 dead letter", "sse-busctl dead list a")
        );
        assert_eq!(
            findings(&[with("a", 1), with("b", 2)], false),
            warning(
                "the consumer b has 2 dead letters; the same is true of 1 other consumer",
                "sse-busctl dead list b"
            )
        );
        assert_eq!(findings(&[with("a", 0)], false), [Finding::ok(CHECK, "1 consumer, no dead letters")]);
    }

    #[test]
    fn a_paused_consumer_is_named_even_without_events() {
        let paused = |name, pending| consumer(name, |info| (info.paused, info.pending) = (true, pending));
        let message = "the consumer a is paused, with 0 events to deliver";
        assert_eq!(findings(&[paused("a", 0)], false), warning(message, "sse-busctl consumer resume a"));
        let message = "the consumer b is paused, with 3 events to deliver; the same is true of 1 other consumer";
        assert_eq!(findings(&[paused("a", 0), paused("b", 3)], true), warning(message, "sse-busctl consumer resume b"));
    }

    #[test]
    fn a_consumer_without_workers_is_named_if_history_is_nearly_full() {
        let idle = consumer("a", |info| (info.workers, info.pending) = (0, 9));
        let message =
            "the consumer a has no workers, and history is nearly full with events such as the 9 events that it holds";
        let fix = "sse-busctl work a --exec COMMAND, or sse-busctl consumer delete a";
        assert_eq!(findings(std::slice::from_ref(&idle), true), warning(message, fix));
        let fine = [Finding::ok(CHECK, "1 consumer, no dead letters")];
        assert_eq!(findings(&[idle], false), fine);
        for other in [
            consumer("a", |info| (info.workers, info.pending) = (1, 9)),
            consumer("a", |info| (info.workers, info.pending, info.holding) = (0, 9, false)),
            consumer("a", |info| info.workers = 0),
        ] {
            assert_eq!(findings(&[other], true), fine);
        }
    }
}
