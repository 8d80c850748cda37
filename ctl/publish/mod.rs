//! `sse-busctl publish`: one event ([`single`]), the lines of a stream ([`lines`]), or events at an interval
//! ([`repeat`]).

mod lines;
mod repeat;
pub(crate) mod single;
mod wait;

use sse_bus::{
    Client, Endpoint,
    protocol::{Ack, HistoryKind, Publish},
};

use self::{lines::Lines, repeat::Repeat};
use crate::{cli, exit::Failure, output::Output};

pub(crate) async fn run(endpoint: &Endpoint, output: &Output, options: cli::Publish) -> Result<(), Failure> {
    let mut event = Publish::new(options.topic.unwrap_or_default(), "");
    (event.event_type, event.headers, event.to) = (options.event_type, options.headers, options.to);
    (event.retain, event.ack) = (options.retain, options.ack.map_or(Ack::Accepted, Ack::from));
    if let Some(ttl) = options.ttl {
        event = event.with_ttl(ttl);
    }
    single::warn_of_type(event.event_type.as_deref());
    let pipelined = options.lines || options.jsonl;
    // Before connecting, because the writer of the pipe may be slow and the daemon closes idle connections.
    event.data.0 = match (pipelined || options.exec.is_some(), &options.file) {
        (true, _) => Vec::new(),
        (false, Some(path)) => single::read_file(path)?,
        (false, None) => single::given_or_stdin(options.data)?,
    };
    let mut client = Client::connect(endpoint).await?;
    let (may_be_durable, is_durable) = (options.ack.is_none() && event.retain, event.ack == Ack::Durable);
    // Pipelined and durable publishes wait without a time limit, so a request with one first checks that the daemon
    // answers.
    let status = if pipelined || may_be_durable || is_durable { Some(client.status().await?) } else { None };
    // With history on disk, a retained event is durable by default.
    if may_be_durable && status.is_some_and(|status| status.history == HistoryKind::Disk) {
        event.ack = Ack::Durable;
    }
    if let Some(wanted) = options.wait_for {
        wait::for_subscribers(endpoint, &mut client, &event.topic, wanted, options.timeout).await?;
    }
    if pipelined {
        let lines = Lines::new(event, options.jsonl, !options.no_reconnect);
        return lines.run(endpoint, client, output).await;
    }
    match options.every {
        Some(interval) => {
            let repeat = Repeat { interval, count: options.count, exec: options.exec };
            repeat.run(&mut client, output, event).await
        }
        None => single::publish(&mut client, output, &event).await,
    }
}
