//! `/client.js`: the module for pages, as the npm package has it.
//!
//! Browsers fetch modules of another origin as `fetch` does: the [guards](super::guards) let allowed origins have it and no
//! others; `Cross-Origin-Resource-Policy` is for what is fetched in other ways.

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::IntoResponse,
};

/// `GET /client.js`. It belongs to this version of the daemon, so it is asked for again each time.
pub(super) async fn module() -> impl IntoResponse {
    let headers: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, include_str!("../../packaging/npm/client.js"))
}
