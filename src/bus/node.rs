//! A node of a bus that several daemons share: its name, and what it counts for the other nodes.

use super::{Bus, ClientId, requests::AvailableResponders};
use crate::topic::Topic;

/// The topic of events about nodes: `joined`, `left`, `lost`. They are live only.
pub const NODES_TOPIC: &str = "$sys/nodes";

impl Bus {
    /// Names this node. The ids of its clients then end with the name, such as `c12@node`, and so do the addresses for replies.
    /// Call it before there are clients.
    pub fn set_node(&mut self, name: &str) {
        self.clients.node = Some(name.into());
    }

    /// Returns the name of this node, if several nodes share the bus.
    pub fn node(&self) -> Option<&str> {
        self.clients.node.as_deref()
    }

    /// Returns the id of a client as others address it.
    pub fn client_address(&self, id: ClientId) -> String {
        self.clients.address_of(id)
    }

    /// Returns the number of connected subscribers whose filters match a topic.
    pub fn subscribers_of(&mut self, topic: &Topic) -> u64 {
        self.topics.wanted_by(topic, &mut self.wanting);
        self.feeds.subscribers(&self.wanting)
    }

    /// Returns the number of connected subscribers.
    pub fn subscribers(&self) -> usize {
        self.clients.subscribers
    }

    /// Returns the number of connected clients.
    pub fn connected(&self) -> usize {
        self.clients.subscribers + self.clients.publishers + self.clients.workers
    }

    /// Counts the responders that match a topic.
    pub fn responders_of(&mut self, topic: &Topic) -> AvailableResponders {
        self.requests.available(topic)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::{
        bus::{
            CLIENTS_TOPIC, ClientName, Description, Format, Now, Read, Start, Subscription, history::Memory,
            requests::RequestTerms,
        },
        event::Epoch,
        limits::Limits,
        protocol::Respond,
        retention::Retention,
        topic::FilterSet,
    };

    const NOW: Now = Now { mono: 1, unix: 1 };

    fn bus() -> Bus {
        let mut bus =
            Bus::new(Epoch::parse("e").unwrap(), Limits::default(), Box::new(Memory::new(Retention::default())));
        bus.set_node("left");
        bus
    }

    fn subscriber(bus: &mut Bus, filter: &str, name: Option<&str>) -> ClientId {
        let mut subscription = Subscription::new(FilterSet::parse(&[filter]).unwrap(), Format::Json);
        subscription.start = Start::Now;
        subscription.description.name = name.map(|name| ClientName::parse(name).unwrap());
        bus.subscribe(subscription, NOW).unwrap().0
    }

    fn read(bus: &mut Bus, id: ClientId) -> String {
        bus.finish().wake();
        let mut out = Vec::new();
        while bus.read(id, NOW, Waker::noop(), &mut out) == Read::Ready {}
        String::from_utf8(out.concat()).unwrap()
    }

    #[test]
    fn a_client_is_addressed_by_its_id_with_and_without_the_name_of_its_node() {
        let mut bus = bus();
        let id = subscriber(&mut bus, "a", Some("tab"));
        assert_eq!(bus.clients()[0].id, "c1@left");
        for address in ["c1", "c1@left", "tab"] {
            assert_eq!(bus.addressed(address).unwrap(), [id], "{address}");
        }
        for address in ["c1@right", "c1@", "c01@left", "@left", "c1@left@left"] {
            assert!(bus.addressed(address).is_err(), "{address}");
        }
        assert!(ClientName::parse("c1@left").is_err() && ClientName::parse("c1@Left").is_ok());
    }

    #[test]
    fn matching_subscribers_and_responders_are_counted() {
        let mut bus = bus();
        subscriber(&mut bus, "a/*", None);
        subscriber(&mut bus, "**", None);
        let topic = |name| Topic::parse(name).unwrap();
        assert_eq!((bus.subscribers_of(&topic("a/b")), bus.subscribers_of(&topic("c"))), (2, 1));
        let respond = Respond::new(["a/*"]);
        let responder = Subscription::respond(&respond, Format::Json, Description::default()).unwrap();
        bus.subscribe(responder, NOW).unwrap();
        assert_eq!(bus.responders_of(&topic("a/b")), AvailableResponders { free: 1, matching: 1 });
        assert_eq!(bus.responders_of(&topic("b")), AvailableResponders::default());
        bus.request(crate::bus::Publication::new(topic("a/b"), "x"), RequestTerms::default(), None, NOW).unwrap();
        assert_eq!(bus.responders_of(&topic("a/b")), AvailableResponders { free: 0, matching: 1 });
        #[cfg(debug_assertions)]
        bus.self_check();
    }

    #[test]
    fn the_address_for_a_reply_names_the_node() {
        let mut bus = bus();
        let responder = Subscription::respond(&Respond::new(["a"]), Format::Json, Description::default()).unwrap();
        let id = bus.subscribe(responder, NOW).unwrap().0;
        let request = crate::bus::Publication::new(Topic::parse("a").unwrap(), "x");
        let request = bus.request(request, RequestTerms::default(), None, NOW).unwrap();
        let event: serde_json::Value = serde_json::from_str(&read(&mut bus, id)).unwrap();
        let address = event["event"]["reply_to"].as_str().unwrap();
        let (without, node) = address.split_once('@').unwrap();
        assert_eq!(node, "left");
        let answer = || crate::bus::requests::Answer::Failed("no".into());
        assert!(bus.reply(&format!("{without}@right"), answer(), NOW).is_err());
        bus.reply(address, answer(), NOW).unwrap();
        let refused = bus.poll_request(request, Waker::noop()).unwrap().unwrap_err();
        assert_eq!(refused.code, crate::protocol::ErrorCode::ResponderFailed);
    }

    #[test]
    fn presence_is_collected_for_other_nodes_while_they_watch() {
        let mut bus = bus();
        subscriber(&mut bus, "a", None);
        assert!(bus.poll_presence(Waker::noop()).is_none());
        bus.watch_presence(true);
        let id = subscriber(&mut bus, "a", Some("tab"));
        bus.disconnect(id, NOW);
        let (events, dropped) = bus.poll_presence(Waker::noop()).unwrap();
        let seen: Vec<_> = events.iter().map(|event| (&*event.what, &*event.client.id)).collect();
        assert_eq!((seen, dropped), (vec![("join", "c2@left"), ("leave", "c2@left")], 0));
        bus.watch_presence(false);
        subscriber(&mut bus, "a", None);
        assert!(bus.poll_presence(Waker::noop()).is_none());
    }

    #[test]
    fn announcements_reach_the_subscribers_of_their_topic() {
        let mut bus = bus();
        let id = subscriber(&mut bus, "$sys/nodes", None);
        assert!(bus.has_subscribers_of("$sys/nodes") && !bus.has_subscribers_of(CLIENTS_TOPIC));
        bus.announce("$sys/nodes", "joined", "{}".into(), NOW);
        let event = read(&mut bus, id);
        assert!(event.contains("joined") && event.contains("$sys/nodes"), "{event}");
    }
}
