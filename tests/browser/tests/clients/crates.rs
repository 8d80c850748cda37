//! The clients of Rust, each a task.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use eventsource_client::{Client, ClientBuilder, SSE};
use futures_util::{Stream, StreamExt};
use launchdarkly_sdk_transport::HyperTransport;
use reqwest_eventsource::{Event, EventSource, retry::Constant};

use crate::{
    Heard,
    listeners::{Listener, Source, Streams},
};

/// Starts all of these clients.
pub(crate) fn all(streams: &Streams<'_>) -> [Listener; 2] {
    let (of_launchdarkly, of_reqwest) = ("eventsource-client (crate)", "reqwest-eventsource");
    [
        listener(of_launchdarkly, eventsource_client(&streams.url(of_launchdarkly))),
        listener(of_reqwest, reqwest_eventsource(&streams.url(of_reqwest))),
    ]
}

/// Collects the events of a client. Both clients reconnect after an error.
fn listener(name: &'static str, events: impl Stream<Item = Heard> + Send + 'static) -> Listener {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let collected = heard.clone();
    let task = tokio::spawn(events.for_each(move |event| {
        // These types belong to the bus.
        if !event.kind.starts_with('$') {
            collected.lock().unwrap().push(event);
        }
        async {}
    }));
    Listener::new(name, Source::Task(task, heard), ())
}

fn eventsource_client(url: &str) -> impl Stream<Item = Heard> + Send + use<> {
    let client = ClientBuilder::for_url(url).unwrap().build_with_transport(HyperTransport::new().unwrap());
    client.stream().filter_map(async |item| match item {
        Ok(SSE::Event(event)) => Some(Heard { kind: event.event_type, data: event.data }),
        _ => None,
    })
}

fn reqwest_eventsource(url: &str) -> impl Stream<Item = Heard> + Send + use<> {
    let mut events = EventSource::get(url);
    events.set_retry_policy(Box::new(Constant::new(Duration::from_secs(1), None)));
    events.filter_map(async |item| match item {
        Ok(Event::Message(event)) => Some(Heard { kind: event.event, data: event.data }),
        _ => None,
    })
}
