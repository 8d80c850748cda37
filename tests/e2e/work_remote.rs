//! Workers of the library over HTTP, with a real daemon.

use std::time::Duration;

use sse_bus::{
    Client,
    client::{Delivery, Remote, Work, Worker},
    protocol::{Consume, ConsumerConfig, DeadSelection, ErrorCode},
};

use crate::{
    harness::{Daemon, block_on},
    remote::url,
};

async fn connect(daemon: &Daemon) -> Client {
    Client::connect(Remote::parse(&url(daemon)).unwrap()).await.unwrap()
}

async fn delivery(worker: &mut Worker) -> Delivery {
    match worker.next().await {
        Some(Ok(Work::Delivery(delivery))) => delivery,
        other => panic!("no delivery: {other:?}"),
    }
}

#[test]
fn a_worker_over_http_settles_its_deliveries() {
    block_on(async {
        let daemon = Daemon::start(&[]);
        let mut client = connect(&daemon).await;
        let config = ConsumerConfig::new(["jobs/**"]);
        assert!(client.consumer("q").create(config.clone()).await.unwrap());
        assert!(!client.consumer("q").create(config).await.unwrap());
        let unknown = connect(&daemon).await.work(Consume::new("other")).await.unwrap_err();
        assert_eq!(unknown.code(), Some(ErrorCode::ConsumerUnknown));
        let mut worker =
            connect(&daemon).await.work(Consume::new("q").with_max_in_flight(2).with_client("press")).await.unwrap();
        for data in ["one", "two", "three"] {
            daemon.publish("jobs/a", data);
        }
        let (one, two) = (delivery(&mut worker).await, delivery(&mut worker).await);
        assert_eq!((&*one.data, &*two.data, one.attempt()), ("one", "two", 1));
        one.extend().await.unwrap();
        one.ack().await.unwrap();
        let three = delivery(&mut worker).await;
        three.reject("no paper").await.unwrap();
        two.nak(Some(Duration::ZERO)).await.unwrap();
        let two = delivery(&mut worker).await;
        assert_eq!((&*two.data, two.attempt()), ("two", 2));
        let dead = client.consumer("q").dead(None).await.unwrap();
        assert_eq!((dead.len(), &*dead[0].reason, dead[0].worker.as_deref()), (1, "rejected", Some("press")));
        let mut selection = all(false);
        selection.id = Some(dead[0].id);
        assert_eq!(client.consumer("q").retry_dead(selection).await.unwrap(), 1);
        let three = delivery(&mut worker).await;
        let finished = tokio::spawn(worker.finish());
        two.ack().await.unwrap();
        drop(three);
        finished.await.unwrap();
        let info = client.consumer("q").show().await.unwrap();
        assert_eq!((info.in_flight, info.acknowledged, info.waiting), (0, 2, 1));
        assert_eq!(client.consumers().await.unwrap().len(), 1);
        client.consumer("q").pause().await.unwrap();
        assert!(client.consumer("q").show().await.unwrap().paused);
        client.consumer("q").resume().await.unwrap();
        client.consumer("q").seek("all").await.unwrap();
        assert_eq!(client.consumer("q").show().await.unwrap().pending, 3);
        assert_eq!(client.consumer("q").drop_dead(all(true)).await.unwrap(), 0);
        client.consumer("q").delete().await.unwrap();
        assert!(client.consumers().await.unwrap().is_empty());
    });
}

fn all(all: bool) -> DeadSelection {
    let mut selection = DeadSelection::default();
    selection.all = all;
    selection
}
