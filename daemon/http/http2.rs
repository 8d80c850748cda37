//! HTTP/2: many streams on one connection, each with a cursor of its own.
//!
//! The connection is one task, each stream another. Streams read the bus through the ordinary [body](super::stream_body); hyper
//! frames their bytes and observes the peer's flow control. Bounds: the streams of a connection ([`HTTP2_STREAMS`]), the bytes
//! of a stream that the peer has not taken yet ([`DELIVER_MAX`] and one frame), and the time for which a peer may leave a stream
//! without window. The socket may be writable then, so each stream is watched here, and reset after [`WRITE_STALL`]. A peer that
//! does not answer pings is cut, and one that sends no request within [`FIRST_BYTE`].

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    io,
    ops::Range,
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, rt::Executor, server::conn::http2, service::Service};
use hyper_util::rt::{TokioIo, TokioTimer};
use sse_bus::{
    bus::ClientId,
    limits::{DELIVER_MAX, FIRST_BYTE, HEARTBEAT, HTTP2_STREAMS, WRITE_STALL},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{service::Http, source::RequestSource};
use crate::context::Daemon;

/// The first bytes of an HTTP/2 connection (RFC 9113, 3.4). No HTTP/1.1 request begins with them.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of one data frame; every peer accepts this size.
const FRAME: usize = 16 << 10;

/// Waits for the first bytes of a connection, without removing them, and returns true if it speaks HTTP/2.
pub(super) async fn begins(socket: &TcpStream) -> io::Result<bool> {
    /// Time between two checks of a beginning that fits both. Most connections send the rest at once, others perhaps never.
    const CHECK: Range<Duration> = Duration::from_millis(1)..Duration::from_millis(250);
    let mut first = [0; PREFACE.len()];
    let mut wait = CHECK.start;
    let checks = async {
        loop {
            match socket.peek(&mut first).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read if read == PREFACE.len() || !PREFACE.starts_with(&first[..read]) => return Ok(&first == PREFACE),
                // The bytes that have arrived keep the socket readable, so it does not show when there are more.
                _ => sleep(wait).await,
            }
            wait = (wait * 2).min(CHECK.end);
        }
    };
    timeout(FIRST_BYTE, checks).await?
}

/// Serves one connection that speaks HTTP/2, to its end.
pub(super) async fn serve<S>(http: &Http, stream: S, source: RequestSource)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Bytes of requests' bodies that wait to be read: of one stream, and of a connection.
    const STREAM_WINDOW: u32 = 64 << 10;
    const CONNECTION_WINDOW: u32 = 1 << 20;
    let mut builder = http2::Builder::new(Streams { daemon: http.daemon.clone(), source: source.clone() });
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(HEARTBEAT)
        .keep_alive_timeout(FIRST_BYTE)
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_send_buf_size(DELIVER_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let begun = CancellationToken::new();
    let service = Watching { service: http.service(source.clone(), None), begun: begun.clone() };
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let silent = async {
        if timeout(FIRST_BYTE, begun.cancelled()).await.is_ok() {
            pending::<()>().await;
        }
    };
    tokio::select! {
        () = http.until_stopped(connection, &source, || {}) => {}
        () = silent => debug!(from = %source, "cut an HTTP/2 connection without a request"),
    }
}

/// Runs the streams of a connection, which hyper passes as futures.
#[derive(Clone)]
struct Streams {
    daemon: Arc<Daemon>,
    source: RequestSource,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let Streams { daemon, source } = self.clone();
        self.daemon.tasks.spawn(async move {
            let progress = Arc::<Progress>::default();
            let stream = pin!(PROGRESS.scope(progress.clone(), stream));
            if let Err(Stalled) = watch(stream, &progress).await {
                debug!(from = %source, "resetting an HTTP/2 stream: the peer has left it without window for too long");
                // Before the stream is dropped, which disconnects the client.
                if let Some(client) = progress.subscriber.get() {
                    daemon.bus.with(|bus, now| bus.disconnect_slow(*client, now));
                }
            }
        });
    }
}

/// The progress of a response, which its body reports to the task that sends it.
#[derive(Default)]
struct Progress {
    /// Increases whenever hyper polls the body: even while the body has nothing, odd while hyper holds a frame and has not polled
    /// for the next one.
    polls: AtomicU64,
    /// The subscriber, if the response is a stream.
    subscriber: OnceLock<ClientId>,
}

impl Progress {
    /// Returns the number of the frame that hyper holds.
    fn held_frame(&self) -> Option<u64> {
        Some(self.polls.load(Ordering::Relaxed)).filter(|polls| polls % 2 == 1)
    }

    fn note(&self, has_frame: bool) {
        let polls = self.polls.load(Ordering::Relaxed);
        self.polls.store((polls / 2 + 1) * 2 + u64::from(has_frame), Ordering::Relaxed);
    }
}

tokio::task_local! {
    static PROGRESS: Arc<Progress>;
}

/// The peer has left a stream without window for too long.
struct Stalled;

/// Runs a stream. hyper polls its body for the next frame as soon as the peer takes the one before. If that does not happen
/// within [`WRITE_STALL`], the caller must drop the stream, which resets it.
async fn watch(mut stream: Pin<&mut impl Future<Output = ()>>, progress: &Progress) -> Result<(), Stalled> {
    // Runs while hyper holds a frame.
    let mut stall: Option<(u64, Pin<Box<Sleep>>)> = None;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let Some(frame) = progress.held_frame() else {
            stall = None;
            return Poll::Pending;
        };
        let (_, wait) = match stall.take() {
            Some(same) if same.0 == frame => stall.insert(same),
            _ => stall.insert((frame, Box::pin(sleep(WRITE_STALL)))),
        };
        ready!(wait.as_mut().poll(cx));
        Poll::Ready(Err(Stalled))
    })
    .await
}

/// A service whose responses report their progress.
struct Watching<S> {
    service: S,
    /// Cancelled by the first request.
    begun: CancellationToken,
}

impl<S> Service<hyper::Request<Incoming>> for Watching<S>
where
    S: Service<hyper::Request<Incoming>, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Watched>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Watched>, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        self.begun.cancel();
        let running = self.service.call(request);
        Box::pin(async move {
            let response = running.await?;
            // It is missing only if the stream does not run in `Streams`.
            let progress = PROGRESS.try_with(Arc::clone).unwrap_or_default();
            if let Some(client) = response.extensions().get() {
                let _ = progress.subscriber.set(*client);
            }
            Ok(response.map(|body| Watched { body, rest: Bytes::new(), progress }))
        })
    }
}

/// The body of a response, in frames that are small enough to show progress.
struct Watched {
    body: Body,
    /// The rest of the last frame of the body.
    rest: Bytes,
    progress: Arc<Progress>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let watched = &mut *self;
        if watched.rest.is_empty() {
            watched.progress.note(false);
            match ready!(Pin::new(&mut watched.body).poll_frame(cx)).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => watched.rest = data,
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                None => return Poll::Ready(None),
            }
        }
        watched.progress.note(true);
        let data = watched.rest.split_to(watched.rest.len().min(FRAME));
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // It is used before the first frame only; after it there may be a rest.
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}
