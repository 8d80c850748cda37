//! `sse-busctl publish`: one event here; [`lines`](crate::lines) and [`repeat`] for many, [`wait`] for `--wait-for`.

use std::io::{self, IsTerminal, Read};

use sse_bus::{
    Client, Endpoint,
    client::{self, Error},
    limits::FRAME_MAX,
    protocol::{Ack, Publish},
};

use crate::{
    cli,
    exit::{Exit, Failure},
    lines::Lines,
    output::{Output, count, visible},
    repeat, wait,
};

pub(crate) async fn run(endpoint: &Endpoint, output: &Output, options: cli::Publish) -> Result<(), Failure> {
    let mut event = Publish::new(options.topic.unwrap_or_default(), "");
    (event.kind, event.headers, event.to) = (options.kind, options.headers, options.to);
    (event.retain, event.ack) = (options.retain, options.ack.map_or(Ack::Accepted, Ack::from));
    if let Some(ttl) = options.ttl {
        event = event.with_ttl(ttl);
    }
    warn_of_type(event.kind.as_deref());
    let pipelined = options.lines || options.jsonl;
    // Before connecting: a daemon does not wait for whoever writes into the pipe.
    event.data.0 = match (pipelined || options.exec.is_some(), &options.file) {
        (true, _) => Vec::new(),
        (false, Some(path)) => read_file(path)?,
        (false, None) => given_or_stdin(options.data)?,
    };
    let mut client = Client::connect(endpoint).await?;
    let (may_stay, is_durable) = (options.ack.is_none() && event.retain, event.ack == Ack::Durable);
    // Lines and the disk are waited for as long as it takes. Whether there is a daemon that answers at all is heard before.
    let status = if pipelined || may_stay || is_durable { Some(client.status().await?) } else { None };
    // What is to stay is on disk before this says so, if the bus has a disk.
    let is_durable = is_durable || may_stay && status.is_some_and(|status| status.history == "disk");
    if is_durable {
        event.ack = Ack::Durable;
    }
    if let Some(wanted) = options.wait_for {
        wait::for_subscribers(endpoint, &mut client, &event.topic, wanted, options.timeout).await?;
    }
    if pipelined {
        let lines = Lines::new(event, options.jsonl, !options.no_reconnect);
        return lines.run(endpoint, client, output).await;
    }
    match options.every {
        Some(interval) => {
            let repeat = repeat::Repeat { interval, count: options.count, exec: options.exec };
            repeat.run(&mut client, output, event).await
        }
        None => one(&mut client, output, &event).await,
    }
}

/// Publishes one event and says what came of it.
pub(crate) async fn one(client: &mut Client, output: &Output, event: &Publish) -> Result<(), Failure> {
    let published = client.publish(event).await.map_err(|e| failure(&event.topic, e))?;
    match &event.to {
        Some(to) if published.subscribers == 0 => return Err(nobody(to)),
        _ if event.ack == Ack::None => {}
        Some(to) => {
            let sentence = || format!("to {} of {}", count(published.subscribers, "connection"), visible(to));
            output.say(sentence, &published)?;
        }
        None => {
            let id = published.id.map_or_else(String::new, |id| format!("{id} "));
            let sentence = || format!("{id}to {}", count(published.subscribers, "subscriber"));
            output.say(sentence, &published)?;
        }
    }
    Ok(())
}

/// Warns of a type that an `EventSource` gives a meaning of its own. Returns true if it did.
pub(crate) fn warn_of_type(kind: Option<&str>) -> bool {
    let Some(kind @ ("error" | "open")) = kind else { return false };
    let mut warning = format!(
        "sse-busctl: an EventSource dispatches the type `{kind}` to its `on{kind}`, as if it was about the connection"
    );
    if kind == "error" {
        warning.push_str(", and a Node process without a listener ends");
    }
    eprintln!("{warning}; choose another type");
    true
}

/// What an event that could not be published ends with.
pub(crate) fn failure(topic: &str, error: client::Error) -> Failure {
    let advice = match &error {
        Error::Disconnected(_) | Error::NoAnswer { .. } => "; the event may or may not have been accepted",
        _ => "",
    };
    let mut failure = Failure::from(error).context(format_args!("cannot publish to {}", visible(topic)));
    if let Some(message) = &mut failure.message {
        message.push_str(advice);
    }
    failure
}

/// What a unicast that nobody took ends with.
pub(crate) fn nobody(to: &str) -> Failure {
    let to = visible(to);
    Failure::new(Exit::Nobody, format!("no client `{to}` took the event; see `sse-busctl clients` for who is there"))
}

/// The data given on the command line, or stdin without one line break at its end.
pub(crate) fn given_or_stdin(given: Option<String>) -> Result<Vec<u8>, Failure> {
    match given {
        Some(data) if data != "-" => Ok(data.into_bytes()),
        _ => {
            if io::stdin().is_terminal() {
                eprintln!("the data, and then Ctrl-D:");
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

fn read_file(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    std::fs::File::open(path).and_then(read).map_err(|e| unreadable(&path.display().to_string(), &e))
}

/// Reads to the end, but not more than can be sent.
fn read(source: impl Read) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    source.take(FRAME_MAX as u64 + 1).read_to_end(&mut data)?;
    if data.len() > FRAME_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(data) }
}

fn unreadable(what: &str, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::FileTooLarge {
        let message = format!("{what} holds more than {FRAME_MAX} bytes, the most that fit one event; split it");
        return Failure::new(Exit::Limit, message);
    }
    Failure::new(Exit::Failed, format!("cannot read {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_is_stripped() {
        for (given, left) in
            [("hi\n", "hi"), ("hi\r\n", "hi"), ("hi\n\n", "hi\n"), ("hi", "hi"), ("hi\r", "hi\r"), ("\n", ""), ("", "")]
        {
            let mut data = given.as_bytes().to_vec();
            strip_line_break(&mut data);
            assert_eq!(data, left.as_bytes());
        }
    }

    #[test]
    fn no_more_is_read_than_can_be_sent() {
        assert_eq!(read(io::repeat(b'x').take(FRAME_MAX as u64)).unwrap().len(), FRAME_MAX);
        assert_eq!(read(io::repeat(b'x')).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
