//! Requests to a daemon elsewhere and its responses, as requests and replies of the protocol.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{Method, Response, StatusCode, body::Incoming};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::{
    connection::{Connection, SendError, broken, request},
    refusal,
    stream::{EventStream, refused},
    url::Remote,
};
use crate::{
    client::error::Error,
    limits::REPLY,
    protocol::{
        Ack, ErrorCode, Publish, Published, Refused, Reply, Request, Subscribe, Subscribed, UNREACHABLE_HEADER,
        json::{self, DecodeError},
    },
    topic::Topic,
};

/// Maximum bytes of a response. A longer one is an error.
const RESPONSE_MAX: usize = 64 << 20;
/// The characters that a part of a path may contain as they are.
pub(super) const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same for topics, which have several parts.
const TOPIC: &AsciiSet = &PART.remove(b'/');

/// The requests to a daemon elsewhere.
#[derive(Debug)]
pub(crate) struct Session {
    remote: Remote,
    /// None while a request is in progress: a call that is dropped closes the connection.
    connection: Option<Connection>,
}

/// The response to a kick.
#[derive(Deserialize)]
struct Kicked {
    connections: u64,
    #[serde(default)]
    unreachable: Vec<String>,
}

/// The response to a cancelled schedule.
#[derive(Deserialize)]
struct Cancelled {
    #[serde(rename = "schedule")]
    _schedule: String,
}

impl Session {
    pub(crate) async fn connect(remote: &Remote) -> Result<Session, Error> {
        Ok(Session { remote: remote.clone(), connection: Some(Connection::open(remote).await?) })
    }

    pub(crate) fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Sends a request and waits for its response. Not for publishes and subscriptions.
    pub(crate) async fn request(&mut self, request: &Request) -> Result<Reply, Error> {
        match request {
            Request::Clients {} => self.clients().await,
            Request::Nodes {} => self.get("/nodes").await.map(Reply::Nodes),
            Request::Topics {} => self.get("/topics").await.map(Reply::Topics),
            Request::Status {} => self.get("/status").await.map(Reply::Status),
            Request::Config {} => self.get("/config").await.map(Reply::Config),
            Request::Kick { client, for_ms } => {
                let mut route = format!("/clients/{}", utf8_percent_encode(client, PART));
                if let Some(time) = for_ms {
                    // Writing to a String cannot fail.
                    let _ = write!(route, "?for={time}ms");
                }
                let Kicked { connections, unreachable } =
                    self.call(Method::DELETE, &route, Bytes::new(), REPLY).await?;
                Ok(Reply::Kicked { connections, unreachable })
            }
            Request::Publish(publish) if publish.is_scheduled() => self.post(publish).await.map(Reply::Scheduled),
            Request::Publish(publish) => self.publish(publish).await.map(Reply::Published),
            Request::Schedules {} => self.get("/schedules").await.map(Reply::Schedules),
            Request::CancelSchedule { schedule } => {
                let route = format!("/schedules/{}", utf8_percent_encode(schedule, PART));
                let _: Cancelled = self.call(Method::DELETE, &route, Bytes::new(), REPLY).await?;
                Ok(Reply::Cancelled { schedule: schedule.clone() })
            }
            Request::Subscribe(_) => Err(Error::Protocol("a subscription needs a connection of its own".into())),
            Request::Consumers {} => self.get("/consumers").await.map(Reply::Consumers),
            Request::Consumer { name, action } => self.consumer(name, action).await,
            _ => Err(Error::Protocol("this request cannot be sent over HTTP".into())),
        }
    }

    /// Lists the clients. A header names the nodes that have not answered.
    async fn clients(&mut self) -> Result<Reply, Error> {
        let response = self.exchange(Method::GET, "/clients", Bytes::new(), REPLY).await?;
        let unreachable = response.headers().get(UNREACHABLE_HEADER).and_then(|names| names.to_str().ok());
        let unreachable: Vec<String> =
            unreachable.iter().flat_map(|names| names.split(',')).map(|name| name.trim().into()).collect();
        let body = self.success(response).await?;
        let clients = json::decode(&body).map_err(|e| not_ours(&e))?;
        Ok(Reply::of_clients(clients, unreachable))
    }

    /// Returns when the daemon has shown that it answers.
    pub(crate) async fn ping(&mut self) -> Result<(), Error> {
        let response = self.exchange(Method::GET, "/healthz", Bytes::new(), REPLY).await?;
        match response.status() {
            // The daemon answers, even if it cannot write to its disk; but a proxy answers so, too.
            StatusCode::SERVICE_UNAVAILABLE if !response.headers().contains_key("cross-origin-resource-policy") => {
                Err(self.failure(response.status(), b""))
            }
            StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE => self.finish(response).await.map(drop),
            status => {
                let body = self.finish(response).await?;
                Err(self.failure(status, &body))
            }
        }
    }

    /// Publishes one event, without a time limit if it is to be durable.
    pub(crate) async fn publish(&mut self, publish: &Publish) -> Result<Published, Error> {
        if publish.sequence.is_none() {
            return self.post(publish).await;
        }
        // The query of a single event has no number.
        let mut line = Vec::new();
        json::encode(publish, &mut line);
        let replies = self.publish_lines(line.into(), publish.ack == Ack::Durable).await?;
        match replies.into_iter().next() {
            Some(Reply::Published(published)) => Ok(published),
            Some(Reply::Error(refused)) => Err(Error::refused(refused)),
            Some(other) => Err(Error::unexpected(&other)),
            None => Err(Error::Protocol("no result to an event".into())),
        }
    }

    /// Publishes or schedules one event.
    async fn post<T: DeserializeOwned>(&mut self, publish: &Publish) -> Result<T, Error> {
        let route = publish_route(publish)?;
        let patience = if publish.ack == Ack::Durable { Duration::MAX } else { REPLY };
        self.call(Method::POST, &route, publish.data.0.clone().into(), patience).await
    }

    /// Publishes events, one JSON object a line, and returns the reply to each.
    ///
    /// Without a time limit if any of them is to be durable.
    pub(super) async fn publish_lines(&mut self, lines: Bytes, is_durable: bool) -> Result<Vec<Reply>, Error> {
        let patience = if is_durable { Duration::MAX } else { REPLY };
        let response = self.exchange(Method::POST, "/events", lines, patience).await?;
        let body = self.success(response).await?;
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| json::decode(line).map_err(|e| not_ours(&e))).collect()
    }

    /// Makes the connection a subscription.
    pub(crate) async fn subscribe(mut self, subscribe: &Subscribe) -> Result<(EventStream, Subscribed), Error> {
        let route = subscribe_route(subscribe);
        let response = self.exchange(Method::GET, &route, Bytes::new(), REPLY).await?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            let body = self.finish(response).await?;
            return Err(self.failure(status, &body));
        }
        match EventStream::begin(response) {
            Ok(stream) => Ok(stream),
            // Read like every other response: it may never end.
            Err(response) => Err(refused(&self.finish(*response).await?)),
        }
    }

    pub(super) async fn get<T: DeserializeOwned>(&mut self, route: &str) -> Result<T, Error> {
        self.call(Method::GET, route, Bytes::new(), REPLY).await
    }

    /// Sends a request and decodes its response.
    pub(super) async fn call<T: DeserializeOwned>(
        &mut self,
        method: Method,
        route: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<T, Error> {
        let response = self.exchange(method, route, body, patience).await?;
        let body = self.success(response).await?;
        json::decode(&body).map_err(|e| not_ours(&e))
    }

    /// Sends a request and waits for the head of its response, at most for `patience`.
    pub(super) async fn exchange(
        &mut self,
        method: Method,
        route: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<Response<Incoming>, Error> {
        let mut pending = request(&self.remote, method, route, body)?;
        let exchange = async {
            if let Some(mut connection) = self.connection.take() {
                match connection.send(pending).await {
                    Ok(response) => return Ok((connection, response)),
                    // The other end has closed the idle connection.
                    Err(SendError::NotSent(request)) => pending = *request,
                    Err(SendError::Failed(error)) => return Err(error),
                }
            }
            let mut connection = Connection::open(&self.remote).await?;
            match connection.send(pending).await {
                Ok(response) => Ok((connection, response)),
                Err(SendError::NotSent(_)) => Err(Error::closed()),
                Err(SendError::Failed(error)) => Err(error),
            }
        };
        match timeout(patience, exchange).await {
            Ok(outcome) => {
                let (connection, response) = outcome?;
                self.connection = Some(connection);
                Ok(response)
            }
            Err(_) => Err(Error::Unresponsive { address: self.remote.clone().into(), after: patience }),
        }
    }

    /// Reads the rest of a response.
    pub(super) async fn finish(&mut self, response: Response<Incoming>) -> Result<Bytes, Error> {
        self.finish_within(response, REPLY).await
    }

    async fn finish_within(&mut self, response: Response<Incoming>, patience: Duration) -> Result<Bytes, Error> {
        // Until the response is read, the connection cannot be used; a call that is dropped here closes it.
        let connection = self.connection.take();
        let body = timeout(patience, Limited::new(response.into_body(), RESPONSE_MAX).collect()).await;
        let body = body.map_err(|_| Error::Unresponsive { address: self.remote.clone().into(), after: patience })?;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => broken(*error),
            Err(error) if error.is::<LengthLimitError>() => {
                Error::Protocol(format!("its response has more than {RESPONSE_MAX} bytes"))
            }
            Err(error) => Error::Protocol(error.to_string()),
        })?;
        self.connection = connection;
        Ok(body.to_bytes())
    }

    /// Returns the body of a response, or the error that it reports.
    pub(super) async fn success(&mut self, response: Response<Incoming>) -> Result<Bytes, Error> {
        self.success_within(response, REPLY).await
    }

    /// The same for a response whose body may begin later.
    pub(super) async fn success_within(
        &mut self,
        response: Response<Incoming>,
        patience: Duration,
    ) -> Result<Bytes, Error> {
        let status = response.status();
        let body = self.finish_within(response, patience).await?;
        if status.is_success() { Ok(body) } else { Err(self.failure(status, &body)) }
    }

    /// Returns the error of a response.
    pub(super) fn failure(&self, status: StatusCode, body: &[u8]) -> Error {
        if let Some(error) = refusal::decode(body) {
            return error;
        }
        match status {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                let source = std::io::Error::other(format!("a proxy answers {status}"));
                Error::Unreachable { url: self.remote.to_string(), source }
            }
            _ => Error::Protocol(format!("{} answers {status}", self.remote)),
        }
    }
}

/// Returns the route of an operation on a topic.
pub(super) fn route(operation: &str, topic: &str, query: &str) -> Result<String, Error> {
    // A proxy could change the path of an invalid topic, such as `a//b`.
    let topic = Topic::parse(topic)
        .map_err(|e| Error::Refused(Refused::new(ErrorCode::TopicInvalid, format!("the topic cannot be used: {e}"))))?;
    let mark = if query.is_empty() { "" } else { "?" };
    Ok(format!("/{operation}/{}{mark}{query}", utf8_percent_encode(topic.as_str(), TOPIC)))
}

pub(super) fn not_ours(error: &DecodeError) -> Error {
    Error::Protocol(error.to_string())
}

// The routes are made in functions that are not async: a serializer of queries is not `Send`, so that a future with one is not.

fn publish_route(publish: &Publish) -> Result<String, Error> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(event_type) = &publish.event_type {
        query.append_pair("type", event_type);
    }
    for (name, value) in &publish.headers {
        query.append_pair("header", &format!("{name}:{value}"));
    }
    if publish.retain {
        query.append_pair("retain", "true");
    }
    if let Some(ttl) = publish.ttl_ms {
        query.append_pair("ttl", &format!("{ttl}ms"));
    }
    if let Some(to) = &publish.to {
        query.append_pair("to", to);
    }
    for (name, value) in [("dedup_id", &publish.dedup_id), ("schedule_id", &publish.schedule_id)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    if let Some(time) = publish.in_ms {
        query.append_pair("in", &format!("{time}ms"));
    }
    if let Some(time) = publish.at {
        query.append_pair("at", &time.to_string());
    }
    if publish.ack == Ack::Durable {
        query.append_pair("ack", "durable");
    }
    route("events", &publish.topic, &query.finish())
}

fn subscribe_route(subscribe: &Subscribe) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("format", "json").append_pair("position", "id");
    for filter in &subscribe.filters {
        query.append_pair("topic", filter);
    }
    for (name, value) in [("since", &subscribe.since), ("client", &subscribe.client)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.append_pair("slow", subscribe.slow.as_str());
    if subscribe.past_only {
        query.append_pair("past_only", "true");
    }
    format!("/events?{}", query.finish())
}
