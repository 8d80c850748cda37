//! `sse-busctl bench`: what the bus does on this machine, in about ten seconds.
//!
//! Everything goes through the daemon that runs: events come in by its local socket and leave as Server-Sent Events, to
//! subscribers that are connections of this process. Their topic, `bench/PROCESS`, is nobody else's; its events have a
//! lifetime of seconds, and the connections end with the process, whatever ends it. Subscribers and readers of `**` see
//! the events, too.
//!
//! Three parts share the time: one subscriber alone, all of them with one event at a time, and all of them with as many
//! events as the bus takes. What is under way is bounded ([`WINDOW`], [`WINDOW_BYTES`]), so that no subscriber falls
//! behind and every delivery can be waited for.

mod histogram;
mod meter;
mod progress;
mod report;
mod subscribers;

use std::time::{Duration, Instant};

use sse_bus::{
    Client, Endpoint, Topic,
    client::{Publisher, Replies},
    protocol::{Ack, Publish, Status},
};
use tokio::time::timeout_at;

use self::{histogram::Histogram, meter::Meter, progress::Progress, report::Figures, subscribers::Crowd};
use crate::{
    cli,
    exit::{Exit, Failure},
    output::Output,
    publish,
};

/// Events under way at a time when the bus is given as many as it takes, and bytes of their data.
const WINDOW: u64 = 1000;
const WINDOW_BYTES: u64 = 256 << 10;
/// How long the events are kept. Longer than anything here waits for one.
const LIFETIME: Duration = Duration::from_secs(20);
/// How long a delivery is waited for before something is wrong.
const PATIENCE: Duration = Duration::from_secs(10);

/// Parts of the time for: one subscriber alone, all with one event at a time, all with as many as possible.
const SHARES: [f64; 3] = [0.2, 0.4, 0.4];

pub(crate) async fn run(endpoint: &Endpoint, output: &Output, options: cli::Bench) -> Result<(), Failure> {
    let mut client = Client::connect(endpoint).await?;
    let status = client.status().await?;
    let mut crowd = Crowd::new(address(&status)?, topic()?);
    subscribers::make_room_for(options.subscribers)?;

    let progress = Progress::start();
    let meter = Meter::new(status.pid);
    let part = |share: f64| Duration::from_secs(options.seconds).mul_f64(share);
    let size = options.size;
    let data = vec![b'x'; usize::try_from(size).unwrap_or(usize::MAX)];
    let event = Publish::new(crowd.topic(), data).with_ttl(LIFETIME);

    progress.show("connecting", Duration::ZERO);
    crowd.grow_to(1).await?;
    first(&mut client, &crowd, &event).await?;
    let (publisher, replies) = client.into_split();
    let mut load = Load { publisher, replies, crowd, event: event.with_ack(Ack::None) };

    progress.show("one subscriber", part(SHARES[0]));
    let alone = load.run(1, part(SHARES[0]), &meter).await?;

    progress.show("connecting", Duration::ZERO);
    let before = meter.memory();
    load.crowd.grow_to(options.subscribers).await?;
    let after = meter.memory();

    progress.show("one event at a time", part(SHARES[1]));
    let paced = load.run(1, part(SHARES[1]), &meter).await?;
    progress.show("as many as possible", part(SHARES[2]));
    let window = (WINDOW_BYTES / size).clamp(1, WINDOW);
    let saturated = load.run(window, part(SHARES[2]), &meter).await?;
    drop(progress);

    let grown = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    Figures::new(&options, &alone, &paced, &saturated, grown).tell(output)
}

/// Where the daemon serves streams.
fn address(status: &Status) -> Result<String, Failure> {
    let url = status.url.as_deref().unwrap_or_default();
    let Some(address) = url.strip_prefix("http://") else {
        let message =
            "the benchmark needs streams over plain HTTP, and the daemon serves none; see `sse-busd --listen`";
        return Err(Failure::new(Exit::Failed, message));
    };
    Ok(address.trim_end_matches('/').to_owned())
}

/// A topic that nobody else uses.
fn topic() -> Result<Topic, Failure> {
    Topic::parse(&format!("bench/{}", std::process::id())).map_err(|e| Failure::new(Exit::Failed, e.to_string()))
}

/// Publishes an event whose answer is waited for: it tells at once if the daemon does not take such events, and brings
/// everything that is only done once.
async fn first(client: &mut Client, crowd: &Crowd, event: &Publish) -> Result<(), Failure> {
    crowd.will_publish();
    client.publish(event).await.map_err(|e| publish::failure(&event.topic, e))?;
    timeout_at((Instant::now() + PATIENCE).into(), crowd.completed(1)).await.map_err(|_| missing(crowd))?
}

/// What one part has come to.
struct Part {
    latency: Histogram,
    deliveries: u64,
    took: Duration,
    /// Of the daemon.
    cpu: Option<Duration>,
}

/// The publisher and its subscribers.
struct Load {
    publisher: Publisher,
    replies: Replies,
    crowd: Crowd,
    event: Publish,
}

impl Load {
    /// Publishes for a time, with so many events under way at most, and waits for the last to be delivered.
    async fn run(&mut self, window: u64, time: Duration, meter: &Meter) -> Result<Part, Failure> {
        let Load { publisher, replies, crowd, event } = self;
        crowd.begin();
        let (began, cpu) = (Instant::now(), meter.cpu());
        let end = began + time;
        let publishing = async {
            let mut complete = crowd.published();
            while Instant::now() < end {
                while crowd.published() < complete + window {
                    crowd.will_publish();
                    publisher.send(event).await?;
                }
                publisher.flush().await?;
                complete += 1;
                crowd.completed(complete).await?;
                complete = crowd.complete();
            }
            crowd.completed(crowd.published()).await
        };
        tokio::select! {
            done = timeout_at((end + PATIENCE).into(), publishing) => done.map_err(|_| missing(crowd))??,
            // Nothing is answered, unless it is refused.
            reply = replies.next() => return Err(refused(event, reply)),
        }
        let took = began.elapsed();
        let cpu = meter.cpu().zip(cpu).map(|(now, before)| now.saturating_sub(before));
        let (latency, deliveries) = crowd.end();
        Ok(Part { latency, deliveries, took, cpu })
    }
}

fn missing(crowd: &Crowd) -> Failure {
    let message = format!(
        "some events did not reach every subscriber within {} s: {} of {} did",
        PATIENCE.as_secs(),
        crowd.complete(),
        crowd.published()
    );
    Failure::new(Exit::TimedOut, message)
}

fn refused(event: &Publish, reply: Result<Option<(u64, sse_bus::client::Answer)>, sse_bus::client::Error>) -> Failure {
    let what = format!("cannot publish to {}", event.topic);
    match reply {
        Ok(Some((_, Err(refused)))) => Failure::new(crate::exit::of_code(refused.code), refused.to_string()),
        Ok(_) => Failure::new(Exit::Failed, "the daemon answered what was not asked"),
        Err(error) => Failure::from(error),
    }
    .context(what)
}
