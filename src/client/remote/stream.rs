//! The events of a subscription over HTTP.

use std::{io, time::Duration};

use http_body_util::BodyExt as _;
use hyper::{HeaderMap, Response, body::Incoming};
use tokio::time::{Instant, timeout_at};

use super::{
    connection::broken,
    decoder::{Block, Decoder, TooLong},
    refusal,
};
use crate::{
    client::{error::Error, received::Received},
    event::EventId,
    gap::GAP,
    limits::HEARTBEAT,
    protocol::{
        END, EventMessage, Subscribed, json,
        sse::{CLIENT_HEADER, POSITION_HEADER},
    },
    time::unix_now,
};

/// Time without a byte, not even of a heartbeat, after which a connection is considered broken.
const SILENCE: Duration = HEARTBEAT.saturating_mul(3);

/// A stream of events, with a connection of its own.
#[derive(Debug)]
pub(crate) struct EventStream {
    body: Incoming,
    decoder: Decoder,
    /// When the last bytes arrived.
    received: Instant,
}

impl EventStream {
    /// Returns the stream of a response with status 200, or the response if it is not a stream.
    pub(super) fn begin(response: Response<Incoming>) -> Result<(EventStream, Subscribed), Box<Response<Incoming>>> {
        let Some(subscribed) = subscribed(response.headers()) else { return Err(response.into()) };
        let stream = EventStream { body: response.into_body(), decoder: Decoder::default(), received: Instant::now() };
        Ok((stream, subscribed))
    }

    /// Returns what arrives next. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Received, Error> {
        loop {
            match self.decoder.next() {
                Ok(Some(block)) => {
                    if let Some(received) = received(&block)? {
                        return Ok(received);
                    }
                }
                Ok(None) => {
                    let frame = timeout_at(self.received + SILENCE, self.body.frame()).await.map_err(|_| silent())?;
                    let frame = frame.ok_or_else(Error::closed)?.map_err(broken)?;
                    self.received = Instant::now();
                    if let Some(bytes) = frame.data_ref() {
                        self.decoder.push(bytes);
                    }
                }
                Err(TooLong) => return Err(Error::Protocol("an event of its stream is too long".into())),
            }
        }
    }
}

/// Returns the client and its position from the head of a response.
fn subscribed(headers: &HeaderMap) -> Option<Subscribed> {
    let text = |name| headers.get(name)?.to_str().ok();
    Some(Subscribed::new(text(CLIENT_HEADER)?, text(POSITION_HEADER)?.parse().ok()?))
}

fn received(block: &Block) -> Result<Option<Received>, Error> {
    let invalid = |what: &str| Error::Protocol(format!("its stream has {what}"));
    let id = || -> Result<EventId, Error> {
        let id = block.id.as_deref().ok_or_else(|| invalid("an event without an id"))?;
        id.parse().map_err(|_| invalid("an invalid id"))
    };
    Ok(match (block.event_type.as_deref(), &block.data) {
        (None, None) => Some(Received::Position(id()?)),
        (None, Some(envelope)) => {
            let event = json::decode(envelope.as_bytes()).map_err(|e| invalid(&format!("an invalid event: {e}")))?;
            Some(Received::Event(event))
        }
        (Some(END), _) => Some(Received::End(id()?)),
        (Some(GAP), Some(data)) => {
            let mut event = EventMessage::new(id()?, GAP, data, unix_now());
            event.event_type = Some(GAP.into());
            Some(Received::Event(event))
        }
        // A notice of a later version.
        (Some(_), _) => None,
    })
}

fn silent() -> Error {
    let what = format!("nothing arrived for {} s, not even a heartbeat", SILENCE.as_secs());
    Error::Disconnected(io::Error::new(io::ErrorKind::TimedOut, what))
}

/// Returns the error of a response that is not a stream. A browser reconnects only after 200, so a daemon that accepts no
/// subscriber responds with it, with the reason as a comment.
pub(super) fn refused(body: &[u8]) -> Error {
    let mut lines = body.split(|byte| *byte == b'\n');
    let refusal = lines.find_map(|line| refusal::decode(line.strip_prefix(b": ")?));
    refusal.unwrap_or_else(|| Error::Protocol("its response is not an event stream of this version".into()))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::{
        client::remote::{session::Session, url::Remote},
        protocol::Subscribe,
    };

    /// Returns the outcome of a subscription that is answered with these bytes, and then with an endless text.
    async fn answered(answer: &'static str, endless: &'static str) -> Result<(EventStream, Subscribed), Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let remote = Remote::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 4096]).await;
            socket.write_all(answer.as_bytes()).await.unwrap();
            while !endless.is_empty() && socket.write_all(endless.as_bytes()).await.is_ok() {}
            std::future::pending::<()>().await;
        });
        Session::connect(&remote).await?.subscribe(&Subscribe::default()).await
    }

    #[tokio::test]
    async fn a_stream_without_heartbeats_is_broken() {
        let head = "HTTP/1.1 200 OK\r\nsse-bus-client: c1\r\nsse-bus-position: a-7\r\n\r\n:\nid: a-8\n\n";
        let (mut stream, subscribed) = answered(head, "").await.unwrap();
        assert_eq!((&*subscribed.client, subscribed.position.to_string()), ("c1", "a-7".into()));
        assert!(matches!(stream.next().await, Ok(Received::Position(id)) if id.seq == 8));
        tokio::time::pause();
        let began = Instant::now();
        let error = stream.next().await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("nothing arrived for 45 s"), "{error}");
        assert!(began.elapsed() < SILENCE + Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn the_reason_of_a_refused_stream_is_read_from_its_comment() {
        let error = answered(
            "HTTP/1.1 200 OK\r\ncontent-length: 58\r\n\r\n: {\"error\":{\"code\":\"kept_out\",\"message\":\"m\"}}\nretry: 5000\n",
            "",
        );
        let error = error.await.unwrap_err();
        assert_eq!((error.code(), error.is_transient()), (Some(crate::protocol::ErrorCode::KeptOut), true), "{error}");
    }

    #[tokio::test]
    async fn an_endless_answer_that_is_no_stream_is_an_error() {
        let lines: &str = Box::leak("<p>\n".repeat(10_000).into_boxed_str());
        let error = answered("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n", lines).await.unwrap_err();
        assert!(matches!(&error, Error::Protocol(why) if why.contains("more than")), "{error}");
    }
}
