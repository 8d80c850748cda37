//! Who may: the one layer that every HTTP request passes first.
//!
//! First come the headers by which a browser shows which [page](super::page_check) sends the request; then
//! [authorization](crate::access): callers that are not of the daemon's own user need a token. Only then is anything else
//! looked at. Peers of the local socket are checked when they connect.

use std::{borrow::Cow, fmt, sync::Arc};

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sse_bus::tokens::{Digest, Scope};

use super::{
    From, cors,
    error::Refusal,
    page_check::{self, Page, only},
};
use crate::{
    access::{Grant, Publisher},
    server::Daemon,
};

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Lets a request through, or refuses it.
pub(super) async fn check(State(daemon): State<Arc<Daemon>>, request: Request, next: Next) -> Response {
    let is_health = request.uri().path() == "/healthz";
    let mut response = match admit(&daemon, &request) {
        Ok(admitted) => answer(&daemon, admitted, request, next).await,
        Err(refusal) => refused(&daemon, refusal),
    };
    if is_health {
        // Other pages may see that there is an answer, which /client.js looks for.
        response.headers_mut().insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    }
    for (name, value) in ALWAYS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

async fn answer(daemon: &Daemon, admitted: Admitted, mut request: Request, next: Next) -> Response {
    let Admitted { page: Page { origin, allowed }, credential } = admitted;
    let preflight = allowed.is_some() && cors::is_preflight(&request);
    if let Some(allowed) = &allowed {
        request.extensions_mut().insert(allowed.clone());
    }
    // A browser asks without the token that the request itself will bring.
    let who = if preflight { None } else { Some(who(daemon, credential).await) };
    let mut response = match who {
        None => cors::preflight(request.headers()),
        Some(Ok(grant)) => {
            let from: Option<From> = request.extensions_mut().remove();
            if let Some(from) = &from {
                from.becomes_known();
            }
            let is_other = allowed.is_some();
            request.extensions_mut().insert(Asker { from, origin, is_other, grant });
            next.run(request).await
        }
        Some(Err(refusal)) => refused(daemon, refusal),
    };
    if let Some(allowed) = allowed {
        allowed.tell(response.headers_mut());
    }
    response
}

/// What every answer says, also one that does not come back through here: where a URL holds a ticket, nobody else is to
/// learn of it; nothing is what it does not say it is; no cache gives the answer for one origin to another; and no
/// other page embeds it.
pub(super) const ALWAYS: [(HeaderName, HeaderValue); 4] = [
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::VARY, HeaderValue::from_static("origin")),
    (RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
];

/// Who sends a request, and what it may do.
#[derive(Clone)]
pub(super) struct Asker {
    from: Option<From>,
    /// The origin of the page, if a page sends it.
    pub(super) origin: Option<String>,
    /// The page is another's than the daemon's own.
    is_other: bool,
    pub(super) grant: Grant,
}

impl Asker {
    pub(super) fn publisher(&self) -> Publisher<'_> {
        let (uid, is_own) = self.from.as_ref().map_or((None, false), From::user);
        Publisher { grant: &self.grant, uid, is_own, origin: self.origin.as_deref().filter(|_| self.is_other) }
    }
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.from.as_ref().map_or(Ok(()), |from| from.fmt(f))?;
        f.write_str(&self.grant.holder())
    }
}

/// For routes that need a scope whatever the request says.
pub(super) async fn require_admin(
    State(daemon): State<Arc<Daemon>>,
    Extension(asker): Extension<Asker>,
    request: Request,
    next: Next,
) -> Response {
    match asker.grant.require(Scope::Admin) {
        Ok(()) => next.run(request).await,
        Err(denied) => refused(&daemon, denied.into()),
    }
}

fn refused(daemon: &Daemon, refusal: Refusal) -> Response {
    daemon.metrics.refused(refusal.refused.code);
    refusal.into_response()
}

/// A request that may come from where it does.
struct Admitted {
    page: Page,
    credential: Credential,
}

/// By what a request shows who sends it.
enum Credential {
    Token(Digest),
    Ticket(Digest),
    /// The connection is the daemon's own user's.
    Own,
    Nothing,
}

/// Checks where a request comes from, and finds what shows who sends it.
fn admit(daemon: &Daemon, request: &Request) -> Result<Admitted, Refusal> {
    let page = page_check::check(daemon, request)?;
    let from = request.extensions().get::<From>();
    Ok(Admitted { page, credential: credential(request, from.is_some_and(From::is_own)) })
}

/// The token or the ticket that a request brings counts, also if the daemon's own user sends it.
fn credential(request: &Request, is_own: bool) -> Credential {
    let headers = request.headers();
    if headers.contains_key(header::AUTHORIZATION)
        && let Some(secret) = only(headers, &header::AUTHORIZATION).map_or(Some(""), bearer)
    {
        return Credential::Token(Digest::of(secret));
    }
    match ticket(request) {
        Some(ticket) => Credential::Ticket(Digest::of(&ticket)),
        None if is_own => Credential::Own,
        None => Credential::Nothing,
    }
}

/// Finds out who sends a request.
async fn who(daemon: &Daemon, credential: Credential) -> Result<Grant, Refusal> {
    let (grant, message) = match credential {
        Credential::Own => (Some(Grant::Own), ""),
        Credential::Token(token) => (
            daemon.access.by_token(token).await,
            "the token is not known, or is over; make one with `sse-busctl token create`",
        ),
        Credential::Ticket(ticket) => (
            daemon.access.by_ticket(ticket).await,
            "the ticket is not known, or is over; get another one with POST /tickets",
        ),
        Credential::Nothing => (
            None,
            "who sends this is not known to be the user that the bus belongs to; send `Authorization: Bearer TOKEN`, \
             with a token that this user makes with `sse-busctl token create`",
        ),
    };
    grant.ok_or_else(|| Refusal::unauthorized(message))
}

/// The token in an `Authorization` header, if it is of that kind (RFC 6750, 2.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The ticket in the URL of a stream.
fn ticket(request: &Request) -> Option<Cow<'_, str>> {
    let is_stream = request.uri().path().split('/').nth(1) == Some("events")
        && matches!(*request.method(), Method::GET | Method::HEAD);
    let query = request.uri().query().filter(|_| is_stream)?;
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "ticket").map(|(_, ticket)| ticket)
}
