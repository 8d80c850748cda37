//! `sse-busctl reply`: runs a command for each request, whose output is the reply.
//!
//! After a signal it receives no further requests, and answers those that it has.

use std::sync::Arc;

use sse_bus::{
    Client,
    client::{Address, Backoff, IncomingRequest, ResponderItem},
    protocol::{ErrorCode, Respond},
};
use tokio::task::JoinSet;

use crate::{cli::Reply, exec, exit::Failure, output::Output, publish::single, signals::Signals, visible::visible};

pub(crate) async fn run(address: &Address, output: &Output, options: Reply) -> Result<(), Failure> {
    let mut request = Respond::new(&options.filters).with_max_in_flight(options.jobs);
    request.client = options.client;
    let mut signals = Signals::watch(false);
    let mut responder = Client::connect(address).await?.respond(request).await?;
    output.notice(|| format!("replying to {}", options.filters.join(" ")));
    if !options.no_reconnect {
        responder = responder.reconnecting(Backoff::default());
    }
    let command: Arc<str> = options.exec.into();
    let mut running = JoinSet::new();
    let mut is_down = false;
    let end = loop {
        let item = tokio::select! {
            biased;
            () = signals.stop() => break Ok(()),
            Some(_) = running.join_next() => continue,
            item = responder.next(), if running.len() < options.jobs as usize => item,
        };
        match item {
            Some(Ok(ResponderItem::Request(request))) => drop(running.spawn(answer(command.clone(), request))),
            // Once per outage.
            Some(Ok(ResponderItem::Reconnecting { error, .. })) => {
                if !std::mem::replace(&mut is_down, true) {
                    output.warn(&format!("{error}; reconnecting"));
                }
            }
            Some(Ok(ResponderItem::Resumed { .. })) => {
                is_down = false;
                output.warn("reconnected");
            }
            // A notice of a later version.
            Some(Ok(_)) => {}
            Some(Err(error)) => break Err(error.into()),
            None => break Ok(()),
        }
    };
    drop(responder);
    while running.join_next().await.is_some() {}
    end
}

/// Runs the command for a request, and replies with its output.
async fn answer(command: Arc<str>, request: IncomingRequest) {
    let topic = visible(&request.topic).into_owned();
    let answered = match exec::reply_to(&command, &request, request.time_left()).await {
        Ok(mut output) => {
            single::strip_line_break(&mut output);
            if let Ok(data) = String::from_utf8(output) {
                request.reply(data).await
            } else {
                eprintln!("sse-busctl: request {topic}: `{command}` wrote text that is not UTF-8");
                request.fail("the output of the command is not UTF-8").await
            }
        }
        Err(error) => {
            eprintln!("sse-busctl: request {topic}: `{command}` {error}");
            request.fail(format!("the command {error}")).await
        }
    };
    if let Err(error) = answered {
        let what = if error.code() == Some(ErrorCode::StaleRequest) { "the reply is too late" } else { "no reply" };
        eprintln!("sse-busctl: request {topic}: {what}: {error}");
    }
}
