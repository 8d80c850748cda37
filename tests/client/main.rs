//! The client with a daemon that is scripted frame by frame, for situations that a real daemon rarely causes.
#![cfg(unix)]

mod peer;

use std::time::Duration;

use sse_bus::{
    Client, Endpoint,
    client::{Backoff, Error, Item, Work},
    limits::REPLY,
    protocol::{Ack, Consume, Consuming, ErrorCode, GAP, Publish, Reply, Request, Subscribe},
};
use tokio::time::{Instant, sleep};

use self::peer::{Peer, delivered, event, id, next_delivery, published, refused, settled, socket, unlink};

#[tokio::test]
async fn a_missing_daemon_has_its_own_error() {
    let error = Client::connect(&Endpoint::at("/nonexistent/bus.sock")).await.unwrap_err();
    assert!(matches!(error, Error::NoDaemon { .. }), "{error:?}");
    assert_eq!(error.to_string(), "no daemon at /nonexistent/bus.sock");
}

#[tokio::test]
async fn an_event_that_exceeds_a_frame_is_refused_and_the_connection_stays_usable() {
    let (endpoint, listener) = socket();
    let daemon = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener).await;
        assert!(matches!(peer.request().await, Some(Request::Publish(p)) if p.topic == "small"));
        peer.reply([published(1)]).await;
    });
    let mut client = Client::connect(&endpoint).await.unwrap();
    let error = client.publish(&Publish::new("large", "x".repeat(4 << 20))).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::LimitFrame));
    assert_eq!(client.publish(&Publish::new("small", "x")).await.unwrap().id, Some(id(1)));
    daemon.await.unwrap();
    unlink(&endpoint);
}

#[tokio::test]
async fn a_dropped_request_does_not_affect_the_next() {
    let (endpoint, listener) = socket();
    let (go, may_continue) = tokio::sync::oneshot::channel::<()>();
    let daemon = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener).await;
        peer.request().await.unwrap();
        may_continue.await.unwrap();
        peer.request().await.unwrap();
        peer.reply([published(1), Reply::Topics(vec![])]).await;
    });
    let mut client = Client::connect(&endpoint).await.unwrap();
    let event = Publish::new("t", "x");
    tokio::select! {
        biased;
        reply = client.publish(&event) => panic!("{reply:?}"),
        () = std::future::ready(()) => {}
    }
    go.send(()).unwrap();
    assert_eq!(client.topics().await.unwrap(), []);
    daemon.await.unwrap();
    unlink(&endpoint);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_reply_times_out_unless_it_waits_for_the_disk() {
    let (endpoint, listener) = socket();
    let (go, may_continue) = tokio::sync::oneshot::channel::<()>();
    let daemon = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener).await;
        peer.request().await.unwrap();
        may_continue.await.unwrap();
        peer.request().await.unwrap();
        sleep(REPLY * 100).await;
        peer.reply([published(1), published(2)]).await;
    });
    let mut client = Client::connect(&endpoint).await.unwrap();
    let began = Instant::now();
    let error = client.publish(&Publish::new("t", "x")).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unresponsive { after, .. } if *after == REPLY) && error.is_transient(),
        "{error:?}"
    );
    assert_eq!(began.elapsed().as_secs(), REPLY.as_secs());
    go.send(()).unwrap();
    let durable = Publish::new("t", "y").with_ack(Ack::Durable);
    assert_eq!(client.publish(&durable).await.unwrap().id, Some(id(2)));
    assert!(began.elapsed() > REPLY * 100);
    daemon.await.unwrap();
    unlink(&endpoint);
}

#[tokio::test]
async fn publish_many_returns_results_in_order_and_after_a_break_those_so_far() {
    let (endpoint, listener) = socket();
    let daemon = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener).await;
        for seq in 1..=100_000 {
            peer.request().await.unwrap();
            peer.reply([if seq % 1000 == 0 { refused(seq, ErrorCode::TopicInvalid) } else { published(seq) }]).await;
        }
        for seq in 100_001..=100_007 {
            peer.request().await.unwrap();
            peer.reply([published(seq)]).await;
        }
    });
    let mut client = Client::connect(&endpoint).await.unwrap();
    let results = client.publish_many((1..=100_000).map(|n| Publish::new("t", n.to_string()))).await.unwrap();
    assert_eq!(results.len(), 100_000);
    for (seq, result) in (1..).zip(&results) {
        match result {
            Ok(published) => assert_eq!(published.id, Some(id(seq))),
            Err(refused) => assert!(seq % 1000 == 0 && refused.request == seq, "{refused:?}"),
        }
    }
    let endless = std::iter::repeat_with(|| Publish::new("t", "x"));
    let interrupted = client.publish_many(endless).await.unwrap_err();
    assert_eq!(interrupted.results.len(), 7);
    assert!(matches!(interrupted.error, Error::Disconnected(_)), "{interrupted:?}");
    daemon.await.unwrap();
    unlink(&endpoint);
}

#[tokio::test]
async fn replies_have_the_number_of_their_publish_even_among_publishes_without_replies() {
    let (endpoint, listener) = socket();
    let daemon = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener).await;
        peer.request().await.unwrap();
        peer.reply([Reply::Topics(vec![])]).await;
        for _ in 0..5 {
            peer.request().await.unwrap();
        }
        // 1 and 3 have no replies, 2 and 4 have. The daemon also counts the request before them.
        peer.reply([published(2), refused(4, ErrorCode::LimitEvent), refused(5, ErrorCode::TypeInvalid)]).await;
        peer.reply([Reply::Status(Box::default())]).await;
    });
    let mut client = Client::connect(&endpoint).await.unwrap();
    client.topics().await.unwrap();
    let (mut publisher, mut replies) = client.into_split();
    for (number, ack) in (1..).zip([Ack::None, Ack::Accepted, Ack::None, Ack::Accepted]) {
        assert_eq!(publisher.send(&Publish::new("t", "x").with_ack(ack)).await.unwrap(), number);
    }
    let finished = publisher.finish().await.unwrap();
    let mut seen = Vec::new();
    while let Some((number, reply)) = replies.next().await.unwrap() {
        seen.push((number, reply.map(|p| p.id).map_err(|r| r.code)));
    }
    assert_eq!(seen, [(2, Ok(Some(id(2)))), (3, Err(ErrorCode::LimitEvent)), (4, Err(ErrorCode::TypeInvalid))]);
    drop(finished);
    daemon.await.unwrap();
    unlink(&endpoint);
}

#[tokio::test]
async fn a_refusal_before_the_connection_closes_is_returned() {
    let (endpoint, listener) = socket();
    let daemon = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener).await;
        peer.reply([refused(0, ErrorCode::LimitPublishers)]).await;
    });
    let mut client = Client::connect(&endpoint).await.unwrap();
    daemon.await.unwrap();
    let error = client.publish(&Publish::new("t", "x")).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::LimitPublishers), "{error:?}");
    unlink(&endpoint);
}

#[tokio::test]
async fn a_subscription_resumes_after_the_last_returned_event() {
    let (endpoint, listener) = socket();
    let daemon = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener).await;
        peer.expect_subscribe(None, 10).await;
        // A retained event, which is older than the position to resume from.
        peer.reply([event(3, "a", "retained")]).await;
        drop(peer);
        let mut peer = Peer::accept(&listener).await;
        peer.expect_subscribe(Some("k-10"), 12).await;
        let gap = r#"{"reason":"evicted","missed":1,"from":"k-11","to":"k-11"}"#;
        peer.reply([event(11, GAP, gap), event(12, "a", "twelve")]).await;
        drop(peer);
        let mut peer = Peer::accept(&listener).await;
        peer.request().await.unwrap();
        peer.reply([refused(1, ErrorCode::LimitSubscribers)]).await;
        let mut peer = Peer::accept(&listener).await;
        peer.expect_subscribe(Some("k-12"), 12).await;
        peer.reply([event(13, "a", "thirteen"), refused(0, ErrorCode::Denied)]).await;
    });
    let client = Client::connect(&endpoint).await.unwrap();
    let backoff = Backoff { first: Duration::from_millis(1), max: Duration::from_millis(2) };
    let mut subscription = client.subscribe(Subscribe::new(["a"])).await.unwrap().reconnecting(backoff);
    let mut seen = Vec::new();
    while let Some(item) = subscription.next().await {
        seen.push(match item {
            Ok(Item::Event(event)) => event.data,
            Ok(Item::Gap { gap, id, .. }) => format!("gap {id} {:?}", gap.missed),
            Ok(Item::Reconnecting { attempt, .. }) => format!("reconnecting {attempt}"),
            Ok(Item::Resumed { since, client }) => format!("resumed {client} from {since}"),
            Ok(other) => format!("{other:?}"),
            Err(e) => format!("error {:?}", e.code()),
        });
    }
    let wanted = [
        "retained",
        "reconnecting 1",
        "resumed c1 from k-10",
        "gap k-11 Some(1)",
        "twelve",
        "reconnecting 1",
        "reconnecting 2",
        "resumed c1 from k-12",
        "thirteen",
        "error Some(Denied)",
    ];
    assert_eq!(seen, wanted);
    daemon.await.unwrap();
    unlink(&endpoint);
}

#[tokio::test]
async fn past_events_that_were_not_received_are_requested_again() {
    let (endpoint, listener) = socket();
    let daemon = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener).await;
        peer.expect_subscribe(Some("all"), 10).await;
        drop(peer);
        let mut peer = Peer::accept(&listener).await;
        peer.expect_subscribe(Some("all"), 10).await;
        peer.reply([event(4, "a", "four"), Reply::End { position: id(10) }]).await;
    });
    let client = Client::connect(&endpoint).await.unwrap();
    let request = Subscribe::new(["a"]).with_since("all").past_only();
    let backoff = Backoff { first: Duration::ZERO, max: Duration::ZERO };
    let mut past = client.subscribe(request).await.unwrap().reconnecting(backoff);
    assert!(matches!(past.next().await, Some(Ok(Item::Reconnecting { .. }))));
    assert!(matches!(past.next().await, Some(Ok(Item::Resumed { .. }))));
    assert!(matches!(past.next().await, Some(Ok(Item::Event(e))) if e.data == "four"));
    assert!(past.next().await.is_none());
    daemon.await.unwrap();
    unlink(&endpoint);
}

#[tokio::test]
async fn a_worker_whose_deliveries_are_not_taken_keeps_the_newest() {
    const SENT: u64 = 1000;
    let (endpoint, listener) = socket();
    let daemon = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener).await;
        peer.expect_consume(Some(3)).await;
        peer.reply([delivered(1)]).await;
        assert_eq!(peer.request().await, Some(Request::Extend { tokens: vec!["1".into()] }));
        peer.reply((2..=SENT).map(delivered)).await;
        peer.reply([settled()]).await;
        assert_eq!(peer.request().await, Some(Request::Ack { tokens: vec!["1".into()] }));
        peer.reply([settled()]).await;
    });
    let client = Client::connect(&endpoint).await.unwrap();
    let mut worker = client.work(Consume::new("q").with_max_in_flight(3)).await.unwrap();
    let first = next_delivery(&mut worker).await;
    // The daemon answers after the other deliveries, so all of them have arrived.
    first.extend().await.unwrap();
    first.ack().await.unwrap();
    let mut seen = Vec::new();
    while let Some(Ok(Work::Delivery(delivery))) = worker.next().await {
        seen.push(delivery.data.parse::<u64>().unwrap());
    }
    assert!((3..=100).contains(&seen.len()), "{} deliveries", seen.len());
    assert_eq!(seen[seen.len() - 3..], [SENT - 2, SENT - 1, SENT]);
    daemon.await.unwrap();
    unlink(&endpoint);
}

#[tokio::test]
async fn results_reach_their_callers_and_a_worker_that_ends_returns_the_rest() {
    let (endpoint, listener) = socket();
    let (go, may_continue) = tokio::sync::oneshot::channel::<()>();
    let daemon = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener).await;
        peer.expect_consume(Some(4)).await;
        peer.reply((1..=3).map(delivered)).await;
        let mut acks = Vec::new();
        for _ in 0..2 {
            acks.push(peer.request().await.unwrap());
        }
        assert_eq!(acks, [Request::Ack { tokens: vec!["2".into()] }, Request::Ack { tokens: vec!["1".into()] }]);
        peer.reply([settled(), refused(3, ErrorCode::StaleDelivery)]).await;
        // The worker is dropped while the third delivery is still processed.
        let stop = Request::Consume(Consume::new("q").with_max_in_flight(0));
        assert_eq!(peer.request().await, Some(stop));
        peer.reply([delivered(4), Reply::Consuming(Consuming::new("c1", "q"))]).await;
        assert_eq!(peer.request().await, Some(Request::Release { tokens: vec!["4".into()] }));
        peer.reply([settled()]).await;
        go.send(()).unwrap();
        assert_eq!(peer.request().await, Some(Request::Release { tokens: vec!["3".into()] }));
        peer.reply([settled()]).await;
        assert_eq!(peer.request().await, None);
    });
    let client = Client::connect(&endpoint).await.unwrap();
    let mut worker = client.work(Consume::new("q").with_max_in_flight(4)).await.unwrap();
    let (first, second) = (next_delivery(&mut worker).await, next_delivery(&mut worker).await);
    let third = next_delivery(&mut worker).await;
    let (second, first) = (second.ack(), first.ack());
    assert_eq!(first.await.unwrap_err().code(), Some(ErrorCode::StaleDelivery));
    second.await.unwrap();
    let finished = tokio::spawn(worker.finish());
    may_continue.await.unwrap();
    drop(third);
    finished.await.unwrap();
    daemon.await.unwrap();
    unlink(&endpoint);
}
