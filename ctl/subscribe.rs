//! `sse-busctl subscribe`: events as they come, printed or handed to a command.
//!
//! Connections that break are restored, with a notice on stderr; a daemon that is not there in the first place ends
//! the program.

use std::{future, mem, time::Duration};

use sse_bus::{
    Client, Endpoint,
    client::{Backoff, Delivery},
    protocol,
};
use tokio::time::sleep;

use crate::{
    cli::Subscribe,
    exec,
    exit::{Exit, Failure},
    format::{self, Printer},
    output::{self, Output, count},
    signals::Signals,
};

pub(crate) async fn run(endpoint: &Endpoint, output: &Output, options: Subscribe) -> Result<(), Failure> {
    let mut request = protocol::Subscribe::new(options.filters).with_slow(options.slow);
    (request.since, request.client) = (options.since, options.client);
    let mut signals = Signals::watch(options.exec.is_none());
    let mut subscription = Client::connect(endpoint).await?.subscribe(request).await?;
    if !options.no_reconnect {
        subscription = subscription.reconnecting(Backoff::default());
    }
    let mut sink = Sink { printer: Printer::new(output, options.format), exec: options.exec, failed: 0 };
    let mut left = options.count;
    let (mut is_down, mut is_stopped) = (false, false);
    let out_of_time = async {
        match options.timeout {
            Some(timeout) => sleep(timeout).await,
            None => future::pending().await,
        }
    };
    let unread = output::unread();
    tokio::pin!(out_of_time, unread);
    while left != Some(0) {
        let delivery = tokio::select! {
            biased;
            () = signals.stop() => {
                is_stopped = true;
                break;
            }
            () = &mut out_of_time => {
                sink.printer.flush()?;
                return Err(timed_out(options.count, left, options.timeout));
            }
            delivery = subscription.next() => delivery,
            // Nothing more is at hand: show what there is.
            () = future::ready(()), if !sink.printer.is_empty() => {
                sink.printer.flush()?;
                continue;
            }
            () = &mut unread, if sink.exec.is_none() => break,
        };
        match delivery {
            Some(Ok(Delivery::Event(event))) => {
                sink.take(&event).await?;
                left = left.map(|left| left - 1);
            }
            Some(Ok(Delivery::Gap { gap, .. })) if sink.exec.is_some() => format::warn(&gap),
            Some(Ok(Delivery::Gap { gap, id, time })) => sink.printer.gap(&gap, id, time)?,
            Some(Ok(Delivery::Reconnecting { error, .. })) => {
                sink.printer.flush()?;
                // Once for each outage.
                if !mem::replace(&mut is_down, true) {
                    eprintln!("sse-busctl: {error}; reconnecting");
                }
            }
            Some(Ok(Delivery::Resumed { since, .. })) => {
                is_down = false;
                eprintln!("sse-busctl: connected again; going on from {since}");
            }
            // A notice that this version does not know.
            Some(Ok(_)) => {}
            Some(Err(e)) => {
                sink.printer.flush()?;
                return Err(e.into());
            }
            None => break,
        }
    }
    sink.printer.flush()?;
    match sink.failed {
        // Who counts goes on with what was counted: `subscribe deploy --count 1 && ./deploy`.
        0 if is_stopped && let Some((count, left)) = options.count.zip(left) => {
            Err(Failure::new(Exit::Failed, format!("stopped with {} of {count} events", count - left)))
        }
        0 => Ok(()),
        failed => Err(Failure::new(Exit::Failed, format!("the command failed for {}", count(failed, "event")))),
    }
}

fn timed_out(count: Option<u64>, left: Option<u64>, timeout: Option<Duration>) -> Failure {
    let timeout = humantime::format_duration(timeout.unwrap_or_default());
    match (count, left) {
        (Some(count), Some(left)) => {
            Failure::new(Exit::TimedOut, format!("timed out after {timeout} with {} of {count} events", count - left))
        }
        _ => Failure::silent(Exit::TimedOut),
    }
}

/// Where events go.
struct Sink<'a> {
    printer: Printer<'a>,
    exec: Option<String>,
    /// Events whose command failed.
    failed: u64,
}

impl Sink<'_> {
    async fn take(&mut self, event: &protocol::EventMessage) -> Result<(), Failure> {
        let Some(command) = &self.exec else { return Ok(self.printer.print(event)?) };
        if let Err(why) = exec::on_event(command, event).await {
            self.failed += 1;
            let id = event.id.map_or_else(|| "without an id".into(), |id| id.to_string());
            eprintln!("sse-busctl: event {id}: `{command}` {why}");
        }
        Ok(())
    }
}
