//! What every HTTP connection needs, whatever its version: the routes, and a way to end when the daemon stops.

use std::{
    convert::Infallible,
    error::Error,
    io,
    pin::{Pin, pin},
    sync::Arc,
};

use axum::{Router, body::Body, response::Response};
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::server::graceful::GracefulConnection;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tracing::debug;

use super::{hijack::Takeover, routes::routes, source::RequestSource};
use crate::{context::Daemon, fanout::Fanout, unauthenticated::Budget};

/// New connections whose first request is handled at a time. When thousands of clients reconnect at once, established
/// connections wait for this many of them and not for all. No connection holds a turn while it waits for its peer.
const FIRST_TURNS: usize = 16;

/// Serves connections. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Http {
    pub(super) daemon: Arc<Daemon>,
    pub(super) fanout: Arc<Fanout>,
    router: Router,
    /// The turns for the first request of a connection; see [`FIRST_TURNS`].
    pub(super) first_turns: Arc<Semaphore>,
    /// The memory of connections that have not authenticated.
    pub(super) unauthenticated: Arc<Budget>,
}

/// The response to a request, in progress.
pub(super) type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl Http {
    pub(crate) fn new(daemon: Arc<Daemon>, fanout: Arc<Fanout>) -> Http {
        let first_turns = Arc::new(Semaphore::new(FIRST_TURNS));
        Http { router: routes(daemon.clone()), daemon, fanout, first_turns, unauthenticated: Arc::default() }
    }

    /// Returns the routes, for the requests of one connection.
    pub(super) fn service(
        &self,
        source: RequestSource,
        takeover: Option<Takeover>,
    ) -> impl Service<hyper::Request<Incoming>, Response = Response, Error = Infallible, Future = ResponseFuture> {
        let router = self.router.clone();
        service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(source.clone());
            if let Some(takeover) = &takeover {
                request.extensions_mut().insert(takeover.clone());
            }
            Box::pin(router.clone().oneshot(request.map(Body::new))) as ResponseFuture
        })
    }

    /// Runs a connection to its end. Once the daemon stops, the connection finishes its responses and ends. `slow` is called if
    /// the peer takes no byte for too long, before the connection is dropped.
    pub(super) async fn until_stopped<C: GracefulConnection<Error = hyper::Error>>(
        &self,
        connection: C,
        source: &RequestSource,
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
            debug!(from = %source, %error, "an HTTP connection has failed");
        }
    }
}
