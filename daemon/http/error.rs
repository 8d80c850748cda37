//! Refusals as HTTP responses: a status, and the code and message of the refusal, as on the local socket.
//!
//! A response carries its code in [`RefusedWith`], by which the [guards](super::guards) count every refusal once.

use axum::{
    Extension,
    extract::{Request, rejection::PathRejection},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use sse_bus::protocol::{ErrorCode, Refused};

use super::json_line::JsonLine;

/// A request was refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) refused: Refused,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { status, refused: Refused::new(code, message) }
    }

    /// The caller is not authenticated.
    pub(super) fn unauthorized(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::UNAUTHORIZED, ErrorCode::Denied, message)
    }
}

/// The code of a refusal, in the extensions of its response.
#[derive(Clone, Copy, Debug)]
pub(super) struct RefusedWith(pub(super) ErrorCode);

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        let status = match refused.code {
            ErrorCode::LimitEvent => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::ClientUnknown
            | ErrorCode::ConsumerUnknown
            | ErrorCode::DeadUnknown
            | ErrorCode::ScheduleUnknown => StatusCode::NOT_FOUND,
            ErrorCode::ConsumerExists | ErrorCode::StaleDelivery | ErrorCode::StaleRequest => StatusCode::CONFLICT,
            ErrorCode::Denied | ErrorCode::KeptOut => StatusCode::FORBIDDEN,
            ErrorCode::Stopping | ErrorCode::Unavailable | ErrorCode::UnknownOutcome | ErrorCode::NoResponder => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ErrorCode::ResponderGone | ErrorCode::ResponderFailed => StatusCode::BAD_GATEWAY,
            ErrorCode::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            code if code.is_limit() => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::BAD_REQUEST,
        };
        Refusal { status, refused }
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Refusal {
        let message = format!("the path cannot be read ({rejection}); percent-encode UTF-8");
        Refusal::new(rejection.status(), ErrorCode::RequestInvalid, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refused { code, message, .. } = self.refused;
        let body = JsonLine(json!({ "error": { "code": code.as_str(), "message": message } }));
        let mut response = (self.status, Extension(RefusedWith(code)), body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let how = HeaderValue::from_static("Bearer realm=\"sse-bus\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
        }
        response
    }
}

/// The path exists, but not with this method. The response names the methods of the path in `Allow`, which is all that an
/// `OPTIONS` request asks for.
pub(super) async fn method_not_allowed(request: Request) -> Result<StatusCode, Refusal> {
    if request.method() == Method::OPTIONS {
        return Ok(StatusCode::NO_CONTENT);
    }
    let method: String = request.method().as_str().chars().take(20).collect();
    let message = format!("method {method} is not allowed here; the header Allow names those that are");
    Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::RequestInvalid, message))
}

/// The path does not exist.
pub(super) async fn not_found(request: Request) -> Result<StatusCode, Refusal> {
    // `OPTIONS *` is about the server as a whole (RFC 9110, 9.3.7).
    if request.method() == Method::OPTIONS && request.uri().path() == "*" {
        return Ok(StatusCode::NO_CONTENT);
    }
    let path: String = request.uri().path().chars().take(60).collect();
    let message =
        format!("there is nothing at {path}; try /events, /consumers, /topics, /clients, /status, /metrics, /healthz");
    Err(Refusal::new(StatusCode::NOT_FOUND, ErrorCode::RequestInvalid, message))
}
