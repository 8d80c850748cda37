//! `sse-busctl bench`: measures the bus on this machine, in about ten seconds.
//!
//! The benchmark uses the running daemon: it publishes over the local socket, and its subscribers are connections of
//! this process that receive Server-Sent Events. They use a separate topic, `bench/PROCESS`, whose events expire within
//! seconds, and the connections end with the process. Other subscribers of `**` receive the events as well.
//!
//! There are three phases: a single subscriber, all subscribers with one event at a time, and all subscribers with as
//! many events as possible. The number of events in flight is bounded ([`WINDOW`], [`WINDOW_BYTES`]), so that no
//! subscriber falls behind and all deliveries can be counted.

mod histogram;
mod load;
mod meter;
mod progress;
mod report;
mod subscribers;

use std::time::Duration;

use sse_bus::{
    Client, Endpoint, Topic,
    protocol::{Publish, Status},
};

use self::{load::Load, meter::Meter, progress::Progress, report::Report, subscribers::LoadSubscribers};
use crate::{
    cli,
    exit::{Exit, Failure},
    output::Output,
};

/// Maximum number of events in flight in the last phase.
const WINDOW: u64 = 1000;
/// Maximum bytes of their data.
const WINDOW_BYTES: u64 = 256 << 10;
/// The lifetime of the events, longer than any wait for a delivery.
const LIFETIME: Duration = Duration::from_secs(20);

/// The share of each phase in the total time.
const SHARES: [f64; 3] = [0.2, 0.4, 0.4];

pub(crate) async fn run(endpoint: &Endpoint, output: &Output, options: cli::Bench) -> Result<(), Failure> {
    let mut client = Client::connect(endpoint).await?;
    let status = client.status().await?;
    let mut subscribers = LoadSubscribers::new(address(&status)?, topic()?);
    subscribers::raise_descriptor_limit(options.subscribers)?;

    let progress = Progress::start();
    let meter = Meter::new(status.pid);
    let time = |share: f64| Duration::from_secs(options.seconds).mul_f64(share);
    let size = options.size;
    let data = vec![b'x'; usize::try_from(size).unwrap_or(usize::MAX)];
    let event = Publish::new(subscribers.topic(), data).with_ttl(LIFETIME);

    progress.show("connecting", Duration::ZERO);
    subscribers.grow_to(1).await?;
    let mut load = Load::new(client, subscribers, event).await?;

    progress.show("one subscriber", time(SHARES[0]));
    let alone = load.run(1, time(SHARES[0]), &meter).await?;

    progress.show("connecting", Duration::ZERO);
    let before = meter.memory();
    load.subscribers.grow_to(options.subscribers).await?;
    let after = meter.memory();

    progress.show("one event at a time", time(SHARES[1]));
    let paced = load.run(1, time(SHARES[1]), &meter).await?;
    progress.show("as many events as possible", time(SHARES[2]));
    let window = (WINDOW_BYTES / size).clamp(1, WINDOW);
    let saturated = load.run(window, time(SHARES[2]), &meter).await?;
    drop(progress);

    let growth = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    Report::new(&options, &alone, &paced, &saturated, growth).print(output)
}

/// Returns the address at which the daemon serves streams.
fn address(status: &Status) -> Result<String, Failure> {
    let url = status.url.as_deref().unwrap_or_default();
    let Some(address) = url.strip_prefix("http://") else {
        let message = "the benchmark requires plain HTTP, which the daemon does not serve; see `sse-busd --listen`";
        return Err(Failure::new(Exit::Failed, message));
    };
    Ok(address.trim_end_matches('/').to_owned())
}

/// Returns a topic that no other process uses.
fn topic() -> Result<Topic, Failure> {
    Topic::parse(&format!("bench/{}", std::process::id())).map_err(|e| Failure::new(Exit::Failed, e.to_string()))
}
