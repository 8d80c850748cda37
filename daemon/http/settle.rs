//! `POST /consumers/{name}/ack`, `nak`, `extend`, `reject`, `release`: settle deliveries. The body is the JSON object of the
//! request of the same name on the local socket, such as `{"tokens":["18c0a2-7"]}`.

use std::sync::Arc;

use axum::{Extension, body::Body, extract::State, http::StatusCode};
use serde_json::{Value, json};
use sse_bus::{
    bus::consumers::ConsumerName,
    limits::SETTLE_BODY,
    protocol::{ErrorCode, Refused, Request, json},
    tokens::Scope,
};

use super::{consumers::Named, error::Refusal, json_line::JsonLine, request_body};
use crate::{
    access::Caller,
    api::{self, Settle},
    context::Daemon,
};

macro_rules! handlers {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        $(
            $(#[$doc])*
            pub(super) async fn $name(
                State(daemon): State<Arc<Daemon>>,
                Extension(caller): Extension<Caller>,
                Named(consumer): Named,
                body: Body,
            ) -> Result<JsonLine<Value>, Refusal> {
                settle(&daemon, &caller, consumer, $text, body).await
            }
        )*
    };
}

handlers! {
    /// The events are done.
    ack = "ack",
    /// The attempts failed.
    nak = "nak",
    /// The worker needs more time.
    extend = "extend",
    /// The events cannot be processed.
    reject = "reject",
    /// The worker returns the events.
    release = "release",
}

async fn settle(
    daemon: &Daemon,
    caller: &Caller,
    consumer: ConsumerName,
    verb: &str,
    body: Body,
) -> Result<JsonLine<Value>, Refusal> {
    // Before the body is read.
    caller.grant.require(Scope::Work)?;
    let body = request_body::read(body, SETTLE_BODY).await?.ok_or_else(|| {
        let message = format!("the body has more than {SETTLE_BODY} bytes; settle the rest in another request");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::LimitLine, message)
    })?;
    // The body may have arrived long after the head.
    daemon.access.check_still_valid(&caller.grant).await?;
    let settle = parse(verb, &body)?.of(consumer);
    let mut results = api::settle(daemon, caller, None, &[settle]).await;
    let deliveries = results.pop().unwrap_or(Ok(0))?;
    Ok(JsonLine(json!({ "deliveries": deliveries })))
}

/// Reads the body as the local socket would.
fn parse(verb: &str, body: &[u8]) -> Result<Settle, Refused> {
    let invalid = |why: &str| {
        let message =
            format!("the body cannot be read: {why}; send an object with the tokens of deliveries in `tokens`");
        Refused::new(ErrorCode::RequestInvalid, message)
    };
    let line = [b"{\"", verb.as_bytes(), b"\":", body, b"}"].concat();
    let request: Request = json::decode(&line).map_err(|e| invalid(&e.to_string()))?;
    Settle::parse(request).map_err(|_| invalid("it is not such a request"))
}
