//! `/consumers/{name}/dead`: list, retry and drop dead letters.

use axum::extract::{Path, RawQuery, rejection::PathRejection};
use serde_json::{Value, json};
use sse_bus::{
    bus::consumers::DeadOperation,
    protocol::{DeadLetter, ErrorCode, Refused},
};

use super::{
    consumer_query::{self, DeadList},
    consumers::name,
    error::Refusal,
    json_line::JsonLine,
};
use crate::api::Consumers;

/// `GET /consumers/{name}/dead`: some of the dead letters, by id; `after` continues.
pub(super) async fn list(
    consumers: Consumers,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<JsonLine<Vec<DeadLetter>>, Refusal> {
    let name = name(path)?;
    let DeadList { id, filter, after } = consumer_query::dead_list(query.as_deref().unwrap_or_default())?;
    let Some(id) = id else {
        return Ok(JsonLine(consumers.dead(&name, after, filter.as_deref()).await?));
    };
    let before = id.at(id.seq.saturating_sub(1));
    let mut found = consumers.dead(&name, Some(before), None).await?;
    found.truncate(1);
    if found.first().is_none_or(|letter| letter.id != id) {
        let message = format!("the consumer `{name}` has no dead letter `{id}`; list them with `dead list {name}`");
        return Err(Refused::new(ErrorCode::DeadUnknown, message).into());
    }
    Ok(JsonLine(found))
}

/// `POST /consumers/{name}/dead`: dead letters are delivered again.
pub(super) async fn retry(
    consumers: Consumers,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<JsonLine<Value>, Refusal> {
    change(&consumers, path, query, DeadOperation::Retry).await
}

/// `DELETE /consumers/{name}/dead`: dead letters are removed.
pub(super) async fn drop(
    consumers: Consumers,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<JsonLine<Value>, Refusal> {
    change(&consumers, path, query, DeadOperation::Drop).await
}

async fn change(
    consumers: &Consumers,
    path: Result<Path<String>, PathRejection>,
    query: Option<String>,
    operation: DeadOperation,
) -> Result<JsonLine<Value>, Refusal> {
    let selection = consumer_query::dead_selection(query.as_deref().unwrap_or_default())?;
    let count = consumers.change_dead(&name(path)?, &selection, operation).await?;
    Ok(JsonLine(json!({ "count": count })))
}
