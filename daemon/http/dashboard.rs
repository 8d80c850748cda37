//! The dashboard at `/` and its files, which are part of the binary, so that nothing needs to be installed.
//!
//! The content security policy lets a browser load and run files of this origin alone, and keeps scripts from turning text into
//! markup.

use axum::{
    extract::{Path, RawQuery, Request, rejection::PathRejection},
    http::{HeaderName, HeaderValue, Method, header},
    response::{IntoResponse, Response},
};

use super::{
    error::{self, Refusal},
    parameters::Operation,
};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// The files under `/page`: name, type, contents.
const FILES: &[(&str, &str, &str)] = &[
    ("page.css", CSS, include_str!("../web/dashboard/page.css")),
    ("events.css", CSS, include_str!("../web/dashboard/events.css")),
    ("panels.css", CSS, include_str!("../web/dashboard/panels.css")),
    ("icon.svg", SVG, include_str!("../web/dashboard/icon.svg")),
    ("page.js", SCRIPT, include_str!("../web/dashboard/page.js")),
    ("api.js", SCRIPT, include_str!("../web/dashboard/api.js")),
    ("session.js", SCRIPT, include_str!("../web/dashboard/session.js")),
    ("login.js", SCRIPT, include_str!("../web/dashboard/login.js")),
    ("dom.js", SCRIPT, include_str!("../web/dashboard/dom.js")),
    ("stream.js", SCRIPT, include_str!("../web/dashboard/stream.js")),
    ("lists.js", SCRIPT, include_str!("../web/dashboard/lists.js")),
    ("tree.js", SCRIPT, include_str!("../web/dashboard/tree.js")),
    ("events.js", SCRIPT, include_str!("../web/dashboard/events.js")),
    ("event_row.js", SCRIPT, include_str!("../web/dashboard/event_row.js")),
    ("kept.js", SCRIPT, include_str!("../web/dashboard/kept.js")),
    ("first.js", SCRIPT, include_str!("../web/dashboard/first.js")),
    ("history_dialog.js", SCRIPT, include_str!("../web/dashboard/history_dialog.js")),
    ("topics.js", SCRIPT, include_str!("../web/dashboard/topics.js")),
    ("last_values.js", SCRIPT, include_str!("../web/dashboard/last_values.js")),
    ("sparkline.js", SCRIPT, include_str!("../web/dashboard/sparkline.js")),
    ("clients.js", SCRIPT, include_str!("../web/dashboard/clients.js")),
    ("work_lists.js", SCRIPT, include_str!("../web/dashboard/work_lists.js")),
    ("consumers.js", SCRIPT, include_str!("../web/dashboard/consumers.js")),
    ("dead_letters.js", SCRIPT, include_str!("../web/dashboard/dead_letters.js")),
    ("schedules.js", SCRIPT, include_str!("../web/dashboard/schedules.js")),
    ("nodes.js", SCRIPT, include_str!("../web/dashboard/nodes.js")),
    ("confirm.js", SCRIPT, include_str!("../web/dashboard/confirm.js")),
    ("chart.js", SCRIPT, include_str!("../web/dashboard/chart.js")),
    ("rates.js", SCRIPT, include_str!("../web/dashboard/rates.js")),
    ("map.js", SCRIPT, include_str!("../web/dashboard/map.js")),
    ("map_model.js", SCRIPT, include_str!("../web/dashboard/map_model.js")),
    // Its functions, without the token that `/client.js` needs.
    ("client.js", SCRIPT, include_str!("../web/client/client.js")),
    ("status.js", SCRIPT, include_str!("../web/dashboard/status.js")),
    ("notices.js", SCRIPT, include_str!("../web/dashboard/notices.js")),
    ("forms.js", SCRIPT, include_str!("../web/dashboard/forms.js")),
    ("shortcuts.js", SCRIPT, include_str!("../web/dashboard/shortcuts.js")),
];

/// Returns true for requests that need no token: those for the dashboard's files, which are the same for every bus. The page asks
/// the user for a token.
pub(super) fn is_public(method: &Method, path: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && (path == "/" || path.starts_with("/page/"))
}

/// `GET /`.
pub(super) async fn index(RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    Operation::Page.check(query.as_deref().unwrap_or_default())?;
    Ok(asset(HTML, include_str!("../web/dashboard/index.html")))
}

/// `GET /page/{name}`. Query parameters are ignored: they only bypass caches.
pub(super) async fn file(name: Result<Path<String>, PathRejection>, request: Request) -> Response {
    let found = name.ok().and_then(|Path(name)| FILES.iter().find(|(known, ..)| *known == name));
    match found {
        Some((_, kind, contents)) => asset(kind, contents),
        None => error::not_found(request).await.into_response(),
    }
}

fn asset(kind: &'static str, contents: &'static str) -> Response {
    let headers: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // All files must be of the same version of the daemon.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers.map(|(name, value)| (name, HeaderValue::from_static(value))), contents).into_response()
}
