//! `sse-busctl publish`: one event ([`single`]), the lines of a stream ([`lines`]), or events at an interval
//! ([`repeat`]).

mod lines;
mod repeat;
pub(crate) mod single;
mod text;
mod wait;

use std::time::Duration;

use sse_bus::{
    Client,
    client::{Address, Error},
    protocol::{Ack, HistoryKind, Publish},
    time::whole_millis,
};

use self::{
    lines::{Lines, Template},
    repeat::Repeat,
};
use crate::{
    cli,
    exit::{Exit, Failure},
    output::Output,
};

pub(crate) async fn run(address: &Address, output: &Output, options: cli::Publish) -> Result<(), Failure> {
    let mut event = Publish::new(options.topic.unwrap_or_default(), "");
    (event.event_type, event.headers, event.to) = (options.event_type, options.headers, options.to);
    (event.retain, event.ack) = (options.retain, options.ack.map_or(Ack::Accepted, Ack::from));
    if let Some(ttl) = options.ttl {
        event = event.with_ttl(ttl);
    }
    event.dedup_id = options.dedup_id;
    event.in_ms = options.delay.map(whole_millis);
    (event.at, event.schedule_id) = (options.at, options.schedule_id);
    single::warn_of_type(event.event_type.as_deref());
    let pipelined = options.lines || options.jsonl;
    // Before connecting, because the writer of the pipe may be slow and the daemon closes idle connections.
    event.data.0 = match (pipelined || options.exec.is_some(), &options.file) {
        (true, _) => Vec::new(),
        (false, Some(path)) => single::read_file(path)?,
        (false, None) => single::given_or_stdin(options.data)?,
    };
    event.data.0 = text::utf8(&event.data.0, options.lossy)
        .map_err(|e| Failure::new(Exit::Failed, format!("the data cannot be published: {e}")))?
        .into_owned();
    let mut client = Client::connect(address).await?;
    let (may_be_durable, is_durable) =
        (options.ack.is_none() && event.retain && !event.is_scheduled(), event.ack == Ack::Durable);
    if may_be_durable {
        // With history on disk, a retained event is durable by default. A token that allows only to publish cannot find out.
        match client.status().await {
            Ok(status) if status.history == HistoryKind::Disk => event.ack = Ack::Durable,
            Ok(_) | Err(Error::Denied(_)) => {}
            Err(error) => return Err(error.into()),
        }
    } else if pipelined || is_durable {
        // They wait without a time limit, so a request with one first checks that the daemon answers.
        client.ping().await?;
    }
    if let Some(wanted) = options.wait_for {
        wait::for_subscribers(address, &mut client, output, &event.topic, wanted, options.timeout).await?;
    }
    if pipelined {
        let retry_for = if options.no_reconnect { Duration::ZERO } else { options.retry_for };
        let lines = Lines::new(Template::new(event, options.jsonl, options.lossy), retry_for);
        return lines.run(address, client, output).await;
    }
    match options.every {
        Some(interval) => {
            let repeat = Repeat { interval, count: options.count, exec: options.exec };
            repeat.run(&mut client, output, event).await
        }
        None => single::publish(&mut client, output, &event).await,
    }
}
