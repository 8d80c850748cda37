//! `--wait-for`: publish once somebody listens. Joins are events of the bus, so nothing is polled.

use std::{future, time::Duration};

use sse_bus::{
    Client, Endpoint, FilterSet, Topic,
    client::{Item, Subscription},
    protocol::Subscribe,
};
use tokio::time::{Instant, sleep_until};

use crate::{
    exit::{Exit, Failure},
    output::{count, visible},
};

/// The topic on which the bus tells who comes and goes.
const CLIENTS: &str = "$sys/clients";

/// Returns once at least `wanted` subscribers' filters match the topic.
pub(crate) async fn for_subscribers(
    endpoint: &Endpoint,
    client: &mut Client,
    topic: &str,
    wanted: u64,
    timeout: Option<Duration>,
) -> Result<(), Failure> {
    let topic = Topic::parse(topic)
        .map_err(|e| Failure::new(Exit::Failed, format!("`{}` is no topic: {e}", visible(topic))))?;
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let watch = Subscribe::new([CLIENTS]).with_since("now");
    // Watching begins before counting: nobody who comes in between is missed.
    let mut joins = Client::connect(endpoint).await?.subscribe(watch).await?;
    let mut found = 0;
    let waiting = async {
        loop {
            found = listeners(client, &topic).await?;
            if found >= wanted {
                return Ok(());
            }
            joined(&mut joins).await?;
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
            Exit::Nobody,
            format!(
                "{} of {topic} after {}, {wanted} were asked for; nothing was published",
                count(found, "subscriber"),
                humantime::format_duration(timeout.unwrap_or_default()),
            ),
        )),
    }
}

/// How many subscribers would get an event of the topic now.
async fn listeners(client: &mut Client, topic: &Topic) -> Result<u64, Failure> {
    let clients = client.clients().await?;
    let listens = |filters: &[String]| FilterSet::parse(filters).is_ok_and(|filters| filters.matches(topic));
    Ok(clients.iter().filter(|c| c.role == "subscriber" && listens(&c.filters)).count() as u64)
}

/// Waits until somebody has joined, and takes all who have by then.
async fn joined(joins: &mut Subscription) -> Result<(), Failure> {
    let mut any = false;
    loop {
        let delivery = tokio::select! {
            biased;
            delivery = joins.next() => delivery,
            () = future::ready(()), if any => return Ok(()),
        };
        match delivery {
            Some(Ok(Item::Event(event))) => any |= event.kind.as_deref() != Some("leave"),
            // Among what was missed may be a join.
            Some(Ok(_)) => any = true,
            Some(Err(e)) => return Err(Failure::from(e).context("cannot wait for subscribers")),
            None => return Err(Failure::new(Exit::Failed, "the daemon ended the list of those who come and go")),
        }
    }
}
