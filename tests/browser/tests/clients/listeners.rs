//! The clients, each with one stream of the topic.

use std::{
    any::Any,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use eventsource_client::{Client, ClientBuilder, SSE};
use futures_util::StreamExt;
use launchdarkly_sdk_transport::HyperTransport;
use sse_bus_browser_tests::{Bus, Kind, Page, Process, Remote, npm, pip, sse};

use crate::{Heard, TOPIC, mixed::TYPES};

/// One of the clients.
pub(crate) struct Listener {
    pub(crate) name: &'static str,
    from: From,
    /// Its process or browser, which ends with it.
    _alive: Box<dyn Any>,
}

/// Where it says what it has heard.
enum From {
    /// A JSON object a line.
    Lines(PathBuf),
    /// A file for each of its connections, numbered.
    Connections(PathBuf),
    Page(Page),
    Task(tokio::task::JoinHandle<()>, Arc<Mutex<Vec<Heard>>>),
}

/// All of them.
pub(crate) async fn all(bus: &Bus) -> Vec<Listener> {
    let url = &format!("{}/events/{TOPIC}", bus.url());
    let [chromium, firefox] = [Kind::Chromium, Kind::Firefox].map(|kind| page(kind, bus, url));
    let listener = |name, (from, alive)| Listener { name, from, _alive: alive };
    vec![
        listener("curl", curl(bus.path(), url)),
        listener("httpx-sse", httpx(bus.path(), url)),
        listener("npm eventsource", node(bus.path(), url)),
        listener("eventsource-client", crate_of_that_name(url)),
        listener("Chromium", chromium.await),
        listener("Firefox", firefox.await),
    ]
}

fn curl(folder: &Path, url: &str) -> (From, Box<dyn Any>) {
    let connections = folder.join("curl");
    fs::create_dir(&connections).unwrap();
    let mut shell = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/curl.sh"));
    shell.arg(url).arg(&connections);
    let process = Process::start(&mut shell, &folder.join("curl.out"));
    (From::Connections(connections), Box::new(process))
}

fn httpx(folder: &Path, url: &str) -> (From, Box<dyn Any>) {
    let (script, packages) = pip::installed("python", folder);
    let mut python = Command::new("python3");
    python.arg(script.join("listen.py")).arg(url).env("PYTHONPATH", packages);
    let output = folder.join("python.out");
    let process = Process::start(&mut python, &output);
    (From::Lines(output), Box::new(process))
}

fn node(folder: &Path, url: &str) -> (From, Box<dyn Any>) {
    let mut node = Command::new("node");
    node.arg(npm::installed("node", folder).join("listen.mjs")).arg(url).args(TYPES);
    let output = folder.join("node.out");
    let process = Process::start(&mut node, &output);
    (From::Lines(output), Box::new(process))
}

fn crate_of_that_name(url: &str) -> (From, Box<dyn Any>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let client = ClientBuilder::for_url(url).unwrap().build_with_transport(HyperTransport::new().unwrap());
    let says = heard.clone();
    let task = tokio::spawn(async move {
        let mut stream = client.stream();
        while let Some(said) = stream.next().await {
            // Its errors are those of a connection, after which it connects again.
            if let Ok(SSE::Event(event)) = said {
                says.lock().unwrap().push(Heard { kind: event.event_type, data: event.data });
            }
        }
    });
    (From::Task(task, heard), Box::new(()))
}

async fn page(kind: Kind, bus: &Bus, url: &str) -> (From, Box<dyn Any>) {
    let browser = Remote::start(kind, &[]).await;
    let page = browser.open(&format!("{}/healthz", bus.url())).await;
    let types = serde_json::to_string(&TYPES).unwrap();
    page.eval(&format!(
        "(() => {{
           window.heard = [];
           const events = new EventSource({url:?});
           for (const type of {types}) events.addEventListener(type, ({{ data }}) => heard.push({{ type, data }}));
         }})()"
    ))
    .await;
    (From::Page(page), Box::new(browser))
}

impl Listener {
    /// What it has heard so far.
    pub(crate) async fn heard(&self) -> Vec<Heard> {
        match &self.from {
            From::Lines(file) => {
                let said = fs::read_to_string(file).unwrap();
                let whole = said.rfind('\n').map_or("", |end| &said[..end]);
                whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
            }
            From::Connections(folder) => {
                let connections = (1..).map_while(|n| fs::read(folder.join(n.to_string())).ok());
                let events = connections.flat_map(|stream| sse::events(whole(&stream)));
                events.map(|event| Heard { kind: event.kind, data: event.data }).collect()
            }
            From::Page(page) => serde_json::from_value(page.eval("heard").await).unwrap(),
            From::Task(task, heard) => {
                assert!(!task.is_finished(), "{} has given up", self.name);
                heard.lock().unwrap().clone()
            }
        }
    }
}

/// A stream up to its last whole event; the rest may end inside of a character.
fn whole(stream: &[u8]) -> &[u8] {
    let end = stream.windows(2).rposition(|two| two == b"\n\n").map_or(0, |at| at + 2);
    &stream[..end]
}
