//! Adding publishers and workers, and removing clients.

use super::{
    Bus, Description, Now,
    clients::{Client, Role, Subscriber, Worker},
    consumers::{ConsumerName, Departure, WorkerId},
    ids::ClientId,
    recent_topics::RecentTopics,
    state::refuse_more,
};
use crate::{
    limits::WORKERS_MAX,
    protocol::{ErrorCode, Refused, Transport},
};

impl Bus {
    /// Adds a publisher.
    pub fn add_publisher(&mut self, description: Description, via: Transport, now: Now) -> Result<ClientId, Refused> {
        refuse_more(self.clients.publishers, self.limits.publishers, ErrorCode::LimitPublishers, "publishers")?;
        let role = Role::Publisher { via, waker: None, recent: RecentTopics::default() };
        let id = self.clients.insert(Client { description, connected: now.unix, role, events: 0, gaps: 0 });
        self.publish_presence(id, "join", now);
        Ok(id)
    }

    /// Adds a client that is a [worker](Bus::add_worker) of a consumer. Dead letters show its name, or else its peer.
    ///
    /// Its deliveries fail when it is [disconnected](Bus::disconnect); [remove the worker](Bus::remove_worker) first if it ends
    /// in another way.
    ///
    /// # Errors
    ///
    /// There is no such consumer, or there are too many workers.
    pub fn connect_worker(
        &mut self,
        description: Description,
        via: Transport,
        consumer: &ConsumerName,
        slots: usize,
        now: Now,
    ) -> Result<(ClientId, WorkerId), Refused> {
        let name = description.name.as_ref().map_or(&*description.peer, |name| name.as_str());
        let worker = self.add_worker(consumer, name, slots, now)?;
        let role = Role::Worker { via, worker: Worker::Here(worker) };
        let id = self.clients.insert(Client { description, connected: now.unix, role, events: 0, gaps: 0 });
        self.publish_presence(id, "join", now);
        Ok((id, worker))
    }

    /// Adds a client that takes deliveries of a consumer which a log elsewhere has, with these filters. [`Bus::read`] wakes it when
    /// it is kicked.
    ///
    /// # Errors
    ///
    /// There are too many workers.
    pub fn connect_worker_elsewhere(
        &mut self,
        description: Description,
        via: Transport,
        filters: Vec<String>,
        now: Now,
    ) -> Result<ClientId, Refused> {
        refuse_more(self.clients.workers, WORKERS_MAX, ErrorCode::LimitWorkers, "workers")?;
        let role = Role::Worker { via, worker: Worker::Elsewhere { filters, waker: None } };
        let id = self.clients.insert(Client { description, connected: now.unix, role, events: 0, gaps: 0 });
        self.publish_presence(id, "join", now);
        Ok(id)
    }

    /// Removes a client. Returns true if it was still connected.
    pub fn disconnect(&mut self, id: ClientId, now: Now) -> bool {
        if self.clients.get(id).is_none() {
            return false;
        }
        self.publish_presence(id, "leave", now);
        self.wake(id);
        let role = self.clients.remove(id).map(|client| client.role);
        self.remove_responder(id, now);
        match role {
            Some(Role::Subscriber(subscriber)) => {
                self.heartbeats.remove(id, subscriber.heartbeat_interval);
                self.leave_feed(&subscriber);
            }
            Some(Role::Publisher { waker, .. } | Role::Worker { worker: Worker::Elsewhere { waker, .. }, .. }) => {
                self.wakeups.woken.extend(waker);
            }
            Some(Role::Worker { worker: Worker::Here(worker), .. }) => self.remove_worker(worker, Departure::Lost, now),
            None => {}
        }
        true
    }

    /// Returns true if the client has not been removed. A client whose socket is full never reads the end of its stream, so
    /// the owner of its connection must check this.
    pub fn is_connected(&self, id: ClientId) -> bool {
        self.clients.get(id).is_some()
    }

    /// Removes a client that does not read its socket.
    pub fn disconnect_slow(&mut self, id: ClientId, now: Now) {
        self.stats.slow_disconnects += u64::from(self.disconnect(id, now));
    }

    /// Removes a subscriber's cursor from its feed, and closes the feed after its last subscriber.
    fn leave_feed(&mut self, subscriber: &Subscriber) {
        let key = subscriber.feed;
        if let Some(segment) = subscriber.cursor.segment() {
            self.feeds.seal(key, &self.limits);
            self.feeds.leave(key, segment);
        }
        if self.feeds.remove_subscriber(key)
            && let Some(feed) = self.feeds.close(key)
        {
            self.topics.disconnect(&feed.filters, key);
        }
    }

    /// Disconnects the clients with an id or a name, and returns their number. With many clients this takes long: under a
    /// contended lock, get the [ids](Bus::addressed) and [disconnect](Bus::disconnect) a few at a time.
    pub fn kick(&mut self, address: &str, now: Now) -> Result<u64, Refused> {
        let kicked = self.addressed(address)?;
        for id in &kicked {
            self.disconnect(*id, now);
        }
        Ok(kicked.len() as u64)
    }

    /// Returns the client with this id, or else all clients with this name.
    ///
    /// # Errors
    ///
    /// There is no such client.
    pub fn addressed(&self, address: &str) -> Result<Vec<ClientId>, Refused> {
        let addressed = self.clients.addressed(address);
        if addressed.is_empty() {
            let message =
                format!("no client has the id or the name `{}`; list them with `clients`", address.escape_debug());
            return Err(Refused::new(ErrorCode::ClientUnknown, message));
        }
        Ok(addressed)
    }

    /// Returns true if there are subscribers.
    pub fn has_subscribers(&self) -> bool {
        self.clients.subscribers > 0
    }
}
