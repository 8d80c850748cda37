//! One HTTP/1.1 connection to a daemon elsewhere.

use std::{error::Error as _, io};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{tls::Tls, url::Remote};
use crate::{client::error::Error, limits::REPLY};

/// A connection, driven by a task that ends with it.
#[derive(Debug)]
pub(super) struct Connection(SendRequest<Full<Bytes>>);

/// Why a request has no response.
pub(super) enum SendError {
    /// Nothing was sent, because the other end has closed the connection.
    NotSent(Box<Request<Full<Bytes>>>),
    Failed(Error),
}

impl Connection {
    /// Connects, within [`REPLY`].
    pub(super) async fn open(remote: &Remote) -> Result<Connection, Error> {
        match timeout(REPLY, connect(remote)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Unresponsive { address: remote.clone().into(), after: REPLY }),
        }
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, SendError> {
        // The error of a connection that was closed has no request, so look first.
        if self.0.ready().await.is_err() {
            return Err(SendError::NotSent(request.into()));
        }
        self.0.try_send_request(request).await.map_err(|mut failed| match failed.take_message() {
            Some(request) => SendError::NotSent(request.into()),
            None => SendError::Failed(broken(failed.into_error())),
        })
    }
}

async fn connect(remote: &Remote) -> Result<Connection, Error> {
    let unreachable = |source| Error::Unreachable { url: remote.to_string(), source };
    let found = lookup_host((remote.host(), remote.port())).await.map_err(unreachable)?;
    let addresses: Vec<_> = found.filter(|address| remote.accepts(address.ip())).collect();
    let stream = TcpStream::connect(&*addresses).await.map_err(unreachable)?;
    // A request is written at once.
    stream.set_nodelay(true).map_err(unreachable)?;
    if !remote.is_https() {
        return start(stream).await;
    }
    let stream = remote.tls().connect(remote.host(), stream).await.map_err(|source| match Tls::untrusted(&source) {
        Some(reason) => Error::Untrusted { url: remote.to_string(), reason },
        None => unreachable(source),
    })?;
    start(stream).await
}

async fn start<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S) -> Result<Connection, Error> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends when the sender and the body of the last response are dropped. Its error is that of the request.
    tokio::spawn(connection);
    Ok(Connection(sender))
}

/// Returns a request for one of the daemon's routes.
pub(super) fn request(
    remote: &Remote,
    method: Method,
    route: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Error> {
    let agent = concat!("sse-bus/", env!("CARGO_PKG_VERSION"));
    let mut builder = Request::builder()
        .method(method)
        .uri(remote.target(route))
        .header(header::HOST, remote.authority())
        .header(header::USER_AGENT, agent);
    if let Some(authorization) = remote.authorization() {
        builder = builder.header(header::AUTHORIZATION, authorization);
    }
    builder.body(Full::new(body)).map_err(|e| Error::Protocol(e.to_string()))
}

/// Returns the error of a connection that broke.
pub(super) fn broken(error: hyper::Error) -> Error {
    if error.is_parse() {
        return Error::Protocol(error.to_string());
    }
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    match cause {
        _ if error.is_incomplete_message() || error.is_closed() || error.is_canceled() => Error::closed(),
        Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            Error::closed()
        }
        _ => Error::Disconnected(io::Error::other(error)),
    }
}
