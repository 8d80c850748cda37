//! Clients come and go: publishers, and the end of every client.

use super::{
    Bus, Description, Now,
    clients::{Client, Role, Subscriber},
    ids::ClientId,
    state::refuse_more,
};
use crate::protocol::{ErrorCode, Refused};

impl Bus {
    /// Adds a publisher. `via` is the way in that it uses.
    pub fn add_publisher(
        &mut self,
        description: Description,
        via: &'static str,
        now: Now,
    ) -> Result<ClientId, Refused> {
        refuse_more(self.clients.publishers, self.limits.publishers, ErrorCode::LimitPublishers, "publishers")?;
        let role = Role::Publisher { via, waker: None };
        let id = self.clients.insert(Client { description, connected: now.unix, role, events: 0, gaps: 0 });
        self.publish_presence(id, "join", now);
        Ok(id)
    }

    /// Removes a client whose connection is gone. Says whether it was still there.
    pub fn disconnect(&mut self, id: ClientId, now: Now) -> bool {
        if self.clients.get(id).is_none() {
            return false;
        }
        self.publish_presence(id, "leave", now);
        self.wake(id);
        match self.clients.remove(id).map(|client| client.role) {
            Some(Role::Subscriber(subscriber)) => {
                self.heartbeats.remove(id, subscriber.heartbeat_interval);
                self.leave_feed(&subscriber);
            }
            Some(Role::Publisher { waker, .. }) => self.wakeups.woken.extend(waker),
            None => {}
        }
        true
    }

    /// Whether a client is still there. One that has more to read than it takes learns only so that it was kicked.
    pub fn is_connected(&self, id: ClientId) -> bool {
        self.clients.get(id).is_some()
    }

    /// Removes a client that does not take what it gets.
    pub fn disconnect_slow(&mut self, id: ClientId, now: Now) {
        self.stats.slow_disconnects += u64::from(self.disconnect(id, now));
    }

    fn leave_feed(&mut self, subscriber: &Subscriber) {
        let key = subscriber.feed;
        if let Some(segment) = subscriber.cursor.segment() {
            self.feeds.seal(key, &self.limits);
            self.feeds.leave(key, segment);
        }
        let Some(feed) = self.feeds.get_mut(key) else { return };
        feed.subscribers -= 1;
        if feed.subscribers == 0
            && let Some(feed) = self.feeds.close(key)
        {
            self.topics.disconnect(&feed.filters, key);
        }
    }

    /// Disconnects the clients with an id or a name, and returns how many there were. With many clients this takes long: under
    /// a lock that others wait for, take [them](Bus::addressed) and [disconnect](Bus::disconnect) some at a time.
    pub fn kick(&mut self, address: &str, now: Now) -> Result<u64, Refused> {
        let kicked = self.addressed(address)?;
        for id in &kicked {
            self.disconnect(*id, now);
        }
        Ok(kicked.len() as u64)
    }

    /// The clients that an address means: the one with that id, else all with that name; at least one.
    pub fn addressed(&self, address: &str) -> Result<Vec<ClientId>, Refused> {
        let addressed = self.clients.addressed(address);
        if addressed.is_empty() {
            let message =
                format!("no client has the id or the name `{}`; list them with `clients`", address.escape_debug());
            return Err(Refused::new(ErrorCode::ClientUnknown, message));
        }
        Ok(addressed)
    }

    /// Whether there are subscribers.
    pub fn has_subscribers(&self) -> bool {
        self.clients.subscribers > 0
    }
}
