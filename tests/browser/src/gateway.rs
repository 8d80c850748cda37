//! A proxy in front of a bus, like nginx, socat or a development server: it forwards everything unchanged, and responds
//! with 502 while the bus is down.

use std::{io, path::PathBuf};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
    task::{JoinHandle, JoinSet},
};

use crate::site::read_head;

/// A running proxy.
pub struct Gateway {
    port: u16,
    server: JoinHandle<()>,
}

impl Gateway {
    /// Starts a proxy for a bus on a port, which need not be open yet.
    pub async fn start(bus: u16) -> Gateway {
        Gateway::to(move || TcpStream::connect(("127.0.0.1", bus))).await
    }

    /// Starts a proxy for the local socket of a bus.
    pub async fn start_local(socket: PathBuf) -> Gateway {
        Gateway::to(move || UnixStream::connect(socket.clone())).await
    }

    async fn to<S, F>(connect: impl Fn() -> F + Send + 'static) -> Gateway
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((peer, _)) = listener.accept().await {
                connections.spawn(pass(peer, connect()));
            }
        });
        Gateway { port, server }
    }

    /// The URL for browsers.
    pub fn url(&self) -> String {
        self.url_as("127.0.0.1")
    }

    /// The same with another name that resolves to it.
    pub fn url_as(&self, name: &str) -> String {
        format!("http://{name}:{}", self.port)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass<S>(mut peer: TcpStream, connect: impl Future<Output = io::Result<S>>) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Ok(mut daemon) = connect.await else {
        read_head(&mut peer).await?;
        let body = "<h1>502 Bad Gateway</h1>";
        let length = body.len();
        let head = format!(
            "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        return peer.write_all((head + body).as_bytes()).await.ok();
    };
    copy_bidirectional(&mut peer, &mut daemon).await.ok().map(|_| ())
}
