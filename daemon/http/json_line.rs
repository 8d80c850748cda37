//! JSON responses.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// A JSON value as a response. It ends with a line break, so that the prompt of a terminal does not follow on its line.
pub(super) struct JsonLine<T>(pub(super) T);

impl<T: Serialize> IntoResponse for JsonLine<T> {
    fn into_response(self) -> Response {
        let mut line = Vec::new();
        sse_bus::protocol::json::encode(&self.0, &mut line);
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], line).into_response()
    }
}
