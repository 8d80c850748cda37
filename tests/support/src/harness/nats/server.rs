//! One NATS server with `JetStream`.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{ports::stable_port, service::Service};

/// A server. Killed when dropped.
pub struct NatsServer {
    pub service: Service,
    name: String,
    port: u16,
    pub(super) monitoring: u16,
    folder: TempDir,
}

/// A copy of what a server had stored.
pub struct Store(TempDir);

impl NatsServer {
    /// Starts a server that anybody on this machine may use.
    pub fn start() -> NatsServer {
        NatsServer::configured("")
    }

    /// Starts a server that writes to its disk before it acknowledges a message.
    pub fn synced() -> NatsServer {
        NatsServer::prepared("alone", ", sync_interval: always", "").started()
    }

    /// Starts a server with additional lines of configuration, such as `authorization { … }` or `tls { … }`.
    pub fn configured(config: &str) -> NatsServer {
        NatsServer::prepared("alone", "", config).started()
    }

    /// A server that has not been started, with additional keys of its block `jetstream`, and additional lines.
    pub(super) fn prepared(name: &str, jetstream: &str, config: &str) -> NatsServer {
        let folder = tempfile::Builder::new().prefix("sse-bus-nats-").tempdir().unwrap();
        let (port, monitoring) = (stable_port(), stable_port());
        let store = folder.path().join("store");
        fs::create_dir(&store).unwrap();
        let text = format!(
            "server_name: \"{name}\"\nlisten: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitoring}\"\n\
             jetstream {{ store_dir: \"{}\", max_mem: 256MB, max_file: 16GB{jetstream} }}\n{config}\n",
            store.display()
        );
        let file = folder.path().join("server.conf");
        fs::write(&file, text).unwrap();
        let arguments = vec!["--config".into(), file.display().to_string()];
        let service = Service::new("nats-server", arguments, folder.path().join("server.log"));
        NatsServer { service, name: name.to_owned(), port, monitoring, folder }
    }

    fn started(mut self) -> NatsServer {
        self.start_again();
        self
    }

    /// Starts it again after its end, on the same ports, with what it has stored.
    pub fn start_again(&mut self) {
        let monitoring = self.monitoring;
        self.service.start(|| is_healthy(monitoring).then_some(()));
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        self.service.kill();
    }

    /// Stops it in an orderly way.
    pub fn stop(&mut self) {
        self.service.stop();
    }

    pub fn is_healthy(&self) -> bool {
        is_healthy(self.monitoring)
    }

    /// A page of the server's monitoring, such as `/jsz?streams=true`; `None` if it does not answer.
    pub fn monitoring(&self, path: &str) -> Option<Value> {
        get(self.monitoring, path).map(|(_, body)| serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// The name of the server that leads a stream, as far as this server knows.
    pub fn leader_of(&self, stream: &str) -> Option<String> {
        let page = self.monitoring("/jsz?accounts=true&streams=true")?;
        let accounts = page["account_details"].as_array()?;
        let mut streams = accounts.iter().filter_map(|account| account["stream_detail"].as_array()).flatten();
        Some(streams.find(|detail| detail["name"] == stream)?["cluster"]["leader"].as_str()?.to_owned())
    }

    /// Copies what it has stored. It must have been stopped.
    pub fn copy_store(&self) -> Store {
        assert!(!self.service.is_running(), "a running server changes its files");
        let copy = tempfile::Builder::new().prefix("sse-bus-nats-copy-").tempdir().unwrap();
        copy_folder(&self.folder.path().join("store"), copy.path());
        Store(copy)
    }

    /// Replaces what it has stored by a copy. It must have been stopped.
    pub fn restore_store(&self, copy: &Store) {
        assert!(!self.service.is_running(), "a running server changes its files");
        let store = self.folder.path().join("store");
        fs::remove_dir_all(&store).unwrap();
        fs::create_dir(&store).unwrap();
        copy_folder(copy.0.path(), &store);
    }
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&to).unwrap();
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

pub(super) fn is_healthy(port: u16) -> bool {
    get(port, "/healthz").is_some_and(|(status, _)| status == 200)
}

/// A request to the monitoring of a server that may end meanwhile.
fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
