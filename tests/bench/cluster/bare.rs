//! The client of NATS alone, as a program without the bus would use it.

use std::{
    future::IntoFuture as _,
    time::{Duration, Instant},
};

use async_nats::jetstream::{
    self, Context,
    consumer::{DeliverPolicy, pull::OrderedConfig},
    stream::Config,
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use sse_bus_support::harness::nats::NatsServer;
use tokio::runtime::Runtime;

use super::Result;

/// Messages whose acknowledgements are awaited at once.
const IN_FLIGHT: usize = 1_000;

/// A connection, with a stream of its own.
pub(super) struct Bare {
    runtime: Runtime,
    context: Context,
}

impl Bare {
    pub(super) fn connect(server: &NatsServer) -> Result<Bare> {
        let runtime = Runtime::new()?;
        let context = runtime.block_on(async {
            let context = jetstream::new(async_nats::connect(server.url()).await?);
            let config = Config {
                name: "BARE".into(),
                subjects: vec!["bare.>".into()],
                allow_direct: true,
                duplicate_window: Duration::from_mins(2),
                ..Config::default()
            };
            context.get_or_create_stream(config).await?;
            Result::Ok(context)
        })?;
        Ok(Bare { runtime, context })
    }

    /// Publishes messages, one at a time, and returns the time of each.
    pub(super) fn latencies(&self, messages: usize, data: &str) -> Result<Vec<Duration>> {
        self.runtime.block_on(async {
            let mut times = Vec::with_capacity(messages);
            for _ in 0..messages {
                let began = Instant::now();
                self.context.publish("bare.t", data.to_owned().into()).await?.await?;
                times.push(began.elapsed());
            }
            Ok(times)
        })
    }

    /// Publishes messages without waiting for each, and returns the time until all are acknowledged.
    pub(super) fn pipelined(&self, messages: usize, data: &str) -> Result<Duration> {
        self.runtime.block_on(async {
            let data = bytes::Bytes::copy_from_slice(data.as_bytes());
            let mut unacknowledged = FuturesUnordered::new();
            let began = Instant::now();
            for _ in 0..messages {
                if unacknowledged.len() == IN_FLIGHT {
                    unacknowledged.next().await.transpose()?;
                }
                unacknowledged.push(self.context.publish("bare.t", data.clone()).await?.into_future());
            }
            while unacknowledged.next().await.transpose()?.is_some() {}
            Ok(began.elapsed())
        })
    }

    /// Reads a number of messages from the beginning of a stream with an ordered consumer, and returns the time.
    pub(super) fn read(&self, stream: &str, messages: usize) -> Result<Duration> {
        self.runtime.block_on(async {
            let stream = self.context.get_stream(stream).await?;
            let began = Instant::now();
            let config = OrderedConfig { deliver_policy: DeliverPolicy::All, ..OrderedConfig::default() };
            let mut received = stream.create_consumer(config).await?.messages().await?;
            for _ in 0..messages {
                received.next().await.ok_or("the stream has ended")??;
            }
            Ok(began.elapsed())
        })
    }
}
