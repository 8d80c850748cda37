//! Properties of a shard that only show inside it.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    task::Wake as _,
    time::Duration,
};

use bytes::Bytes;
use sse_bus::{
    Epoch, FilterSet, Topic,
    bus::{Bus, ClientId, Format, Framing, Publication, Start, Subscription, history::Memory},
    limits::Limits,
    protocol::sse::PositionForm,
    retention::Retention,
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{
    mailbox::{Mailbox, NewStream, StreamWaker},
    streams::{Streams, TURN},
};
use crate::{
    client_guard::ClientGuard,
    connection_limits::{ConnectionLimits, LEAST},
    shared_bus::SharedBus,
};

/// Events, each larger than one read of the bus and than what a socket here takes.
const EVENTS: usize = 20;
const SIZE: usize = 200_000;

fn bus() -> SharedBus {
    let epoch = Epoch::parse("e").unwrap();
    SharedBus::new(Bus::new(epoch, Limits::default(), Box::new(Memory::new(Retention::default()))), 1)
}

fn publish(bus: &SharedBus, data: String) {
    publish_to(bus, None, data);
}

fn publish_to(bus: &SharedBus, to: Option<ClientId>, data: String) {
    let topic = Topic::parse("t").unwrap();
    let mut publication = Publication::new(topic, data);
    publication.to = to.map(|client| client.to_string());
    bus.with(|bus, now| bus.publish(publication, None, now)).unwrap();
}

/// Returns a stream for a shard, and its peer. Their sockets have small buffers.
async fn new_stream(bus: &SharedBus) -> (NewStream, TcpStream) {
    let sockets = [TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap()];
    let [ours, theirs] = sockets;
    ours.set_send_buffer_size(4096).unwrap();
    theirs.set_recv_buffer_size(4096).unwrap();
    ours.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = ours.listen(1).unwrap();
    let peer = theirs.connect(listener.local_addr().unwrap()).await.unwrap();
    let mut subscription = Subscription::new(FilterSet::parse(&["t"]).unwrap(), Format::SseData);
    (subscription.start, subscription.position_form) = (Start::Now, PositionForm::None);
    let limits = ConnectionLimits::new(LEAST, true);
    let new = NewStream {
        socket: listener.accept().await.unwrap().0,
        permit: limits.acquire(&limits.tcp).await.unwrap(),
        client: ClientGuard::subscriber(bus, subscription).unwrap().0,
        framing: Framing::Plain,
        head: Bytes::from_static(b"head\n"),
    };
    (new, peer)
}

/// Takes the streams that were woken.
fn woken(mailbox: &Mailbox) -> Vec<ClientId> {
    let mut woken = Vec::new();
    assert!(mailbox.take(&mut woken, false).is_some());
    woken
}

#[tokio::test]
async fn a_late_wake_up_for_a_closed_stream_does_not_affect_its_successor() {
    let (bus, mailbox) = (bus(), Arc::new(Mailbox::default()));
    let mut streams = Streams::new(bus.clone(), mailbox.clone());
    let (first, _gone) = new_stream(&bus).await;
    let first = streams.insert(first);
    streams.close(first, "closed");
    let (second, mut peer) = new_stream(&bus).await;
    let second = streams.insert(second);
    streams.take_turn(&[second]);

    for n in 0..EVENTS {
        publish(&bus, format!("{n:0>5}{}", "x".repeat(SIZE)));
    }
    // A late wake-up for the first.
    Arc::new(StreamWaker { mailbox: mailbox.clone(), client: first, is_queued: AtomicBool::new(false) }).wake();
    let mut got = Vec::new();
    let last = format!("data: {:0>5}{}\n\n", EVENTS - 1, "x".repeat(SIZE));
    while !got.ends_with(last.as_bytes()) {
        let ready = woken(&mailbox);
        streams.take_turn(&ready);
        let next = async {
            tokio::select! {
                read = peer.read_buf(&mut got) => assert!(read.unwrap() > 0, "it has ended"),
                () = mailbox.wake.notified() => {}
            }
        };
        timeout(Duration::from_secs(5), next).await.expect("the stream continues");
    }
    let numbers: Vec<usize> = String::from_utf8(got)
        .unwrap()
        .lines()
        .filter_map(|line| Some(line.strip_prefix("data: ")?[..5].parse().unwrap()))
        .collect();
    assert_eq!(numbers, (0..EVENTS).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_that_reads_for_itself_receives_the_bytes_of_its_group_first() {
    let (bus, mailbox) = (bus(), Arc::new(Mailbox::default()));
    let mut streams = Streams::new(bus.clone(), mailbox.clone());
    // More than one turn serves.
    let mut peers = Vec::new();
    for _ in 0..=TURN {
        let (new, peer) = new_stream(&bus).await;
        peers.push((streams.insert(new), peer));
    }
    let clients: Vec<_> = peers.iter().map(|(client, _)| *client).collect();
    streams.take_turn(&clients);
    assert_eq!(woken(&mailbox), clients, "the heads are written, and there may be more");
    streams.take_turn(&clients);
    publish(&bus, "for all".into());
    streams.begin_multicasts();
    // The multicast has not ended, and one stream has bytes of its own.
    let (client, mut peer) = peers.swap_remove(TURN / 2);
    publish_to(&bus, Some(client), "for one".into());
    assert_eq!(woken(&mailbox), [client]);
    streams.take_turn(&[client]);
    publish(&bus, "for all again".into());
    while streams.continue_multicasts() > 0 {}

    let mut got = Vec::new();
    let reads =
        async { while !got.ends_with(b"data: for all again\n\n") && peer.read_buf(&mut got).await.unwrap() > 0 {} };
    timeout(Duration::from_secs(5), reads).await.expect("all bytes arrive");
    let got = String::from_utf8(got).unwrap();
    let data: Vec<_> = got.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data, ["for all", "for one", "for all again"]);
}

#[tokio::test]
async fn later_bytes_do_not_overtake_the_rest_of_earlier_ones() {
    const ROUNDS: usize = 50;
    let (bus, mailbox) = (bus(), Arc::new(Mailbox::default()));
    let mut streams = Streams::new(bus.clone(), mailbox.clone());
    let (new, mut peer) = new_stream(&bus).await;
    let client = streams.insert(new);
    streams.take_turn(&[client]);
    let expected = format!("head\n{}", format!("{}:\n", "x".repeat(SIZE)).repeat(ROUNDS)).into_bytes();
    let mut got = Vec::new();
    for _ in 0..ROUNDS {
        streams.deliver(&[(client, vec![b'x'; SIZE].into()), (client, Bytes::from_static(b":\n"))]);
        let next = got.len() + SIZE / 2;
        while got.len() < next.min(expected.len()) {
            let ready = woken(&mailbox);
            streams.take_turn(&ready);
            let next = async {
                tokio::select! {
                    read = peer.read_buf(&mut got) => assert!(read.unwrap() > 0, "it has ended"),
                    () = mailbox.wake.notified() => {}
                }
            };
            timeout(Duration::from_secs(5), next).await.expect("the stream continues");
        }
    }
    while got.len() < expected.len() {
        let ready = woken(&mailbox);
        streams.take_turn(&ready);
        tokio::select! {
            read = peer.read_buf(&mut got) => assert!(read.unwrap() > 0, "it has ended"),
            () = mailbox.wake.notified() => {}
        }
    }
    assert!(got == expected, "heartbeats stand between the pieces");
}
