//! An HTTP/2 connection by prior knowledge, whose flow control window the test sets.

use std::{
    io::{self, Read},
    net::SocketAddr,
    sync::Arc,
};

use ::http::{HeaderMap, HeaderName, Method, Request, Version};
use bytes::{Buf, Bytes};
use h2::{RecvStream, client::SendRequest};
use tokio::{net::TcpStream, runtime::Runtime, task::JoinHandle, time::timeout};

use super::{
    PATIENCE,
    http::{EventStream, Head, Response},
};

/// A connection that many streams share.
pub struct Http2 {
    runtime: Arc<Runtime>,
    sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
    address: SocketAddr,
}

impl Http2 {
    /// A connection whose streams have a large window.
    pub fn connect(address: SocketAddr) -> Http2 {
        Http2::with_window(address, 1 << 20)
    }

    /// A connection that accepts this many bytes of each stream before the test has read them.
    pub fn with_window(address: SocketAddr, window: u32) -> Http2 {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (sender, connection) = runtime.block_on(async {
            let socket = TcpStream::connect(address).await.unwrap();
            let mut builder = h2::client::Builder::new();
            builder.initial_window_size(window).initial_connection_window_size(1 << 30);
            let (sender, connection) = builder.handshake(socket).await.unwrap();
            (sender, tokio::spawn(connection))
        });
        Http2 { runtime: Arc::new(runtime), sender, connection, address }
    }

    /// Sends a request and returns the head of the response. A header `:authority` replaces the default one.
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (Head, RecvStream) {
        let usual = self.address.to_string();
        let authority = headers.iter().find(|(name, _)| *name == ":authority").map_or(&*usual, |(_, value)| *value);
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        *request.uri_mut() = format!("http://{authority}{path}").parse().unwrap();
        *request.version_mut() = Version::HTTP_2;
        for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(':')) {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let exchange = async {
            let mut sender = self.sender.clone().ready().await?;
            let (response, mut stream) = sender.send_request(request, body.is_empty())?;
            if !body.is_empty() {
                // A refusal at once resets the stream, possibly before this.
                let _ = stream.send_data(Bytes::copy_from_slice(body), true);
            }
            response.await
        };
        let waited = self.runtime.block_on(async { timeout(PATIENCE, exchange).await });
        let response = waited.expect("a response in time").unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        let (parts, body) = response.into_parts();
        (Head { status: parts.status.as_u16(), headers: texts(&parts.headers) }, body)
    }

    /// A complete exchange.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let (head, response) = self.send(method, path, headers, body.as_bytes());
        let mut content = Vec::new();
        self.body(response).read_to_end(&mut content).unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        Response::new(head, content)
    }

    /// Opens a stream.
    pub fn stream(&self, path: &str, headers: &[(&str, &str)]) -> EventStream {
        let (head, response) = self.send("GET", path, headers, b"");
        EventStream::of(path, head, Box::new(self.body(response)))
    }

    fn body(&self, response: RecvStream) -> Body {
        Body { runtime: self.runtime.clone(), response, chunk: Bytes::new() }
    }

    /// The number of concurrent streams that the daemon allows.
    pub fn most_streams(&self) -> usize {
        self.sender.current_max_send_streams()
    }

    /// Waits until the daemon has closed the connection, in an orderly way.
    pub fn ends(mut self) {
        let ended = self.runtime.block_on(async { timeout(PATIENCE, &mut self.connection).await });
        ended.expect("the connection ends in time").unwrap().expect("the connection ends cleanly");
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        // Open streams keep the runtime alive; the connection ends with this handle, as a socket would.
        self.connection.abort();
    }
}

/// The body of a stream. Reading enlarges the window.
struct Body {
    runtime: Arc<Runtime>,
    response: RecvStream,
    chunk: Bytes,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            let next = self.runtime.block_on(async { timeout(PATIENCE, self.response.data()).await });
            match next?.transpose().map_err(io::Error::other)? {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let read = self.chunk.len().min(buffer.len());
        self.chunk.copy_to_slice(&mut buffer[..read]);
        self.response.flow_control().release_capacity(read).map_err(io::Error::other)?;
        Ok(read)
    }
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}
