//! Accepts TCP connections, and serves each in the protocol that it begins with.

use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tracing::debug;

#[cfg(feature = "tls")]
use super::https;
use super::{http1, http2, service::Http, source::RequestSource};
use crate::{connection_limits::ConnectionPermit, net::accepted};

/// Accepts connections until the daemon stops.
pub(crate) async fn accept(http: Http, listener: TcpListener) {
    // Where other machines can connect, every caller needs a token.
    let is_loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let daemon = &http.daemon;
    while let Some(connection) = daemon.or_stop(listener.accept()).await {
        let Some((socket, peer)) = accepted(connection).await else { continue };
        // At once: the kernel knows the user only while its process lives. If the connection has been reset in the meantime,
        // which its own socket reports, the kernel may have described another one between the same addresses.
        let is_own = is_loopback
            && socket.local_addr().is_ok_and(|local| daemon.access.is_own(local, peer))
            && socket.peer_addr().is_ok();
        // Without this, small events wait for acknowledgements of earlier ones.
        let _ = socket.set_nodelay(true);
        let share = if is_own { &daemon.connections.tcp } else { &daemon.connections.unauthenticated };
        let Some(Some(permit)) = daemon.or_stop(daemon.connections.acquire(share)).await else { continue };
        let http = http.clone();
        let unauthenticated = (!is_own).then(|| Arc::new(http.unauthenticated.clone().admit()));
        let source = RequestSource::Tcp { peer, unauthenticated };
        daemon.tasks.spawn(async move {
            tokio::select! {
                () = serve(&http, socket, permit, source.clone()) => {}
                reason = source.remains_unauthenticated() => debug!(from = %source, reason, "closed a connection"),
            }
        });
    }
}

async fn serve(http: &Http, socket: TcpStream, permit: ConnectionPermit, source: RequestSource) {
    #[cfg(feature = "tls")]
    if let Some(tls) = http.daemon.config().tls.clone() {
        return Box::pin(https::serve(http, &tls, socket, source)).await;
    }
    match http.daemon.or_stop(http2::begins(&socket)).await {
        Some(Ok(false)) => http1::serve_tcp(http, socket, permit, source).await,
        // Boxed, because it is large and rare.
        Some(Ok(true)) => Box::pin(http2::serve(http, source.connection(socket), source)).await,
        Some(Err(error)) => debug!(from = %source, %error, "a connection has not shown what it speaks"),
        None => {}
    }
}
