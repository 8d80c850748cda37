//! `/client.js`: the browser module, as in the npm package.
//!
//! Browsers fetch modules of another origin as `fetch` does, so the [guards](super::guards) decide which origins get it;
//! `Cross-Origin-Resource-Policy` applies to other ways of fetching.

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::IntoResponse,
};

/// `GET /client.js`. It belongs to this version of the daemon, so browsers revalidate it each time.
pub(super) async fn module() -> impl IntoResponse {
    let headers: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, include_str!("../web/client/client.js"))
}
