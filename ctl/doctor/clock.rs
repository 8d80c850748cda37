//! Checks that the daemon's time of day is the same as here, and that no event is from the future.
//!
//! The check subscribes for a moment, because the daemon reports when a subscriber connected. The bus itself uses a
//! monotonic clock; the time of day is only shown to people and programs.

use std::time::Duration;

use sse_bus::{protocol::Subscribe, time::unix_now};
use tokio::time::timeout;

use super::{finding::Finding, program::PATIENCE, target::Target};
use crate::units::duration;

/// Maximum tolerated difference in milliseconds, because a busy machine takes a while to answer.
const TOLERANCE: u64 = 2000;

pub(super) async fn check(target: &Target) -> Finding {
    let check = "clock";
    let times = timeout(PATIENCE, async {
        let topic = format!("doctor/{}", std::process::id());
        let subscription = target.connect().await?.subscribe(Subscribe::new([topic])).await.ok()?;
        let now = unix_now();
        let mut client = target.connect().await?;
        let clients = client.clients().await.ok()?;
        let theirs = clients.iter().find(|client| client.id == subscription.client())?.connected;
        Some((theirs, client.topics().await.ok()?, now))
    });
    let Some((theirs, topics, now)) = times.await.ok().flatten() else {
        return Finding::unknown(check, "the daemon does not report its time of day");
    };
    if theirs.abs_diff(now) > TOLERANCE {
        let what = format!("the daemon's time of day is {}", difference(theirs, now));
        return Finding::warning(check, what, "timedatectl set-ntp true");
    }
    let latest = topics.iter().filter_map(|topic| Some((topic.last_time?, &topic.topic))).max();
    match latest {
        Some((time, topic)) if time > now + TOLERANCE => Finding::warning(
            check,
            format!(
                "the newest event of {topic} is {}: the time of day was set back since then",
                difference(time, now)
            ),
            "timedatectl set-ntp true",
        ),
        _ => Finding::ok(check, "the daemon has the correct time of day, and no event is from the future"),
    }
}

/// Formats the difference of a time from now, both in milliseconds since 1970.
fn difference(time: u64, now: u64) -> String {
    let duration = duration(Duration::from_millis(time.abs_diff(now)));
    format!("{duration} {}", if time > now { "ahead" } else { "behind" })
}
