//! Who may: the one layer that every HTTP request passes first.
//!
//! Any web page that the user opens can send requests to loopback. `Host` (in HTTP/2 `:authority`) tells of DNS rebinding: it must name this
//! daemon. `Origin` and `Sec-Fetch-Site` tell of other pages: they must be the daemon's own, or allowed by
//! configuration. A refusal never carries `Access-Control-Allow-Origin`. The local socket is out of any page's reach;
//! its peers are checked when they connect.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sse_bus::protocol::ErrorCode;

use super::{From, error::Refusal};
use crate::server::Daemon;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Lets a request through, or refuses it.
pub(super) async fn check(State(daemon): State<Arc<Daemon>>, mut request: Request, next: Next) -> Response {
    if matches!(request.extensions().get(), Some(From::Local(_))) {
        return next.run(request).await;
    }
    let allowed = match check_headers(&daemon, &request) {
        Ok(allowed) => allowed,
        Err(refusal) => {
            daemon.metrics.refused(refusal.refused.code);
            return refusal.into_response();
        }
    };
    let Some(origin) = allowed else { return next.run(request).await };
    let preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let allowed = AllowedOrigin(origin);
    request.extensions_mut().insert(allowed.clone());
    let mut response = if preflight { preflight_answer() } else { next.run(request).await };
    allowed.tell(response.headers_mut());
    response
}

/// The origin of another page that is allowed, for answers that do not come back through here.
#[derive(Clone)]
pub(super) struct AllowedOrigin(HeaderValue);

impl AllowedOrigin {
    /// Tells the browser that the page may read the answer.
    pub(super) fn tell(self, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.0);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}

/// Checks `Host` or `:authority`, `Origin` and `Sec-Fetch-Site`. Gives the origin of another page that is allowed.
fn check_headers(daemon: &Daemon, request: &Request) -> Result<Option<HeaderValue>, Refusal> {
    let headers = request.headers();
    let hosts = own_hosts(daemon);
    if !names_only(&hosts, request) {
        let message = format!("the Host header does not name this daemon; use {}", daemon.url());
        return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, ErrorCode::Denied, message));
    }
    let cross_site = only(headers, &SEC_FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none");
    let Some(value) = headers.get(header::ORIGIN) else {
        return if cross_site { Err(foreign("another site")) } else { Ok(None) };
    };
    let origin = only(headers, &header::ORIGIN).unwrap_or("null");
    match origin.strip_prefix(daemon.scheme()).and_then(|rest| rest.strip_prefix("://")) {
        Some(host) if hosts.iter().any(|own| own == host) && !cross_site => Ok(None),
        _ if daemon.config.allow_origin.iter().any(|allowed| allowed == origin) => Ok(Some(value.clone())),
        _ => Err(foreign(origin)),
    }
}

/// Whether a request calls the daemon by one of these names, and by no other. HTTP/1.1 must have `Host` for that;
/// HTTP/2 has `:authority`, or `Host` in its place. Where a request has both, both count.
fn names_only(hosts: &[String], request: &Request) -> bool {
    let is_own = |name: &str| hosts.iter().any(|own| own.eq_ignore_ascii_case(name));
    let authority = request.uri().authority().map(|authority| is_own(authority.as_str()));
    let host = request.headers().contains_key(header::HOST);
    let host = host.then(|| only(request.headers(), &header::HOST).is_some_and(is_own));
    match (host, authority) {
        (None, authority) => request.version() == Version::HTTP_2 && authority == Some(true),
        (Some(host), authority) => host && authority != Some(false),
    }
}

/// A header's value, if it is there exactly once and is text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()
}

/// The names by which this daemon may be called.
fn own_hosts(daemon: &Daemon) -> Vec<String> {
    let port = daemon.address.port();
    let names = ["localhost".to_owned(), "127.0.0.1".into(), "[::1]".into()];
    let with_port = names.iter().map(|name| format!("{name}:{port}")).chain([daemon.address.to_string()]);
    // Browsers leave out the port if it is the usual one.
    let without = names.iter().filter(|_| port == if daemon.config.tls.is_some() { 443 } else { 80 }).cloned();
    with_port.chain(without).collect()
}

fn foreign(origin: &str) -> Refusal {
    let shown: String = origin.chars().take(200).collect();
    let message = if shown.starts_with("http") {
        format!("pages of {shown} may not use this bus; to let them, start it with: sse-busd --allow-origin {shown}")
    } else {
        format!("a page of {shown} may not use this bus; serve the page from an origin and name it with --allow-origin")
    };
    Refusal::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message)
}

fn preflight_answer() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE")),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type, last-event-id")),
        (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
        (ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true")),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}
