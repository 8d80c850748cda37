//! A whole installation: three NATS servers, two nodes of one bus, and a load balancer in front of the nodes.

use crate::harness::{
    Daemon, HaProxy,
    nats::{NatsCluster, node},
};

/// The name of the bus, and of the stream of its log.
pub(crate) const BUS: &str = "tests";
pub(crate) const STREAM: &str = "SSEBUS_tests";

/// The nodes end first, then the servers.
pub(crate) struct Site {
    pub balancer: HaProxy,
    pub nodes: [Daemon; 2],
    pub servers: NatsCluster,
}

impl Site {
    pub(crate) fn start() -> Site {
        let servers = NatsCluster::start();
        // The first node creates the streams.
        let nodes = ["a", "b"].map(|name| node(&servers.urls(), BUS, name, &["--nats-replicas", "3"]));
        let balancer = HaProxy::start(&nodes.each_ref().map(|node| node.address));
        Site { balancer, nodes, servers }
    }
}

/// The seconds of a chaos test.
pub(crate) fn chaos_seconds() -> u64 {
    std::env::var("SSE_BUS_CHAOS_SECONDS").map_or(30, |text| text.parse().expect("a number of seconds"))
}
