//! Clients that resume at this node after an event that it has not received yet, because another node was ahead.
//!
//! The bus alone cannot tell such an event from one that the log has lost. So the client waits until this node has received it, or
//! until the servers have said for a while that the log ends before. All clients that wait share the answers of the servers.

use std::time::Duration;

use sse_bus::{EventId, protocol::Refused};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{shared::Shared, streams};
use crate::log::external::Returned;

/// How long a client waits. It is then asked to try again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the servers must say that the log ends before an event: one that was elected just now may not have applied its newest.
const CERTAIN_AFTER: Duration = Duration::from_secs(1);
/// The time between two requests to the servers.
const PAUSE: Duration = Duration::from_millis(250);

impl Shared {
    /// See [`NatsLog::reach`](super::NatsLog::reach).
    pub(super) async fn reach(&self, id: EventId) -> Result<(), Refused> {
        let mut position = self.position.subscribe();
        let (began, mut ends_before_since) = (Instant::now(), None);
        while timeout(PAUSE, position.wait_for(|at| at.seq >= id.seq || at.epoch != id.epoch)).await.is_err() {
            if began.elapsed() >= PATIENCE {
                return Err(Self::unavailable("this node has not received the event yet that the client had"));
            }
            match self.known_end().await {
                Some(end) if end.epoch == id.epoch && end.seq < id.seq => {
                    if ends_before_since.get_or_insert_with(Instant::now).elapsed() >= CERTAIN_AFTER {
                        return Ok(());
                    }
                }
                _ => ends_before_since = None,
            }
        }
        // The bus applies what was returned in order.
        let (applied, is_applied) = oneshot::channel();
        let _ = self.tail.send(Returned::Reached(applied));
        let _ = is_applied.await;
        Ok(())
    }

    /// Returns the end of the log, which was true at most [`PAUSE`] ago; None if the servers do not answer.
    async fn known_end(&self) -> Option<EventId> {
        let mut known = self.known_end.lock().await;
        match *known {
            Some((at, end)) if at.elapsed() < PAUSE => end,
            _ => {
                let info = streams::info(&self.nats).await.ok();
                let end = info.map(|info| EventId::new(streams::epoch(&info), info.state.last_sequence));
                *known = Some((Instant::now(), end));
                end
            }
        }
    }
}
