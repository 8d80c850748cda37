//! `sse-busctl kick`: disconnects a client.

use sse_bus::{Client, client, protocol::ErrorCode};

use crate::{
    cli::Kick,
    exit::{Exit, Failure},
    output::Output,
    units::count,
    visible::visible,
};

pub(crate) async fn run(client: &mut Client, output: &Output, options: Kick) -> Result<(), Failure> {
    let name = visible(&options.client);
    let unknown =
        || Failure::new(Exit::Failed, format!("no client named `{name}` is connected; see `sse-busctl clients`"));
    match client.kick(&options.client).await {
        Ok(0) => Err(unknown()),
        Ok(connections) => {
            output.confirm(
                || format!("closed {} of {name}", count(connections, "connection")),
                &serde_json::json!({ "client": options.client, "connections": connections }),
            )?;
            Ok(())
        }
        Err(client::Error::Refused(refused)) if refused.code == ErrorCode::ClientUnknown => Err(unknown()),
        Err(e) => Err(e.into()),
    }
}
