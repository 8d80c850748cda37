//! Workers of the library, with a real daemon.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use sse_bus::{
    Client,
    client::{Backoff, Delivery, Error, Work, Worker},
    limits::TAKE_MAX,
    protocol::{Consume, ConsumerConfig, ErrorCode},
};

use crate::harness::{Daemon, block_on, until};

const QUICK: Backoff = Backoff { first: Duration::from_millis(1), max: Duration::from_millis(20) };

/// A daemon with the consumer `q` of the topics `jobs/**`.
async fn with_consumer() -> (Daemon, Client) {
    let daemon = Daemon::start(&[]);
    let mut client = Client::connect(&daemon.endpoint()).await.unwrap();
    create(&mut client).await;
    (daemon, client)
}

async fn create(client: &mut Client) {
    let mut config = ConsumerConfig::new(["jobs/**"]);
    config.backoff = Some(vec!["1ms".into()]);
    assert!(client.consumer("q").create(config).await.unwrap());
}

async fn worker(daemon: &Daemon, slots: u64) -> Worker {
    let client = Client::connect(&daemon.endpoint()).await.unwrap();
    client.work(Consume::new("q").with_max_in_flight(slots)).await.unwrap()
}

async fn delivery(worker: &mut Worker) -> Delivery {
    match worker.next().await {
        Some(Ok(Work::Delivery(delivery))) => delivery,
        other => panic!("no delivery: {other:?}"),
    }
}

fn code(result: Result<(), Error>) -> Option<ErrorCode> {
    result.unwrap_err().code()
}

#[test]
fn a_delivery_is_settled_in_each_way_and_the_caller_learns_the_result() {
    block_on(async {
        let (daemon, _client) = with_consumer().await;
        let _stream = daemon.stream("/events/none");
        let mut worker = worker(&daemon, 1).await;
        daemon.publish("jobs/a", "one");
        let first = delivery(&mut worker).await;
        assert_eq!((&*first.data, &*first.topic, first.attempt()), ("one", "jobs/a", 1));
        first.nak(Some(Duration::ZERO)).await.unwrap();
        let second = delivery(&mut worker).await;
        assert_eq!(second.attempt(), 2);
        second.extend().await.unwrap();
        second.release().await.unwrap();
        let again = delivery(&mut worker).await;
        assert_eq!(again.attempt(), 2);
        let token = again.token().to_owned();
        let by_another = json!({"ack": {"tokens": [token]}}).to_string();
        assert_eq!(daemon.lines().ask(by_another), json!({"settled": {"deliveries": 1}}));
        assert_eq!(code(again.extend().await), Some(ErrorCode::StaleDelivery));
        assert_eq!(code(again.ack().await), Some(ErrorCode::StaleDelivery));
        daemon.publish("jobs/a", "two");
        delivery(&mut worker).await.reject("unreadable").await.unwrap();
        daemon.publish("jobs/a", "three");
        let third = delivery(&mut worker).await;
        assert_eq!(&*third.data, "three");
        third.ack().await.unwrap();
        worker.finish().await;
    });
}

#[test]
fn a_dropped_delivery_is_released() {
    block_on(async {
        let (daemon, _client) = with_consumer().await;
        let mut worker = worker(&daemon, 1).await;
        daemon.publish("jobs/a", "one");
        drop(delivery(&mut worker).await);
        let again = delivery(&mut worker).await;
        assert_eq!((&*again.data, again.attempt()), ("one", 1));
        // The result need not be awaited.
        drop(again.ack());
        daemon.publish("jobs/a", "two");
        assert_eq!(&*delivery(&mut worker).await.data, "two");
    });
}

#[test]
fn a_worker_that_finishes_waits_for_its_deliveries_and_returns_the_others() {
    block_on(async {
        let (daemon, _client) = with_consumer().await;
        let mut first = worker(&daemon, 500).await;
        for n in 0..500 {
            daemon.publish("jobs/a", n.to_string());
        }
        // More than wait for the caller.
        let mut taken = Vec::new();
        for _ in 0..TAKE_MAX + 10 {
            taken.push(delivery(&mut first).await);
        }
        let finished = tokio::spawn(first.finish());
        let mut second = worker(&daemon, 500).await;
        // What was not taken is delivered to another worker while the first one still works.
        let mut returned = BTreeSet::new();
        for _ in taken.len()..500 {
            let delivery = delivery(&mut second).await;
            assert_eq!(delivery.attempt(), 1);
            returned.insert(delivery.data.parse::<usize>().unwrap());
            delivery.ack().await.unwrap();
        }
        assert_eq!(returned, (taken.len()..500).collect());
        assert!(!finished.is_finished());
        let last = taken.pop().unwrap();
        for delivery in taken {
            delivery.ack().await.unwrap();
        }
        drop(last);
        finished.await.unwrap();
        let returned = delivery(&mut second).await;
        assert_eq!((returned.data.parse::<usize>().unwrap(), returned.attempt()), (TAKE_MAX + 9, 1));
        returned.ack().await.unwrap();
        second.finish().await;
        let workers = || daemon.get("/clients").json().as_array().unwrap().iter().any(|c| c["role"] == "worker");
        until("the workers are gone", || (!workers()).then_some(()));
    });
}

#[test]
fn a_worker_reconnects_and_deliveries_of_the_lost_connection_are_not_settled() {
    block_on(async {
        let (mut daemon, _client) = with_consumer().await;
        let mut worker = worker(&daemon, 2).await.reconnecting(QUICK);
        daemon.publish("jobs/a", "one");
        let lost = delivery(&mut worker).await;
        daemon.kill();
        let Some(Ok(Work::Reconnecting { attempt: 1, .. })) = worker.next().await else { panic!("no notice") };
        assert!(matches!(lost.ack().await, Err(Error::Disconnected(_) | Error::Refused(_))));
        daemon.start_again();
        // Consumers in memory end with the daemon.
        let error = loop {
            match worker.next().await.unwrap() {
                Ok(Work::Reconnecting { .. }) => {}
                Ok(other) => panic!("{other:?}"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code(), Some(ErrorCode::ConsumerUnknown), "{error}");
        assert!(worker.next().await.is_none());
    });
}

#[test]
fn a_worker_that_is_kicked_takes_its_deliveries_again() {
    block_on(async {
        let (daemon, _client) = with_consumer().await;
        let _stream = daemon.stream("/events/none");
        let mut worker = worker(&daemon, 1).await.reconnecting(QUICK);
        daemon.publish("jobs/a", "one");
        let lost = delivery(&mut worker).await;
        let kicked = daemon.request("DELETE", &format!("/clients/{}", worker.client()), &[], "");
        assert_eq!(kicked.json(), json!({"connections": 1}));
        assert!(matches!(worker.next().await, Some(Ok(Work::Reconnecting { .. }))));
        let before = worker.client().to_owned();
        assert!(matches!(worker.next().await, Some(Ok(Work::Resumed { .. }))));
        assert_ne!(worker.client(), before);
        let again = delivery(&mut worker).await;
        assert_eq!((&*again.data, again.attempt()), ("one", 2));
        assert_eq!(code(lost.ack().await), Some(ErrorCode::StaleDelivery));
        again.ack().await.unwrap();
    });
}
