//! `sse-busctl dead`: lists, retries and drops the dead letters of a consumer.

use serde_json::json;
use sse_bus::{Client, protocol::DeadLetter};

use crate::{
    cli::{Dead, DeadAction},
    exit::Failure,
    output::Output,
    table::{number, text},
    units::{ago, count},
    visible::visible,
};

pub(crate) async fn run(client: &mut Client, output: &Output, options: Dead) -> Result<(), Failure> {
    let (name, verb, changed) = match options.action {
        DeadAction::List(consumer) => return list(client, output, &consumer.name).await,
        DeadAction::Retry(options) => {
            let changed = client.consumer(&options.consumer.name).retry_dead(options.selection()).await?;
            (options.consumer.name, "retried", changed)
        }
        DeadAction::Drop(options) => {
            let changed = client.consumer(&options.consumer.name).drop_dead(options.selection()).await?;
            (options.consumer.name, "dropped", changed)
        }
    };
    let sentence = || format!("{verb} {} of {}", count(changed, "dead letter"), visible(&name));
    Ok(output.confirm(sentence, &json!({ "consumer": name, verb: changed }))?)
}

async fn list(client: &mut Client, output: &Output, name: &str) -> Result<(), Failure> {
    let mut letters: Vec<DeadLetter> = Vec::new();
    loop {
        let next = client.consumer(name).dead(letters.last().map(|last| last.id)).await?;
        if next.is_empty() {
            break;
        }
        letters.extend(next);
    }
    let columns = [
        text("ID"),
        text("TOPIC").shrinking(),
        text("REASON"),
        number("ATTEMPTS").dropped(2),
        text("WORKER").shrinking().dropped(3),
        text("SINCE").dropped(1),
        text("TEXT").shrinking().dropped(4),
        text("DATA").shrinking().dropped(5),
    ];
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let row = |letter: &DeadLetter| {
        [
            letter.id.to_string(),
            or_none(&letter.topic),
            letter.reason.clone(),
            letter.attempts.to_string(),
            or_none(&letter.worker),
            ago(letter.since),
            or_none(&letter.text),
            or_none(&letter.data.as_ref().map(|data| first_line(data))),
        ]
    };
    Ok(output.list(&letters, &columns, row, "no dead letters")?)
}

/// Returns the beginning of the first line of data.
fn first_line(data: &str) -> String {
    const CHARACTERS: usize = 200;
    data.lines().next().unwrap_or_default().chars().take(CHARACTERS).collect()
}
