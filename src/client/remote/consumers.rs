//! Consumers of a daemon elsewhere: the requests of [`ConsumerAction`]s, deliveries, and how they are settled.

use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use percent_encoding::utf8_percent_encode;
use serde::{Deserialize, Serialize};

use super::session::{PART, Session, not_ours};
use crate::{
    client::error::Error,
    limits::REPLY,
    protocol::{Consume, ConsumerAction, ConsumerInfo, DeadSelection, EventMessage, Reply, Request, json},
};

/// How long a request for deliveries waits for the first.
const WAIT: Duration = Duration::from_secs(30);

/// The number of changed consumers or dead letters.
#[derive(Deserialize)]
struct Changed {
    count: u64,
}

/// The number of settled deliveries.
#[derive(Deserialize)]
struct Settled {
    #[expect(dead_code, reason = "a refusal reports the others")]
    deliveries: u64,
}

/// The body of a request that settles deliveries.
#[derive(Serialize)]
struct Settle<'a> {
    tokens: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl Session {
    /// Runs an action on a consumer.
    pub(super) async fn consumer(&mut self, name: &str, action: &ConsumerAction) -> Result<Reply, Error> {
        let route = route(name, "");
        let none = Bytes::new();
        Ok(match action {
            ConsumerAction::Show => Reply::Consumer(self.get(&route).await?),
            ConsumerAction::Create(config) => {
                let body = serde_json::to_vec(config).map_err(|e| Error::Protocol(e.to_string()))?;
                let response = self.exchange(Method::PUT, &route, body.into(), REPLY).await?;
                let is_new = response.status() == StatusCode::CREATED;
                self.success(response).await?;
                Reply::Changed { count: is_new.into() }
            }
            ConsumerAction::Pause | ConsumerAction::Resume => {
                let verb = if *action == ConsumerAction::Pause { "/pause" } else { "/resume" };
                let _: ConsumerInfo = self.call(Method::POST, &(route + verb), none, REPLY).await?;
                Reply::Changed { count: 1 }
            }
            ConsumerAction::Seek { to } => {
                let route = format!("{route}/seek?to={}", utf8_percent_encode(to, PART));
                let _: ConsumerInfo = self.call(Method::POST, &route, none, REPLY).await?;
                Reply::Changed { count: 1 }
            }
            ConsumerAction::Delete => self.change(Method::DELETE, &route).await?,
            ConsumerAction::Dead { after } => {
                let after = after.map_or_else(String::new, |id| format!("?after={id}"));
                Reply::DeadLetters(self.get(&format!("{route}/dead{after}")).await?)
            }
            ConsumerAction::RetryDead(selection) => self.change(Method::POST, &dead(&route, selection)).await?,
            ConsumerAction::DropDead(selection) => self.change(Method::DELETE, &dead(&route, selection)).await?,
        })
    }

    async fn change(&mut self, method: Method, route: &str) -> Result<Reply, Error> {
        let Changed { count } = self.call(method, route, Bytes::new(), REPLY).await?;
        Ok(Reply::Changed { count })
    }

    /// Takes at most `count` deliveries, and waits for the first. There may be none.
    pub(super) async fn next(&mut self, consume: &Consume, count: usize) -> Result<Vec<EventMessage>, Error> {
        let mut route = format!("{}?count={count}&wait={}s", route(&consume.consumer, "/next"), WAIT.as_secs());
        if let Some(name) = &consume.client {
            route.extend(["&worker=".to_owned(), utf8_percent_encode(name, PART).to_string()]);
        }
        let response = self.exchange(Method::POST, &route, Bytes::new(), WAIT + REPLY).await?;
        let body = self.success_within(response, WAIT + REPLY).await?;
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| json::decode(line).map_err(|e| not_ours(&e))).collect()
    }

    /// Settles deliveries.
    pub(super) async fn settle(&mut self, consumer: &str, request: &Request) -> Result<(), Error> {
        let body = |tokens| Settle { tokens, delay_ms: None, reason: None };
        let (verb, body) = match request {
            Request::Ack { tokens } => ("/ack", body(tokens)),
            Request::Nak { tokens, delay_ms } => ("/nak", Settle { delay_ms: *delay_ms, ..body(tokens) }),
            Request::Extend { tokens } => ("/extend", body(tokens)),
            Request::Reject { tokens, reason } => ("/reject", Settle { reason: Some(reason), ..body(tokens) }),
            Request::Release { tokens } => ("/release", body(tokens)),
            _ => return Err(Error::Protocol("the request does not settle a delivery".into())),
        };
        let body = serde_json::to_vec(&body).map_err(|e| Error::Protocol(e.to_string()))?;
        let _: Settled = self.call(Method::POST, &route(consumer, verb), body.into(), REPLY).await?;
        Ok(())
    }
}

fn route(consumer: &str, verb: &str) -> String {
    format!("/consumers/{}{verb}", utf8_percent_encode(consumer, PART))
}

fn dead(route: &str, selection: &DeadSelection) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(id) = selection.id {
        query.append_pair("id", &id.to_string());
    }
    if let Some(filter) = &selection.filter {
        query.append_pair("filter", filter);
    }
    if selection.all {
        query.append_pair("all", "true");
    }
    format!("{route}/dead?{}", query.finish())
}
