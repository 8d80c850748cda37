//! `sse-busctl schedule`: lists and cancels the events that are published later.

use sse_bus::{Client, protocol::ScheduleInfo};

use crate::{
    cli::{Schedule, ScheduleAction},
    exit::Failure,
    output::Output,
    table::{number, text},
    times::Times,
    units::size,
    visible::visible,
};

pub(crate) async fn run(client: &mut Client, output: &Output, options: Schedule) -> Result<(), Failure> {
    match options.action {
        ScheduleAction::List => list(client, output).await,
        ScheduleAction::Cancel(cancel) => {
            for schedule in cancel.schedules {
                client.cancel_schedule(&schedule).await?;
                let sentence = || format!("cancelled {}", visible(&schedule));
                output.confirm(sentence, &serde_json::json!({ "schedule": schedule }))?;
            }
            Ok(())
        }
    }
}

async fn list(client: &mut Client, output: &Output) -> Result<(), Failure> {
    let mut schedules = client.schedules().await?;
    schedules.sort_by_key(|schedule| schedule.at);
    let times = Times::new(false, false);
    let row = |schedule: &ScheduleInfo| {
        let ScheduleInfo { schedule: id, at, topic, event_type, bytes, refused, .. } = schedule;
        let refused = refused.clone().unwrap_or_default();
        [id.clone(), times.format(*at), topic.clone(), event_type.clone().unwrap_or_default(), size(*bytes), refused]
    };
    let columns = [
        text("SCHEDULE"),
        text("AT"),
        text("TOPIC").shrinking(),
        text("TYPE").dropped(2),
        number("SIZE").dropped(1),
        text("REFUSED").shrinking(),
    ];
    Ok(output.list(
        &schedules,
        &columns,
        row,
        "no schedules; make one with `sse-busctl publish TOPIC DATA --in 10m`",
    )?)
}
