//! What the design relies on, shown with NATS servers alone.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_nats::{
    HeaderMap,
    jetstream::{
        consumer::{AckPolicy, DeliverPolicy, pull},
        context::PublishErrorKind,
    },
};
use futures_util::StreamExt as _;
use tokio::time::{sleep, timeout};

use crate::{
    harness::{
        Link,
        nats::{NatsCluster, NatsServer},
        until,
    },
    js::{connect, headers, log_config, publish, retained_config},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// The reason for the check in ids: after a loss, numbers are assigned again, and nothing in the stream's identity shows it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: it loses the tail of a stream"]
async fn a_restored_store_assigns_sequences_again() {
    let mut server = NatsServer::start();
    let (_, context) = connect(&server.url()).await;
    context.create_stream(log_config("FACTS")).await.unwrap();
    for _ in 0..3 {
        publish(&context, "facts.ev.a", HeaderMap::new(), "kept").await.unwrap();
    }
    let created = context.get_stream("FACTS").await.unwrap().cached_info().created;
    server.stop();
    let copy = server.copy_store();
    server.start_again();
    let (_, context) = connect(&server.url()).await;
    let lost = publish(&context, "facts.ev.a", HeaderMap::new(), "lost").await.unwrap();
    server.stop();
    server.restore_store(&copy);
    server.start_again();
    let (_, context) = connect(&server.url()).await;
    let again = publish(&context, "facts.ev.a", HeaderMap::new(), "another").await.unwrap();
    assert_eq!((lost.sequence, again.sequence), (4, 4));
    assert_eq!(context.get_stream("FACTS").await.unwrap().cached_info().created, created);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: it creates a consumer"]
async fn a_consumer_may_start_after_the_end_and_is_silent() {
    let server = NatsServer::start();
    let (_, context) = connect(&server.url()).await;
    let stream = context.create_stream(log_config("FACTS")).await.unwrap();
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: 100 },
        ack_policy: AckPolicy::None,
        ..pull::Config::default()
    };
    let mut consumer = stream.create_consumer(config).await.unwrap();
    publish(&context, "facts.ev.a", HeaderMap::new(), "number 1").await.unwrap();
    let mut fetched = consumer.fetch().max_messages(1).expires(Duration::from_millis(300)).messages().await.unwrap();
    assert!(timeout(PATIENCE, fetched.next()).await.unwrap().is_none());
    assert_eq!(consumer.info().await.unwrap().num_pending, 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: it publishes twice"]
async fn a_repeated_message_is_answered_with_the_first_sequence() {
    let server = NatsServer::start();
    let (_, context) = connect(&server.url()).await;
    context.create_stream(log_config("FACTS")).await.unwrap();
    let id = || headers([("Nats-Msg-Id", "one".into())]);
    let first = publish(&context, "facts.ev.a", id(), "x").await.unwrap();
    publish(&context, "facts.ev.a", HeaderMap::new(), "y").await.unwrap();
    let again = publish(&context, "facts.ev.b", id(), "x").await.unwrap();
    assert_eq!((first.sequence, first.duplicate), (1, false));
    assert_eq!((again.sequence, again.duplicate), (1, true));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: it publishes with times to live"]
async fn a_time_to_live_below_a_second_is_refused() {
    let server = NatsServer::start();
    let (_, context) = connect(&server.url()).await;
    context.create_stream(log_config("FACTS")).await.unwrap();
    let ttl = |ttl: &str| headers([("Nats-TTL", ttl.into())]);
    let error = publish(&context, "facts.ev.a", ttl("900ms"), "x").await.unwrap_err().to_string();
    assert!(error.contains("TTL"), "{error}");
    publish(&context, "facts.ev.a", ttl("1s"), "x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: it reads many subjects"]
async fn the_last_messages_of_1_200_subjects_cannot_be_read_at_once() {
    let server = NatsServer::start();
    let (client, context) = connect(&server.url()).await;
    context.create_stream(log_config("FACTS")).await.unwrap();
    for index in 0..1_200 {
        publish(&context, &format!("facts.rt.{index}"), HeaderMap::new(), "x").await.unwrap();
    }
    let answer = client.request("$JS.API.DIRECT.GET.FACTS", r#"{"multi_last":["facts.rt.>"]}"#.into()).await.unwrap();
    assert_eq!(answer.status.map(|status| status.as_u16()), Some(413));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: it creates consumers"]
async fn filters_of_a_consumer_must_not_overlap() {
    let server = NatsServer::start();
    let (_, context) = connect(&server.url()).await;
    let stream = context.create_stream(log_config("FACTS")).await.unwrap();
    let config = |subjects: &[&str]| pull::Config {
        filter_subjects: subjects.iter().map(ToString::to_string).collect(),
        ..pull::Config::default()
    };
    let error = stream.create_consumer(config(&["facts.ev.>", "facts.ev.a"])).await.unwrap_err().to_string();
    assert!(error.contains("overlap"), "{error}");
    // `x/**` of events and of retained events.
    stream.create_consumer(config(&["facts.ev.x", "facts.ev.x.>", "facts.rt.x", "facts.rt.x.>"])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: it creates streams"]
async fn the_retained_stream_has_the_last_message_of_each_subject() {
    let server = NatsServer::start();
    let (_, context) = connect(&server.url()).await;
    context.create_stream(log_config("FACTS")).await.unwrap();
    let mut retained = context.create_stream(retained_config("RETAINED", "FACTS")).await.unwrap();
    publish(&context, "facts.ev.a", HeaderMap::new(), "not retained").await.unwrap();
    publish(&context, "facts.rt.a", HeaderMap::new(), "first").await.unwrap();
    publish(&context, "facts.rt.a", HeaderMap::new(), "second").await.unwrap();
    publish(&context, "facts.rt.b", HeaderMap::new(), "").await.unwrap();
    publish(&context, "facts.rt.c", headers([("Nats-TTL", "1s".into())]), "short").await.unwrap();
    let deadline = SystemTime::now() + PATIENCE;
    while retained.info().await.unwrap().state.last_sequence < 4 || retained.cached_info().state.messages > 2 {
        assert!(SystemTime::now() < deadline, "{:?}", retained.cached_info().state);
        sleep(Duration::from_millis(50)).await;
    }
    let last = retained.get_last_raw_message_by_subject("facts.rt.a").await.unwrap();
    assert_eq!(&last.payload[..], b"second");
    let source = last.headers.get("Nats-Stream-Source").unwrap().as_str();
    assert_eq!(source.split(' ').nth(1), Some("3"), "the sequence of the log: {source}");
    assert!(retained.get_last_raw_message_by_subject("facts.rt.b").await.unwrap().payload.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: it waits for a schedule"]
async fn a_schedule_publishes_to_its_target_once() {
    let server = NatsServer::start();
    let (_, context) = connect(&server.url()).await;
    let mut stream = context.create_stream(log_config("FACTS")).await.unwrap();
    let due = jiff::Timestamp::now() + Duration::from_secs(1);
    let schedule = headers([
        ("Nats-Schedule", format!("@at {}", due.strftime("%Y-%m-%dT%H:%M:%SZ"))),
        ("Nats-Schedule-Target", "facts.ev.later".into()),
    ]);
    publish(&context, "facts.sch.one", schedule, "due").await.unwrap();
    let deadline = SystemTime::now() + PATIENCE;
    let message = loop {
        if let Ok(message) = stream.get_last_raw_message_by_subject("facts.ev.later").await {
            break message;
        }
        assert!(SystemTime::now() < deadline, "{:?}", stream.info().await);
        sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((message.sequence, &message.payload[..]), (2, &b"due"[..]));
    assert!(stream.get_last_raw_message_by_subject("facts.sch.one").await.is_err());
}

/// A cluster continues without one of its servers, and the killed one catches up.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: it kills the leader of a stream"]
async fn three_servers_continue_without_their_leader() {
    let mut cluster = NatsCluster::start();
    let (_, context) = connect(&cluster.urls()).await;
    let mut config = log_config("FACTS");
    config.num_replicas = 3;
    context.create_stream(config).await.unwrap();
    publish(&context, "facts.ev.a", HeaderMap::new(), "before").await.unwrap();
    let leader = cluster.leader_of("FACTS");
    cluster.servers[leader].kill();
    let published = pin!(async {
        while publish(&context, "facts.ev.a", headers([("Nats-Msg-Id", "2".into())]), "after").await.is_err() {}
    });
    timeout(PATIENCE, published).await.unwrap();
    cluster.servers[leader].start_again();
    cluster.wait_until_healthy();
    let stream = context.get_stream("FACTS").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 2);
}

/// The reason why a timeout is an unknown outcome: what a client has sent arrives later.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: it publishes during a partition"]
async fn a_message_sent_during_a_partition_is_stored_after_it() {
    let server = NatsServer::start();
    let link = Link::to(server.port());
    let (_, context) = connect(&format!("nats://{}", link.address)).await;
    let mut stream = context.create_stream(log_config("FACTS")).await.unwrap();
    link.silence();
    let error = publish(&context, "facts.ev.a", HeaderMap::new(), "late").await.unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::TimedOut);
    link.heal();
    let deadline = SystemTime::now() + PATIENCE;
    while stream.info().await.unwrap().state.messages == 0 {
        assert!(SystemTime::now() < deadline, "it is not stored");
        sleep(Duration::from_millis(50)).await;
    }
    // A connection that ends, unlike one that is silent, is opened again.
    link.close();
    link.heal();
    let again =
        timeout(PATIENCE, async { while publish(&context, "facts.ev.a", HeaderMap::new(), "again").await.is_err() {} });
    again.await.unwrap();
}

/// Publishes that are repeated until they are acknowledged are stored once each, whichever server leads.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: it kills several leaders of a stream"]
async fn repeated_messages_are_stored_once_while_leaders_are_killed() {
    let mut cluster = NatsCluster::start();
    let (_, context) = connect(&cluster.urls()).await;
    let mut config = log_config("FACTS");
    config.num_replicas = 3;
    let mut stream = context.create_stream(config).await.unwrap();
    let published = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let task = tokio::spawn({
        let (published, stop) = (published.clone(), stop.clone());
        async move {
            let mut last = 0;
            while !stop.load(Ordering::Relaxed) {
                let id = published.load(Ordering::Relaxed).to_string();
                let ack = loop {
                    match publish(&context, "facts.ev.a", headers([("Nats-Msg-Id", id.clone())]), "x").await {
                        Ok(ack) => break ack,
                        Err(_) => sleep(Duration::from_millis(20)).await,
                    }
                };
                assert!(ack.sequence > last, "{} after {last}", ack.sequence);
                last = ack.sequence;
                published.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    for _ in 0..3 {
        let leader = cluster.leader_of("FACTS");
        cluster.servers[leader].kill();
        let before = published.load(Ordering::Relaxed);
        until("publishes continue", || (published.load(Ordering::Relaxed) > before + 20).then_some(()));
        cluster.servers[leader].start_again();
        cluster.wait_until_healthy();
    }
    stop.store(true, Ordering::Relaxed);
    task.await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, published.load(Ordering::Relaxed));
}
