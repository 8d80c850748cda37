//! `HAProxy` in front of several nodes.

use std::{
    fmt::Write as _,
    fs,
    net::{SocketAddr, TcpStream},
};

use tempfile::TempDir;

use super::{ports::stable_port, service::Service};

/// A response that ends at once and lets a browser try again, instead of a refusal, after which it would not.
const TRY_AGAIN: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
                         Connection: close\r\n\r\nretry: 500\n\n";

/// A load balancer. Killed when dropped.
pub struct HaProxy {
    pub service: Service,
    pub address: SocketAddr,
    _folder: TempDir,
}

impl HaProxy {
    /// Starts `HAProxy` in front of nodes. Each stream goes to the next node in turn. While no node answers, streams end and are
    /// tried again.
    pub fn start(nodes: &[SocketAddr]) -> HaProxy {
        let folder = tempfile::Builder::new().prefix("sse-bus-haproxy-").tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], stable_port()));
        let again = folder.path().join("again.http");
        fs::write(&again, TRY_AGAIN).unwrap();
        let mut text = format!(
            "defaults\n  mode http\n  timeout connect 1s\n  timeout client 1h\n  timeout server 1h\n  retries 2\n  option redispatch\n\
             frontend all\n  bind {address}\n  default_backend nodes\n\
             backend nodes\n  balance roundrobin\n"
        );
        for code in [502, 503, 504] {
            let _ = writeln!(text, "  errorfile {code} {}", again.display());
        }
        for (index, node) in nodes.iter().enumerate() {
            // The check is that of the connection: a node whose log is away still serves its streams.
            let _ = writeln!(text, "  server node{index} {node} check inter 200ms fall 1 rise 1");
        }
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, text).unwrap();
        let arguments = vec!["-db".into(), "-f".into(), file.display().to_string()];
        let service = Service::new("haproxy", arguments, folder.path().join("haproxy.log"));
        let mut proxy = HaProxy { service, address, _folder: folder };
        proxy.start_again();
        proxy
    }

    /// Starts it again after its end, on the same port.
    pub fn start_again(&mut self) {
        let address = self.address;
        self.service.start(|| TcpStream::connect(address).ok());
    }
}
