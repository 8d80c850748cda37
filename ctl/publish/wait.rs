//! `publish --wait-for N`: waits until a topic has N subscribers. The bus publishes an event when a client connects, so there
//! is no polling.

use std::{future, mem, time::Duration};

use sse_bus::{
    Client, FilterSet, Topic,
    client::{Address, Item, Subscription},
    protocol::{ClientRole, Subscribe},
    time::format_duration,
};
use tokio::time::{Instant, sleep_until};

use crate::{
    exit::{Exit, Failure},
    output::Output,
    units::count,
    visible::visible,
};

/// The topic on which the bus reports each client that joins (connects) or leaves (disconnects).
const CLIENTS: &str = "$sys/clients";

/// Waits until the filters of at least `wanted` subscribers match the topic.
///
/// # Errors
///
/// `topic` is not valid, the time is over, or the connection to the daemon has ended.
pub(super) async fn for_subscribers(
    address: &Address,
    client: &mut Client,
    output: &Output,
    topic: &str,
    wanted: u64,
    timeout: Option<Duration>,
) -> Result<(), Failure> {
    let topic = Topic::parse(topic)
        .map_err(|e| Failure::new(Exit::Usage, format!("`{}` is not a topic: {e}", visible(topic))))?;
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let watch = Subscribe::new([CLIENTS]).with_since("now");
    // Subscribe before counting: otherwise a client that joins between the two would be missed.
    let mut joins = Client::connect(address).await?.subscribe(watch).await?;
    let (mut found, mut has_said_so) = (0, false);
    let waiting = async {
        loop {
            found = subscribers_of(client, &topic).await?;
            if found >= wanted {
                return Ok(());
            }
            if !mem::replace(&mut has_said_so, true) {
                output.notice(|| {
                    format!(
                        "waiting for {} of {topic} ({found} of {wanted}); Ctrl-C ends it",
                        count(wanted, "subscriber")
                    )
                });
            }
            next_join(&mut joins).await?;
        }
    };
    let out_of_time = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => future::pending().await,
        }
    };
    tokio::select! {
        biased;
        outcome = waiting => outcome,
        () = out_of_time => Err(Failure::new(
            Exit::NoSubscriber,
            format!(
                "{topic} has {} after {}, but {wanted} are required; nothing was published",
                count(found, "subscriber"),
                format_duration(timeout.unwrap_or_default()),
            ),
        )),
    }
}

/// Returns the number of subscribers whose filters match the topic.
async fn subscribers_of(client: &mut Client, topic: &Topic) -> Result<u64, Failure> {
    let clients = client.clients().await?;
    let matches = |filters: &[String]| FilterSet::parse(filters).is_ok_and(|filters| filters.matches(topic));
    Ok(clients.iter().filter(|c| c.role == ClientRole::Subscriber && matches(&c.filters)).count() as u64)
}

/// Waits until a client joins. Joins that can be read at once are read together, so that the clients are counted once for all.
async fn next_join(joins: &mut Subscription) -> Result<(), Failure> {
    let mut any = false;
    loop {
        let item = tokio::select! {
            biased;
            item = joins.next() => item,
            () = future::ready(()), if any => return Ok(()),
        };
        match item {
            Some(Ok(Item::Event(event))) => any |= event.event_type.as_deref() != Some("leave"),
            // For example a gap, in which a client may have joined.
            Some(Ok(_)) => any = true,
            Some(Err(e)) => return Err(Failure::from(e).context("cannot wait for subscribers")),
            None => return Err(Failure::new(Exit::Failed, "the daemon ended the stream of joins")),
        }
    }
}
