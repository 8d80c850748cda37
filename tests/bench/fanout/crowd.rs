//! Many subscribers in one thread: connections that are opened, read and counted with epoll.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use memchr::memmem;
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use rustix::net::{RecvFlags, recv};

use super::{Result, daemon::PATIENCE};

/// Connections that are opened at a time, unless all are.
const AT_ONCE: usize = 500;

/// What a subscriber does with received bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Counts the events.
    Count,
    /// Counts the events and keeps the stream.
    All,
    /// Counts the bytes; the kernel discards them without copying, so that the load costs little.
    Nothing,
}

/// A subscriber.
pub(super) struct Client {
    socket: TcpStream,
    /// Until it is sent.
    request: Option<String>,
    /// Until the response's head is complete.
    head: Option<Vec<u8>>,
    keep: Keep,
    /// Bytes behind the head.
    pub(super) bytes: u64,
    pub(super) events: u64,
    after_break: bool,
    pub(super) stream: Vec<u8>,
}

/// The subscribers of one thread.
pub(super) struct Crowd {
    address: SocketAddr,
    poll: Poll,
    ready: Events,
    pub(super) clients: Vec<Client>,
    buffer: Vec<u8>,
    /// Clients that have received the head of the response.
    connected: usize,
    /// Events received by all together.
    pub(super) delivered: u64,
    /// When each event was sent, for [`latencies`](Crowd::latencies).
    pub(super) sent: Vec<Instant>,
    pub(super) latencies: Vec<f64>,
}

impl Crowd {
    pub(super) fn new(address: SocketAddr) -> Result<Crowd> {
        Ok(Crowd {
            address,
            poll: Poll::new()?,
            ready: Events::with_capacity(1024),
            clients: Vec::new(),
            buffer: vec![0; 256 << 10],
            connected: 0,
            delivered: 0,
            sent: Vec::new(),
            latencies: Vec::new(),
        })
    }

    /// Connects subscribers, some at a time, each with the path and the further header lines that are given for it.
    pub(super) fn connect(&mut self, keep: Keep, paths: impl IntoIterator<Item = String>) -> Result<()> {
        for path in paths {
            self.begin(keep, &path)?;
            if self.clients.len() - self.connected >= AT_ONCE {
                let enough = self.clients.len() - AT_ONCE / 2;
                self.wait("the responses", |crowd| crowd.connected >= enough)?;
            }
        }
        self.wait("the responses", Crowd::all_connected)
    }

    /// Begins to connect a subscriber. The path may have header lines behind it.
    pub(super) fn begin(&mut self, keep: Keep, path: &str) -> Result<()> {
        let (path, headers) = path.split_once('\n').unwrap_or((path, ""));
        // Without positions, each block of the stream is an event.
        let request = format!("GET {path}?position=none HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.address);
        let mut socket = TcpStream::connect(self.address)?;
        let token = Token(self.clients.len());
        self.poll.registry().register(&mut socket, token, Interest::WRITABLE)?;
        let (request, head) = (Some(request), Some(Vec::new()));
        let client =
            Client { socket, request, head, keep, bytes: 0, events: 0, after_break: false, stream: Vec::new() };
        self.clients.push(client);
        Ok(())
    }

    pub(super) fn all_connected(&self) -> bool {
        self.connected == self.clients.len()
    }

    /// Closes all connections at once.
    pub(super) fn leave(&mut self) {
        self.clients.clear();
        self.connected = 0;
    }

    /// Reads until a condition holds.
    pub(super) fn wait(&mut self, what: &str, is: impl Fn(&Crowd) -> bool) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while !is(self) {
            if Instant::now() > until {
                let Crowd { connected, delivered, clients, .. } = self;
                let of = clients.len();
                return Err(
                    format!("waited too long for {what}: {connected} of {of} connected, {delivered} events").into()
                );
            }
            self.pump(Duration::from_millis(100))?;
        }
        Ok(())
    }

    /// Waits until all have received this many events together.
    pub(super) fn wait_for(&mut self, delivered: u64) -> Result<()> {
        self.wait("events", |crowd| crowd.delivered >= delivered)
    }

    /// Handles ready sockets, after waiting for them with a timeout.
    pub(super) fn pump(&mut self, wait: Duration) -> Result<()> {
        let Crowd { poll, ready, clients, buffer, connected, delivered, sent, latencies, .. } = self;
        match poll.poll(ready, Some(wait)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &*ready {
            let Some(client) = clients.get_mut(event.token().0) else { continue };
            if let Some(request) = client.request.take_if(|_| event.is_writable()) {
                client.socket.write_all(request.as_bytes()).map_err(|e| format!("a subscriber cannot connect: {e}"))?;
                poll.registry().reregister(&mut client.socket, event.token(), Interest::READABLE)?;
                continue;
            }
            let waited = client.head.is_some();
            let before = client.events;
            client.read(buffer)?;
            *connected += usize::from(waited && client.head.is_none());
            *delivered += client.events - before;
            if !sent.is_empty() {
                let now = Instant::now();
                let new = before as usize..(client.events as usize).min(sent.len());
                latencies.extend(sent[new].iter().map(|sent| now.duration_since(*sent).as_secs_f64()));
            }
        }
        Ok(())
    }
}

impl Client {
    /// Reads everything available.
    fn read(&mut self, buffer: &mut [u8]) -> Result<()> {
        loop {
            let discard = self.keep == Keep::Nothing && self.head.is_none();
            let read = if discard {
                recv(&self.socket, &mut *buffer, RecvFlags::TRUNC).map(|(_, read)| read).map_err(io::Error::from)
            } else {
                self.socket.read(buffer)
            };
            match read {
                Ok(0) => return Err("the daemon has closed a stream".into()),
                Ok(read) => {
                    if discard {
                        self.bytes += read as u64;
                    } else {
                        self.take(&buffer[..read])?;
                    }
                    // A short read was the rest.
                    if read < buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("a stream is lost: {error}").into()),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(mut head) = self.head.take() else {
            self.body(bytes);
            return Ok(());
        };
        head.extend_from_slice(bytes);
        match memmem::find(&head, b"\r\n\r\n") {
            None => self.head = Some(head),
            Some(end) if head.starts_with(b"HTTP/1.1 200 ") => self.body(&head[end + 4..]),
            Some(_) => {
                return Err(format!("a subscriber is answered {}", String::from_utf8_lossy(&head).trim()).into());
            }
        }
        Ok(())
    }

    fn body(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let across = self.after_break && bytes.first() == Some(&b'\n');
        self.events += memmem::find_iter(bytes, b"\n\n").count() as u64 + u64::from(across);
        self.after_break = bytes.ends_with(b"\n") && !bytes.ends_with(b"\n\n") && !(across && bytes.len() == 1);
        if self.keep == Keep::All {
            self.stream.extend_from_slice(bytes);
        }
    }
}
