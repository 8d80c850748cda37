//! `sse-busctl nodes`: lists the daemons that share the bus.

use std::time::Duration;

use sse_bus::{Client, protocol::NodeInfo};

use crate::{
    exit::Failure,
    output::Output,
    table::{number, text},
    units::{ago, duration},
};

pub(crate) async fn run(client: &mut Client, output: &Output) -> Result<(), Failure> {
    let nodes = client.nodes().await?;
    let columns = [
        text("NODE"),
        text("STATE"),
        text("VERSION").dropped(4),
        text("URL").shrinking().dropped(2),
        text("STARTED").dropped(5),
        number("CLIENTS").dropped(3),
        number("SUBSCRIBERS").dropped(1),
        number("LAG").dropped(6),
        text("SEEN").dropped(7),
        text("ERROR").shrinking(),
    ];
    let row = |node: &NodeInfo| {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        [
            node.name.clone(),
            if node.own { "here".into() } else { node.state.to_string() },
            node.version.clone(),
            or_none(&node.url),
            ago(node.started),
            node.clients.to_string(),
            node.subscribers.to_string(),
            node.lag.map_or_else(|| "-".into(), |lag| lag.to_string()),
            seen(node),
            or_none(&node.error),
        ]
    };
    output.list(&nodes, &columns, row, "the daemon has a bus of its own; several share one with --history nats")?;
    Ok(())
}

/// Returns when a node was last heard of.
fn seen(node: &NodeInfo) -> String {
    match Duration::from_millis(node.age_ms) {
        _ if node.own => "-".into(),
        age => format!("{} ago", duration(Duration::from_secs(age.as_secs()))),
    }
}

/// Warns that a result is partial.
pub(crate) fn warn_of_missing(output: &Output, unreachable: &[String]) {
    match unreachable {
        [] => {}
        [node] => output.warn(&format!("the node {node} did not answer, so the result is partial")),
        nodes => output.warn(&format!("the nodes {} did not answer, so the result is partial", nodes.join(", "))),
    }
}
