//! A web server other than the bus: it serves pages of other origins, and records requests.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// A running server. Every address of it is one of 127.0.0.1, under any name that resolves to it.
pub struct Site {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

/// A response of the site.
pub struct Response {
    status: &'static str,
    headers: String,
    body: String,
}

impl Response {
    /// A document, of a type such as `text/html`.
    pub fn document(kind: &str, body: impl Into<String>) -> Response {
        Response { status: "200 OK", headers: format!("content-type: {kind}\r\n"), body: body.into() }
    }

    /// A redirect that keeps method and body.
    pub fn redirect(to: &str) -> Response {
        let headers = format!("location: {to}\r\naccess-control-allow-origin: *\r\n");
        Response { status: "307 Temporary Redirect", headers, body: String::new() }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Response {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }
}

impl Site {
    /// Starts a server on a port. `respond` returns the response to a request, given its target.
    pub async fn start(port: u16, respond: impl Fn(&str) -> Response + Send + Sync + 'static) -> Site {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let (asked, respond) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(respond));
        let noted = asked.clone();
        let server = tokio::spawn(async move {
            // A browser also opens connections that it does not use, so each one is read in a task of its own.
            let mut connections = JoinSet::new();
            while let Ok((peer, _)) = listener.accept().await {
                let (noted, respond) = (noted.clone(), respond.clone());
                connections.spawn(async move { serve(peer, &noted, &*respond).await });
            }
        });
        Site { port, asked, server }
    }

    /// The origin of its pages, with a name that resolves to it.
    pub fn origin(&self, name: &str) -> String {
        format!("http://{name}:{}", self.port)
    }

    /// The heads of all requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nothing panics while it holds the lock").clone()
    }

    /// Stops the server: all its connections end, and its port is free.
    pub async fn stop(mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(mut peer: TcpStream, asked: &Mutex<Vec<String>>, respond: &(dyn Fn(&str) -> Response + Send + Sync)) {
    let Some((head, _)) = read_head(&mut peer).await else { return };
    let target = head.split(' ').nth(1).unwrap_or_default();
    let Response { status, headers, body } = respond(target);
    asked.lock().expect("nothing panics while it holds the lock").push(head);
    let length = body.len();
    let response = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    let _ = peer.write_all(response.as_bytes()).await;
}

/// The head of a message, and the bytes of its body that came with it; `None` if the head is incomplete.
pub(crate) async fn read_head(peer: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Some((String::from_utf8_lossy(&bytes).into_owned(), body));
        }
        if peer.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
