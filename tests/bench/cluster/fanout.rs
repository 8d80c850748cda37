//! Deliveries to 1,000 subscribers, of one daemon with history in memory, of one node, and of two nodes with 500 each.

use std::time::Instant;

use sse_bus_support::harness::nats::NatsServer;

use super::{
    ROOM, Result,
    crowd::{Crowd, Keep},
    daemon::{Daemon, On, Publisher, event},
    line, median, node, ratio,
};

const ROUNDS: usize = 5;
const SUBSCRIBERS: usize = 1_000;
/// Events of a round, and of those that are published at once: a subscriber never has to read history.
const EVENTS: usize = 300;
const AT_ONCE: usize = 10;

/// Daemons with subscribers.
struct Scene {
    publisher: Publisher,
    nodes: Vec<(Daemon, Crowd)>,
}

/// Deliveries a second, and a second of the processors of all daemons together.
struct Figures {
    rate: f64,
    by_cpu: f64,
}

impl Scene {
    fn start(daemons: Vec<Daemon>) -> Result<Scene> {
        let publisher = daemons[0].publisher()?;
        let each = SUBSCRIBERS / daemons.len();
        let with_crowd = |daemon: Daemon| {
            let mut crowd = Crowd::new(daemon.address)?;
            crowd.connect(Keep::Count, (0..each).map(|_| "/events/bench".to_owned()))?;
            Ok((daemon, crowd))
        };
        let nodes = daemons.into_iter().map(with_crowd).collect::<Result<Vec<_>>>()?;
        let mut scene = Scene { publisher, nodes };
        scene.round()?;
        Ok(scene)
    }

    fn cpu(&self) -> Result<f64> {
        self.nodes.iter().map(|(daemon, _)| daemon.cpu()).sum()
    }

    fn round(&mut self) -> Result<Figures> {
        let batch = event("bench", &"x".repeat(200)).repeat(AT_ONCE);
        let (before, began) = (self.cpu()?, Instant::now());
        for _ in 0..EVENTS / AT_ONCE {
            self.publisher.send(&batch)?;
            for (_, crowd) in &mut self.nodes {
                let all = crowd.delivered + (AT_ONCE * crowd.clients.len()) as u64;
                crowd.wait_for(all)?;
            }
        }
        let deliveries = (EVENTS * SUBSCRIBERS) as f64;
        Ok(Figures { rate: deliveries / began.elapsed().as_secs_f64(), by_cpu: deliveries / (self.cpu()? - before) })
    }
}

pub(super) fn run() -> Result<()> {
    let server = NatsServer::start();
    // Each bus of nodes has a server of its own, since nodes of one server share a log.
    let other = NatsServer::start();
    let mut memory = Scene::start(vec![Daemon::start(On::All, &ROOM)?])?;
    let mut one = Scene::start(vec![node(&server, "a", On::All)?])?;
    let mut two = Scene::start(vec![node(&other, "a", On::All)?, node(&other, "b", On::All)?])?;
    let mut figures = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for (figures, scene) in figures.iter_mut().zip([&mut memory, &mut one, &mut two]) {
            figures.push(scene.round()?);
        }
    }
    let names = ["history in memory", "one node", "two nodes, 500 each"];
    let of = |index: usize, get: fn(&Figures) -> f64| figures[index].iter().map(get).collect::<Vec<f64>>();
    for (index, name) in names.iter().enumerate() {
        let rate = of(index, |figures| figures.rate);
        let ratio = ratio(&rate, &of(0, |figures| figures.rate));
        line(&format!("deliveries to 1,000 subscribers, {name}"), &format!("{:.0}/s", median(rate)), &ratio, "–");
    }
    for (index, name) in names.iter().enumerate() {
        let rate = of(index, |figures| figures.by_cpu);
        let ratio = ratio(&rate, &of(0, |figures| figures.by_cpu));
        let asked = if index == 0 { "–" } else { "at least 0.9" };
        line(&format!("  a second of a processor, {name}"), &format!("{:.0}", median(rate)), &ratio, asked);
    }
    Ok(())
}
