//! A proxy in front of a bus that removes the headers its guards check, and lets every page read every response.
//!
//! It shows that the guards are effective: attacks of a foreign page succeed through it. So a test in which they fail
//! without it has tested the guards, and not a page that attacks nothing.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::{Bus, site::read_head};

/// A running proxy.
pub struct GuardStrippingProxy {
    port: u16,
    server: JoinHandle<()>,
}

impl GuardStrippingProxy {
    /// Starts a proxy. It closes a stream once a text has passed: the stream would never end, and a browser has few
    /// connections.
    pub async fn start(bus: &Bus, until: &'static str) -> GuardStrippingProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let (port, bus) = (listener.local_addr().expect("it is bound").port(), bus.address());
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((peer, _)) = listener.accept().await {
                let bus = bus.clone();
                connections.spawn(async move { pass(peer, &bus, until).await });
            }
        });
        GuardStrippingProxy { port, server }
    }

    /// The URL for browsers, with a name that resolves to it.
    pub fn url(&self, name: &str) -> String {
        format!("http://{name}:{}", self.port)
    }
}

impl Drop for GuardStrippingProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Forwards one request, and its response.
async fn pass(mut peer: TcpStream, bus: &str, until: &str) -> Option<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let (head, mut body) = read_head(&mut peer).await?;
    let header = |wanted: &str| {
        let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim().to_owned()).next()
    };
    let origin = header("origin").unwrap_or_else(|| "*".to_owned());
    let allowed = format!("access-control-allow-origin: {origin}\r\naccess-control-allow-credentials: true\r\n");
    if head.starts_with("OPTIONS ") {
        let wanted = header("access-control-request-headers").unwrap_or_default();
        let methods = "access-control-allow-methods: GET, POST, DELETE";
        let response = format!(
            "HTTP/1.1 204 No Content\r\n{allowed}{methods}\r\naccess-control-allow-headers: {wanted}\r\n\
             connection: close\r\n\r\n"
        );
        return peer.write_all(response.as_bytes()).await.ok();
    }
    let length: usize = header("content-length").map_or(0, |length| length.parse().expect("a number"));
    while body.len() < length {
        peer.read_buf(&mut body).await.ok()?;
    }

    let is_passed = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !line.is_empty()
            && !name.starts_with("sec-fetch-")
            && !["host", "origin", "connection", "upgrade"].contains(&&*name)
    };
    let kept: Vec<_> = head.lines().filter(is_passed).collect();
    let mut daemon = TcpStream::connect(bus).await.ok()?;
    let head = format!("{}\r\nhost: {bus}\r\nconnection: close\r\n\r\n", kept.join("\r\n"));
    daemon.write_all(head.as_bytes()).await.ok()?;
    daemon.write_all(&body).await.ok()?;

    let (head, mut response) = read_head(&mut daemon).await?;
    let head = head.replace("cross-origin-resource-policy: same-origin\r\n", "");
    let head = head.replacen("\r\n", &format!("\r\n{allowed}"), 1);
    peer.write_all(head.as_bytes()).await.ok()?;
    let mut sent = 0;
    loop {
        peer.write_all(&response[sent..]).await.ok()?;
        sent = response.len();
        if String::from_utf8_lossy(&response).contains(until) && response.ends_with(b"\n\n\r\n") {
            // The last chunk: an end without it is an error to the page.
            return peer.write_all(b"0\r\n\r\n").await.ok();
        }
        if timeout(PATIENCE, daemon.read_buf(&mut response)).await.ok()?.ok()? == 0 {
            return Some(());
        }
    }
}
