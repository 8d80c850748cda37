//! Refusals as HTTP answers: a status, and the same code and message that the local socket gives.

use axum::{
    extract::{Request, rejection::PathRejection},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::json;
use sse_bus::protocol::{ErrorCode, Refused};

use super::{JsonLine, parameters::Operation};

/// A request was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) refused: Refused,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { status, refused: Refused::new(code, message) }
    }

    /// It is not known who asks.
    pub(super) fn unauthorized(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::UNAUTHORIZED, ErrorCode::Denied, message)
    }
}

impl std::convert::From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        let status = match refused.code {
            ErrorCode::LimitEvent => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::ClientUnknown => StatusCode::NOT_FOUND,
            ErrorCode::Denied => StatusCode::FORBIDDEN,
            ErrorCode::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            code if code.is_limit() => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::BAD_REQUEST,
        };
        Refusal { status, refused }
    }
}

impl std::convert::From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Refusal {
        let message = format!("the path cannot be read ({rejection}); percent-encode UTF-8");
        Refusal::new(rejection.status(), ErrorCode::RequestInvalid, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refused { code, message, .. } = self.refused;
        let body = JsonLine(json!({ "error": { "code": code.as_str(), "message": message } }));
        let mut response = (self.status, body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let how = HeaderValue::from_static("Bearer realm=\"sse-bus\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
        }
        response
    }
}

/// For routes that take no parameters.
pub(super) async fn refuse_parameters(request: Request, next: Next) -> Response {
    match Operation::Other.check(request.uri().query().unwrap_or_default()) {
        Ok(()) => next.run(request).await,
        Err(refused) => Refusal::from(refused).into_response(),
    }
}

/// Something is there, but not for this method. The routes name those it is for in `Allow`, which is all that `OPTIONS` is
/// for.
pub(super) async fn no_such_method(request: Request) -> Result<StatusCode, Refusal> {
    if request.method() == Method::OPTIONS {
        return Ok(StatusCode::NO_CONTENT);
    }
    let method: String = request.method().as_str().chars().take(20).collect();
    let message = format!("{method} is no method of this path; the header Allow names those it has");
    Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::RequestInvalid, message))
}

/// Nothing is there.
pub(super) async fn no_such_route(request: Request) -> Result<StatusCode, Refusal> {
    // `OPTIONS *` asks for the server as a whole (RFC 9110, 9.3.7).
    if request.method() == Method::OPTIONS && request.uri().path() == "*" {
        return Ok(StatusCode::NO_CONTENT);
    }
    let path: String = request.uri().path().chars().take(60).collect();
    let message = format!("there is nothing at {path}; try /events, /topics, /clients, /status, /metrics, /healthz");
    Err(Refusal::new(StatusCode::NOT_FOUND, ErrorCode::RequestInvalid, message))
}
