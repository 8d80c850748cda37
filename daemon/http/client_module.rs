//! `/client.js` and `/request.js`: the browser modules, as in the npm package.
//!
//! Browsers fetch modules of another origin as `fetch` does, so the [guards](super::guards) decide which origins get them;
//! `Cross-Origin-Resource-Policy` applies to other ways of fetching.

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::IntoResponse,
};

/// `GET /client.js`.
pub(super) async fn module() -> impl IntoResponse {
    served(include_str!("../web/client/client.js"))
}

/// `GET /request.js`.
pub(super) async fn requests() -> impl IntoResponse {
    served(include_str!("../web/client/request.js"))
}

/// Returns a module. It belongs to this version of the daemon, so browsers revalidate it each time.
fn served(module: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, module)
}
