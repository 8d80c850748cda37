//! Whether the daemon's time of day is ours, and no event is from the future.
//!
//! The daemon says when a subscriber came, and so one comes, for a moment. The bus goes by a clock that never jumps; the time of day is shown to people and programs, which is where a wrong one
//! hurts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sse_bus::protocol::Subscribe;
use tokio::time::timeout;

use super::{Finding, PATIENCE, socket::Place};
use crate::output::duration;

/// Less than this far apart, two times of day count as the same: a busy machine takes a while to answer.
const SAME: u64 = 2000;

pub(super) async fn look(place: &Place) -> Finding {
    let check = "clock";
    let asked = timeout(PATIENCE, async {
        let topic = format!("doctor/{}", std::process::id());
        let subscription = place.connect().await?.subscribe(Subscribe::new([topic])).await.ok()?;
        let now = now();
        let mut client = place.connect().await?;
        let clients = client.clients().await.ok()?;
        let theirs = clients.iter().find(|client| client.id == subscription.client())?.connected;
        Some((theirs, client.topics().await.ok()?, now))
    });
    let Some((theirs, topics, now)) = asked.await.ok().flatten() else {
        return Finding::ok(check, "not known, as the daemon does not say");
    };
    if theirs.abs_diff(now) > SAME {
        let what = format!("the daemon's time of day is {}", apart(theirs, now));
        return Finding::warning(check, what, "timedatectl set-ntp true");
    }
    let latest = topics.iter().filter_map(|topic| Some((topic.last_time?, &topic.topic))).max();
    match latest {
        Some((time, topic)) if time > now + SAME => Finding::warning(
            check,
            format!("the newest event of {topic} is {} of now: the time of day was set back since", apart(time, now)),
            "timedatectl set-ntp true",
        ),
        _ => Finding::ok(check, "the daemon's time of day is ours, and no event is from the future"),
    }
}

/// How far one time is from another, both in milliseconds since 1970.
fn apart(time: u64, from: u64) -> String {
    let far = duration(Duration::from_millis(time.abs_diff(from)));
    format!("{far} {}", if time > from { "ahead" } else { "behind" })
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_millis().try_into().unwrap_or(u64::MAX)
}
