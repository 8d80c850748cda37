//! Events that are published later.

use std::sync::Arc;

use sse_bus::{
    bus::schedules::Timing,
    protocol::{ErrorCode, Publish, Refused, ScheduleInfo, Scheduled},
    tokens::Scope,
};

use super::publish::admit;
use crate::{
    access::{self, Caller},
    context::Daemon,
};

/// Schedules an event. The caller must be allowed to publish it now; and, if it replaces an event, that one.
///
/// # Errors
///
/// The caller may not publish it, it is not valid, or a limit refuses it.
#[cfg_attr(not(feature = "nats"), allow(clippy::unused_async, reason = "the bus answers at once"))]
pub(crate) async fn schedule(daemon: &Daemon, caller: &Caller, publish: Publish) -> Result<Scheduled, Refused> {
    let timing = Timing::parse(&publish);
    let publication = admit(daemon, caller, publish)?;
    let timing = timing?;
    #[cfg(feature = "nats")]
    if let Some(log) = daemon.events.on_nats_servers() {
        if let Some(id) = &timing.id
            && let Ok(topic) = log.schedule_topic(id.as_str()).await
        {
            access::check_publish(caller, &topic, &daemon.config().topics)?;
        }
        return log.schedule(&publication, timing).await;
    }
    if daemon.events.is_elsewhere() {
        let message = "schedules need the history of this daemon, and its log is elsewhere; use schedules of that log";
        return Err(Refused::new(ErrorCode::ScheduleInvalid, message));
    }
    let config = daemon.config();
    let scheduled = daemon.bus.with(|bus, now| {
        if let Some(topic) = timing.id.as_ref().and_then(|id| bus.schedule_topic(id.as_str()).ok()) {
            access::check_publish(caller, topic, &config.topics)?;
        }
        bus.schedule(publication, timing, now)
    })?;
    // It may be due before the next tick.
    daemon.bus.wake();
    Ok(scheduled)
}

/// Returns the schedules by id. Reads them in steps, between which other tasks use the bus.
///
/// # Errors
///
/// The caller is not an administrator.
pub(crate) async fn schedules(daemon: &Arc<Daemon>, caller: &Caller) -> Result<Vec<ScheduleInfo>, Refused> {
    caller.grant.require(Scope::Admin)?;
    #[cfg(feature = "nats")]
    if let Some(log) = daemon.events.on_nats_servers() {
        return log.list_schedules().await;
    }
    let mut schedules: Vec<ScheduleInfo> = Vec::new();
    loop {
        let last = schedules.last().map(|last| &*last.schedule);
        let next = daemon.bus.look(|bus, now| bus.schedules_after(last, now));
        if next.is_empty() {
            return Ok(schedules);
        }
        schedules.extend(next);
        tokio::task::yield_now().await;
    }
}

/// Cancels a schedule, for a caller that may publish its event.
///
/// # Errors
///
/// There is no such schedule, or the caller may not publish its event.
#[cfg_attr(not(feature = "nats"), allow(clippy::unused_async, reason = "the bus answers at once"))]
pub(crate) async fn cancel_schedule(daemon: &Daemon, caller: &Caller, id: &str) -> Result<(), Refused> {
    caller.grant.require(Scope::Publish)?;
    #[cfg(feature = "nats")]
    if let Some(log) = daemon.events.on_nats_servers() {
        access::check_publish(caller, &log.schedule_topic(id).await?, &daemon.config().topics)?;
        return log.cancel_schedule(id).await;
    }
    let config = daemon.config();
    daemon.bus.with(|bus, _| {
        access::check_publish(caller, bus.schedule_topic(id)?, &config.topics)?;
        bus.cancel_schedule(id)
    })
}
