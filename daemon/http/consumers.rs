//! `/consumers`: create, list, show, pause, move and delete consumers.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{FromRequestParts, Path, RawQuery, State, rejection::PathRejection},
    http::{StatusCode, request::Parts},
};
use serde_json::{Value, json};
use sse_bus::{
    bus::consumers::ConsumerName,
    limits::READ_MAX,
    protocol::{ConsumerConfig, ConsumerInfo, ErrorCode, Refused},
};

use super::{consumer_query, error::Refusal, json_line::JsonLine, parameters::Operation, request_body};
use crate::{access::Caller, api::Consumers, context::Daemon};

/// Authorizes the caller.
impl FromRequestParts<Arc<Daemon>> for Consumers {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, daemon: &Arc<Daemon>) -> Result<Consumers, Refusal> {
        let caller = Extension::<Caller>::from_request_parts(parts, daemon).await;
        let Extension(caller) = caller.map_err(|_| Refusal::unauthorized("the caller is not authenticated"))?;
        Ok(Consumers::authorize(daemon, &caller)?)
    }
}

/// The name of the consumer in the path of a request, which has no parameters.
pub(super) struct Named(pub(super) ConsumerName);

impl FromRequestParts<Arc<Daemon>> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, daemon: &Arc<Daemon>) -> Result<Named, Refusal> {
        Operation::Other.check(parts.uri.query().unwrap_or_default())?;
        Ok(Named(name(Path::from_request_parts(parts, daemon).await)?))
    }
}

/// Returns the name of the consumer in a path.
pub(super) fn name(path: Result<Path<String>, PathRejection>) -> Result<ConsumerName, Refusal> {
    Ok(ConsumerName::parse(&path?.0)?)
}

/// `GET /consumers`.
pub(super) async fn list(
    consumers: Consumers,
    RawQuery(query): RawQuery,
) -> Result<JsonLine<Vec<ConsumerInfo>>, Refusal> {
    Operation::Other.check(query.as_deref().unwrap_or_default())?;
    Ok(JsonLine(consumers.list().await?))
}

/// `GET /consumers/{name}`.
pub(super) async fn show(consumers: Consumers, Named(name): Named) -> Result<JsonLine<ConsumerInfo>, Refusal> {
    Ok(JsonLine(consumers.show(&name).await?))
}

/// `PUT /consumers/{name}`: the settings are the body, as JSON, or parameters.
pub(super) async fn create(
    consumers: Consumers,
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<(StatusCode, JsonLine<ConsumerInfo>), Refusal> {
    let name = name(path)?;
    let parameters = consumer_query::create(query.as_deref().unwrap_or_default())?;
    let body = request_body::read(body, READ_MAX).await?.ok_or_else(|| {
        let message = format!("the body has more than {READ_MAX} bytes; send the settings of the consumer as JSON");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::LimitLine, message)
    })?;
    // The body may have arrived long after the head.
    daemon.access.check_still_valid(&caller.grant).await?;
    let config = match parameters {
        None if !body.is_empty() => parse(&body)?,
        Some(_) if !body.is_empty() => {
            let message = "there is a body and parameters; send the settings of the consumer as one of them";
            return Err(Refused::new(ErrorCode::RequestInvalid, message).into());
        }
        parameters => parameters.unwrap_or_default(),
    };
    let status = if consumers.create(&name, &config).await? { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, JsonLine(consumers.show(&name).await?)))
}

fn parse(body: &[u8]) -> Result<ConsumerConfig, Refused> {
    serde_json::from_slice(body).map_err(|e| {
        let message = format!("the body cannot be read: {e}; send the settings, such as {{\"filters\":[\"jobs/**\"]}}");
        Refused::new(ErrorCode::ConsumerInvalid, message)
    })
}

/// `DELETE /consumers/{name}`.
pub(super) async fn delete(consumers: Consumers, Named(name): Named) -> Result<JsonLine<Value>, Refusal> {
    consumers.delete(&name).await?;
    Ok(JsonLine(json!({ "count": 1 })))
}

/// `POST /consumers/{name}/pause`.
pub(super) async fn pause(consumers: Consumers, Named(name): Named) -> Result<JsonLine<ConsumerInfo>, Refusal> {
    consumers.pause(&name, true).await?;
    Ok(JsonLine(consumers.show(&name).await?))
}

/// `POST /consumers/{name}/resume`.
pub(super) async fn resume(consumers: Consumers, Named(name): Named) -> Result<JsonLine<ConsumerInfo>, Refusal> {
    consumers.pause(&name, false).await?;
    Ok(JsonLine(consumers.show(&name).await?))
}

/// `POST /consumers/{name}/seek?to=POSITION`.
pub(super) async fn seek(
    consumers: Consumers,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<JsonLine<ConsumerInfo>, Refusal> {
    let name = name(path)?;
    consumers.seek(&name, &consumer_query::seek(query.as_deref().unwrap_or_default())?).await?;
    Ok(JsonLine(consumers.show(&name).await?))
}
