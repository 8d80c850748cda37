//! Delivering the unicasts of other nodes, in their order.
//!
//! A node sends a unicast with its position in the log. This node delivers it once it has applied the events up to there, so that
//! a client receives it after what its publisher published before. A node that is behind waits at most for [`NODE_ORDER_WAIT`];
//! unicasts that arrive meanwhile wait, too, at most [`NODE_UNICASTS_MAX`](sse_bus::limits::NODE_UNICASTS_MAX). Further ones are not answered.

use std::time::Duration;

use sse_bus::{
    EventId,
    bus::Publication,
    limits::NODE_ORDER_WAIT,
    protocol::{ErrorCode, Publish, Refused},
};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{arrived::Arrived, message::Answer, state::Cluster};

/// How long the node waits before it compares its position again.
const PAUSE: Duration = Duration::from_millis(1);

/// Delivers the unicasts that arrive.
pub(super) async fn deliver(cluster: Cluster, mut arrived: mpsc::Receiver<Arrived>, stop: CancellationToken) {
    while let Some(Some(Arrived { from, ask, event, after, at })) = stop.run_until_cancelled(arrived.recv()).await {
        while cluster.is_before(after) && at.elapsed() < NODE_ORDER_WAIT {
            sleep(PAUSE).await;
        }
        let answer = cluster.deliver(*event).unwrap_or_else(Answer::Refused);
        cluster.answer(&from, ask, true, answer).await;
    }
}

impl Cluster {
    /// Returns true if this node is about to apply the event at a position.
    fn is_before(&self, position: EventId) -> bool {
        let own = self.0.bus.with(|bus, _| bus.position());
        own.epoch == position.epoch && own.seq < position.seq
    }

    /// Delivers a unicast to clients of this node.
    fn deliver(&self, event: Publish) -> Result<Answer, Refused> {
        self.0.bus.with(|bus, now| {
            let publication = Publication::parse(event, bus.limits())?;
            if !bus.is_unicast(&publication) {
                return Err(Refused::new(ErrorCode::ClientUnknown, "the event is for a consumer"));
            }
            let published = bus.publish(publication, None, now)?;
            Ok(Answer::Sent { connections: published.subscribers })
        })
    }
}
