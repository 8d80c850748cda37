//! HTTP: the same routes on loopback TCP and on the local socket.
//!
//! A TCP connection speaks HTTP/1.1, or [HTTP/2](http2) if it begins so; with a certificate both, over TLS. Every request
//! passes the [`guards`] before anything else looks at it. A connection has [`FIRST_BYTE`] to say what it speaks and to
//! send the head of a request; answers that the peer does not take are cut by the [connection](crate::connection), and
//! over HTTP/2 by the stream.

mod admin;
mod client;
mod cors;
mod error;
mod events;
mod guards;
mod http2;
#[cfg(feature = "tls")]
mod https;
pub(crate) mod origin;
mod page;
mod page_check;
mod parameters;
mod query;
mod refused;
mod stream;
mod takeover;
mod tickets;

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::{pending, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, OnceLock},
    task::Poll,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use serde::Serialize;
use sse_bus::{
    bus::ClientId,
    limits::{FIRST_BYTE, HEAD_MAX, STALL_CHECK},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};
use tower::ServiceExt;
use tracing::debug;

pub(crate) use self::refused::Refused;
use self::takeover::{Handover, Takeover};
use crate::{
    connection::Connection,
    descriptors::Place,
    fanout::Arrival,
    ipc::Peer,
    server::{Daemon, accepted},
    unauthenticated::{Budget, Unauthenticated},
};

/// Where a request comes from.
#[derive(Clone, Debug)]
pub(crate) enum From {
    /// A TCP connection.
    Tcp {
        peer: SocketAddr,
        /// Not there for a process of the daemon's own user.
        unauthenticated: Option<Arc<Unauthenticated>>,
    },
    /// The local socket, which lets in only whom it may.
    Local(Peer),
}

impl From {
    /// Whether it needs no token.
    fn is_own(&self) -> bool {
        match self {
            From::Tcp { unauthenticated, .. } => unauthenticated.is_none(),
            From::Local(_) => true,
        }
    }
}

impl From {
    /// Notes that what came from there was let in.
    fn becomes_known(&self) {
        if let From::Tcp { unauthenticated: Some(unauthenticated), .. } = self {
            unauthenticated.authenticate();
        }
    }

    /// Returns why a connection is closed that has not authenticated, whatever else was asked.
    async fn remains_unauthenticated(&self) -> &'static str {
        match self {
            From::Tcp { unauthenticated: Some(unauthenticated), .. } => unauthenticated.expire(FIRST_BYTE).await,
            _ => pending().await,
        }
    }

    /// The connection of a socket from there.
    fn connection<S: AsyncRead + AsyncWrite + Unpin>(&self, socket: S) -> Connection<S> {
        match self {
            From::Tcp { unauthenticated: Some(unauthenticated), .. } => {
                Connection::charged(socket, unauthenticated.clone())
            }
            _ => Connection::new(socket),
        }
    }

    /// The number of the user whose process it is, where that is known, and whether it is the daemon's own.
    fn user(&self) -> (Option<u32>, bool) {
        match self {
            From::Tcp { unauthenticated: None, .. } => (own_uid(), true),
            From::Tcp { .. } => (None, false),
            From::Local(peer) => (peer.uid, peer.is_own),
        }
    }
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere users have no numbers")]
fn own_uid() -> Option<u32> {
    Some(rustix::process::geteuid().as_raw())
}

#[cfg(windows)]
fn own_uid() -> Option<u32> {
    None
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            From::Tcp { peer, .. } => peer.fmt(f),
            From::Local(peer) => peer.process.fmt(f),
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

/// New connections that have their first turn at a time. When thousands come back at once, those that are there already
/// wait for so many of them and not for all. Nobody holds a turn while waiting for a peer.
const FIRST_TURNS: usize = 16;

/// The routes of a daemon, to serve connections with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Http {
    daemon: Arc<Daemon>,
    router: Router,
    /// Connections whose first request is served at the same time; the others wait for one of [`FIRST_TURNS`].
    first_turns: Arc<Semaphore>,
    /// The memory of connections that have not authenticated.
    unauthenticated: Arc<Budget>,
}

impl Http {
    pub(crate) fn new(daemon: Arc<Daemon>) -> Http {
        Http {
            router: routes(daemon.clone()),
            daemon,
            first_turns: Arc::new(Semaphore::new(FIRST_TURNS)),
            unauthenticated: Arc::default(),
        }
    }

    /// Accepts connections until the daemon stops.
    pub(crate) async fn accept(self, listener: TcpListener) {
        // Where other machines come in, too, everybody needs a token.
        let is_loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
        while let Some(connection) = self.daemon.or_stop(listener.accept()).await {
            let Some((socket, peer)) = accepted(connection).await else { continue };
            // At once: when its process has exited nobody knows any more. If the connection has been reset in the meantime,
            // which its own socket tells, the kernel may have spoken of another one between the same addresses.
            let is_own = is_loopback
                && socket.local_addr().is_ok_and(|local| self.daemon.access.is_own(local, peer))
                && socket.peer_addr().is_ok();
            // Without it, small events wait for acknowledgements of earlier ones.
            let _ = socket.set_nodelay(true);
            let places = &self.daemon.places;
            let way = if is_own { &places.tcp } else { &places.strangers };
            let Some(Some(place)) = self.daemon.or_stop(places.take(way)).await else { continue };
            let http = self.clone();
            let unauthenticated = (!is_own).then(|| Arc::new(self.unauthenticated.clone().admit()));
            let from = From::Tcp { peer, unauthenticated };
            self.daemon.tasks.spawn(async move {
                tokio::select! {
                    () = http.serve_tcp(socket, place, from.clone()) => {}
                    why = from.remains_unauthenticated() => debug!(%from, why, "closed a connection"),
                }
            });
        }
    }

    /// Serves one TCP connection, in the language that it begins with.
    async fn serve_tcp(&self, socket: TcpStream, place: Place, from: From) {
        #[cfg(feature = "tls")]
        if let Some(tls) = self.daemon.config().tls.clone() {
            return Box::pin(self.serve_tls(&tls, socket, from)).await;
        }
        match self.daemon.or_stop(http2::begins(&socket)).await {
            Some(Ok(false)) => self.serve_http1(socket, place, from).await,
            // Boxed, because it is large and rare.
            Some(Ok(true)) => Box::pin(self.serve_http2(from.connection(socket), from)).await,
            Some(Err(error)) => debug!(%from, %error, "a connection has not said what it wants"),
            None => {}
        }
    }

    /// Serves one plain HTTP/1.1 connection, to its end or until a stream takes over its socket.
    async fn serve_http1(&self, socket: TcpStream, place: Place, from: From) {
        let Some(first_turn) = self.daemon.or_stop(self.first_turns.acquire()).await else { return };
        let mut first_turn = Some(first_turn);
        let (takeover, mut taken) = Takeover::new();
        let io = TokioIo::new(from.connection(socket));
        // A stream goes on elsewhere, where it is seen that its peer is gone; whoever has only finished sending is answered.
        let mut connection = http1().half_close(true).serve_connection(io, self.service(from.clone(), Some(takeover)));
        let mut stopped = pin!(self.daemon.stop.cancelled());
        let mut stopping = false;
        let handover = poll_fn(|cx| {
            if !stopping && stopped.as_mut().poll(cx).is_ready() {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            let served = connection.poll_without_shutdown(cx).map(Err);
            first_turn = None;
            // Looked at last: polling the connection is what runs the handler that hands over.
            if let Poll::Ready(Ok(handover)) = Pin::new(&mut taken).poll(cx) {
                return Poll::Ready(Ok(handover));
            }
            served
        });
        let handover = handover.await;
        let mut socket = connection.into_parts().io.into_inner();
        match handover {
            Ok(Handover { member, framing, head }) => {
                self.daemon.fanout.take(Arrival { socket: socket.into_inner(), place, member, framing, head });
            }
            Err(served) => {
                let ended = served.map_err(io::Error::other);
                if let Err(error) = ended.and(socket.shutdown().await) {
                    debug!(%from, %error, "an HTTP connection has failed");
                }
            }
        }
    }

    /// Serves one HTTP/1.1 connection to its end. A stream is the ordinary body of an answer, and the last of it.
    pub(crate) async fn serve<S>(&self, stream: Connection<S>, from: From)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let subscriber = Arc::<OnceLock<ClientId>>::default();
        let (router, noted) = (self.service(from.clone(), None), subscriber.clone());
        let service = service_fn(move |request| {
            let (answer, noted) = (router.call(request), noted.clone());
            async move {
                let mut answer = answer.await?;
                if let Some(client) = answer.extensions().get().copied() {
                    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                    let _ = noted.set(client);
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1().serve_connection(TokioIo::new(stream), service);
        let slow = || {
            if let Some(client) = subscriber.get() {
                self.daemon.bus.with(|bus, now| bus.disconnect_slow(*client, now));
            }
        };
        tokio::select! {
            () = self.until_stopped(connection, &from, slow) => {}
            () = self.removed(&subscriber) => debug!(%from, "cut a connection whose client is gone and takes nothing"),
        }
    }

    /// Ends some time after the bus has removed a connection's subscriber: the connection should have ended with it.
    async fn removed(&self, subscriber: &OnceLock<ClientId>) {
        let is_there = |id: &ClientId| self.daemon.bus.with(|bus, _| bus.is_connected(*id));
        while subscriber.get().is_none_or(is_there) {
            sleep(STALL_CHECK).await;
        }
        sleep(STALL_CHECK).await;
    }

    /// Runs a connection to its end, which comes soon once the daemon stops: what is under way is finished.
    /// `slow` is called for a peer that takes nothing for too long, before its connection is dropped.
    async fn until_stopped<C: GracefulConnection<Error = hyper::Error>>(
        &self,
        connection: C,
        from: &From,
        slow: impl FnOnce(),
    ) {
        let mut connection = pin!(connection);
        let served = tokio::select! {
            served = &mut connection => served,
            () = self.daemon.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
            if cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut) {
                slow();
            }
            debug!(%from, %error, "an HTTP connection has failed");
        }
    }

    /// The routes, for the requests of one connection.
    fn service(
        &self,
        from: From,
        takeover: Option<Takeover>,
    ) -> impl Service<hyper::Request<Incoming>, Response = Response, Error = Infallible, Future = Answer> {
        let router = self.router.clone();
        service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(from.clone());
            if let Some(takeover) = &takeover {
                request.extensions_mut().insert(takeover.clone());
            }
            Box::pin(router.clone().oneshot(request.map(Body::new))) as Answer
        })
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(FIRST_BYTE).max_buf_size(HEAD_MAX).half_close(false);
    builder
}

fn routes(daemon: Arc<Daemon>) -> Router {
    let without_parameters = || middleware::from_fn(error::refuse_parameters);
    // HEAD before GET: a HEAD must not open a stream.
    let stream = || axum::routing::head(events::head).get(events::stream);
    let admin = Router::new()
        .route("/topics", get(admin::topics))
        .route("/clients", get(admin::clients))
        .route("/clients/{client}", delete(admin::kick))
        .route("/status", get(admin::status))
        .route("/config", get(admin::config))
        .route("/metrics", get(admin::metrics))
        .route_layer(without_parameters())
        .route_layer(middleware::from_fn_with_state(daemon.clone(), guards::require_admin));
    Router::new()
        .merge(admin)
        .route("/events", stream())
        .route("/events/{*topic}", stream().post(events::publish))
        .route("/tickets", post(tickets::give))
        .route("/healthz", get(admin::health).route_layer(without_parameters()))
        .route("/", get(page::index))
        .route("/page/{name}", get(page::file))
        .route("/client.js", get(client::module))
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(middleware::from_fn_with_state(daemon.clone(), guards::check))
        .with_state(daemon)
}
