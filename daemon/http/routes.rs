//! The routes, in front of them the guards.

use std::sync::Arc;

use axum::{
    Router, middleware,
    routing::{MethodRouter, delete, get, head, post},
};

use super::{
    admin, batch, client_module, consumers, dashboard, dead_letters, deliveries, error, events, guards, next, pages,
    requests, schedules, settle, tickets,
};
use crate::context::Daemon;

/// Returns the routes of a daemon.
pub(super) fn routes(daemon: Arc<Daemon>) -> Router {
    Router::new()
        .route("/topics", get(admin::topics))
        .route("/clients", get(admin::clients))
        .route("/clients/{client}", delete(admin::kick))
        .route("/nodes", get(admin::nodes))
        .route("/status", get(admin::status))
        .route("/config", get(admin::config))
        .route("/metrics", get(admin::metrics))
        .route("/healthz", get(admin::healthz))
        .route("/events", stream().post(batch::publish))
        .route("/events/{*topic}", stream().post(events::publish))
        .route("/schedules", get(schedules::list))
        .route("/schedules/{schedule}", delete(schedules::cancel))
        .route("/consumers", get(consumers::list))
        .route("/consumers/{name}", get(consumers::show).put(consumers::create).delete(consumers::delete))
        .route("/consumers/{name}/pause", post(consumers::pause))
        .route("/consumers/{name}/resume", post(consumers::resume))
        .route("/consumers/{name}/seek", post(consumers::seek))
        .route("/consumers/{name}/dead", get(dead_letters::list).post(dead_letters::retry).delete(dead_letters::drop))
        .route("/consumers/{name}/events", head(deliveries::head).get(deliveries::stream))
        .route("/consumers/{name}/next", post(next::next))
        .route("/consumers/{name}/ack", post(settle::ack))
        .route("/consumers/{name}/nak", post(settle::nak))
        .route("/consumers/{name}/extend", post(settle::extend))
        .route("/consumers/{name}/reject", post(settle::reject))
        .route("/consumers/{name}/release", post(settle::release))
        .route("/requests", head(requests::head).get(requests::respond))
        .route("/requests/{*topic}", head(requests::head).get(requests::respond).post(requests::request))
        .route("/replies/{address}", post(requests::reply))
        .route("/tickets", post(tickets::create))
        .route("/", get(dashboard::index))
        .route("/page/{name}", get(dashboard::file))
        .route("/client.js", get(client_module::module))
        .route("/request.js", get(client_module::requests))
        .route("/pages", get(pages::index))
        .route("/pages/", get(pages::index))
        .route("/pages/{*path}", get(pages::file))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(middleware::from_fn_with_state(daemon.clone(), guards::check))
        .with_state(daemon)
}

/// HEAD before GET: a HEAD must not open a stream.
fn stream() -> MethodRouter<Arc<Daemon>> {
    head(events::head).get(events::stream)
}
