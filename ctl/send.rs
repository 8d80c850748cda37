//! `sse-busctl send`: sends an event to one client only.

use sse_bus::{Client, client::Address, protocol::Publish};

use crate::{cli::Send, exit::Failure, output::Output, publish::single};

pub(crate) async fn run(address: &Address, output: &Output, options: Send) -> Result<(), Failure> {
    let data = single::given_or_stdin(options.data)?;
    let mut event = Publish::new(options.topic, data).to_client(options.client);
    (event.event_type, event.headers) = (options.event_type, options.headers);
    single::warn_of_type(event.event_type.as_deref());
    let mut client = Client::connect(address).await?;
    single::publish(&mut client, output, &event).await
}
