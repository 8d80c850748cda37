//! A cluster of NATS servers that replicate their streams.

use super::NatsServer;
use crate::harness::{ports::stable_port, until};

/// The servers.
pub struct NatsCluster {
    pub servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts three servers, and waits until each takes part.
    pub fn start() -> NatsCluster {
        NatsCluster::configured("")
    }

    /// The same with additional lines of configuration for each server.
    pub fn configured(config: &str) -> NatsCluster {
        let routes: Vec<u16> = (0..3).map(|_| stable_port()).collect();
        let list: Vec<String> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let server = |(index, route): (usize, &u16)| {
            let cluster = format!(
                "cluster {{ name: tests, listen: \"127.0.0.1:{route}\", routes: [{}] }}\n{config}",
                list.join(", ")
            );
            NatsServer::prepared(&format!("server-{}", index + 1), "", &cluster)
        };
        let mut servers: Vec<NatsServer> = routes.iter().enumerate().map(server).collect();
        // They become healthy together.
        for server in &mut servers {
            server.service.spawn();
        }
        let mut cluster = NatsCluster { servers };
        cluster.wait_until_healthy();
        cluster
    }

    /// Waits until every server that runs takes part in the cluster.
    pub fn wait_until_healthy(&mut self) {
        for index in 0..self.servers.len() {
            if self.servers[index].service.is_running() {
                let server = &mut self.servers[index];
                let (service, monitoring) = (&mut server.service, server.monitoring);
                service.wait_until(|| super::server::is_healthy(monitoring).then_some(()));
            }
        }
    }

    /// The addresses of all, separated by commas.
    pub fn urls(&self) -> String {
        self.servers.iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
    }

    /// The index of the server that leads a stream; waits until there is one that runs.
    pub fn leader_of(&self, stream: &str) -> usize {
        until(&format!("{stream} has a leader"), || {
            let running = || self.servers.iter().filter(|server| server.service.is_running());
            let leader = running().find_map(|server| server.leader_of(stream))?;
            self.servers.iter().position(|server| server.name() == leader && server.service.is_running())
        })
    }
}
