//! Checks that no consumer has dead letters: events that nobody processes unless they are retried.

use sse_bus::{
    protocol::{ConsumerInfo, Status},
    shell::quoted,
};
use tokio::time::timeout;

use super::{finding::Finding, program::PATIENCE, target::Target};
use crate::units::count;

pub(super) async fn check(target: &Target, status: &Status) -> Finding {
    let check = "consumers";
    if status.dead == 0 {
        return Finding::ok(check, format!("{}, no dead letters", count(status.consumers, "consumer")));
    }
    let consumers = timeout(PATIENCE, async { target.connect().await?.consumers().await.ok() });
    let Some(consumers) = consumers.await.ok().flatten() else {
        return Finding::unknown(check, "the daemon does not list its consumers");
    };
    finding(check, &consumers)
}

/// Returns the finding for a list of consumers, of which some have dead letters.
fn finding(check: &'static str, consumers: &[ConsumerInfo]) -> Finding {
    let with_dead: Vec<_> = consumers.iter().filter(|consumer| consumer.dead > 0).collect();
    let Some(first) = with_dead.iter().max_by_key(|consumer| consumer.dead) else {
        return Finding::ok(check, format!("{}, no dead letters", count(consumers.len() as u64, "consumer")));
    };
    let others = match with_dead.len() as u64 - 1 {
        0 => String::new(),
        1 => ", and another one has some".into(),
        others => format!(", and {others} others have some"),
    };
    let message = format!("the consumer {} has {}{others}", first.name, count(first.dead, "dead letter"));
    Finding::warning(check, message, format!("sse-busctl dead list {}", quoted(&first.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(name: &str, dead: u64) -> ConsumerInfo {
        let mut info = ConsumerInfo::default();
        (info.name, info.dead) = (name.into(), dead);
        info
    }

    #[test]
    fn the_consumer_with_the_most_dead_letters_is_named_with_the_command_that_lists_them() {
        let one = finding("consumers", &[consumer("a", 1), consumer("b", 0)]);
        assert_eq!(one, Finding::warning("consumers", "the consumer a has 1 dead letter", "sse-busctl dead list a"));
        let two = finding("consumers", &[consumer("a", 1), consumer("b", 2)]);
        let message = "the consumer b has 2 dead letters, and another one has some";
        assert_eq!(two, Finding::warning("consumers", message, "sse-busctl dead list b"));
        assert_eq!(finding("consumers", &[consumer("a", 0)]), Finding::ok("consumers", "1 consumer, no dead letters"));
    }
}
