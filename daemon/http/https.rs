//! HTTP over TLS: HTTP/2 or HTTP/1.1, as the handshake has it. Streams go through the ordinary body in both.

use std::io;

use bytes::Bytes;
use sse_bus::limits::FIRST_BYTE;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};
use tracing::debug;

use super::{From, Http, http2::PREFACE};
use crate::{
    connection::Connection,
    tls::{Accepted, Tls},
};

impl Http {
    /// Serves one connection, to its end. It has [`FIRST_BYTE`] for the handshake.
    pub(super) async fn serve_tls(&self, tls: &Tls, socket: TcpStream, from: From) {
        // Below TLS, so that all that is written counts.
        let socket = from.connection(socket);
        let handshake = async {
            let Accepted { mut stream, is_http2 } = tls.accept(socket).await?;
            let mut first = Bytes::new();
            if is_http2 {
                // hyper would wait for it without a bound.
                let mut preface = [0; PREFACE.len()];
                stream.read_exact(&mut preface).await?;
                first = Bytes::copy_from_slice(&preface);
            }
            io::Result::Ok((Connection::with_prefix(stream, first), is_http2))
        };
        let accepted = self.daemon.or_stop(timeout(FIRST_BYTE, handshake)).await;
        match accepted.map(|in_time| in_time.unwrap_or_else(|late| Err(late.into()))) {
            Some(Ok((stream, true))) => self.serve_http2(stream, from).await,
            Some(Ok((stream, false))) => self.serve(stream, from).await,
            Some(Err(error)) => debug!(%from, %error, "a TLS handshake has failed"),
            None => {}
        }
    }
}
