//! HTTP/1.1 connections.
//!
//! On plain TCP the [fan-out](crate::fanout) takes over the socket of a stream. Over TLS and on the local socket a stream is
//! the ordinary body of a response, and the last response of its connection.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{Arc, OnceLock},
    task::Poll,
};

use axum::http::{HeaderValue, header};
use hyper::{
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use sse_bus::{
    bus::ClientId,
    limits::{FIRST_BYTE, HEAD_MAX, STALL_CHECK},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};
use tracing::debug;

use super::{
    hijack::{Content, Handover, Takeover},
    service::Http,
    source::RequestSource,
    waiting_body,
};
use crate::{connection::Connection, connection_limits::ConnectionPermit, fanout::NewStream};

/// Serves one plain TCP connection, to its end or until a stream takes over its socket.
pub(super) async fn serve_tcp(http: &Http, socket: TcpStream, permit: ConnectionPermit, source: RequestSource) {
    let Some(first_turn) = http.daemon.or_stop(http.first_turns.acquire()).await else { return };
    let mut first_turn = Some(first_turn);
    let (takeover, mut taken) = Takeover::new();
    let io = TokioIo::new(ready_for_head(source.connection(socket), &source));
    // A peer that has only closed its sending half still gets its response. For streams the fan-out notices that the peer has
    // closed.
    let mut connection = builder().half_close(true).serve_connection(io, http.service(source.clone(), Some(takeover)));
    let mut stopped = pin!(http.daemon.stop.cancelled());
    let mut stopping = false;
    let handover = poll_fn(|cx| {
        if !stopping && stopped.as_mut().poll(cx).is_ready() {
            stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        let served = connection.poll_without_shutdown(cx).map(Err);
        first_turn = None;
        // Checked last: polling the connection runs the handler that hands the stream over.
        if let Poll::Ready(Ok(handover)) = Pin::new(&mut taken).poll(cx) {
            return Poll::Ready(Ok(handover));
        }
        served
    });
    let handover = handover.await;
    let mut socket = connection.into_parts().io.into_inner();
    match handover {
        Ok(Handover { content: Content::Stream(client), framing, head }) => {
            http.fanout.add(NewStream { socket: socket.into_inner(), permit, client, framing, head });
        }
        Ok(Handover { content: Content::Body(body), framing, head }) => {
            if let Err(error) = waiting_body::send(socket, &head, framing, body).await {
                debug!(from = %source, %error, "an HTTP connection has failed");
            }
        }
        Err(served) => {
            let ended = served.map_err(io::Error::other);
            if let Err(error) = ended.and(socket.shutdown().await) {
                debug!(from = %source, %error, "an HTTP connection has failed");
            }
        }
    }
}

/// Serves one connection over any byte stream, to its end.
pub(crate) async fn serve<S>(http: &Http, stream: Connection<S>, source: RequestSource)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let subscriber = Arc::<OnceLock<ClientId>>::default();
    let (router, noted) = (http.service(source.clone(), None), subscriber.clone());
    let service = service_fn(move |request| {
        let (response, noted) = (router.call(request), noted.clone());
        async move {
            let mut response = response.await?;
            if let Some(client) = response.extensions().get().copied() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                let _ = noted.set(client);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = builder().serve_connection(TokioIo::new(ready_for_head(stream, &source)), service);
    let slow = || {
        if let Some(client) = subscriber.get() {
            http.daemon.bus.with(|bus, now| bus.disconnect_slow(*client, now));
        }
    };
    tokio::select! {
        () = http.until_stopped(connection, &source, slow) => {}
        () = removed(http, &subscriber) => {
            debug!(from = %source, "cut a connection that takes no bytes after its client was removed");
        }
    }
}

/// Returns some time after the bus has removed a connection's subscriber: the connection should have ended with it.
async fn removed(http: &Http, subscriber: &OnceLock<ClientId>) {
    let is_connected = |id: &ClientId| http.daemon.bus.with(|bus, _| bus.is_connected(*id));
    while subscriber.get().is_none_or(is_connected) {
        sleep(STALL_CHECK).await;
    }
    sleep(STALL_CHECK).await;
}

/// Returns a connection that reads the first head to its end, if the peer has to authenticate.
fn ready_for_head<S: AsyncRead + AsyncWrite + Unpin>(
    connection: Connection<S>,
    source: &RequestSource,
) -> Connection<S> {
    if source.needs_no_token() { connection } else { connection.with_whole_head() }
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(FIRST_BYTE).max_buf_size(HEAD_MAX).half_close(false);
    builder
}
