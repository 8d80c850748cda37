//! The gain of a second core at full load.
//!
//! The load runs on the same machine. It has the kernel discard received bytes, and still takes a part of the two
//! cores, which is printed: with all of the daemon's work divided between two cores of its own, throughput would grow
//! by twice its cost with one thread over its cost with two.

use std::time::{Duration, Instant};

use super::{
    Result,
    crowd::{Crowd, Keep},
    daemon::{Daemon, On, Publisher, event, own_cpu},
    line, median,
};

const ROUNDS: usize = 5;
const SUBSCRIBERS: usize = 1000;
/// Events published in one write, and the maximum of outstanding writes.
const BATCH: u64 = 100;
const WINDOW: u64 = 4;
const ROUND: Duration = Duration::from_secs(2);

struct Scene {
    daemon: Daemon,
    publisher: Publisher,
    crowd: Crowd,
    batch: String,
    batches: u64,
}

/// The result of a round.
struct Round {
    /// Deliveries a second.
    rate: f64,
    /// Microseconds of the daemon's processor time a delivery.
    cost: f64,
    /// The part of the daemon's processor time that its busiest thread took.
    busiest: f64,
    /// Processors that the load kept busy.
    load: f64,
}

impl Scene {
    fn start(on: On) -> Result<Scene> {
        let daemon = Daemon::start(on, &[])?;
        let publisher = daemon.publisher()?;
        let mut crowd = Crowd::new(daemon.address)?;
        // The first reads everything, which shows the number of bytes that the others must have.
        crowd.connect(Keep::Count, ["/events/bench".into()])?;
        crowd.connect(Keep::Nothing, (1..SUBSCRIBERS).map(|_| "/events/bench".into()))?;
        let batch = event("bench", &"x".repeat(200)).repeat(BATCH as usize);
        let mut scene = Scene { daemon, publisher, crowd, batch, batches: 0 };
        scene.round(Duration::from_millis(200))?;
        Ok(scene)
    }

    fn round(&mut self, time: Duration) -> Result<Round> {
        self.crowd.clients.iter_mut().for_each(|client| client.bytes = 0);
        let (first, threads, load, began) = (self.batches, self.daemon.threads()?, own_cpu()?, Instant::now());
        // The bytes that the first has after each batch.
        let mut marks: Vec<u64> = Vec::new();
        let mut behind = 0;
        let mut complete = 0;
        loop {
            let more = began.elapsed() < time;
            if !more && complete == self.batches - first {
                break;
            }
            if more && self.batches - first < complete + WINDOW {
                self.publisher.send(&self.batch)?;
                self.batches += 1;
                continue;
            }
            self.crowd.pump(Duration::from_millis(100))?;
            let got = &self.crowd.clients[0];
            // Batches reach it whole, or the mark is a little late.
            while (first + marks.len() as u64 + 1) * BATCH <= got.events {
                marks.push(got.bytes);
            }
            while let Some(mark) = marks.get(complete as usize) {
                let clients = &self.crowd.clients;
                behind = (behind..clients.len()).find(|i| clients[*i].bytes < *mark).unwrap_or(clients.len());
                if behind < clients.len() {
                    break;
                }
                (behind, complete) = (0, complete + 1);
            }
            if began.elapsed() > time + super::daemon::PATIENCE {
                return Err(format!("subscriber {behind} lacks events").into());
            }
        }
        let took = began.elapsed().as_secs_f64();
        let deliveries = (complete * BATCH * SUBSCRIBERS as u64) as f64;
        let spent: Vec<f64> = self.daemon.threads()?.iter().zip(&threads).map(|(now, before)| now - before).collect();
        let all: f64 = spent.iter().sum();
        Ok(Round {
            rate: deliveries / took,
            cost: all * 1e6 / deliveries,
            busiest: spent.iter().copied().fold(0.0, f64::max) / all,
            load: (own_cpu()? - load) / took,
        })
    }
}

pub(super) fn run() -> Result<()> {
    let mut scenes = [Scene::start(On::One)?, Scene::start(On::All)?];
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (rounds, scene) in rounds.iter_mut().zip(&mut scenes) {
            rounds.push(scene.round(ROUND)?);
        }
    }
    let [one, two] = rounds.map(|rounds| {
        let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
        Round { rate: of(|r| r.rate), cost: of(|r| r.cost), busiest: of(|r| r.busiest), load: of(|r| r.load) }
    });
    let rate = |round: &Round| format!("{:.2} M/s", round.rate / 1e6);
    line("deliveries, 1,000 subscribers, all they take, one core", &rate(&one), "", "–");
    line("the same, two cores", &rate(&two), &format!("{:.2}", two.rate / one.rate), "at least 1.6");
    line("  CPU a delivery, one core", &format!("{:.3} µs", one.cost), "", "–");
    line("  CPU a delivery, two cores", &format!("{:.3} µs", two.cost), &format!("{:.2}", two.cost / one.cost), "–");
    line("  cores that the load keeps busy meanwhile, of the two", &format!("{:.2}", two.load), "", "–");
    let (most, asked) = (2.0 * one.cost / two.cost, "at least 1.6, on two cores of its own");
    line("  twice the first cost by the second", "", &format!("{most:.2}"), asked);
    line("  the busiest thread's part of the work", &format!("{:.0} %", two.busiest * 100.0), "", "about 50 %");
    Ok(())
}
