//! The attacks of a foreign page: `attack.js` against a bus, and what the page and the daemon saw of it.

use std::{collections::BTreeSet, fs, ops::Deref, path::PathBuf};

use sse_bus_browser_tests::{Bus, Process, Response, Site, Tab, Value, eventually};

/// Names that resolve to this machine, as any name does whose owner has rebound it.
pub(crate) const NAMES: &str = "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP app.example 127.0.0.1";
/// Retained on the bus: every stream begins with it.
pub(crate) const SECRET: &str = "only for the own user";

/// An attempt of the page, and its outcome.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) context: String,
    pub(crate) way: String,
    pub(crate) kind: String,
    pub(crate) outcome: String,
}

impl Row {
    /// Returns true if the page has learned more than that it was refused: text, or a usable response.
    pub(crate) fn has_read(&self) -> bool {
        self.outcome.starts_with("read") || self.outcome == "loaded"
    }
}

/// Runs all attacks of a page on a target, from some contexts.
pub(crate) async fn attack(tab: &Tab, target: &str, contexts: &[&str]) -> Vec<Row> {
    tab.eval(&format!("everything({target:?}, {contexts:?})")).await;
    eventually("the page to have made all attempts", async || {
        let state = tab.eval("return [account.done ?? false, account.length, account.at(-1) ?? null]").await;
        if state[0] == true { Ok(()) } else { Err(state.to_string()) }
    })
    .await;
    let account = tab.eval("return account").await;
    let text = |row: &Value, name: &str| row[name].as_str().expect("rows hold texts").to_owned();
    let row = |row: &Value| Row {
        context: text(row, "context"),
        way: text(row, "way"),
        kind: text(row, "kind"),
        outcome: text(row, "outcome"),
    };
    account.as_array().expect("an array of rows").iter().map(row).collect()
}

/// The number of requests that the daemon has refused because of their origin.
pub(crate) async fn refusals(bus: &Bus) -> usize {
    let metrics = bus.get("/metrics").await;
    let count = metrics.lines().find_map(|line| line.strip_prefix("sse_bus_refused_total{code=\"denied\"} "));
    count.map_or(0, |count| count.parse().expect("a number"))
}

/// A bus, and a subscriber that notes each client that connects.
pub(crate) struct Watched {
    bus: Bus,
    _watch: Process,
    clients: PathBuf,
}

impl Deref for Watched {
    type Target = Bus;

    fn deref(&self) -> &Bus {
        &self.bus
    }
}

/// The daemon's own account: there is the secret, and nothing else.
pub(crate) async fn nothing_got_through(bus: &Watched) {
    let status = bus.json(&["status"]).await.remove(0);
    let through = through(bus).await;
    assert!(through.is_empty(), "these got through: {through:?}\n{status}");
    assert_eq!((&status["published"], &status["subscribers"]), (&1.into(), &1.into()), "{status}");
}

/// The topics that foreign pages subscribed to or published on, by the daemon's account.
pub(crate) async fn through(bus: &Watched) -> BTreeSet<String> {
    let published = bus.json(&["topics"]).await.into_iter().map(|topic| topic["topic"].as_str().unwrap().to_owned());
    let stream = fs::read_to_string(&bus.clients).expect("the subscriber's file");
    // The last line may not be whole.
    let events = stream.split_inclusive('\n').filter_map(|line| line.strip_prefix("data: ")?.strip_suffix('\n'));
    let filters = events.flat_map(|event| {
        let event: Value = serde_json::from_str(event).expect("an envelope");
        let client: Value = serde_json::from_str(event["data"].as_str().unwrap()).expect("a client's description");
        client["filters"].as_array().unwrap().iter().map(|f| f.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    });
    published.chain(filters).filter(|topic| topic.contains('/') && !topic.starts_with('$')).collect()
}

pub(crate) async fn bus_with_a_secret(port: u16, arguments: &[&str]) -> Watched {
    let bus = Bus::start_at(port, arguments).await;
    let clients = bus.path().join("clients");
    let watch = bus.curl("/events/$sys/clients?format=json&since=now&position=none", &clients);
    bus.subscribers(1).await;
    bus.ctl(&["publish", "secret", SECRET, "--retain"]).await;
    let bus = Watched { bus, _watch: watch, clients };
    nothing_got_through(&bus).await;
    bus
}

/// Serves the pages of the attack, and redirects requests that ask for it.
pub(crate) async fn foreign_site(port: u16) -> Site {
    Site::start(port, |target| {
        if let Some(to) = target.strip_prefix("/redirect?to=") {
            return Response::redirect(to);
        }
        if let Some(to) = target.strip_prefix("/csp?report=") {
            let policy = format!("default-src 'none'; report-uri {to}");
            return Response::document("text/html", "<img src=/nothing>").with("content-security-policy", &policy);
        }
        match target {
            "/" => Response::document("text/html", include_str!("attack.html")),
            "/frame" => Response::document("text/html", "<!doctype html><body><script src=/attack.js></script>"),
            "/attack.js" => Response::document("text/javascript", include_str!("attack.js")),
            _ => Response::document("text/plain", ""),
        }
    })
    .await
}
