//! The clients, each with one stream of the topic.

use std::{
    any::Any,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use sse_bus_browser_tests::{Bus, Page, Process, Value, sse};

use crate::{Heard, TOPIC, crates, programs, web};

/// A running client.
pub(crate) struct Listener {
    pub(crate) name: &'static str,
    heard: Source,
    /// Its process or browser, which is killed when this is dropped.
    _alive: Box<dyn Any>,
}

/// Where a client reports the events that it delivers.
pub(crate) enum Source {
    /// A file with a JSON object per line.
    Lines(PathBuf),
    /// A folder with a numbered file for each connection, as received.
    Connections(PathBuf),
    Page(Page),
    Task(tokio::task::JoinHandle<()>, Arc<Mutex<Vec<Heard>>>),
}

/// Where the clients find their streams.
pub(crate) struct Streams<'a> {
    pub(crate) bus: &'a Bus,
    /// Additional parameters, each preceded by `&`.
    pub(crate) query: &'a str,
}

impl Streams<'_> {
    /// The address of a client's stream.
    pub(crate) fn url(&self, client: &str) -> String {
        format!("{}{}", self.bus.url(), self.target(client))
    }

    /// The request target of a client's stream. Each client has a name of its own on the bus.
    pub(crate) fn target(&self, client: &str) -> String {
        format!("/events/{TOPIC}?client={}{}", name_on_bus(client), self.query)
    }
}

fn name_on_bus(client: &str) -> String {
    client.replace(' ', "-").replace(['(', ')'], "")
}

/// Starts all clients. Pages of another origin are served on this port of localhost.
pub(crate) async fn all(streams: &Streams<'_>, port: u16) -> Vec<Listener> {
    let mut all = all_but_pages(streams);
    all.extend(web::all(streams, port).await);
    all
}

/// Starts all clients that need no browser.
pub(crate) fn all_but_pages(streams: &Streams<'_>) -> Vec<Listener> {
    let mut all = programs::all(streams);
    all.extend(crates::all(streams));
    all
}

impl Listener {
    pub(crate) fn new(name: &'static str, heard: Source, alive: impl Any) -> Listener {
        Listener { name, heard, _alive: Box::new(alive) }
    }

    /// A program that prints a JSON object per line.
    pub(crate) fn program(name: &'static str, process: Process, output: PathBuf) -> Listener {
        Listener::new(name, Source::Lines(output), process)
    }

    /// Its name on the bus.
    pub(crate) fn name_on_bus(&self) -> String {
        name_on_bus(self.name)
    }

    /// The value of an expression in its page.
    pub(crate) async fn eval(&self, expression: &str) -> Value {
        match &self.heard {
            Source::Page(page) => page.eval(expression).await,
            _ => panic!("{} has no page", self.name),
        }
    }

    /// The events that it has delivered so far.
    pub(crate) async fn heard(&self) -> Vec<Heard> {
        match &self.heard {
            Source::Lines(file) => whole_lines(file),
            Source::Connections(folder) => {
                let connections = (1..).map_while(|n| fs::read(folder.join(n.to_string())).ok());
                let events = connections.flat_map(|stream| sse::events(whole_events(&stream)));
                let events = events.filter(|event| !event.kind.starts_with('$'));
                events.map(|event| Heard { kind: event.kind, data: event.data }).collect()
            }
            Source::Page(page) => serde_json::from_value(page.eval("heard").await).unwrap(),
            Source::Task(task, heard) => {
                assert!(!task.is_finished(), "{} has given up", self.name);
                heard.lock().unwrap().clone()
            }
        }
    }
}

fn whole_lines(file: &Path) -> Vec<Heard> {
    let said = fs::read_to_string(file).unwrap();
    let whole = said.rfind('\n').map_or("", |end| &said[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The stream up to its last complete event. The rest may end inside a character.
fn whole_events(stream: &[u8]) -> &[u8] {
    let end = stream.windows(2).rposition(|two| two == b"\n\n").map_or(0, |at| at + 2);
    &stream[..end]
}
