//! Finds the page that sends a request, if there is one, and refuses pages that are neither the daemon's own nor allowed.
//!
//! Any web page that the user opens can send requests to loopback. `Host` (in HTTP/2 `:authority`) shows DNS rebinding: a
//! rebound page has a name that is not the daemon's. Addresses and the names of loopback cannot be rebound; they pass with
//! any port, since forwarders keep the port of their own. `Origin` and `Sec-Fetch-Site` show other pages: they must be the
//! daemon's own, or allowed by configuration.
//!
//! No page reaches the local socket directly. A forwarder in front of it passes on a page's headers, which are then checked
//! as on the port.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, StatusCode, header, uri::Authority as Target},
};
use sse_bus::{protocol::ErrorCode, shell::quoted};

use super::{cors::AllowedOrigin, error::Refusal, source::RequestSource};
use crate::{
    context::Daemon,
    origin::{Authority, Host, Origin},
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The page that sends a request, if one does.
#[derive(Default)]
pub(super) struct Page {
    pub(super) origin: Option<String>,
    /// Present if the page is of another origin, which is allowed.
    pub(super) allowed: Option<AllowedOrigin>,
}

/// Checks `Host` or `:authority`, `Origin` and `Sec-Fetch-Site`.
pub(super) fn check(daemon: &Daemon, request: &Request) -> Result<Page, Refusal> {
    let headers = request.headers();
    let is_from_page = headers.contains_key(header::ORIGIN) || headers.contains_key(&SEC_FETCH_SITE);
    if !is_from_page && !needs_host(request) {
        return Ok(Page::default());
    }
    let is_own_user = request.extensions().get().is_some_and(RequestSource::is_own_user);
    let called = called(daemon, request, is_own_user)?;
    // Repeated, it counts as cross-site.
    let site = headers.get(&SEC_FETCH_SITE).map(|_| only(headers, &SEC_FETCH_SITE).unwrap_or("cross-site"));
    let cross_site = site.is_some_and(|site| site != "same-origin" && site != "none");
    let own = Origin::new(daemon.scheme(), called.clone());
    let Some(value) = headers.get(header::ORIGIN) else {
        if cross_site {
            return Err(cross_site_without_origin());
        }
        // Browsers send no `Origin` with what a page gets from its own.
        let origin = site.filter(|site| *site == "same-origin").map(|_| own.to_string());
        return Ok(Page { origin, allowed: None });
    };
    let text = only(headers, &header::ORIGIN).unwrap_or_default();
    let Some(origin) = Origin::parse(text) else {
        if text == "null" {
            daemon.refused_origins.note(text, is_own_user);
        }
        return Err(no_origin(text));
    };
    // Under another name or address of the daemon another program may listen on the same port. Behind a server that terminates
    // TLS the scheme differs; there only the browser knows that the page is of the same origin.
    let is_own = origin == own || (site == Some("same-origin") && origin == Origin::new(origin.scheme, called));
    if is_own && !cross_site {
        return Ok(Page { origin: Some(origin.to_string()), allowed: None });
    }
    if daemon.config().allow_origin.contains(&origin) {
        return Ok(Page { origin: Some(origin.to_string()), allowed: Some(AllowedOrigin(value.clone())) });
    }
    let origin = origin.to_string();
    daemon.refused_origins.note(&origin, is_own_user);
    Err(foreign(&origin))
}

/// Returns false on the local socket, and for a health check without a name: load balancers may have none for the server that
/// they check. A name that a health check has must be the daemon's.
fn needs_host(request: &Request) -> bool {
    let is_local = matches!(request.extensions().get(), Some(RequestSource::Local(_)));
    let is_named = request.headers().contains_key(header::HOST) || request.uri().authority().is_some();
    !is_local && (is_named || request.uri().path() != "/healthz")
}

/// Returns the name by which a request calls the daemon, which must be a name or an address of it. HTTP/2 has `:authority`, or
/// `Host` in its place. If a request has both, as in the absolute form, both are checked.
fn called(daemon: &Daemon, request: &Request, is_own_user: bool) -> Result<Authority, Refusal> {
    let headers = request.headers();
    let host = headers.contains_key(header::HOST).then(|| only(headers, &header::HOST).unwrap_or_default());
    let target = request.uri().authority().map(Target::as_str);
    let mut called = None;
    for name in host.into_iter().chain(target) {
        let authority = Authority::parse(name).ok_or_else(|| without_host(daemon, "cannot be read"))?;
        if !is_ours(daemon, &authority) {
            let host = Authority { host: authority.host.clone(), port: None }.to_string();
            daemon.refused_hosts.note(&host, is_own_user);
            return Err(misdirected(daemon, &authority, &host));
        }
        called = Some(authority);
    }
    called.ok_or_else(|| without_host(daemon, "is missing"))
}

/// Returns true if this is a name or an address of the daemon.
fn is_ours(daemon: &Daemon, authority: &Authority) -> bool {
    let is_allowed = |allowed: &Authority| {
        let port = match (allowed.port, authority.port) {
            (None, _) => true,
            // A server in front of the daemon may speak TLS for it; browsers leave out either usual port then.
            (Some(allowed), None) => matches!(allowed, 80 | 443),
            (Some(allowed), Some(port)) => allowed == port,
        };
        port && allowed.host.is_same(&authority.host)
    };
    let is_address = match &authority.host {
        // Any site can have a name that resolves to this machine, but not an address.
        Host::Address(address) => daemon.addresses.iter().any(|own| own.ip().is_unspecified() || own.ip() == *address),
        Host::Name(_) => false,
    };
    is_address || authority.host.is_loopback() || daemon.config().allow_host.iter().any(is_allowed)
}

/// A header's value, if it is there exactly once and is text.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()
}

fn denied(status: StatusCode, message: impl Into<String>) -> Refusal {
    Refusal::new(status, ErrorCode::Denied, message)
}

fn without_host(daemon: &Daemon, what: &str) -> Refusal {
    let message = format!("the Host header {what}; send one that names this daemon, as in {}", daemon.url());
    denied(StatusCode::MISDIRECTED_REQUEST, message)
}

fn misdirected(daemon: &Daemon, authority: &Authority, host: &str) -> Refusal {
    let message = format!(
        "this daemon does not answer to the name {authority}; to reach it by that name, start it with: sse-busd --allow-host \
         {}, or else use {}",
        quoted(host),
        daemon.url()
    );
    denied(StatusCode::MISDIRECTED_REQUEST, message)
}

fn foreign(origin: &str) -> Refusal {
    let message = format!(
        "pages of {origin} may not use this bus; to let them, start it with: sse-busd --allow-origin {}",
        quoted(origin)
    );
    denied(StatusCode::FORBIDDEN, message)
}

/// Refuses a sandboxed frame, a file, or a page of another scheme: they have no origin that could be allowed.
fn no_origin(text: &str) -> Refusal {
    let shown: String = text.chars().take(200).collect();
    let message = format!(
        "a page of {shown} may not use this bus; serve the page from an origin and name it with --allow-origin"
    );
    denied(StatusCode::FORBIDDEN, message)
}

/// Refuses a link, a frame, or an image: such requests do not name the page, so no page can be allowed to make them.
fn cross_site_without_origin() -> Refusal {
    let message = "a page of another site may not use this bus, nor lead to it; to come here type its address, and in a page \
                   use EventSource or fetch, and name the page's origin with --allow-origin";
    denied(StatusCode::FORBIDDEN, message)
}
