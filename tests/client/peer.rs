//! A daemon that is scripted frame by frame.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use sse_bus::{
    Endpoint, EventId,
    client::{Delivery, Work, Worker},
    protocol::{
        self, Consuming, ErrorCode, EventMessage, Published, Refused, Reply, Request, Subscribed,
        binary::{self, Frame},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

/// The daemon's end of a connection.
pub(crate) struct Peer {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Peer {
    pub(crate) async fn accept(listener: &UnixListener) -> Peer {
        let mut peer = Peer { stream: listener.accept().await.unwrap().0, buffer: Vec::new() };
        let mut preface = [0; 6];
        peer.stream.read_exact(&mut preface).await.unwrap();
        assert_eq!(preface, binary::PREFACE);
        peer
    }

    /// Returns the next request, or `None` at the end of the connection.
    pub(crate) async fn request(&mut self) -> Option<Request> {
        loop {
            match binary::decode(&self.buffer) {
                Frame::Whole(request, used) => {
                    self.buffer.drain(..used);
                    return Some(request);
                }
                Frame::Partial(_) if self.stream.read_buf(&mut self.buffer).await.unwrap() == 0 => return None,
                Frame::Partial(_) => {}
                bad => panic!("{bad:?}"),
            }
        }
    }

    pub(crate) async fn reply(&mut self, replies: impl IntoIterator<Item = Reply>) {
        let mut bytes = Vec::new();
        for reply in replies {
            binary::encode(&reply, &mut bytes).unwrap();
        }
        self.stream.write_all(&bytes).await.unwrap();
    }

    pub(crate) async fn expect_subscribe(&mut self, since: Option<&str>, position: u64) {
        let Some(Request::Subscribe(request)) = self.request().await else { panic!("no subscription") };
        assert_eq!(request.since.as_deref(), since);
        self.reply([Reply::Subscribed(Subscribed::new("c1", id(position)))]).await;
    }

    pub(crate) async fn expect_consume(&mut self, slots: Option<u64>) {
        let Some(Request::Consume(request)) = self.request().await else { panic!("no worker") };
        assert_eq!((&*request.consumer, request.max_in_flight), ("q", slots));
        self.reply([Reply::Consuming(Consuming::new("c1", "q"))]).await;
    }
}

pub(crate) fn id(seq: u64) -> EventId {
    format!("k-{seq}").parse().unwrap()
}

pub(crate) fn event(seq: u64, topic: &str, data: &str) -> Reply {
    Reply::Event(EventMessage::new(id(seq), topic, data, 0))
}

/// A delivery with the event's number as its token.
pub(crate) fn delivered(seq: u64) -> Reply {
    let mut event = EventMessage::new(id(seq), "jobs", seq.to_string(), 0);
    event.delivery = Some(protocol::Delivery::new(seq.to_string(), 1, 0));
    Reply::Event(event)
}

pub(crate) fn settled() -> Reply {
    Reply::Settled { deliveries: 1 }
}

pub(crate) async fn next_delivery(worker: &mut Worker) -> Delivery {
    match worker.next().await {
        Some(Ok(Work::Delivery(delivery))) => delivery,
        other => panic!("no delivery: {other:?}"),
    }
}

pub(crate) fn published(seq: u64) -> Reply {
    Reply::Published(Published::new(id(seq), 1))
}

pub(crate) fn refused(request: u64, code: ErrorCode) -> Reply {
    Reply::Error(Refused { request, ..Refused::new(code, "no") })
}

/// Returns a socket for one test.
pub(crate) fn socket() -> (Endpoint, UnixListener) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("sse-bus-{}-{}.sock", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path: PathBuf = std::env::temp_dir().join(name);
    let _ = std::fs::remove_file(&path);
    (Endpoint::at(&path), UnixListener::bind(&path).unwrap())
}

pub(crate) fn unlink(endpoint: &Endpoint) {
    let _ = std::fs::remove_file(endpoint.path());
}
