//! Publishes one event, with data from the command line, a file or stdin.

use std::{
    io::{self, IsTerminal, Read},
    path::Path,
};

use sse_bus::{
    Client,
    client::{self, Error},
    limits::FRAME_MAX,
    protocol::{Ack, Publish},
};

use crate::{
    exit::{Exit, Failure},
    nodes,
    output::Output,
    times::Times,
    units::count,
    visible::visible,
};

/// Publishes an event and prints the reply.
pub(crate) async fn publish(client: &mut Client, output: &Output, event: &Publish) -> Result<(), Failure> {
    if event.is_scheduled() {
        return schedule(client, output, event).await;
    }
    let published = client.publish(event).await.map_err(|e| failure(&event.topic, e))?;
    let id = published.id.map_or_else(String::new, |id| format!("{id} "));
    nodes::warn_of_missing(output, &published.unreachable);
    match &event.to {
        _ if event.ack == Ack::None && event.to.is_none() => {}
        _ if published.duplicate => output.confirm(|| format!("{id}was published before"), &published)?,
        // Only an event for a consumer has an id.
        Some(to) if published.id.is_some() => {
            let what = if published.queued { "queued for" } else { "delivered to" };
            output.confirm(|| format!("{id}{what} the consumer {}", visible(to)), &published)?;
        }
        Some(to) if published.subscribers == 0 => return Err(no_client(to)),
        Some(_) if event.ack == Ack::None => {}
        Some(to) => {
            let sentence = || format!("to {} of {}", count(published.subscribers, "connection"), visible(to));
            output.confirm(sentence, &published)?;
        }
        None => {
            let sentence = || format!("{id}to {}", count(published.subscribers, "subscriber"));
            output.confirm(sentence, &published)?;
        }
    }
    Ok(())
}

/// Schedules an event and prints the reply.
async fn schedule(client: &mut Client, output: &Output, event: &Publish) -> Result<(), Failure> {
    let scheduled = client.schedule(event).await.map_err(|e| failure(&event.topic, e))?;
    let sentence = || {
        let time = Times::new(false, false).format(scheduled.at);
        let end = if scheduled.persistent { "" } else { "; history is in memory, so it ends with the daemon" };
        format!("{} at {time}{end}", visible(&scheduled.schedule))
    };
    Ok(output.confirm(sentence, &scheduled)?)
}

/// Warns of a type that has a special meaning for an `EventSource`. Returns true if it has.
pub(crate) fn warn_of_type(event_type: Option<&str>) -> bool {
    let Some(name @ ("error" | "open")) = event_type else { return false };
    let mut warning = format!(
        "sse-busctl: an EventSource passes events of type `{name}` to `on{name}`, like events of its connection"
    );
    if name == "error" {
        warning.push_str(", and a Node.js process without a listener for it exits");
    }
    eprintln!("{warning}; choose another type");
    true
}

/// Returns the failure of a publish.
pub(crate) fn failure(topic: &str, error: client::Error) -> Failure {
    let advice = match &error {
        Error::Disconnected(_) | Error::Unresponsive { .. } => "; the event may or may not have been accepted",
        _ => "",
    };
    let mut failure = Failure::from(error).context(format_args!("cannot publish to {}", visible(topic)));
    if let Some(message) = &mut failure.message {
        message.push_str(advice);
    }
    failure
}

/// Returns the failure of a unicast without a receiver.
fn no_client(to: &str) -> Failure {
    let message = format!("no client named `{}` is connected; see `sse-busctl clients`", visible(to));
    Failure::new(Exit::NoSubscriber, message)
}

/// Returns the data from the command line, or stdin without one line break at its end.
pub(crate) fn given_or_stdin(given: Option<String>) -> Result<Vec<u8>, Failure> {
    match given {
        Some(data) if data != "-" => Ok(data.into_bytes()),
        _ => {
            if io::stdin().is_terminal() {
                eprintln!("Enter the data, then Ctrl-D:");
            }
            let mut data = read(io::stdin().lock()).map_err(|e| unreadable("stdin", &e))?;
            strip_line_break(&mut data);
            Ok(data)
        }
    }
}

/// Removes one LF or CRLF from the end.
pub(crate) fn strip_line_break(data: &mut Vec<u8>) {
    if data.last() == Some(&b'\n') {
        data.pop();
        if data.last() == Some(&b'\r') {
            data.pop();
        }
    }
}

/// Returns the content of a file.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::File::open(path).and_then(read).map_err(|e| unreadable(&path.display().to_string(), &e))
}

/// Reads to the end, but not more than the maximum size of a frame.
fn read(source: impl Read) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    source.take(FRAME_MAX as u64 + 1).read_to_end(&mut data)?;
    if data.len() > FRAME_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(data) }
}

fn unreadable(what: &str, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::FileTooLarge {
        let message = format!("{what} has more than {FRAME_MAX} bytes, the maximum for one event; split it");
        return Failure::new(Exit::Limit, message);
    }
    Failure::new(Exit::Failed, format!("cannot read {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_is_stripped() {
        for (given, stripped) in
            [("hi\n", "hi"), ("hi\r\n", "hi"), ("hi\n\n", "hi\n"), ("hi", "hi"), ("hi\r", "hi\r"), ("\n", ""), ("", "")]
        {
            let mut data = given.as_bytes().to_vec();
            strip_line_break(&mut data);
            assert_eq!(data, stripped.as_bytes());
        }
    }

    #[test]
    fn reading_stops_at_the_maximum_size_of_a_frame() {
        assert_eq!(read(io::repeat(b'x').take(FRAME_MAX as u64)).unwrap().len(), FRAME_MAX);
        assert_eq!(read(io::repeat(b'x')).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
