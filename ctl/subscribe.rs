//! `sse-busctl subscribe`: prints events as they are published, or runs a command for each.
//!
//! A broken connection is restored, with a notice on stderr. If there is no daemon at the start, the command fails.

use std::{future, mem, path::Path, time::Duration};

use sse_bus::{
    Client,
    client::{Address, Backoff, Item},
    protocol,
    time::format_duration,
};
use tokio::time::sleep;

use crate::{
    cli::Subscribe,
    exec,
    exit::{Exit, Failure},
    format::{self, Printer},
    output::{self, Output},
    signals::Signals,
    times::Times,
    units::count,
};

pub(crate) async fn run(address: &Address, output: &Output, options: Subscribe) -> Result<(), Failure> {
    let mut request = protocol::Subscribe::new(options.filters.clone()).with_slow(options.slow);
    let since = options.since.unwrap_or_default();
    (request.since, request.client) = ((!since.start.is_empty()).then(|| since.start.clone()), options.client);
    let mut signals = Signals::watch(options.exec.is_none());
    let mut subscription = Client::connect(address).await?.subscribe(request).await?;
    output.notice(|| describe(&options.filters));
    if !options.no_reconnect {
        subscription = subscription.reconnecting(Backoff::default());
    }
    let times = Times::new(options.utc, options.relative);
    let mut sink = Sink { printer: Printer::new(output, times), exec: options.exec, failed: 0 };
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
        let item = tokio::select! {
            biased;
            () = signals.stop() => {
                is_stopped = true;
                break;
            }
            () = &mut out_of_time => {
                sink.printer.flush()?;
                return Err(timed_out(options.count, left, options.timeout));
            }
            item = subscription.next() => item,
            // No more events are available: write the batch.
            () = future::ready(()), if !sink.printer.is_empty() => {
                sink.printer.flush()?;
                continue;
            }
            () = &mut unread, if sink.exec.is_none() => break,
        };
        match item {
            Some(Ok(Item::Event(event))) if since.is_before(&event) => {}
            Some(Ok(Item::Event(event))) => {
                sink.accept(&event).await?;
                left = left.map(|left| left - 1);
            }
            Some(Ok(Item::Gap { gap, .. })) if sink.exec.is_some() => format::warn_of_gap(&gap),
            Some(Ok(Item::Gap { gap, id, time })) => sink.printer.gap(&gap, id, time)?,
            Some(Ok(Item::Reconnecting { error, .. })) => {
                sink.printer.flush()?;
                // Once per outage.
                if !mem::replace(&mut is_down, true) {
                    output.warn(&format!("{error}; reconnecting"));
                }
            }
            Some(Ok(Item::Resumed { since, .. })) => {
                is_down = false;
                output.warn(&format!("reconnected; resuming from {since}"));
            }
            // A notice of a later version.
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
        // A failure, so that in `subscribe deploy --count 1 && ./deploy` the second command does not run.
        0 if is_stopped && let Some((count, left)) = options.count.zip(left) => {
            Err(Failure::new(Exit::Failed, format!("stopped after {} of {count} events", count - left)))
        }
        0 => Ok(()),
        failed => Err(Failure::new(Exit::Failed, format!("the command failed for {}", count(failed, "event")))),
    }
}

/// Returns what is subscribed to. A shell replaces an unquoted pattern by the files that it matches.
fn describe(filters: &[String]) -> String {
    const SHOWN: usize = 5;
    let names = filters.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(" ");
    let more = match filters.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let are_files = filters.len() > 1 && filters.iter().all(|filter| Path::new(filter).exists());
    let hint = if are_files { "; these are files here: quote a pattern, such as 'build/**'" } else { "" };
    format!("subscribed to {names}{more}{hint}")
}

fn timed_out(count: Option<u64>, left: Option<u64>, timeout: Option<Duration>) -> Failure {
    let timeout = format_duration(timeout.unwrap_or_default());
    match (count, left) {
        (Some(count), Some(left)) => {
            Failure::new(Exit::TimedOut, format!("timed out after {timeout} with {} of {count} events", count - left))
        }
        _ => Failure::silent(Exit::TimedOut),
    }
}

/// The destination of events.
struct Sink<'a> {
    printer: Printer<'a>,
    exec: Option<String>,
    /// Number of events whose command failed.
    failed: u64,
}

impl Sink<'_> {
    async fn accept(&mut self, event: &protocol::EventMessage) -> Result<(), Failure> {
        let Some(command) = &self.exec else { return Ok(self.printer.print(event)?) };
        if let Err(error) = exec::on_event(command, event).await {
            self.failed += 1;
            let id = event.id.map_or_else(|| "without an id".into(), |id| id.to_string());
            eprintln!("sse-busctl: event {id}: `{command}` {error}");
        }
        Ok(())
    }
}
