//! While nodes, servers, the leader of the stream and the balancer are killed at random, every client receives every event once
//! and in order, over any node.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;

use crate::{
    listeners::{Listeners, in_order},
    load::{self, Load, Outcome},
    site::{STREAM, Site, chaos_seconds},
};

const CLIENTS: usize = 50;
/// Of both nodes together, in two minutes.
const EVENTS: u64 = 20_000;

#[test]
#[ignore = "needs cluster: it kills servers, nodes and the balancer"]
fn every_client_receives_every_event_once_while_everything_is_killed() {
    let seconds = chaos_seconds();
    let mut site = Site::start();
    let listeners = Listeners::start(site.balancer.address, "load", CLIENTS);
    let events = (EVENTS * seconds / 120 / 2) as usize;
    let load = |node: usize, name, events: usize| Load {
        socket: site.nodes[node].sandbox.socket(),
        topic: "load",
        name,
        events,
        pace: Duration::from_secs(seconds) / events as u32,
    };
    let repeated = [load(0, "a", events), load(1, "b", events)].map(load::repeated);
    // Their publishes may have an unknown outcome.
    let once = [load(0, "once-a", events / 20), load(1, "once-b", events / 20)].map(load::once);

    let seed = fastrand::u64(..);
    println!("seed of the chaos: {seed}");
    let mut random = Rng::with_seed(seed);
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        kill_something(&mut site, &mut random);
    }

    let outcomes: BTreeMap<String, Outcome> =
        repeated.into_iter().chain(once).flat_map(|publisher| publisher.join().unwrap()).collect();
    site.nodes[0].publish("load", "end");
    let received = listeners.at_the_end();

    let received: Vec<BTreeMap<String, String>> = received.iter().map(|events| in_order(events)).collect();
    let all: BTreeMap<&String, &String> = received.iter().flatten().collect();
    let missing = received.iter().enumerate().flat_map(|(client, events)| {
        all.iter().filter(|(id, _)| !events.contains_key(**id)).map(move |(id, data)| (client, *id, *data))
    });
    let missing: Vec<_> = missing.map(|(client, id, data)| (client, id, data, outcomes.get(data))).collect();
    assert!(missing.is_empty(), "{} events, not received by some clients: {missing:#?}", all.len());
    let mut ids: BTreeMap<&str, &str> = BTreeMap::new();
    for (id, data) in all {
        assert_eq!(ids.insert(data, id), None, "{data} was received twice");
    }
    for (data, outcome) in &outcomes {
        match (outcome, ids.remove(&**data)) {
            (Outcome::Published(id), received) => assert_eq!(received, Some(&**id), "{data}"),
            (Outcome::Refused, received) => assert_eq!(received, None, "{data} was refused"),
            (Outcome::Unknown, _) => {}
        }
    }
    ids.remove("end");
    assert!(ids.is_empty(), "received, but not published: {ids:?}");
    let count = |wanted: fn(&Outcome) -> bool| outcomes.values().filter(|outcome| wanted(outcome)).count();
    println!(
        "published {}, refused {}, of unknown outcome {}",
        count(|outcome| matches!(outcome, Outcome::Published(_))),
        count(|outcome| *outcome == Outcome::Refused),
        count(|outcome| *outcome == Outcome::Unknown)
    );
}

/// Kills a part of the site, and starts it again after a while.
fn kill_something(site: &mut Site, random: &mut Rng) {
    let pause = |random: &mut Rng| thread::sleep(Duration::from_millis(random.u64(100..2_000)));
    let victim = random.usize(..4);
    match victim {
        0 => {
            let node = random.usize(..2);
            println!("killing node {node}");
            site.nodes[node].kill();
            pause(random);
            site.nodes[node].start_again();
        }
        1 => {
            println!("killing the balancer");
            site.balancer.service.kill();
            pause(random);
            site.balancer.start_again();
        }
        _ => {
            let server = if victim == 2 { random.usize(..3) } else { site.servers.leader_of(STREAM) };
            println!("killing server {}", site.servers.servers[server].name());
            site.servers.servers[server].kill();
            pause(random);
            site.servers.servers[server].start_again();
            // With two of three away, nothing could be published.
            site.servers.wait_until_healthy();
        }
    }
    pause(random);
}
