//! Streams and messages, by the client of NATS itself.

use async_nats::{
    Client, HeaderMap,
    jetstream::{
        self, Context,
        context::PublishError,
        publish::PublishAck,
        stream::{Config, Source},
    },
};

/// The parts of the streams of a bus that the facts are about.
pub(crate) fn log_config(name: &str) -> Config {
    Config {
        name: name.into(),
        subjects: ["ev", "rt", "sch"].map(|kind| format!("facts.{kind}.>")).into(),
        max_bytes: 1 << 30,
        allow_direct: true,
        allow_message_ttl: true,
        allow_message_schedules: true,
        num_replicas: 1,
        ..Config::default()
    }
}

/// The newest message of each subject of retained events.
pub(crate) fn retained_config(name: &str, log: &str) -> Config {
    Config {
        name: name.into(),
        max_bytes: 1 << 30,
        max_messages_per_subject: 1,
        allow_direct: true,
        allow_message_ttl: true,
        num_replicas: 1,
        sources: Some(vec![Source {
            name: log.into(),
            filter_subject: Some("facts.rt.>".into()),
            ..Source::default()
        }]),
        ..Config::default()
    }
}

/// Connects to one of servers, whose addresses are separated by commas.
pub(crate) async fn connect(urls: &str) -> (Client, Context) {
    let client = async_nats::connect(urls.split(',').collect::<Vec<_>>()).await.unwrap();
    (client.clone(), jetstream::new(client))
}

pub(crate) fn headers<const N: usize>(headers: [(&'static str, String); N]) -> HeaderMap {
    headers.into_iter().fold(HeaderMap::new(), |mut all, (name, value)| {
        all.insert(name, value);
        all
    })
}

/// Publishes, and waits for the acknowledgement.
pub(crate) async fn publish(
    stream: &Context,
    subject: &str,
    headers: HeaderMap,
    data: &'static str,
) -> Result<PublishAck, PublishError> {
    stream.publish_with_headers(subject.to_owned(), headers, data.into()).await?.await
}
