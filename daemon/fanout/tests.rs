//! What only a shard's inside can show.

use std::{net::SocketAddr, time::Duration};

use sse_bus::{
    Epoch, FilterSet, Topic,
    bus::{Bus, Format, Publication, Start, Subscription, history::Memory},
    limits::{Limits, Retention},
    protocol::sse::PositionForm,
};
use tokio::{io::AsyncReadExt, net::TcpSocket};

use super::*;
use crate::connection_limits::{LEAST, Places};

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

/// A stream for its shard, and the peer. Their sockets hold little.
async fn arrival(bus: &SharedBus) -> (Arrival, TcpStream) {
    let sockets = [TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap()];
    let [ours, theirs] = sockets;
    ours.set_send_buffer_size(4096).unwrap();
    theirs.set_recv_buffer_size(4096).unwrap();
    ours.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = ours.listen(1).unwrap();
    let peer = theirs.connect(listener.local_addr().unwrap()).await.unwrap();
    let mut subscription = Subscription::new(FilterSet::parse(&["t"]).unwrap(), Format::SseData);
    (subscription.start, subscription.position_form) = (Start::Now, PositionForm::None);
    let places = Places::new(LEAST, true);
    let arrival = Arrival {
        socket: listener.accept().await.unwrap().0,
        place: places.take(&places.tcp).await.unwrap(),
        member: Member::subscriber(bus, subscription).unwrap().0,
        framing: Framing::Plain,
        head: Bytes::from_static(b"head\n"),
    };
    (arrival, peer)
}

#[tokio::test]
async fn a_late_call_for_a_stream_that_is_gone_costs_its_successor_nothing() {
    let (bus, shard) = (bus(), Arc::new(Shard::default()));
    let mut streams = Streams::new(bus.clone(), shard.clone());
    let (first, _gone) = arrival(&bus).await;
    let first = streams.insert(first);
    streams.close(first, "it is gone");
    let (second, mut peer) = arrival(&bus).await;
    let second = streams.insert(second);
    streams.take_turn(&[second]);

    for n in 0..EVENTS {
        publish(&bus, format!("{n:0>5}{}", "x".repeat(SIZE)));
    }
    // Somebody still held the waker of the first.
    Arc::new(Call { shard: shard.clone(), client: first, queued: AtomicBool::new(false) }).wake();
    let mut got = Vec::new();
    let last = format!("data: {:0>5}{}\n\n", EVENTS - 1, "x".repeat(SIZE));
    while !got.ends_with(last.as_bytes()) {
        let ready = mem::take(&mut shard.queue().ready);
        streams.take_turn(&ready);
        let next = async {
            tokio::select! {
                read = peer.read_buf(&mut got) => assert!(read.unwrap() > 0, "it has ended"),
                () = shard.wake.notified() => {}
            }
        };
        timeout(Duration::from_secs(5), next).await.expect("the stream goes on");
    }
    let numbers: Vec<usize> = String::from_utf8(got)
        .unwrap()
        .lines()
        .filter_map(|line| Some(line.strip_prefix("data: ")?[..5].parse().unwrap()))
        .collect();
    assert_eq!(numbers, (0..EVENTS).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_that_reads_for_itself_gets_first_what_was_read_for_its_group() {
    let (bus, shard) = (bus(), Arc::new(Shard::default()));
    let mut streams = Streams::new(bus.clone(), shard.clone());
    // More than are served at once.
    let mut peers = Vec::new();
    for _ in 0..=TURN {
        let (arrival, peer) = arrival(&bus).await;
        peers.push((streams.insert(arrival), peer));
    }
    let clients: Vec<_> = peers.iter().map(|(client, _)| *client).collect();
    streams.take_turn(&clients);
    assert_eq!(mem::take(&mut shard.queue().ready), clients, "the heads are written, and there may be more");
    streams.take_turn(&clients);
    publish(&bus, "for all".into());
    streams.begin_rounds();
    // The round is not over, and there is something for one alone.
    let (client, mut peer) = peers.swap_remove(TURN / 2);
    publish_to(&bus, Some(client), "for one".into());
    assert_eq!(mem::take(&mut shard.queue().ready), [client]);
    streams.take_turn(&[client]);
    publish(&bus, "for all again".into());
    while streams.go_on_with_rounds() > 0 {}

    let mut got = Vec::new();
    let reads =
        async { while !got.ends_with(b"data: for all again\n\n") && peer.read_buf(&mut got).await.unwrap() > 0 {} };
    timeout(Duration::from_secs(5), reads).await.expect("all comes");
    let got = String::from_utf8(got).unwrap();
    let data: Vec<_> = got.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data, ["for all", "for one", "for all again"]);
}

#[tokio::test]
async fn what_comes_second_does_not_overtake_the_rest_of_the_first() {
    const ROUNDS: usize = 50;
    let (bus, shard) = (bus(), Arc::new(Shard::default()));
    let mut streams = Streams::new(bus.clone(), shard.clone());
    let (arrival, mut peer) = arrival(&bus).await;
    let client = streams.insert(arrival);
    streams.take_turn(&[client]);
    let expected = format!("head\n{}", format!("{}:\n", "x".repeat(SIZE)).repeat(ROUNDS)).into_bytes();
    let mut got = Vec::new();
    for _ in 0..ROUNDS {
        streams.deliver(&[(client, vec![b'x'; SIZE].into()), (client, Bytes::from_static(b":\n"))]);
        let next = got.len() + SIZE / 2;
        while got.len() < next.min(expected.len()) {
            let ready = mem::take(&mut shard.queue().ready);
            streams.take_turn(&ready);
            let next = async {
                tokio::select! {
                    read = peer.read_buf(&mut got) => assert!(read.unwrap() > 0, "it has ended"),
                    () = shard.wake.notified() => {}
                }
            };
            timeout(Duration::from_secs(5), next).await.expect("the stream goes on");
        }
    }
    while got.len() < expected.len() {
        let ready = mem::take(&mut shard.queue().ready);
        streams.take_turn(&ready);
        tokio::select! {
            read = peer.read_buf(&mut got) => assert!(read.unwrap() > 0, "it has ended"),
            () = shard.wake.notified() => {}
        }
    }
    assert!(got == expected, "heartbeats stand between the pieces");
}
