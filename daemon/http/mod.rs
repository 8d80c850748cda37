//! HTTP: the same routes on loopback TCP and on the local socket.
//!
//! Every request passes the [`guards`] before anything else looks at it. A connection has [`FIRST_BYTE`] to send the
//! head of a request; answers that the peer does not take are cut by the [connection](crate::connection).

mod admin;
mod error;
mod events;
mod guards;
mod stream;

use std::{fmt, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use sse_bus::limits::FIRST_BYTE;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tower::ServiceExt;
use tracing::debug;

use crate::{
    connection::Connection,
    server::{Daemon, accepted},
};

/// Where a request comes from.
#[derive(Clone, Debug)]
pub(crate) enum From {
    /// A loopback connection.
    Tcp(SocketAddr),
    /// The local socket, from a process of the daemon's own user.
    Local(Arc<str>),
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            From::Tcp(address) => address.fmt(f),
            From::Local(process) => process.fmt(f),
        }
    }
}

/// A JSON value as an answer, on a line of its own: in a terminal the prompt does not stand behind it.
struct JsonLine<T>(T);

impl<T: Serialize> IntoResponse for JsonLine<T> {
    fn into_response(self) -> Response {
        let mut line = Vec::new();
        sse_bus::protocol::json::encode(&self.0, &mut line);
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], line).into_response()
    }
}

/// Accepts connections until the daemon stops.
pub(crate) async fn accept(listener: TcpListener, daemon: Arc<Daemon>) {
    while let Some(connection) = daemon.or_stop(listener.accept()).await {
        let Some((stream, peer)) = accepted(connection).await else { continue };
        // Without it, small events wait for acknowledgements of earlier ones.
        let _ = stream.set_nodelay(true);
        let served = daemon.clone();
        daemon.tasks.spawn(async move { serve(Connection::new(stream), From::Tcp(peer), &served).await });
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve<S>(stream: Connection<S>, from: From, daemon: &Arc<Daemon>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Bytes that wait in a connection's buffer before its stream is not read any more.
    const BUFFER: usize = 64 << 10;
    let router = routes(daemon.clone());
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(from.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(FIRST_BYTE)
        .max_buf_size(BUFFER)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = daemon.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(%from, %error, "an HTTP connection has failed");
    }
}

fn routes(daemon: Arc<Daemon>) -> Router {
    // HEAD before GET: a HEAD must not open a stream.
    let stream = || axum::routing::head(events::head).get(events::stream);
    Router::new()
        .route("/events", stream())
        .route("/events/{*topic}", stream().post(events::publish))
        .route("/topics", get(admin::topics))
        .route("/clients", get(admin::clients))
        .route("/clients/{client}", delete(admin::kick))
        .route("/status", get(admin::status))
        .route("/metrics", get(admin::metrics))
        .route("/healthz", get(admin::health))
        .route("/", get(admin::page))
        .fallback(error::no_such_route)
        .layer(middleware::from_fn_with_state(daemon.clone(), guards::check))
        .with_state(daemon)
}
