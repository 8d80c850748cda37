//! `sse-busctl request`: sends a request to responders, and prints the replies.

use sse_bus::{Client, client::Address, protocol::RequestMessage};

use crate::{
    cli::{Format, Request},
    exit::Failure,
    output::Output,
    publish::single,
    visible::{visible, visible_lines},
};

pub(crate) async fn run(address: &Address, output: &Output, options: Request) -> Result<(), Failure> {
    let data = single::given_or_stdin(options.data)?;
    let mut request =
        RequestMessage::new(&*options.topic, data).with_timeout(options.timeout).with_replies(options.replies);
    (request.event_type, request.headers) = (options.event_type, options.headers);
    let mut client = Client::connect(address).await?;
    let replies = client
        .request(&request)
        .await
        .map_err(|error| Failure::from(error).context(format_args!("no reply to {}", visible(&options.topic))))?;
    for reply in &replies {
        if output.format == Some(Format::Json) {
            output.print(String::new, reply)?;
            continue;
        }
        // The reply itself, also in a pipe.
        let data = if output.terminal { visible_lines(&reply.data) } else { reply.data.as_str().into() };
        output.write(format!("{data}\n").as_bytes())?;
    }
    Ok(())
}
