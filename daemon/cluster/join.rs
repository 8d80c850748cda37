//! Joining the nodes of a bus.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64},
};

use parking_lot::Mutex;
use sse_bus::limits::{NODE_QUESTIONS_MAX, REQUESTS_BYTES};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    arrived,
    link::{Link, NotSent},
    presence, run,
    state::{Cluster, Inner, Own},
    unicasts,
};
use crate::{access::KeptOutClients, shared_bus::SharedBus};

impl Cluster {
    /// Joins the nodes of the bus. `own` describes this node. The tasks end when `stop` is cancelled and the others know that this
    /// node has left.
    ///
    /// # Errors
    ///
    /// The connection is closed.
    pub(crate) async fn join(
        bus: &SharedBus,
        kept_out: Arc<KeptOutClients>,
        link: Link,
        own: Own,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Cluster, NotSent> {
        #[cfg(feature = "nats")]
        let queue = own.queue;
        let Own { info: own, health, .. } = own;
        let incoming = link.receive(&own.name).await?;
        let (unicasts, arrived) = arrived::queue();
        let inner = Inner {
            bus: bus.clone(),
            kept_out,
            link,
            instance: std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), &own.name),
            own,
            health,
            #[cfg(feature = "nats")]
            queue,
            nodes: Mutex::default(),
            asks: Mutex::default(),
            counts: Mutex::default(),
            working: Arc::new(Semaphore::new(NODE_QUESTIONS_MAX)),
            unicasts,
            serving: Mutex::default(),
            skipped: AtomicU64::new(0),
            passed_on: Arc::new(Semaphore::new(REQUESTS_BYTES)),
            heard_itself: AtomicU64::new(bus.now().mono),
            has_namesake: AtomicBool::new(false),
        };
        let cluster = Cluster(Arc::new(inner));
        tasks.spawn(run::receive(cluster.clone(), incoming, stop.clone()));
        tasks.spawn(unicasts::deliver(cluster.clone(), arrived, stop.clone()));
        tasks.spawn(presence::forward(cluster.clone(), stop.clone()));
        tasks.spawn(run::announce(cluster.clone(), stop.clone()));
        Ok(cluster)
    }
}
