//! `sse-busctl kick`: disconnects a client, and keeps it out for a while if requested.

use std::time::Duration;

use sse_bus::{
    Client, client,
    protocol::{ClientRole, ErrorCode},
    time::format_duration,
};

use crate::{
    cli::Kick,
    exit::{Exit, Failure},
    nodes,
    output::Output,
    units::count,
    visible::visible,
};

pub(crate) async fn run(client: &mut Client, output: &Output, options: Kick) -> Result<(), Failure> {
    let name = visible(&options.client);
    let unknown =
        || Failure::new(Exit::NoSubscriber, format!("no client named `{name}` is connected; see `sse-busctl clients`"));
    let will_reconnect = options.keep_out.is_none() && is_subscriber(client, &options.client).await;
    let kicked = match options.keep_out {
        Some(time) => client.kick_for(&options.client, time).await,
        None => client.kick(&options.client).await,
    };
    match kicked {
        Ok(0) if options.keep_out.is_none() => {
            nodes::warn_of_missing(output, client.unreachable());
            Err(unknown())
        }
        Ok(connections) => {
            let closed = || format!("closed {} of {name}", count(connections, "connection"));
            let sentence = || match options.keep_out {
                None => closed(),
                Some(Duration::ZERO) => format!("{name} can connect again"),
                Some(time) => format!("{}, which is kept out for {}", closed(), format_duration(time)),
            };
            let mut kicked = serde_json::json!({ "client": options.client, "connections": connections });
            if !client.unreachable().is_empty() {
                kicked["unreachable"] = client.unreachable().into();
            }
            output.confirm(sentence, &kicked)?;
            nodes::warn_of_missing(output, client.unreachable());
            if will_reconnect {
                output.warn("subscribers usually reconnect at once; --for 1m keeps a client out");
            }
            Ok(())
        }
        Err(client::Error::Refused(refused)) if refused.code == ErrorCode::ClientUnknown => Err(unknown()),
        Err(e) => Err(e.into()),
    }
}

/// Returns true if a client is a subscriber, which usually reconnects. Publishers usually do not.
async fn is_subscriber(client: &mut Client, kicked: &str) -> bool {
    let clients = client.clients().await.unwrap_or_default();
    let is_kicked = |id: &str, name: Option<&str>| id == kicked || name == Some(kicked);
    clients.iter().any(|c| is_kicked(&c.id, c.name.as_deref()) && c.role == ClientRole::Subscriber)
}
