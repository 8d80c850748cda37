//! `sse-busctl topics`: lists the topics.

use sse_bus::Client;

use crate::{
    exit::Failure,
    output::{Output, number, text},
    units::{ago, size},
};

pub(crate) async fn run(client: &mut Client, output: &Output) -> Result<(), Failure> {
    let topics = client.topics().await?;
    let columns = [
        text("TOPIC"),
        number("PUBLISHED"),
        number("HISTORY"),
        number("SIZE"),
        text("RETAINED"),
        number("SUBSCRIBERS"),
        text("LAST"),
    ];
    output.list(
        &topics,
        &columns,
        |t| {
            [
                t.topic.clone(),
                t.published.to_string(),
                t.events.to_string(),
                size(t.bytes),
                if t.retained { "yes" } else { "no" }.into(),
                t.subscribers.to_string(),
                t.last_time.map_or_else(|| "-".into(), ago),
            ]
        },
        "no topics yet; publish an event with `sse-busctl publish TOPIC DATA`",
    )?;
    Ok(())
}
