//! Publishes for a time and measures the deliveries.

use std::time::{Duration, Instant};

use sse_bus::{
    Client,
    client::{self, PublishResult, Publisher, Replies},
    protocol::{Ack, Publish},
};
use tokio::time::timeout_at;

use super::{histogram::Histogram, meter::Meter, subscribers::LoadSubscribers};
use crate::{
    exit::{self, Exit, Failure},
    publish::single,
};

/// How long to wait for a delivery.
const PATIENCE: Duration = Duration::from_secs(10);

/// The measurements of one phase.
pub(super) struct Measurement {
    pub(super) latency: Histogram,
    pub(super) deliveries: u64,
    pub(super) took: Duration,
    /// CPU time of the daemon.
    pub(super) cpu: Option<Duration>,
}

/// A publisher and its subscribers.
pub(super) struct Load {
    publisher: Publisher,
    replies: Replies,
    pub(super) subscribers: LoadSubscribers,
    event: Publish,
}

impl Load {
    /// Publishes one event with a reply, which fails at once if the daemon refuses such events, and excludes one-time
    /// work from the measurement.
    pub(super) async fn new(mut client: Client, subscribers: LoadSubscribers, event: Publish) -> Result<Load, Failure> {
        subscribers.will_publish();
        client.publish(&event).await.map_err(|e| single::failure(&event.topic, e))?;
        let delivered = timeout_at((Instant::now() + PATIENCE).into(), subscribers.completed(1)).await;
        delivered.map_err(|_| incomplete(&subscribers))??;
        let (publisher, replies) = client.into_split();
        Ok(Load { publisher, replies, subscribers, event: event.with_ack(Ack::None) })
    }

    /// Publishes for `time`, with at most `window` events in flight, and waits until the last one is delivered.
    pub(super) async fn run(&mut self, window: u64, time: Duration, meter: &Meter) -> Result<Measurement, Failure> {
        let Load { publisher, replies, subscribers, event } = self;
        subscribers.begin();
        let (began, cpu) = (Instant::now(), meter.cpu());
        let end = began + time;
        let publishing = async {
            let mut complete = subscribers.published();
            while Instant::now() < end {
                while subscribers.published() < complete + window {
                    subscribers.will_publish();
                    publisher.send(event).await?;
                }
                publisher.flush().await?;
                complete += 1;
                subscribers.completed(complete).await?;
                complete = subscribers.complete();
            }
            subscribers.completed(subscribers.published()).await
        };
        tokio::select! {
            done = timeout_at((end + PATIENCE).into(), publishing) => done.map_err(|_| incomplete(subscribers))??,
            // The daemon answers only to refuse an event.
            reply = replies.next() => return Err(refused(event, reply)),
        }
        let took = began.elapsed();
        let cpu = meter.cpu().zip(cpu).map(|(now, before)| now.saturating_sub(before));
        let (latency, deliveries) = subscribers.end();
        Ok(Measurement { latency, deliveries, took, cpu })
    }
}

fn incomplete(subscribers: &LoadSubscribers) -> Failure {
    let message = format!(
        "only {} of {} events reached all subscribers within {} s",
        subscribers.complete(),
        subscribers.published(),
        PATIENCE.as_secs(),
    );
    Failure::new(Exit::TimedOut, message)
}

fn refused(event: &Publish, reply: Result<Option<(u64, PublishResult)>, client::Error>) -> Failure {
    let failure = match reply {
        Ok(Some((_, Err(refused)))) => Failure::new(exit::of_code(refused.code), refused.to_string()),
        Ok(_) => Failure::new(Exit::Failed, "unexpected reply of the daemon"),
        Err(error) => Failure::from(error),
    };
    failure.context(format_args!("cannot publish to {}", event.topic))
}
