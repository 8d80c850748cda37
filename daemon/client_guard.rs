//! A client of the bus for as long as its connection lives.

#[cfg(feature = "nats")]
use sse_bus::bus::Read;
use sse_bus::{
    bus::{
        ClientId, Description, Subscription,
        consumers::{ConsumerName, WorkerId},
    },
    protocol::{Refused, Subscribed, Transport},
};
use tracing::{debug, info};

use crate::{access::TokenRegistration, shared_bus::SharedBus};

/// A connected client. Dropping it disconnects the client.
pub(crate) struct ClientGuard {
    bus: SharedBus,
    pub(crate) id: ClientId,
    /// The id as others address it.
    address: String,
    name: Option<String>,
    role: Role,
    /// Present if the connection needed a token.
    token: Option<TokenRegistration>,
}

#[derive(Clone, Copy)]
enum Role {
    Subscriber,
    Publisher,
    Worker,
}

impl ClientGuard {
    /// Makes a connection a subscriber.
    pub(crate) fn subscriber(
        bus: &SharedBus,
        subscription: Subscription,
    ) -> Result<(ClientGuard, Subscribed), Refused> {
        let description = subscription.description.clone();
        let what = if subscription.responder.is_some() { "responder" } else { "subscriber" };
        let filters = subscription.responder.as_ref().map_or(&subscription.filters, |responder| &responder.filters);
        let filters = filters.to_strings();
        let (id, subscribed) = bus.with(|bus, now| bus.subscribe(subscription, now))?;
        bus.wake_for_subscriber();
        let guard = ClientGuard::new(bus, id, &description, Role::Subscriber);
        info!(client = %guard.address, name = guard.name, peer = description.peer, ?filters, "{what} connected");
        Ok((guard, subscribed))
    }

    /// Keeps the registration of the token that let the client in.
    pub(crate) fn with_token(mut self, token: Option<TokenRegistration>) -> ClientGuard {
        if token.is_some() {
            self.bus.add_token_holder();
        }
        self.token = token;
        self
    }

    /// Makes a connection a publisher.
    pub(crate) fn publisher(bus: &SharedBus, peer: String, via: Transport) -> Result<ClientGuard, Refused> {
        let description = Description { name: None, peer, origin: None };
        let id = bus.with(|bus, now| bus.add_publisher(description.clone(), via, now))?;
        let guard = ClientGuard::new(bus, id, &description, Role::Publisher);
        // Not at level info: scripts connect for each event.
        debug!(client = %guard.address, peer = description.peer, %via, "publisher connected");
        Ok(guard)
    }

    /// Makes a connection a worker of a consumer.
    pub(crate) fn worker(
        bus: &SharedBus,
        description: &Description,
        via: Transport,
        consumer: &ConsumerName,
        slots: usize,
    ) -> Result<(ClientGuard, WorkerId), Refused> {
        let (id, worker) = bus.with(|bus, now| bus.connect_worker(description.clone(), via, consumer, slots, now))?;
        let guard = ClientGuard::new(bus, id, description, Role::Worker);
        info!(client = %guard.address, name = guard.name, peer = description.peer, %consumer, %via, "worker connected");
        Ok((guard, worker))
    }

    /// Makes a connection a worker of a consumer that a log elsewhere has.
    #[cfg(feature = "nats")]
    pub(crate) fn worker_elsewhere(
        bus: &SharedBus,
        description: &Description,
        via: Transport,
        consumer: &ConsumerName,
        filters: Vec<String>,
    ) -> Result<ClientGuard, Refused> {
        let id = bus.with(|bus, now| bus.connect_worker_elsewhere(description.clone(), via, filters, now))?;
        let guard = ClientGuard::new(bus, id, description, Role::Worker);
        info!(client = %guard.address, name = guard.name, peer = description.peer, %consumer, %via, "worker connected");
        Ok(guard)
    }

    fn new(bus: &SharedBus, id: ClientId, description: &Description, role: Role) -> ClientGuard {
        let name = description.name.as_ref().map(|name| name.as_str().to_owned());
        let address = bus.with(|bus, _| bus.client_address(id));
        ClientGuard { bus: bus.clone(), id, address, name, role, token: None }
    }

    /// Returns the id of the client as others address it.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns true if the bus has removed the client, a worker. Otherwise the waker is notified when it does.
    #[cfg(feature = "nats")]
    pub(crate) fn poll_removed(&self, waker: &std::task::Waker) -> bool {
        self.bus.with(|bus, now| bus.read(self.id, now, waker, &mut Vec::new())) == Read::Ended
    }

    /// Returns true if the bus has removed the client.
    pub(crate) fn is_removed(&self) -> bool {
        self.bus.with(|bus, _| !bus.is_connected(self.id))
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        if self.token.is_some() {
            self.bus.remove_token_holder();
        }
        // The bus removes a client that is kicked, too slow, or has received all events that it asked for.
        let by = if self.bus.with(|bus, now| bus.disconnect(self.id, now)) { "client" } else { "bus" };
        match self.role {
            Role::Subscriber => info!(client = %self.address, name = self.name, by, "subscriber disconnected"),
            Role::Worker => info!(client = %self.address, name = self.name, by, "worker disconnected"),
            Role::Publisher => debug!(client = %self.address, by, "publisher disconnected"),
        }
    }
}
