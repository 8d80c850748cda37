//! A node that starts while the servers elect a leader waits for them.

use std::{fs, thread};

use crate::{
    harness::{
        Daemon, Sandbox,
        nats::{NatsCluster, node, node_flags},
        until,
    },
    site::{BUS, STREAM},
};

#[test]
#[ignore = "needs nats-server: it stops two of three servers"]
fn a_node_that_starts_before_the_servers_have_a_leader_waits_for_one() {
    let mut servers = NatsCluster::start();
    node(&servers.urls(), BUS, "a", &["--nats-replicas", "3"]).publish("t", "before");
    // The server that is left has led nothing, and needs another one to elect a leader.
    let leader = servers.leader_of(STREAM);
    for killed in [leader, (leader + 1) % 3] {
        servers.servers[killed].kill();
    }
    let sandbox = Sandbox::new();
    let log = sandbox.path("daemon.log");
    let flags = node_flags(&sandbox, &servers.urls(), BUS, "b");
    let starting = thread::spawn(|| Daemon::of_command(sandbox, flags, |_| {}));
    until("the node waits", || {
        fs::read_to_string(&log).ok()?.contains("the NATS servers do not answer; trying again").then_some(())
    });
    for killed in [leader, (leader + 1) % 3] {
        servers.servers[killed].service.spawn();
    }
    servers.wait_until_healthy();
    let started = starting.join().unwrap();
    assert_eq!(started.stream("/events/t?since=all").data(1), ["before"]);
}
