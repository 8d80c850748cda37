//! The streams, or the consumers of nodes, are deleted by others. Nodes recover, or report it, within ten seconds.

use std::time::Duration;

use async_nats::jetstream::Context;
use futures_util::TryStreamExt as _;

use crate::{
    harness::{
        Daemon, EventStream,
        nats::{NatsServer, node},
    },
    js::connect,
    load::{numbered, publish_all_of, publish_within},
    site::{BUS, STREAM},
};

const WITHIN: Duration = Duration::from_secs(10);

/// Two nodes, a stream at each, and five events that both streams have received.
struct Before {
    streams: [EventStream; 2],
    nodes: [Daemon; 2],
    context: Context,
    _server: NatsServer,
}

impl Before {
    async fn new() -> Before {
        let server = NatsServer::start();
        let nodes = ["a", "b"].map(|name| node(&server.url(), BUS, name, &[]));
        let mut streams = nodes.each_ref().map(|node| node.stream("/events/t"));
        publish_all_of(&nodes[0], "t", &numbered("before", 1..=5));
        for stream in &mut streams {
            assert_eq!(stream.data(5), numbered("before", 1..=5));
        }
        let (_, context) = connect(&server.url()).await;
        Before { streams, nodes, context, _server: server }
    }
}

/// Checks that a stream continues with a gap because the log is another one, and with an event of the other log.
fn is_notified(stream: &mut EventStream, data: &str) {
    let gap = stream.event();
    assert_eq!((gap.kind.as_deref(), &gap.json()["reason"]), (Some("$gap"), &"restarted".into()), "{gap:?}");
    assert_eq!(stream.event().data, data);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: it deletes a stream"]
async fn after_its_stream_is_deleted_a_bus_continues_with_a_new_one() {
    let mut before = Before::new().await;
    let last = publish_within(WITHIN, &before.nodes[0], "t", "last");
    for stream in &mut before.streams {
        assert_eq!(stream.event().data, "last");
    }
    before.context.delete_stream(STREAM).await.unwrap();
    publish_within(WITHIN, &before.nodes[0], "t", "after");
    publish_within(WITHIN, &before.nodes[1], "t", "at the other node");
    for (stream, node) in before.streams.iter_mut().zip(&before.nodes) {
        is_notified(stream, "after");
        assert_eq!(stream.event().data, "at the other node");
        let mut resumed = node.stream_with("/events/t", &[("Last-Event-ID", &last)]);
        is_notified(&mut resumed, "after");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: it deletes consumers"]
async fn after_their_consumers_are_deleted_nodes_receive_all_events() {
    let mut before = Before::new().await;
    let stream = before.context.get_stream(STREAM).await.unwrap();
    let names: Vec<String> = stream.consumer_names().try_collect().await.unwrap();
    assert!(!names.is_empty(), "nodes have no consumers");
    for name in names {
        stream.delete_consumer(&name).await.unwrap();
    }
    publish_within(WITHIN, &before.nodes[1], "t", "after");
    for stream in &mut before.streams {
        let event = stream.event();
        assert_eq!((event.kind, &*event.data), (None, "after"));
    }
}

/// The stream that another person has created in place of the old one, with the same settings: its numbers begin at one again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: it replaces a stream"]
async fn a_new_stream_with_the_same_name_and_settings_is_another_log() {
    let mut before = Before::new().await;
    let config = before.context.get_stream(STREAM).await.unwrap().cached_info().config.clone();
    before.context.delete_stream(STREAM).await.unwrap();
    before.context.create_stream(config).await.unwrap();
    publish_within(WITHIN, &before.nodes[0], "t", "after");
    for stream in &mut before.streams {
        let gap = stream.event();
        let reason = gap.json()["reason"].clone();
        assert!(gap.kind.as_deref() == Some("$gap") && ["restarted", "rewritten"].contains(&reason.as_str().unwrap()));
        assert_eq!(stream.event().data, "after");
    }
}
