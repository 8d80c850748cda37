//! Restarts under load with `EventSource`: pages of the bus's own origin and of another, and fifty streams of the npm
//! package of that name in Node.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use sse_bus_browser_tests::{Browser, Bus, Process, Response, Site, Tab, Value, eventually, free_port, npm};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

const STREAMS: usize = 50;
/// All have reconnected within this time.
const BACK: Duration = Duration::from_secs(15);
/// Between two events.
const PACE: Duration = Duration::from_millis(50);
/// Streams whose reconnect must fail before the next daemon starts.
const TOO_EARLY: usize = 10;

/// What one `EventSource` has received.
#[derive(Debug, Default)]
struct Heard {
    opened: usize,
    /// Events, by id and data.
    events: Vec<(String, String)>,
    gaps: Vec<Value>,
    closed: bool,
    tried: usize,
}

impl Heard {
    /// Records one of its messages.
    fn take(&mut self, said: &[Value]) {
        match said.iter().map(|word| word.as_str().unwrap()).collect::<Vec<_>>()[..] {
            ["try"] => self.tried += 1,
            ["open"] => self.opened += 1,
            ["closed"] => self.closed = true,
            ["gap", data] => self.gaps.push(serde_json::from_str(data).unwrap()),
            [id, data] => self.events.push((id.into(), data.into())),
            _ => panic!("{said:?}"),
        }
    }

    /// Checks that it received the wanted events, none twice or out of order.
    fn is_complete(&self, wanted: &BTreeMap<String, String>) {
        let seq = |id: &str| id.rsplit_once('-').unwrap().1.parse::<u64>().unwrap();
        assert!(self.events.is_sorted_by(|(a, _), (b, _)| seq(a) < seq(b)), "twice or out of order: {self:?}");
        assert_eq!(self.events.iter().map(|(_, data)| data).collect::<HashSet<_>>().len(), self.events.len());
        let heard: BTreeMap<_, _> = self.events.iter().cloned().collect();
        let missing: Vec<_> = wanted.iter().filter(|(id, data)| heard.get(*id) != Some(*data)).collect();
        assert!(missing.is_empty(), "missing, or others: {missing:?}");
        // After a crash the bus cannot tell whether an event is missing, so a gap may say so.
        assert!(self.gaps.len() <= 1 && self.gaps.iter().all(|gap| gap["missed"].is_null()), "{:?}", self.gaps);
    }
}

/// All `EventSource`s of the test.
struct Crowd {
    pages: [Tab; 2],
    _node: Process,
    output: std::path::PathBuf,
}

impl Crowd {
    async fn gather(bus: &Bus, browser: &Browser, other: &Site) -> Crowd {
        let url = format!("{}/events/load", bus.url());
        let pages = [
            browser.open(&format!("{}/?topic=nothing", bus.url())).await,
            browser.open(&other.origin("localhost")).await,
        ];
        for page in &pages {
            page.eval(&format!(
                "window.heard = [];
                 const say = (...words) => heard.push(JSON.stringify(words));
                 const events = new EventSource({url:?});
                 events.onopen = () => say('open');
                 events.onmessage = (event) => say(event.lastEventId, event.data);
                 events.onerror = () => events.readyState === EventSource.CLOSED && say('closed');
                 events.addEventListener('$gap', (event) => say('gap', event.data));"
            ))
            .await;
        }
        let scripts = npm::Scripts::installed("node", bus.path());
        let output = bus.path().join("node.out");
        let mut node = scripts.node("streams.mjs");
        node.args([&url, &STREAMS.to_string()]);
        Crowd { pages, _node: Process::start(&mut node, &output), output }
    }

    /// The messages of Node's streams.
    fn node(&self) -> Vec<Heard> {
        let mut all: Vec<Heard> = (0..STREAMS).map(|_| Heard::default()).collect();
        let said = fs::read_to_string(&self.output).unwrap();
        for line in said.lines().filter(|_| said.ends_with('\n')) {
            let words: Vec<Value> = serde_json::from_str(line).unwrap();
            all[words[0].as_u64().unwrap() as usize].take(&words[1..]);
        }
        all
    }

    /// The messages of all.
    async fn heard(&self) -> Vec<Heard> {
        let mut all = self.node();
        for page in &self.pages {
            let mut heard = Heard::default();
            for words in page.strings("heard").await {
                heard.take(&serde_json::from_str::<Vec<Value>>(&words).unwrap());
            }
            all.push(heard);
        }
        all
    }

    /// Waits until a condition holds for all of them, and checks that none has given up.
    async fn wait(&self, what: &str, is: impl Fn(&Heard) -> bool) {
        eventually(what, async || {
            let heard = self.heard().await;
            assert!(heard.iter().all(|heard| !heard.closed), "one does not reconnect");
            match heard.iter().filter(|heard| !is(heard)).count() {
                0 => Ok(()),
                others => Err(format!("not for {others} of {}", heard.len())),
            }
        })
        .await;
    }
}

/// Publishes until `over` is set, also while the daemon is down. Returns the acknowledged events by id.
async fn publish(socket: &Path, how: &str, over: &AtomicBool) -> BTreeMap<String, String> {
    let mut published = BTreeMap::new();
    let mut connection = None;
    for n in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        tokio::time::sleep(PACE).await;
        let data = format!("{how}-{n}");
        let line = format!(r#"{{"publish":{{"topic":"load","data":"{data}","ack":"durable"}}}}"#) + "\n";
        let reply = async {
            let mut lines = match connection.take() {
                Some(lines) => lines,
                None => BufReader::new(UnixStream::connect(socket).await.ok()?),
            };
            lines.write_all(line.as_bytes()).await.ok()?;
            let mut reply = String::new();
            lines.read_line(&mut reply).await.ok()?;
            connection = Some(lines);
            serde_json::from_str::<Value>(&reply).ok()
        };
        match reply.await {
            None => connection = None,
            Some(reply) => {
                published.extend(reply["published"]["id"].as_str().map(|id| (id.to_owned(), data)));
            }
        }
    }
    published
}

#[tokio::test]
async fn every_event_source_reconnects_soon_after_a_restart_and_misses_nothing() {
    let site = Site::start(free_port(), |_| Response::document("text/html", "<!doctype html>")).await;
    let mut bus = Bus::start_held(&["--history", "disk", "--allow-origin", &site.origin("localhost")]).await;
    let browser = Browser::start().await;
    let crowd = Crowd::gather(&bus, &browser, &site).await;
    crowd.wait("all to be connected", |heard| heard.opened == 1).await;
    // An `EventSource` without an event would have no id to resume from.
    bus.ctl(&["publish", "load", "first"]).await;
    crowd.wait("the first event", |heard| heard.events.len() == 1).await;

    let mut answered = BTreeMap::new();
    for (restarts, how) in (1..).zip(["stop", "crash"]) {
        let (over, socket) = (AtomicBool::new(false), bus.socket());
        let restart = async {
            let before = crowd.heard().await[0].events.len();
            crowd.wait("more events", |heard| heard.events.len() > before + 5).await;
            let tried: usize = crowd.node().iter().map(|heard| heard.tried).sum();
            let began = Instant::now();
            match how {
                "stop" => assert!(bus.stop().await.success()),
                _ => bus.crash().await,
            }
            eventually("some to try while it is down", async || {
                let early = crowd.node().iter().map(|heard| heard.tried).sum::<usize>() - tried;
                if early >= TOO_EARLY { Ok(()) } else { Err(early.to_string()) }
            })
            .await;
            let away = began.elapsed();
            bus.restart().await;
            crowd.wait("all to be reconnected", |heard| heard.opened > restarts).await;
            let last = began.elapsed();
            println!(
                "{how}: down for {away:.2?}; {STREAMS} streams of Node and 2 of Chromium are back after {last:.2?}"
            );
            assert!(last < BACK, "{last:?}");
            over.store(true, Ordering::Relaxed);
        };
        let (published, ()) = tokio::join!(publish(&socket, how, &over), restart);
        answered.extend(published);
    }
    bus.ctl(&["publish", "load", "last"]).await;
    crowd.wait("the last event", |heard| heard.events.last().is_some_and(|(_, data)| data == "last")).await;

    let text = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
    let history = bus.json(&["history", "load"]).await;
    let history: BTreeMap<_, _> = history.iter().map(|event| (text(event, "id"), text(event, "data"))).collect();
    assert!(answered.iter().all(|(id, data)| history.get(id) == Some(data)), "an acknowledged event is lost");
    for heard in crowd.heard().await {
        heard.is_complete(&history);
    }
    browser.quit().await;
}
