//! Accepts connections to the local socket, and refuses those of other users.

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;
use sse_bus::{
    endpoint::Stream,
    protocol::{ErrorCode, Refused, Reply, binary},
    user_namespace,
};
use tokio::{io::AsyncWriteExt, select, sync::Semaphore, task::spawn_blocking, time::timeout};
use tracing::{debug, info};

use super::{
    codec::Codec,
    language::{Language, detect},
    listener::Listener,
    rebind::Binder,
    session::Session,
};
use crate::{
    access::{Caller, Peer},
    connection::Connection,
    context::Daemon,
    http::{self, Http, RequestSource},
    net::accepted,
};

/// Refused connections of other users that wait for their reply at a time. Above this number they are closed without one.
const REFUSING: usize = 16;
/// How long a refused connection has to show its language and to take the reply.
const REFUSAL: Duration = Duration::from_secs(1);

/// Accepts connections until the daemon stops. Removes the socket then.
pub(crate) async fn accept(mut listener: Listener, daemon: Arc<Daemon>, http: Http) {
    let refusing = Arc::new(Semaphore::new(REFUSING));
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
            Some((stream, Ok(peer))) => {
                let connections = &daemon.connections;
                let Some(Some(permit)) = daemon.or_stop(connections.acquire(&connections.local)).await else {
                    continue;
                };
                let (served, http) = (daemon.clone(), http.clone());
                daemon.tasks.spawn(async move {
                    if let Err(error) = serve(stream, peer, &served, &http).await {
                        debug!(%error, "a local connection has failed");
                    }
                    drop(permit);
                });
            }
            Some((stream, Err(uid))) => {
                info!("refused a local connection of another user");
                daemon.metrics.refused(ErrorCode::Denied);
                if let Ok(turn) = refusing.clone().try_acquire_owned() {
                    daemon.tasks.spawn(async move {
                        let _ = timeout(REFUSAL, refuse(stream, uid)).await;
                        drop(turn);
                    });
                }
            }
            None => {}
        }
    }
    // Removes the file of the socket, on a file system that may hang.
    spawn_blocking(move || drop(listener));
}

/// Serves a connection in its language.
async fn serve(mut stream: Stream, peer: Peer, daemon: &Arc<Daemon>, http: &Http) -> io::Result<()> {
    let mut read = BytesMut::new();
    let Some(language) = daemon.or_stop(detect(&mut stream, &mut read)).await else { return Ok(()) };
    let codec = match language? {
        Language::Binary(version) => Codec::Binary(version),
        Language::Json => Codec::Json,
        Language::Http => {
            let connection = Connection::with_prefix(stream, read.freeze());
            http::serve(http, connection, RequestSource::Local(peer)).await;
            return Ok(());
        }
        Language::Nothing => return Ok(()),
        Language::UnknownVersion(refused) => {
            daemon.metrics.refused(refused.code);
            let mut reply = Vec::new();
            binary::refuse_version(&refused, &mut reply);
            return stream.write_all(&reply).await;
        }
        Language::Unknown(refused) => {
            daemon.metrics.refused(refused.code);
            let mut reply = Vec::new();
            Codec::Json.reply(&Reply::Error(refused), &mut reply);
            return stream.write_all(&reply).await;
        }
    };
    Session::new(stream, read, codec, Caller::local(peer), daemon).run().await
}

/// Answers a process of a user that may not use the socket, in its language.
async fn refuse(mut stream: Stream, uid: u32) -> io::Result<()> {
    let why = if user_namespace::has_user(uid) {
        format!(
            "this bus belongs to another user, who can grant access with `sse-busd --allow-uid {uid}` or a token for its port; \
             uid {uid} is that of this process, or in a container the one that its user is mapped to"
        )
    } else {
        "the user of this process is not mapped in the user namespace of the daemon, so it cannot be allowed by its ID; use a \
         token for the daemon's port, or run both in one namespace"
            .into()
    };
    let refused = Refused { request: 1, ..Refused::new(ErrorCode::Denied, why) };
    let mut reply = Vec::new();
    match detect(&mut stream, &mut BytesMut::new()).await? {
        Language::Nothing => return Ok(()),
        Language::Binary(version) => Codec::Binary(version).reply(&Reply::Error(refused), &mut reply),
        Language::UnknownVersion(_) => binary::refuse_version(&refused, &mut reply),
        Language::Json | Language::Unknown(_) => Codec::Json.reply(&Reply::Error(refused), &mut reply),
        Language::Http => {
            Codec::Json.reply(&Reply::Error(refused), &mut reply);
            let head = format!(
                "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                reply.len()
            );
            reply.splice(0..0, head.into_bytes());
        }
    }
    stream.write_all(&reply).await?;
    stream.shutdown().await
}
