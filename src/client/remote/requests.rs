//! Requests and replies over HTTP.

use bytes::Bytes;
use hyper::{Method, StatusCode};
use percent_encoding::utf8_percent_encode;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    session::{PART, Session, route},
    stream::{EventStream, refused},
};
use crate::{
    client::{error::Error, session::patience},
    limits::REPLY,
    protocol::{Reply, ReplyMessage, ReplyTo, RequestMessage, Respond},
};

/// The response to a request that says how many replies it wants.
#[derive(Deserialize)]
struct Replies {
    replies: Vec<ReplyMessage>,
}

impl Session {
    /// Sends a request to responders and waits for their replies.
    pub(crate) async fn ask(&mut self, request: &RequestMessage) -> Result<Reply, Error> {
        let event_type = request.event_type.iter().map(|event_type| ("type", event_type.clone()));
        let timeout = request.timeout_ms.iter().map(|timeout| ("timeout", format!("{timeout}ms")));
        let replies = ("replies", request.replies.unwrap_or(1).to_string());
        let query = query(event_type.chain(headers(&request.headers)).chain(timeout).chain([replies]));
        let route = route("requests", &request.topic, &query)?;
        let body = request.data.0.clone().into();
        let Replies { replies } = self.call(Method::POST, &route, body, patience(request)).await?;
        Ok(Reply::Replies(replies))
    }

    /// Makes the connection a responder. Returns its id as a client.
    pub(crate) async fn respond(mut self, respond: &Respond) -> Result<(EventStream, String), Error> {
        let topics = respond.filters.iter().map(|filter| ("topic", filter.clone()));
        let client = respond.client.iter().map(|client| ("client", client.clone()));
        let slots = respond.max_in_flight.iter().map(|slots| ("max_in_flight", slots.to_string()));
        let route = format!("/requests?{}", query(topics.chain(client).chain(slots)));
        let response = self.exchange(Method::GET, &route, Bytes::new(), REPLY).await?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            let body = self.finish(response).await?;
            return Err(self.failure(status, &body));
        }
        match EventStream::begin(response) {
            Ok((stream, subscribed)) => Ok((stream, subscribed.client)),
            Err(response) => Err(refused(&self.finish(*response).await?)),
        }
    }

    /// Replies to a request.
    pub(crate) async fn reply(&mut self, reply: &ReplyTo) -> Result<(), Error> {
        let error = reply.error.iter().map(|error| ("error", error.clone()));
        let query = query(headers(&reply.headers).chain(error));
        let route = format!("/replies/{}?{query}", utf8_percent_encode(&reply.to, PART));
        let IgnoredAny = self.call(Method::POST, &route, reply.data.0.clone().into(), REPLY).await?;
        Ok(())
    }
}

fn query(pairs: impl Iterator<Item = (&'static str, String)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn headers(headers: &[(String, String)]) -> impl Iterator<Item = (&'static str, String)> {
    headers.iter().map(|(name, value)| ("header", format!("{name}:{value}")))
}
