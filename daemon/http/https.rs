//! HTTP over TLS: HTTP/2 or HTTP/1.1, as the handshake negotiates. Streams are ordinary bodies in both.

use std::io;

use bytes::Bytes;
use sse_bus::limits::FIRST_BYTE;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};
use tracing::debug;

use super::{
    http1,
    http2::{self, PREFACE},
    service::Http,
    source::RequestSource,
};
use crate::{
    connection::Connection,
    tls::{Accepted, Tls},
};

/// Serves one connection, to its end. It has [`FIRST_BYTE`] for the handshake.
pub(super) async fn serve(http: &Http, tls: &Tls, socket: TcpStream, source: RequestSource) {
    // Below TLS, so that every byte counts as progress.
    let socket = source.connection(socket);
    let handshake = async {
        let Accepted { mut stream, is_http2 } = tls.accept(socket).await?;
        let mut first = Bytes::new();
        if is_http2 {
            // hyper waits for the preface without a bound.
            let mut preface = [0; PREFACE.len()];
            stream.read_exact(&mut preface).await?;
            first = Bytes::copy_from_slice(&preface);
        }
        io::Result::Ok((Connection::with_prefix(stream, first), is_http2))
    };
    let accepted = http.daemon.or_stop(timeout(FIRST_BYTE, handshake)).await;
    match accepted.map(|in_time| in_time.unwrap_or_else(|late| Err(late.into()))) {
        Some(Ok((stream, true))) => http2::serve(http, stream, source).await,
        Some(Ok((stream, false))) => http1::serve(http, stream, source).await,
        Some(Err(error)) => debug!(from = %source, %error, "a TLS handshake has failed"),
        None => {}
    }
}
