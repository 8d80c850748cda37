//! `sse-busctl bench`: measures the bus on this machine, in about ten seconds.
//!
//! The benchmark starts a [daemon of its own](daemon), so that it leaves no trace in the user's bus. It publishes over the
//! local socket, and its subscribers are connections of this process that receive Server-Sent Events.
//!
//! There are three phases: a single subscriber, all subscribers with one event at a time, and all subscribers with as
//! many events as possible. The number of events in flight is bounded ([`WINDOW`], [`WINDOW_BYTES`]), so that no
//! subscriber falls behind and all deliveries can be counted.

mod daemon;
mod histogram;
mod load;
mod meter;
mod progress;
mod report;
mod subscribers;

use std::time::Duration;

use sse_bus::{
    Topic,
    protocol::{Publish, Status},
};

use self::{
    daemon::MeasuredDaemon, load::Load, meter::Meter, progress::Progress, report::Report, subscribers::LoadSubscribers,
};
use crate::{
    cli,
    exit::{Exit, Failure},
    output::Output,
    signals::Signals,
};

/// Maximum number of events in the last phase that are published and not yet received by all subscribers.
const WINDOW: u64 = 1000;
/// Maximum bytes of data of the events in flight.
const WINDOW_BYTES: u64 = 256 << 10;
/// The topic of the events.
const TOPIC: &str = "bench";

/// The share of each phase in the total time.
const SHARES: [f64; 3] = [0.2, 0.4, 0.4];

pub(crate) async fn run(output: &Output, options: cli::Bench) -> Result<(), Failure> {
    let mut signals = Signals::watch(true);
    tokio::select! {
        biased;
        () = signals.stop() => Err(Failure::silent(Exit::Failed)),
        () = hangup() => Err(Failure::silent(Exit::Failed)),
        outcome = measure(output, options) => outcome,
    }
}

/// Waits until the terminal is closed. Unhandled, SIGHUP would end this process and leave its daemon running.
#[cfg(unix)]
async fn hangup() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::hangup()) {
        Ok(mut hangup) => drop(hangup.recv().await),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(windows)]
async fn hangup() {
    std::future::pending().await
}

async fn measure(output: &Output, options: cli::Bench) -> Result<(), Failure> {
    subscribers::raise_descriptor_limit(options.subscribers)?;
    let progress = Progress::start();
    progress.show("starting", Duration::ZERO);
    let (daemon, client, status) = MeasuredDaemon::start(options.nats.as_deref()).await?;
    let mut subscribers = LoadSubscribers::new(address(&status)?, topic()?);
    let meter = Meter::new(status.pid);
    let time = |share: f64| options.duration.mul_f64(share);
    let size = options.size;
    let data = vec![b'x'; usize::try_from(size).unwrap_or(usize::MAX)];
    let event = Publish::new(subscribers.topic(), data);

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
    daemon.end().await;

    let growth = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    let log = status.log.map(|log| log.servers.join(", "));
    Report::new(&options, &alone, &paced, &saturated, growth, log).print(output)
}

/// Returns the address at which the daemon serves streams.
fn address(status: &Status) -> Result<String, Failure> {
    let url = status.url.as_deref().unwrap_or_default();
    let Some(address) = url.strip_prefix("http://") else {
        let message = "the daemon serves no plain HTTP";
        return Err(Failure::new(Exit::Failed, message));
    };
    Ok(address.trim_end_matches('/').to_owned())
}

/// Returns the topic of the events.
fn topic() -> Result<Topic, Failure> {
    Topic::parse(TOPIC).map_err(|e| Failure::new(Exit::Failed, e.to_string()))
}
