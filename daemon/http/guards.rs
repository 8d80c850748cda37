//! Who may: the one layer that every HTTP request passes first.
//!
//! Any web page that the user opens can send requests to loopback. `Host` (in HTTP/2 `:authority`) tells of DNS rebinding:
//! it must name this daemon. `Origin` and `Sec-Fetch-Site` tell of other pages: they must be the daemon's own, or allowed
//! by configuration. Then it is asked [who](crate::access) sends the request: whoever is not of the daemon's own user
//! needs a token. Only then anything else is looked at. The local socket is out of any page's reach; its peers are checked
//! when they connect.

use std::{borrow::Cow, fmt, sync::Arc};

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sse_bus::{protocol::ErrorCode, tokens::Scope};

use super::{
    From,
    error::Refusal,
    origin::{Authority, Host, Origin},
};
use crate::{
    access::{Grant, Publisher},
    server::Daemon,
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Lets a request through, or refuses it.
pub(super) async fn check(State(daemon): State<Arc<Daemon>>, request: Request, next: Next) -> Response {
    let mut response = match admit(&daemon, &request) {
        Ok(admitted) => answer(&daemon, admitted, request, next).await,
        Err(refusal) => refused(&daemon, refusal),
    };
    for (name, value) in ALWAYS {
        response.headers_mut().insert(name, value);
    }
    response
}

async fn answer(daemon: &Daemon, admitted: Admitted, mut request: Request, next: Next) -> Response {
    let Admitted { page: Page { origin, allowed }, who } = admitted;
    let preflight = allowed.is_some()
        && request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if let Some(allowed) = &allowed {
        request.extensions_mut().insert(allowed.clone());
    }
    let mut response = match who {
        // A browser asks without the token that the request itself will bring.
        _ if preflight => preflight_answer(request.headers()),
        Ok(grant) => {
            let from: Option<From> = request.extensions_mut().remove();
            if let Some(from) = &from {
                from.becomes_known();
            }
            let is_other = allowed.is_some();
            request.extensions_mut().insert(Asker { from, origin, is_other, grant });
            next.run(request).await
        }
        Err(refusal) => refused(daemon, refusal),
    };
    if let Some(allowed) = allowed {
        allowed.tell(response.headers_mut());
    }
    response
}

/// What every answer says, also one that does not come back through here: where a URL holds a ticket, nobody else is to
/// learn of it, and nothing is what it does not say it is.
pub(super) const ALWAYS: [(HeaderName, HeaderValue); 2] = [
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
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

/// A request that may come from where it does.
struct Admitted {
    page: Page,
    who: Result<Grant, Refusal>,
}

/// The page that sends a request, if one does.
#[derive(Default)]
struct Page {
    origin: Option<String>,
    /// It is another's, and allowed.
    allowed: Option<AllowedOrigin>,
}

/// Checks where a request comes from, then who sends it.
fn admit(daemon: &Daemon, request: &Request) -> Result<Admitted, Refusal> {
    let from = request.extensions().get::<From>();
    let is_local = matches!(from, Some(From::Local(_)));
    let page = if is_local { Page::default() } else { check_page(daemon, request)? };
    Ok(Admitted { page, who: who(daemon, request, from.is_some_and(From::is_own)) })
}

/// Checks `Host` or `:authority`, `Origin` and `Sec-Fetch-Site`, which tell of the page.
fn check_page(daemon: &Daemon, request: &Request) -> Result<Page, Refusal> {
    let headers = request.headers();
    let Some(own) = called(daemon, request) else {
        let message = format!("the Host header does not name this daemon; use {}", daemon.url());
        return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, ErrorCode::Denied, message));
    };
    // Given more than once, it is as good as any other value.
    let site = headers.get(&SEC_FETCH_SITE).map(|_| only(headers, &SEC_FETCH_SITE).unwrap_or("cross-site"));
    let cross_site = site.is_some_and(|site| site != "same-origin" && site != "none");
    let Some(value) = headers.get(header::ORIGIN) else {
        if cross_site {
            return Err(cross_site_without_origin());
        }
        // Browsers send no `Origin` with what a page gets from its own.
        let origin = site.filter(|site| *site == "same-origin").map(|_| own.to_string());
        return Ok(Page { origin, allowed: None });
    };
    let text = only(headers, &header::ORIGIN).unwrap_or("null");
    match Origin::parse(text) {
        // Under another of our names, or at another of our addresses, somebody else may listen at the same port.
        Some(origin) if origin == own && !cross_site => Ok(Page { origin: Some(own.to_string()), allowed: None }),
        Some(origin) if daemon.config().allow_origin.contains(&origin) => {
            Ok(Page { origin: Some(origin.to_string()), allowed: Some(AllowedOrigin(value.clone())) })
        }
        _ => {
            daemon.refused_origins.note(&shortened(text));
            Err(foreign(text))
        }
    }
}

/// The origin of pages that are called as a request calls the daemon, if it calls it by its own names and by no other.
/// HTTP/1.1 must have `Host` for that; HTTP/2 has `:authority`, or `Host` in its place. Where a request has both, as in the
/// absolute form, both count.
fn called(daemon: &Daemon, request: &Request) -> Option<Origin> {
    let ours = |name: &str| Authority::parse(name).filter(|authority| is_us(daemon, authority));
    let target = request.uri().authority().map(|authority| ours(authority.as_str()));
    let host = request.headers().contains_key(header::HOST);
    let host = host.then(|| only(request.headers(), &header::HOST).and_then(ours));
    let authority = match (host, target) {
        (None, target) => target.filter(|_| request.version() == Version::HTTP_2)?,
        (Some(host), None) => host,
        (Some(host), Some(target)) => host.and(target),
    };
    authority.map(|authority| Origin::new(daemon.scheme(), authority))
}

/// Whether this is a name of the daemon, with its port.
fn is_us(daemon: &Daemon, authority: &Authority) -> bool {
    let usual = daemon.scheme().usual_port();
    let named = daemon.config().allow_host.iter().any(|allowed| {
        // Somebody in front of the daemon may speak TLS for it; browsers leave out either usual port then.
        allowed.host == authority.host
            && match allowed.port {
                Some(port) => authority.port.map_or(matches!(port, 80 | 443), |given| given == port),
                None => authority.port.unwrap_or(usual) == daemon.address.port(),
            }
    });
    let ours = match (&authority.host, daemon.address.ip()) {
        // Names can be made to lead here by anybody; addresses cannot.
        (Host::Address(_), ip) if ip.is_unspecified() => true,
        (Host::Address(address), ip) if *address == ip => true,
        (host, _) => host.is_loopback_name(),
    };
    named || (ours && authority.port.unwrap_or(usual) == daemon.address.port())
}

/// A header's value, if it is there exactly once and is text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()
}

fn shortened(origin: &str) -> String {
    origin.chars().take(200).collect()
}

fn foreign(origin: &str) -> Refusal {
    let message = match Origin::parse(origin) {
        Some(origin) => {
            format!(
                "pages of {origin} may not use this bus; to let them, start it with: sse-busd --allow-origin {origin}"
            )
        }
        None => format!(
            "a page of {} may not use this bus; serve the page from an origin and name it with --allow-origin",
            shortened(origin)
        ),
    };
    Refusal::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message)
}

/// A link, a frame, an image: what a page cannot be allowed, because nobody says which page it is.
fn cross_site_without_origin() -> Refusal {
    let message = "a page of another site may not use this bus, nor lead to it; to come here type its address, and in a page \
                   use EventSource or fetch, and name the page's origin with --allow-origin";
    Refusal::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message)
}

fn preflight_answer(asked: &HeaderMap) -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE")),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type, last-event-id")),
        (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
    ];
    let mut answer = (StatusCode::NO_CONTENT, headers).into_response();
    if only(asked, &REQUEST_PRIVATE_NETWORK) == Some("true") {
        answer.headers_mut().insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    answer
}

/// Finds out who sends a request: the holder of the token or the ticket that it brings, else the daemon's own user.
fn who(daemon: &Daemon, request: &Request, is_own: bool) -> Result<Grant, Refusal> {
    let headers = request.headers();
    if headers.contains_key(header::AUTHORIZATION)
        && let Some(secret) = only(headers, &header::AUTHORIZATION).map_or(Some(""), bearer)
    {
        let message = "the token is not known, or is over; make one with `sse-busctl token create`";
        return daemon.access.by_token(secret).ok_or_else(|| Refusal::unauthorized(message));
    }
    if let Some(ticket) = ticket(request) {
        let message = "the ticket is not known, or is over; get another one with POST /tickets";
        return daemon.access.by_ticket(&ticket).ok_or_else(|| Refusal::unauthorized(message));
    }
    if is_own {
        return Ok(Grant::Own);
    }
    let message = "who sends this is not known to be the user that the bus belongs to; send `Authorization: Bearer TOKEN`, \
                   with a token that this user makes with `sse-busctl token create`";
    Err(Refusal::unauthorized(message))
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
