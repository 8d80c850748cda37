//! `sse-busctl send`: an event for one client only.

use sse_bus::{
    Client, Endpoint,
    protocol::{Payload, Publish},
};

use crate::{cli::Send, exit::Failure, output::Output, publish};

pub(crate) async fn run(endpoint: &Endpoint, output: &Output, options: Send) -> Result<(), Failure> {
    let data = publish::given_or_stdin(options.data)?;
    let event = Publish {
        topic: options.topic,
        data: Payload(data),
        kind: options.kind,
        to: Some(options.client),
        ..Publish::default()
    };
    let mut client = Client::connect(endpoint).await?;
    publish::one(&mut client, output, &event).await
}
