//! Bodies that wait for something, such as the next delivery of a consumer.
//!
//! hyper does not notice that a peer which may close its sending half has disconnected, until it writes to it. A body that waits
//! is therefore sent here, on a socket that was [taken](super::hijack) from hyper: it is dropped once the peer closes its sending
//! half, even if it still reads. The peer then receives the orderly end of the response.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;
use sse_bus::bus::Framing;
use tokio::{
    io::{AsyncWriteExt as _, Interest},
    net::TcpStream,
    time::sleep,
};

use crate::connection::Connection;

/// How often the connection is checked while bytes that the peer has sent wait to be read.
const CHECK: Duration = Duration::from_secs(1);

/// Sends the head of a response and then its body, until either ends or the peer closes the connection.
pub(super) async fn send(
    mut socket: Connection<TcpStream>,
    head: &[u8],
    framing: Framing,
    mut body: Body,
) -> io::Result<()> {
    socket.write_all(head).await?;
    loop {
        let frame = tokio::select! {
            biased;
            () = closed(socket.get_ref()) => break,
            frame = body.frame() => frame,
        };
        let Some(frame) = frame else { break };
        if let Ok(bytes) = frame.map_err(io::Error::other)?.into_data() {
            socket.write_all(&framing.frame(&bytes)).await?;
        }
    }
    drop(body);
    if let Some(end) = framing.end() {
        socket.write_all(&end).await?;
    }
    socket.shutdown().await
}

/// Waits until the peer has closed its sending half. Bytes that it sends are not read.
async fn closed(socket: &TcpStream) {
    while socket.ready(Interest::READABLE).await.is_ok_and(|ready| !ready.is_read_closed()) {
        sleep(CHECK).await;
    }
}

type Step<S> = Pin<Box<dyn Future<Output = Option<(Bytes, S)>> + Send>>;

/// A body whose frames are the results of an async function, each with the state for the next one.
pub(super) struct StepBody<S> {
    step: fn(S) -> Step<S>,
    next: Option<Step<S>>,
}

impl<S> StepBody<S> {
    pub(super) fn new(state: S, step: fn(S) -> Step<S>) -> StepBody<S> {
        StepBody { step, next: Some(step(state)) }
    }
}

impl<S> http_body::Body for StepBody<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let body = &mut *self;
        let Some(next) = &mut body.next else { return Poll::Ready(None) };
        let result = ready!(next.as_mut().poll(cx));
        let (bytes, state) = result.unzip();
        body.next = state.map(body.step);
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
