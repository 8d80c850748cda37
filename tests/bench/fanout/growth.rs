//! The cost of a delivery as subscribers, topics, and subscribers of other topics grow.

use super::{
    Result,
    crowd::{Crowd, Keep},
    daemon::{Apart, Daemon, On, Publisher, event},
    floor::Floor,
    line, median,
};

const ROUNDS: usize = 7;
/// Deliveries of a round.
const DELIVERIES: usize = 30_000;
/// Publishes of a round to a topic without subscribers.
const PUBLISHES: usize = 50_000;

/// A daemon and its subscribers.
struct Scene {
    daemon: Daemon,
    publisher: Publisher,
    crowd: Crowd,
    /// A batch, and the number of its deliveries.
    batch: String,
    deliveries: usize,
}

impl Scene {
    /// Subscribers, each with the topic of its number; one event to each topic makes a batch.
    fn start(subscribers: usize, topics: usize, topic: fn(usize) -> String) -> Result<Scene> {
        let daemon = Daemon::start(On::One, &[])?;
        let publisher = daemon.publisher()?;
        let mut crowd = Crowd::new(daemon.address)?;
        crowd.connect(Keep::Count, (0..subscribers).map(|i| format!("/events/{}", topic(i))))?;
        let batch = (0..topics).map(|i| event(&topic(i), &"x".repeat(200))).collect();
        let mut scene = Scene { daemon, publisher, crowd, batch, deliveries: subscribers };
        scene.round(1)?;
        Ok(scene)
    }

    /// Publishes batches, one at a time. Returns the daemon's microseconds for each delivery.
    fn round(&mut self, batches: usize) -> Result<f64> {
        let before = self.daemon.cpu()?;
        for _ in 0..batches {
            let until = self.crowd.delivered + self.deliveries as u64;
            self.publisher.send(&self.batch)?;
            self.crowd.wait_for(until)?;
        }
        let spent = self.daemon.cpu()? - before;
        Ok(spent * 1e6 / (batches * self.deliveries) as f64)
    }
}

/// The medians of alternating rounds.
fn take_turns<T, const N: usize>(scenes: &mut [T; N], round: impl Fn(&mut T) -> Result<f64>) -> Result<[f64; N]> {
    let mut figures = [(); N].map(|()| Vec::new());
    for _ in 0..ROUNDS {
        for (figures, scene) in figures.iter_mut().zip(&mut *scenes) {
            figures.push(round(scene)?);
        }
    }
    Ok(figures.map(median))
}

pub(super) fn run() -> Result<()> {
    let _apart = Apart::begin()?;
    subscribers()?;
    topics()?;
    elsewhere()
}

fn subscribers() -> Result<()> {
    let one = |_| "bench".into();
    let mut scenes = [Scene::start(100, 1, one)?, Scene::start(1000, 1, one)?, Scene::start(10_000, 1, one)?];
    let daemon = take_turns(&mut scenes, |scene| scene.round(DELIVERIES / scene.deliveries))?;
    // There are too few descriptors for both at once.
    drop(scenes);
    let mut floors = [Floor::start(100)?, Floor::start(1000)?, Floor::start(10_000)?];
    let floor = take_turns(&mut floors, |floor| floor.round(DELIVERIES / floor.sockets()))?;

    let [few, many, most] = daemon;
    report("CPU a delivery, 100 subscribers, one event at a time", few, None, "–");
    report("the same, 1,000 subscribers", many, Some(few), "at most 1.15");
    report("the same, 10,000 subscribers", most, Some(few), "at most 1.15");
    report("  a bare send() loop, 100 sockets", floor[0], None, "–");
    report("  the same, 1,000 sockets", floor[1], Some(floor[0]), "–");
    report("  the same, 10,000 sockets", floor[2], Some(floor[0]), "what the kernel does");
    let times: Vec<String> = daemon.iter().zip(floor).map(|(own, bare)| format!("{:.2}", own / bare)).collect();
    line("  the daemon's cost by the loop's, at these sizes", &times.join(" "), "", "–");
    Ok(())
}

fn topics() -> Result<()> {
    let mut scenes = [Scene::start(1000, 1, |_| "bench".into())?, Scene::start(1000, 1000, |i| format!("bench/{i}"))?];
    let [one, each] = take_turns(&mut scenes, |scene| scene.round(DELIVERIES / scene.deliveries))?;
    report("CPU a delivery, one topic with 1,000 subscribers", one, None, "–");
    report("the same, 1,000 topics with one subscriber, an event to each", each, Some(one), "at most 1.5");
    Ok(())
}

fn elsewhere() -> Result<()> {
    let elsewhere = |i| format!("elsewhere/{i}");
    let mut scenes = [Scene::start(0, 1, elsewhere)?, Scene::start(10_000, 10_000, elsewhere)?];
    let unwanted = event("nobody", &"x".repeat(200)).repeat(100);
    let [alone, beside] = take_turns(&mut scenes, |scene| {
        let before = scene.daemon.cpu()?;
        for _ in 0..PUBLISHES / 100 {
            scene.publisher.send(&unwanted)?;
        }
        scene.publisher.status()?;
        Ok((scene.daemon.cpu()? - before) * 1e6 / PUBLISHES as f64)
    })?;
    report("CPU a publish without a match, no subscribers", alone, None, "–");
    report("the same, 10,000 subscribers elsewhere", beside, Some(alone), "about 1");
    Ok(())
}

fn report(what: &str, micros: f64, against: Option<f64>, asked: &str) {
    let ratio = against.map_or(String::new(), |base| format!("{:.2}", micros / base));
    line(what, &format!("{micros:.2} µs"), &ratio, asked);
}
