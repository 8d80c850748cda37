//! HTTP/2: many streams on one connection, each with a cursor of its own.
//!
//! The connection is one task, each stream another. Streams read the bus through the ordinary
//! [body](super::stream); hyper frames what they give and keeps to the peer's flow control. What is bounded: the streams
//! of a connection ([`HTTP2_STREAMS`]), what a stream has handed to the connection and the peer has not taken yet
//! ([`DELIVER_MAX`] and one frame), and the time that a peer may leave a stream without window: the socket may be fine
//! then, so each stream is watched here, and reset after [`WRITE_STALL`]. A peer that does not answer pings is cut, and
//! one that does not ask for anything within [`FIRST_BYTE`].

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

use super::{From, Http};
use crate::server::Daemon;

/// What an HTTP/2 connection begins with (RFC 9113, 3.4). No HTTP/1.1 request does.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of one frame of data; every peer takes as many.
const FRAME: usize = 16 << 10;

/// Waits for the first bytes of a connection, which stay where they are, and tells whether it speaks HTTP/2.
pub(super) async fn begins(socket: &TcpStream) -> io::Result<bool> {
    /// Between two looks at a beginning that may become either, which most do at once and the others perhaps never.
    const LOOK: Range<Duration> = Duration::from_millis(1)..Duration::from_millis(250);
    let mut first = [0; PREFACE.len()];
    let mut wait = LOOK.start;
    let looks = async {
        loop {
            match socket.peek(&mut first).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read if read == PREFACE.len() || !PREFACE.starts_with(&first[..read]) => return Ok(&first == PREFACE),
                // What has come counts as readable already, so only time tells when there is more.
                _ => sleep(wait).await,
            }
            wait = (wait * 2).min(LOOK.end);
        }
    };
    timeout(FIRST_BYTE, looks).await?
}

impl Http {
    /// Serves one connection that speaks HTTP/2, to its end.
    pub(super) async fn serve_http2<S>(&self, stream: S, from: From)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        /// Bytes of requests' bodies that wait to be read: of one stream, and of a connection.
        const STREAM_WINDOW: u32 = 64 << 10;
        const CONNECTION_WINDOW: u32 = 1 << 20;
        let mut builder = http2::Builder::new(Streams { daemon: self.daemon.clone(), from: from.clone() });
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(HEARTBEAT)
            .keep_alive_timeout(FIRST_BYTE)
            .max_concurrent_streams(HTTP2_STREAMS)
            .max_send_buf_size(DELIVER_MAX)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let begun = CancellationToken::new();
        let service = Watching { service: self.service(from.clone(), None), begun: begun.clone() };
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let silent = async {
            if timeout(FIRST_BYTE, begun.cancelled()).await.is_ok() {
                pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.until_stopped(connection, &from, || {}) => {}
            () = silent => debug!(%from, "cut an HTTP/2 connection that has not asked for anything"),
        }
    }
}

/// Runs the streams of a connection: hyper hands each over as a future.
#[derive(Clone)]
struct Streams {
    daemon: Arc<Daemon>,
    from: From,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let Streams { daemon, from } = self.clone();
        self.daemon.tasks.spawn(async move {
            let progress = Arc::<Progress>::default();
            let stream = pin!(PROGRESS.scope(progress.clone(), stream));
            if let Err(Stalled) = watch(stream, &progress).await {
                debug!(%from, "resetting an HTTP/2 stream: the peer has given no window for too long");
                // Before the stream is dropped, and the client with it.
                if let Some(client) = progress.subscriber.get() {
                    daemon.bus.with(|bus, now| bus.disconnect_slow(*client, now));
                }
            }
        });
    }
}

/// What the body of an answer tells the task that sends it.
#[derive(Default)]
struct Progress {
    /// Counts up whenever the body is asked: even while it has nothing to give, odd while hyper has something of it and
    /// has not come back for more.
    asked: AtomicU64,
    /// Whose stream it is, if it is one.
    subscriber: OnceLock<ClientId>,
}

impl Progress {
    /// The number of the frame that is on its way to the peer.
    fn given(&self) -> Option<u64> {
        Some(self.asked.load(Ordering::Relaxed)).filter(|asked| asked % 2 == 1)
    }

    fn note(&self, given: bool) {
        let asked = self.asked.load(Ordering::Relaxed);
        self.asked.store((asked / 2 + 1) * 2 + u64::from(given), Ordering::Relaxed);
    }
}

tokio::task_local! {
    static PROGRESS: Arc<Progress>;
}

/// The peer has left a stream without window for too long.
struct Stalled;

/// Runs a stream. hyper asks its body for more as soon as the peer takes what it gave before; if that is not within
/// [`WRITE_STALL`], the stream is to be dropped, which resets it.
async fn watch(mut stream: Pin<&mut impl Future<Output = ()>>, progress: &Progress) -> Result<(), Stalled> {
    // Runs while a frame waits.
    let mut stall: Option<(u64, Pin<Box<Sleep>>)> = None;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let Some(given) = progress.given() else {
            stall = None;
            return Poll::Pending;
        };
        let (_, wait) = match stall.take() {
            Some(same) if same.0 == given => stall.insert(same),
            _ => stall.insert((given, Box::pin(sleep(WRITE_STALL)))),
        };
        ready!(wait.as_mut().poll(cx));
        Poll::Ready(Err(Stalled))
    })
    .await
}

/// A service whose answers tell how they get on.
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
        let answer = self.service.call(request);
        Box::pin(async move {
            let response = answer.await?;
            // Not in reach only where somebody else than `Streams` runs the stream.
            let progress = PROGRESS.try_with(Arc::clone).unwrap_or_default();
            if let Some(client) = response.extensions().get() {
                let _ = progress.subscriber.set(*client);
            }
            Ok(response.map(|body| Watched { body, rest: Bytes::new(), progress }))
        })
    }
}

/// The body of an answer, in frames that are small enough to count as progress.
struct Watched {
    body: Body,
    /// What is left of what the body gave.
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
        // Asked before the first frame only; behind it there may be a rest.
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}
