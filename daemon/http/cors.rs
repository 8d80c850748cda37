//! Cross-origin resource sharing: the headers with which a browser lets a page of an allowed origin send a request and read
//! the response.
//!
//! An allowed page may send credentials: the bus sets no cookies and ignores those of others, but some libraries always send
//! them. A preflight is answered with the header names that it asks for, up to [`ECHO_MAX`] bytes, since tracing and
//! hypermedia libraries add headers of their own to every request.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Bytes of header names that a preflight allows at most.
const ECHO_MAX: usize = 1 << 10;

/// The origin of another page that is allowed.
#[derive(Clone)]
pub(super) struct AllowedOrigin(pub(super) HeaderValue);

impl AllowedOrigin {
    /// Adds the headers that let the page read the response.
    pub(super) fn add_to(self, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.0);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

/// Returns true for a preflight, with which a browser finds out whether a page may send a request.
pub(super) fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers a preflight of an allowed origin.
pub(super) fn preflight(asked: &HeaderMap) -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, DELETE")),
        (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
        (
            header::VARY,
            HeaderValue::from_static("origin, access-control-request-headers, access-control-request-private-network"),
        ),
    ];
    let mut response = (StatusCode::NO_CONTENT, headers).into_response();
    if let Some(allowed) = allowed_headers(asked) {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    if asked.get(&REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == "true") {
        response.headers_mut().insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    response
}

/// Returns the names that a preflight asks for. A name that is not valid, or no longer fits, is left out; the request is not
/// refused, so that the browser's console names the header that is not allowed.
fn allowed_headers(asked: &HeaderMap) -> Option<HeaderValue> {
    let values = asked.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let mut allowed = String::new();
    for name in names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()) {
        let comma = if allowed.is_empty() { "" } else { ", " };
        if allowed.len() + comma.len() + name.as_str().len() <= ECHO_MAX {
            allowed.extend([comma, name.as_str()]);
        }
    }
    HeaderValue::try_from(allowed).ok().filter(|allowed| !allowed.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(asked: &[&str]) -> String {
        let value = |text: &&str| (header::ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::try_from(*text).unwrap());
        let allowed = allowed_headers(&asked.iter().map(value).collect());
        allowed.map_or_else(String::new, |allowed| allowed.to_str().unwrap().to_owned())
    }

    #[test]
    fn only_field_names_are_echoed_and_only_as_many_as_fit() {
        assert_eq!(allowed(&["traceparent,HX-Request", " x "]), "traceparent, hx-request, x");
        assert_eq!(allowed(&["a b, c:d, \u{e9}, , <x>, ok"]), "ok");
        assert_eq!(allowed(&["", ","]), "");
        let long = "x".repeat(ECHO_MAX);
        assert_eq!(allowed(&[&long]), long);
        assert_eq!(allowed(&[&format!("a, {long}, b")]), "a, b");
    }
}
