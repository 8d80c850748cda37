//! `sse-busctl topics`: lists the topics.

use sse_bus::{Client, Topic, protocol::TopicInfo};

use crate::{
    cli,
    exit::Failure,
    output::Output,
    table::{number, text},
    units::{ago, size},
};

pub(crate) async fn run(client: &mut Client, output: &Output, options: cli::Topics) -> Result<(), Failure> {
    let is_wanted = |topic: &TopicInfo| {
        let topic = Topic::parse(&topic.topic);
        topic.is_ok_and(|topic| options.filters.iter().any(|filter| filter.matches(&topic)))
    };
    let all = client.topics().await?;
    let is_empty = all.is_empty();
    let topics: Vec<_> = all.into_iter().filter(is_wanted).collect();
    let columns = [
        text("TOPIC").shrinking(),
        number("PUBLISHED").dropped(3),
        number("HISTORY").dropped(2),
        number("SIZE").dropped(4),
        text("RETAINED").dropped(5),
        number("SUBSCRIBERS").dropped(1),
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
        if is_empty {
            "no topics yet; publish an event with `sse-busctl publish TOPIC DATA`"
        } else {
            "no such topics"
        },
    )?;
    Ok(())
}
