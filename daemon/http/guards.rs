//! The layer that every HTTP request passes first.
//!
//! It checks the headers by which a browser shows which [page](super::page_check) sends the request; then it
//! [authenticates](crate::access) the caller: callers that are not processes of the daemon's own user need a token, except for
//! the [files of the dashboard](dashboard::is_public), whose form asks for it. Peers of the local socket were checked when they
//! connected. On the way back it counts refusals, of every route.

use std::{borrow::Cow, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sse_bus::tokens::Digest;

use super::{
    cors, dashboard,
    error::{Refusal, RefusedWith},
    page_check::{self, Page, only},
    source::RequestSource,
};
use crate::{
    access::{Grant, PageOrigin},
    context::Daemon,
};

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Lets a request through, or refuses it.
pub(super) async fn check(State(daemon): State<Arc<Daemon>>, request: Request, next: Next) -> Response {
    let is_health = request.uri().path() == "/healthz";
    let mut response = match page_check::check(&daemon, &request) {
        Ok(page) => respond(&daemon, page, request, next).await,
        Err(refusal) => refusal.into_response(),
    };
    if let Some(RefusedWith(code)) = response.extensions().get() {
        daemon.metrics.refused(*code);
    }
    if is_health {
        // Lets /client.js in pages of any origin see that the daemon answers.
        response.headers_mut().insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    }
    for (name, value) in ALWAYS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

async fn respond(daemon: &Daemon, page: Page, request: Request, next: Next) -> Response {
    let allowed = page.allowed.clone();
    let mut response = if allowed.is_some() && cors::is_preflight(&request) {
        // A preflight does not have the token that the request itself will have.
        cors::preflight(request.headers())
    } else {
        authenticated(daemon, page, request, next).await.unwrap_or_else(IntoResponse::into_response)
    };
    if let Some(allowed) = allowed {
        allowed.add_to(response.headers_mut());
    }
    response
}

/// Runs the handler of a request once its caller is authenticated.
async fn authenticated(daemon: &Daemon, page: Page, mut request: Request, next: Next) -> Result<Response, Refusal> {
    let source: Option<RequestSource> = request.extensions_mut().remove();
    let source = source.ok_or_else(|| Refusal::unauthorized("the connection is unknown"))?;
    if dashboard::is_public(request.method(), request.uri().path()) {
        return Ok(next.run(request).await);
    }
    let credential = credential(&request, source.needs_no_token());
    let grant = authenticate(daemon, credential).await?;
    source.note_authenticated();
    let Page { origin, allowed } = page;
    let page = origin.map(|origin| PageOrigin { origin, is_foreign: allowed.is_some() });
    request.extensions_mut().insert(source.caller(page, grant));
    if let Some(allowed) = allowed {
        request.extensions_mut().insert(allowed);
    }
    Ok(next.run(request).await)
}

/// Headers of every response, also of streams whose response does not pass here: a URL may contain a ticket and must not be sent to
/// other sites; browsers must not guess content types; no cache may send one origin the response for another; and no page
/// of another origin may embed it.
pub(super) const ALWAYS: [(HeaderName, HeaderValue); 4] = [
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::VARY, HeaderValue::from_static("origin")),
    (RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
];

/// How a request authenticates its caller.
enum Credential {
    Token(Digest),
    Ticket(Digest),
    /// The connection needs no token.
    Own,
    None,
}

/// Returns the credential of a request. A token or ticket counts even if the connection needs none.
fn credential(request: &Request, needs_no_token: bool) -> Credential {
    let headers = request.headers();
    if headers.contains_key(header::AUTHORIZATION)
        && let Some(secret) = only(headers, &header::AUTHORIZATION).map_or(Some(""), bearer)
    {
        return Credential::Token(Digest::of(secret));
    }
    match ticket(request) {
        Some(ticket) => Credential::Ticket(Digest::of(&ticket)),
        None if needs_no_token => Credential::Own,
        None => Credential::None,
    }
}

/// Authenticates a caller.
async fn authenticate(daemon: &Daemon, credential: Credential) -> Result<Grant, Refusal> {
    let (grant, message) = match credential {
        Credential::Own => (Some(Grant::Everything), ""),
        Credential::Token(token) => {
            (daemon.access.by_token(token).await, "invalid or expired token; create one with `sse-busctl token create`")
        }
        Credential::Ticket(ticket) => {
            (daemon.access.by_ticket(ticket).await, "invalid or expired ticket; get another one with POST /tickets")
        }
        Credential::None => (
            None,
            "this connection is not known to be from the user that the bus belongs to; send `Authorization: Bearer TOKEN`, \
             with a token that this user creates with `sse-busctl token create`",
        ),
    };
    grant.ok_or_else(|| Refusal::unauthorized(message))
}

/// Returns the token of an `Authorization` header with the scheme `Bearer` (RFC 6750, 2.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Returns the ticket in the URL of a stream.
fn ticket(request: &Request) -> Option<Cow<'_, str>> {
    let is_stream = request.uri().path().split('/').nth(1) == Some("events")
        && matches!(*request.method(), Method::GET | Method::HEAD);
    let query = request.uri().query().filter(|_| is_stream)?;
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "ticket").map(|(_, ticket)| ticket)
}
