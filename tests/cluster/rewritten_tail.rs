//! The log loses its tail, and its numbers are assigned again to other events. Clients that have received lost events are
//! notified, and no event is skipped silently.

use crate::{
    harness::{
        Daemon, EventStream, Sse,
        nats::{NatsServer, node},
    },
    listeners::{Listeners, seq},
    load::{numbered, publish_all_of},
    site::BUS,
};

/// A log after the loss of its tail, and what the tests know about it.
struct Rewritten {
    node: Daemon,
    server: NatsServer,
    /// A stream that has received the lost events.
    live: EventStream,
    kept: Vec<String>,
    lost: Vec<String>,
}

impl Rewritten {
    /// Publishes events, of which the last five are lost: the server has an earlier copy of its files.
    fn new() -> Rewritten {
        Rewritten::beside(|_| ()).0
    }

    /// Does the same beside clients that are started first.
    fn beside<C>(start: impl FnOnce(&Daemon) -> C) -> (Rewritten, C) {
        let mut server = NatsServer::start();
        let node = node(&server.url(), BUS, "a", &[]);
        let clients = start(&node);
        let mut live = node.stream("/events/t");
        let kept = publish_all_of(&node, "t", &numbered("kept", 1..=10));
        server.stop();
        let copy = server.copy_store();
        server.start_again();
        let lost = publish_all_of(&node, "t", &numbered("lost", 11..=15));
        let received = [numbered("kept", 1..=10), numbered("lost", 11..=15)].concat();
        assert_eq!(live.data(15), received);
        server.stop();
        server.restore_store(&copy);
        server.start_again();
        (Rewritten { node, server, live, kept, lost }, clients)
    }

    fn another_node(&self) -> Daemon {
        node(&self.server.url(), BUS, "b", &[])
    }
}

/// Reads until the event with this data. Returns the reason of the gap that the stream began with, if it did, and the data of the
/// events, in order. What a node still had, because it had not reached the log yet, precedes the gap. All of history may follow it;
/// what the log has kept is left out.
fn read_until(stream: &mut EventStream, last: &str) -> (Option<String>, Vec<String>) {
    let (mut gap, mut events) = (None, Vec::<Sse>::new());
    while events.last().is_none_or(|event| event.data != last) {
        let event = stream.event();
        if event.kind.as_deref() == Some("$gap") {
            let had = events.drain(..).all(|event| event.data.starts_with("lost"));
            assert!(gap.is_none() && had, "{event:?} after {gap:?} and other events than those that were lost");
            gap = event.json()["reason"].as_str().map(str::to_owned);
            continue;
        }
        assert!(events.last().is_none_or(|before| seq(&before.id) < seq(&event.id)), "{event:?} after {events:?}");
        events.push(event);
    }
    let data = events.into_iter().map(|event| event.data);
    let data = data.filter(|data| gap.is_none() || !data.starts_with("kept")).collect();
    (gap, data)
}

fn resume(node: &Daemon, id: &str) -> EventStream {
    node.stream_with("/events/t", &[("Last-Event-ID", id)])
}

#[test]
#[ignore = "needs nats-server: it restores an earlier copy of its files"]
fn a_client_with_a_lost_id_receives_a_gap_and_every_event_of_the_new_tail() {
    let mut rewritten = Rewritten::new();
    let new = numbered("new", 11..=20);
    let ids = publish_all_of(&rewritten.node, "t", &new);
    assert_eq!(ids.iter().map(|id| seq(id)).collect::<Vec<_>>(), (11..=20).collect::<Vec<_>>());
    let wanted = (Some("rewritten".to_owned()), new.clone());

    // A stream that stayed open, one that resumes at the same node, and one at a node that never had the lost events.
    assert_eq!(read_until(&mut rewritten.live, "new-20"), wanted);
    let other = rewritten.another_node();
    for node in [&rewritten.node, &other] {
        for lost in &rewritten.lost {
            assert_eq!(read_until(&mut resume(node, lost), "new-20"), wanted, "after {lost}");
        }
        // Ids that the log has continue without a gap.
        assert_eq!(read_until(&mut resume(node, &rewritten.kept[9]), "new-20"), (None, new.clone()));
        assert_eq!(read_until(&mut resume(node, &ids[4]), "new-20"), (None, new[5..].to_vec()));
    }
}

/// What the check is for: without it, the number of a lost event is that of another event, and events are skipped silently.
#[test]
#[ignore = "needs nats-server: it restores an earlier copy of its files again"]
fn a_lost_id_without_its_check_would_skip_events_silently() {
    let rewritten = Rewritten::new();
    let new = numbered("new", 11..=20);
    publish_all_of(&rewritten.node, "t", &new);
    let (without_check, check) = rewritten.lost[2].rsplit_once('-').unwrap();
    assert_eq!((seq(without_check), check.len()), (13, 4));
    assert_eq!(read_until(&mut resume(&rewritten.node, without_check), "new-20"), (None, new[3..].to_vec()));
}

#[test]
#[ignore = "needs nats-server: it shortens the log"]
fn a_client_with_an_id_after_the_end_receives_a_gap_and_what_is_published_later() {
    let mut rewritten = Rewritten::new();
    // Until it has noticed, the node has what it has received.
    assert_eq!(rewritten.live.event().kind.as_deref(), Some("$gap"));
    let other = rewritten.another_node();
    let streams = [&rewritten.node, &other].map(|node| resume(node, &rewritten.lost[2]));
    let new = numbered("new", 11..=20);
    publish_all_of(&rewritten.node, "t", &new);
    for mut stream in streams {
        assert_eq!(read_until(&mut stream, "new-20"), (Some("rewritten".to_owned()), new.clone()));
    }
}

#[test]
#[ignore = "needs cluster: it restores an earlier copy of the files of a server beside clients in Node"]
fn the_browser_module_gives_every_event_of_the_new_tail() {
    let (mut rewritten, clients) = Rewritten::beside(|node| Listeners::start(node.address, "t", 2));
    assert_eq!(rewritten.live.event().kind.as_deref(), Some("$gap"));
    let new = [numbered("new", 11..=20), vec!["end".into()]].concat();
    publish_all_of(&rewritten.node, "t", &new);
    for (client, events) in clients.at_the_end().into_iter().enumerate() {
        let gap =
            events.iter().position(|event| event.is_gap).unwrap_or_else(|| panic!("{client}: no gap in {events:?}"));
        let after: Vec<String> = events[gap + 1..].iter().map(|event| event.data.clone()).collect();
        assert_eq!(after, new, "client {client}");
    }
}
