//! The local socket: who may in, and which of the three ways a connection speaks, by its first byte.
//!
//! Whoever may not in is told so in its own language, and sees nothing else.

mod codec;
mod listener;
mod namespace;
#[cfg(unix)]
mod place;
mod rebind;
mod session;

use std::{io, sync::Arc, time::Duration};

use bytes::{Buf as _, BytesMut};
use sse_bus::{
    endpoint::Stream,
    limits::FIRST_BYTE,
    protocol::{
        ErrorCode, Refused, Reply,
        binary::{self, Version},
        json,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    select,
    sync::Semaphore,
    task::spawn_blocking,
    time::timeout,
};
use tracing::{debug, info};

pub(crate) use self::listener::{Guests, Listener, Peer};
use self::{codec::Codec, rebind::Binder, session::Session};
use crate::{
    connection::Connection,
    http::{From, Http},
    server::{Daemon, accepted},
};

/// Connections of other users that are told why they are refused, at a time. Those beyond are closed without a word.
const STRANGERS: usize = 16;
/// How long one of them has to say what it speaks and to take the answer.
const STRANGER: Duration = Duration::from_secs(1);

/// Accepts connections until the daemon stops, and removes the socket then.
pub(crate) async fn accept(mut listener: Listener, daemon: Arc<Daemon>, http: Http) {
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    let mut binder = Binder::default();
    daemon.or_stop(binder.rebind_if_lost(&mut listener, &daemon)).await;
    loop {
        let connection = select! {
            connection = listener.accept() => connection,
            () = binder.is_due(&daemon) => {
                daemon.or_stop(binder.rebind_if_lost(&mut listener, &daemon)).await;
                continue;
            }
            () = daemon.stop.cancelled() => break,
        };
        match accepted(connection).await {
            Some((stream, Some(peer))) => {
                let places = &daemon.places;
                let Some(Some(place)) = daemon.or_stop(places.take(&places.local)).await else { continue };
                let (served, http) = (daemon.clone(), http.clone());
                daemon.tasks.spawn(async move {
                    if let Err(error) = serve(stream, peer, &served, &http).await {
                        debug!(%error, "a local connection has failed");
                    }
                    drop(place);
                });
            }
            Some((stream, None)) => {
                info!("refused a local connection of another user");
                daemon.metrics.refused(ErrorCode::Denied);
                if let Ok(turn) = strangers.clone().try_acquire_owned() {
                    daemon.tasks.spawn(async move {
                        let _ = timeout(STRANGER, refuse(stream)).await;
                        drop(turn);
                    });
                }
            }
            None => {}
        }
    }
    // It removes the file of the socket, which may be on a file system that hangs.
    spawn_blocking(move || drop(listener));
}

async fn serve(mut stream: Stream, peer: Peer, daemon: &Arc<Daemon>, http: &Http) -> io::Result<()> {
    let mut read = BytesMut::new();
    let Some(first) = daemon.or_stop(first_bytes(&mut stream, &mut read)).await else { return Ok(()) };
    match first? {
        First::Binary(version) => Session::new(stream, read, Codec::Binary(version), peer, daemon).run().await,
        First::Json => Session::new(stream, read, Codec::Json, peer, daemon).run().await,
        First::Http => {
            let connection = Connection::with_prefix(stream, read.freeze());
            http.serve(connection, From::Local(peer)).await;
            Ok(())
        }
        First::Nothing => Ok(()),
        First::UnknownVersion(refused) => {
            let mut answer = Vec::new();
            binary::refuse_version(&refused, &mut answer);
            stream.write_all(&answer).await
        }
        First::Unknown(refused) => {
            let mut answer = Vec::new();
            json::encode(&Reply::Error(refused), &mut answer);
            stream.write_all(&answer).await
        }
    }
}

/// Tells another user's process why it is not let in.
async fn refuse(mut stream: Stream) -> io::Result<()> {
    let why = "this bus belongs to another user, who may let you in with `allow_uid` or give you a token for its port";
    let refused = Refused { request: 1, ..Refused::new(ErrorCode::Denied, why) };
    let mut answer = Vec::new();
    match first_bytes(&mut stream, &mut BytesMut::new()).await? {
        First::Nothing => return Ok(()),
        First::Binary(version) => Codec::Binary(version).reply(&Reply::Error(refused), &mut answer),
        First::UnknownVersion(_) => binary::refuse_version(&refused, &mut answer),
        First::Json | First::Unknown(_) => Codec::Json.reply(&Reply::Error(refused), &mut answer),
        First::Http => {
            Codec::Json.reply(&Reply::Error(refused), &mut answer);
            let head = format!(
                "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                answer.len()
            );
            answer.splice(0..0, head.into_bytes());
        }
    }
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

/// What a connection begins with.
enum First {
    Binary(Version),
    Json,
    Http,
    /// It ended, or was silent for too long.
    Nothing,
    /// A version of the binary protocol that is not spoken here, or no preface at all behind its first byte.
    UnknownVersion(Refused),
    Unknown(Refused),
}

async fn first_bytes(stream: &mut Stream, read: &mut BytesMut) -> io::Result<First> {
    let preface = timeout(FIRST_BYTE, async {
        while !is_language_known(read) {
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
        0 => {
            let mut preface = binary::PREFACE;
            read.copy_to_slice(&mut preface);
            Version::of(preface).map_or_else(First::UnknownVersion, First::Binary)
        }
        _ => First::Unknown(Refused::new(
            ErrorCode::RequestInvalid,
            "begin with a JSON object on one line, an HTTP request, or the binary preface",
        )),
    })
}

/// Skips a byte order mark. Returns true if the bytes behind it determine the language: one byte is enough, but for the
/// binary one, of which the whole preface is needed.
fn is_language_known(read: &mut BytesMut) -> bool {
    if read.starts_with(json::BOM) {
        read.advance(json::BOM.len());
    }
    match read.first() {
        Some(0) => read.len() >= binary::PREFACE.len(),
        Some(_) => !json::BOM.starts_with(read),
        None => false,
    }
}
