//! `/schedules`: the events that are published later.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, RawQuery, State, rejection::PathRejection},
};
use serde_json::{Value, json};
use sse_bus::protocol::ScheduleInfo;

use super::{error::Refusal, json_line::JsonLine, parameters::Operation};
use crate::{access::Caller, api, context::Daemon};

/// `GET /schedules`.
pub(super) async fn list(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<JsonLine<Vec<ScheduleInfo>>, Refusal> {
    Operation::Other.check(query.as_deref().unwrap_or_default())?;
    Ok(JsonLine(api::schedules(&daemon, &caller).await?))
}

/// `DELETE /schedules/{schedule}`.
pub(super) async fn cancel(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Extension<Caller>,
    schedule: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<JsonLine<Value>, Refusal> {
    let Path(schedule) = schedule?;
    Operation::Other.check(query.as_deref().unwrap_or_default())?;
    api::cancel_schedule(&daemon, &caller, &schedule).await?;
    Ok(JsonLine(json!({ "schedule": schedule })))
}
