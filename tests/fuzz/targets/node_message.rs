//! A message between nodes, which other programs with credentials may send as well, and what a node does with it.
//!
//! A message that is read can be written and read again, whatever it asks for is checked as the request of a client is, and the
//! table of nodes stays bounded.
#![no_main]

#[allow(dead_code, reason = "a node reads more of it")]
#[path = "../../../daemon/cluster/message.rs"]
mod message;
#[allow(dead_code, reason = "a node asks more of it")]
#[path = "../../../daemon/cluster/nodes.rs"]
mod nodes;

use std::task::Waker;

use libfuzzer_sys::fuzz_target;
use message::{Body, Message, Question};
use sse_bus::{
    Epoch, Topic,
    bus::{
        Bus, Now, Publication,
        history::Memory,
        requests::{Answer, RequestTerms},
    },
    limits::{Limits, NODES_MAX},
    retention::Retention,
};

const NOW: Now = Now { mono: 1, unix: 1 };

fuzz_target!(|bytes: &[u8]| {
    let mut nodes = nodes::Nodes::default();
    let epoch = Epoch::parse("e").expect("a valid epoch");
    let mut bus = Bus::new(epoch, Limits::default(), Box::new(Memory::new(Retention::default())));
    bus.set_node("own");
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(message) = Message::decode(line) else { continue };
        let again = Message::decode(&message.encode()).expect("a message that was written");
        assert_eq!(again.encode(), message.encode());
        let Message { from, instance, sent, body } = message;
        nodes.is_recent(&from, instance, sent, NOW.mono);
        match body {
            Body::Announce(announcement) => drop(nodes.announced(&from, instance, sent, *announcement, NOW.mono, 0)),
            Body::Leave {} => drop(nodes.left(&from, instance, NOW.mono)),
            Body::Presence(events) => {
                for event in events {
                    bus.announce("$sys/clients", &event.what, String::new(), NOW);
                }
            }
            Body::Ask { question, .. } => ask(&mut bus, question),
            Body::Answer { .. } | Body::Forget { .. } | Body::Cancel { .. } => {}
        }
        assert!(nodes.names().len() <= NODES_MAX);
        nodes.mark_silent(&from);
        nodes.list(u64::MAX, u64::MAX);
    }
    bus.finish().wake();
    assert_eq!(bus.position().seq, 0, "no question is an event of the log");
});

/// Does what a node does for another one.
fn ask(bus: &mut Bus, question: Question) {
    match question {
        Question::Send { event, .. } => {
            let Ok(publication) = Publication::parse(*event, bus.limits()) else { return };
            if bus.is_unicast(&publication) {
                let _ = bus.publish(publication, None, NOW);
            }
        }
        Question::Request(request) => {
            let Ok((publication, terms)) = RequestTerms::parse(*request, bus.limits()) else { return };
            if let Ok(request) = bus.request(publication, terms, None, NOW) {
                let _ = bus.poll_request(request, Waker::noop());
            }
        }
        Question::Reply(reply) => {
            if let Ok((to, answer)) = Answer::parse(*reply, bus.limits()) {
                assert!(bus.reply(&to, answer, NOW).is_err(), "there is no request");
            }
        }
        Question::Kick { client } | Question::KickFor { client, .. } => drop(bus.addressed(&client)),
        Question::Subscribers { topics } => {
            for topic in topics.iter().filter_map(|topic| Topic::parse(topic).ok()) {
                bus.subscribers_of(&topic);
            }
        }
        Question::Responders { topic } => {
            if let Ok(topic) = Topic::parse(&topic) {
                bus.responders_of(&topic);
            }
        }
        Question::Clients {} | Question::KeepOut { .. } | Question::Settle { .. } | Question::Workers {} => {}
    }
}
