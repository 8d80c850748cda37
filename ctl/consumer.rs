//! `sse-busctl consumer`: creates, lists, moves and deletes consumers.

use std::{fmt::Write, time::Duration};

use serde_json::json;
use sse_bus::{Client, protocol::ConsumerInfo, shell::quoted};

use crate::{
    cli::{Consumer, ConsumerAction, ConsumerCreate},
    exit::Failure,
    output::Output,
    table::{number, text, wrapped},
    units::{ago, count, duration},
    visible::visible,
};

pub(crate) async fn run(client: &mut Client, output: &Output, options: Consumer) -> Result<(), Failure> {
    let (name, state) = match options.action {
        ConsumerAction::Create(options) => return create(client, output, &options).await,
        ConsumerAction::List => return list(client, output).await,
        ConsumerAction::Show(consumer) => {
            let info = client.consumer(consumer.name).show().await?;
            return Ok(output.print(|| describe(&info, output.width), &info)?);
        }
        ConsumerAction::Pause(consumer) => {
            client.consumer(&consumer.name).pause().await?;
            (consumer.name, "paused")
        }
        ConsumerAction::Resume(consumer) => {
            client.consumer(&consumer.name).resume().await?;
            (consumer.name, "resumed")
        }
        ConsumerAction::Seek { consumer, to } => {
            client.consumer(&consumer.name).seek(to).await?;
            (consumer.name, "moved")
        }
        ConsumerAction::Delete(consumer) => {
            client.consumer(&consumer.name).delete().await?;
            (consumer.name, "deleted")
        }
    };
    Ok(output
        .confirm(|| format!("{state} consumer {}", visible(&name)), &json!({ "consumer": name, "state": state }))?)
}

async fn create(client: &mut Client, output: &Output, options: &ConsumerCreate) -> Result<(), Failure> {
    let name = &options.name;
    let created = client.consumer(name).create(options.config()).await?;
    let sentence = || {
        let name = visible(name);
        if created {
            format!("created consumer {name}; work for it with `sse-busctl work {} --exec COMMAND`", quoted(&name))
        } else {
            format!("consumer {name} exists with these settings")
        }
    };
    Ok(output.confirm(sentence, &json!({ "consumer": name, "created": created }))?)
}

async fn list(client: &mut Client, output: &Output) -> Result<(), Failure> {
    let consumers = client.consumers().await?;
    let columns = [
        text("NAME").shrinking(),
        text("FILTERS").shrinking(),
        number("PENDING"),
        number("IN FLIGHT").dropped(1),
        number("WAITING").dropped(3),
        number("DEAD"),
        number("WORKERS").dropped(2),
        text("OLDEST").dropped(4),
        text("STATE").dropped(5),
    ];
    let row = |info: &ConsumerInfo| {
        [
            info.name.clone(),
            info.filters.join(" "),
            pending(info),
            info.in_flight.to_string(),
            info.waiting.to_string(),
            info.dead.to_string(),
            info.workers.to_string(),
            info.oldest_ms.map_or_else(|| "-".into(), |age| duration(Duration::from_millis(age))),
            state(info).into(),
        ]
    };
    let empty = "no consumers; create one with `sse-busctl consumer create NAME FILTER`";
    Ok(output.list(&consumers, &columns, row, empty)?)
}

/// Returns the number of pending events, with `+` if it is a lower bound.
fn pending(info: &ConsumerInfo) -> String {
    format!("{}{}", info.pending, if info.pending_exact { "" } else { "+" })
}

fn state(info: &ConsumerInfo) -> &'static str {
    match info {
        ConsumerInfo { paused: true, .. } => "paused",
        // Events that history needs the room of may be lost.
        ConsumerInfo { holding: false, .. } => "inactive",
        _ => "active",
    }
}

fn describe(info: &ConsumerInfo, width: Option<usize>) -> String {
    /// The column in which values begin.
    const INDENT: usize = 11;
    let name = quoted(&info.name);
    let note = match state(info) {
        "paused" => format!("paused; `sse-busctl consumer resume {name}` continues"),
        "inactive" => {
            format!("inactive: it had no worker for {}, so history does not hold its events", info.inactive_after)
        }
        _ => "active".into(),
    };
    let oldest =
        info.oldest_ms.map_or(String::new(), |age| format!(", oldest {}", duration(Duration::from_millis(age))));
    let dead = match info.dead {
        0 => "0".into(),
        dead => format!("{dead}; see `sse-busctl dead list {name}`"),
    };
    let backoff =
        if info.backoff.is_empty() { "no back-off".into() } else { format!("back-off {}", info.backoff.join(", ")) };
    let done = format!(
        "{} acknowledged, {} delivered, {} redelivered, {}",
        info.acknowledged,
        info.delivered,
        info.redelivered,
        count(info.died, "dead letter")
    );
    let losses = format!("{} expired, {} missed", info.expired, info.missed);
    let rows = [
        ("consumer", info.name.clone()),
        ("filters", info.filters.join(" ")),
        ("state", note),
        ("pending", format!("{}{oldest}", pending(info))),
        ("in flight", format!("{} with {}", info.in_flight, count(info.workers, "worker"))),
        ("waiting", format!("{} for another attempt", info.waiting)),
        ("dead", dead),
        ("so far", done),
        ("losses", losses),
        ("attempts", format!("{} within {} each, {backoff}", info.max_attempts, info.ack_wait)),
        ("limits", format!("{} in flight, {} when history is full", info.max_in_flight, info.on_full)),
        ("position", info.position.clone()),
        ("created", ago(info.created)),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<INDENT$}{}", wrapped(&visible(&value), INDENT, width));
    }
    text.truncate(text.trim_end().len());
    text
}
