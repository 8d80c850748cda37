//! The local socket: who may in, and which of the three ways a connection speaks, by its first byte.

mod codec;
mod listener;
#[cfg(unix)]
mod place;
mod session;

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use sse_bus::{
    endpoint::Stream,
    limits::FIRST_BYTE,
    protocol::{ErrorCode, Refused, Reply, binary, json},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::{debug, info};

pub(crate) use self::listener::Listener;
use self::{codec::Codec, session::Session};
use crate::{
    connection::Connection,
    http::{From, Http},
    server::{Daemon, accepted},
};

/// Accepts connections until the daemon stops; then the socket is gone.
pub(crate) async fn accept(listener: Listener, daemon: Arc<Daemon>, http: Http) {
    while let Some(connection) = daemon.or_stop(listener.accept()).await {
        match accepted(connection).await {
            Some((stream, Some(peer))) => {
                let (served, http) = (daemon.clone(), http.clone());
                daemon.tasks.spawn(async move {
                    if let Err(error) = serve(stream, peer, &served, &http).await {
                        debug!(%error, "a local connection has failed");
                    }
                });
            }
            Some((_, None)) => info!("refused a local connection of another user"),
            None => {}
        }
    }
}

async fn serve(mut stream: Stream, peer: String, daemon: &Arc<Daemon>, http: &Http) -> io::Result<()> {
    let mut read = BytesMut::new();
    let Some(first) = daemon.or_stop(first_bytes(&mut stream, &mut read)).await else { return Ok(()) };
    match first? {
        First::Binary => Session::new(stream, read, Codec::Binary, peer, daemon).run().await,
        First::Json => Session::new(stream, read, Codec::Json, peer, daemon).run().await,
        First::Http => {
            let connection = Connection::with_prefix(stream, read.freeze());
            http.serve(connection, From::Local(peer.into())).await;
            Ok(())
        }
        First::Nothing => Ok(()),
        First::Unknown(refused) => {
            let mut answer = Vec::new();
            json::encode(&Reply::Error(refused), &mut answer);
            stream.write_all(&answer).await
        }
    }
}

/// What a connection begins with.
enum First {
    Binary,
    Json,
    Http,
    /// It ended, or was silent for too long.
    Nothing,
    Unknown(Refused),
}

async fn first_bytes(stream: &mut Stream, read: &mut BytesMut) -> io::Result<First> {
    let preface = tokio::time::timeout(FIRST_BYTE, async {
        // The binary preface is longer than one byte; all others show at the first.
        while read.is_empty() || (read[0] == 0 && read.len() < binary::PREFACE.len()) {
            if stream.read_buf(read).await? == 0 {
                return Ok(false);
            }
        }
        io::Result::Ok(true)
    });
    if !preface.await.unwrap_or(Ok(false))? {
        return Ok(First::Nothing);
    }
    Ok(match read[0] {
        b'{' => First::Json,
        b'A'..=b'Z' => First::Http,
        0 if read.starts_with(&binary::PREFACE) => {
            let _: Bytes = read.split_to(binary::PREFACE.len()).freeze();
            First::Binary
        }
        0 => First::Unknown(Refused::new(
            ErrorCode::RequestInvalid,
            format!(
                "this daemon speaks version {} of the binary protocol; use a client of the same",
                binary::PREFACE[5]
            ),
        )),
        _ => First::Unknown(Refused::new(
            ErrorCode::RequestInvalid,
            "begin with a JSON object on one line, an HTTP request, or the binary preface",
        )),
    })
}
