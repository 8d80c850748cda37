//! The clients of Python, Node and the shell, each a process.

use std::{fs, path::Path, process::Command};

use sse_bus_browser_tests::{Process, npm::Scripts, pip};

use crate::{
    listeners::{Listener, Source, Streams},
    mixed::TYPES,
};

pub(crate) const PYTHON: [&str; 9] = [
    "requests iter_lines",
    "requests iter_content",
    "sseclient-py",
    "sseclient",
    "launchdarkly-eventsource (PyPI)",
    "requests-sse",
    "httpx-sse",
    "httpx-sse async",
    "aiohttp-sse-client",
];

const NODE: [&str; 5] =
    ["eventsource", "eventsource-client (npm)", "eventsource-parser", "launchdarkly-eventsource (npm)", "node"];

/// Starts all of these clients.
pub(crate) fn all(streams: &Streams<'_>) -> Vec<Listener> {
    let scripts = Scripts::installed("node", streams.bus.path());
    let mut all = vec![curl(streams)];
    all.extend(python(streams, &PYTHON));
    all.extend(NODE.map(|name| {
        let mut node = scripts.node("listen.mjs");
        node.args([package(name), &streams.url(name)]).args(TYPES);
        start(streams, name, &mut node)
    }));
    all
}

/// Starts some of the clients of Python.
pub(crate) fn python(streams: &Streams<'_>, names: &[&'static str]) -> Vec<Listener> {
    let (source, packages) = pip::installed("python");
    let client = |&name| {
        let mut python = Command::new("python3");
        python.arg(source.join("listen.py")).args([package(name), &streams.url(name)]).env("PYTHONPATH", &packages);
        start(streams, name, &mut python)
    };
    names.iter().map(client).collect()
}

/// The name without the registry, which tells apart two packages of one name.
fn package(name: &str) -> &str {
    name.split(" (").next().unwrap_or_default()
}

fn start(streams: &Streams<'_>, name: &'static str, command: &mut Command) -> Listener {
    let output = streams.bus.path().join(format!("{name}.out"));
    let process = Process::start(command.env("NO_PROXY", "127.0.0.1"), &output);
    Listener::program(name, process, output)
}

fn curl(streams: &Streams<'_>) -> Listener {
    let connections = streams.bus.path().join("curl");
    fs::create_dir(&connections).unwrap();
    let mut shell = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/curl.sh"));
    shell.arg(streams.url("curl")).arg(&connections);
    let process = Process::start(&mut shell, &streams.bus.path().join("curl.out"));
    Listener::new("curl", Source::Connections(connections), process)
}
