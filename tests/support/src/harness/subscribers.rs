//! Many subscribers that behave like browsers: after a disconnect, each reconnects after the stream's `retry`, with the
//! id of its last event.
//!
//! All are tasks of one thread. Their events are stored in order.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    runtime::{Builder, Runtime},
    time::sleep,
};

use super::Sse;

/// The subscribers. They disconnect when it is dropped.
pub struct Subscribers {
    states: Vec<Arc<Mutex<Subscriber>>>,
    _runtime: Runtime,
}

/// One of them.
#[derive(Default)]
pub struct Subscriber {
    /// All events, including gaps.
    pub events: Vec<Sse>,
    /// Streams that it has opened.
    pub streams: usize,
    /// When it opened the last one.
    pub since: Option<Instant>,
    /// Attempts to open the next one.
    pub tries: usize,
    /// A response that is not a stream, after which no browser reconnects.
    pub refused: Option<String>,
    /// The last id received, with an event or alone.
    last_id: String,
    retry: Duration,
}

impl Subscribers {
    /// Starts subscribers of a path.
    pub fn connect(size: usize, address: SocketAddr, path: &str) -> Subscribers {
        // Each takes a descriptor. If there are too few, connecting fails with an error.
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let states: Vec<Arc<Mutex<Subscriber>>> = (0..size).map(|_| Arc::default()).collect();
        for subscriber in &states {
            runtime.spawn(stay_connected(address, path.to_owned(), subscriber.clone()));
        }
        Subscribers { states, _runtime: runtime }
    }

    /// The state of each of them, locked.
    pub fn states(&self) -> impl Iterator<Item = MutexGuard<'_, Subscriber>> {
        self.states.iter().map(|subscriber| subscriber.lock().unwrap())
    }

    /// Returns true if a condition holds for all of them. Panics if one was refused.
    pub fn all(&self, is: impl Fn(&Subscriber) -> bool) -> bool {
        self.states().all(|subscriber| {
            assert_eq!(subscriber.refused, None);
            is(&subscriber)
        })
    }
}

async fn stay_connected(address: SocketAddr, path: String, subscriber: Arc<Mutex<Subscriber>>) {
    loop {
        // After any end it reconnects.
        let _ = listen(address, &path, &subscriber).await;
        let wait = subscriber.lock().unwrap().retry;
        sleep(wait).await;
    }
}

async fn listen(address: SocketAddr, path: &str, subscriber: &Mutex<Subscriber>) -> io::Result<()> {
    let request = {
        let mut subscriber = subscriber.lock().unwrap();
        subscriber.tries += 1;
        let last = match &*subscriber.last_id {
            "" => String::new(),
            id => format!("Last-Event-ID: {id}\r\n"),
        };
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{last}\r\n")
    };
    let mut socket = BufReader::new(TcpStream::connect(address).await?);
    socket.write_all(request.as_bytes()).await?;
    let status = line(&mut socket).await?;
    while !line(&mut socket).await?.trim_end().is_empty() {}
    {
        let mut subscriber = subscriber.lock().unwrap();
        if !status.starts_with("HTTP/1.1 200 ") {
            subscriber.refused = Some(status);
            return Ok(());
        }
        (subscriber.streams, subscriber.since, subscriber.tries) = (subscriber.streams + 1, Some(Instant::now()), 0);
    }
    let (mut event, mut data) = (Sse::default(), None);
    loop {
        // The lines of chunk frames end in CRLF and are ignored.
        let line = line(&mut socket).await?;
        // An incomplete line at a disconnect is not an event.
        match line.trim_end_matches('\n').split_once(": ") {
            _ if line == "\n" && !event.id.is_empty() => {
                let mut subscriber = subscriber.lock().unwrap();
                subscriber.last_id.clone_from(&event.id);
                let block = std::mem::take(&mut event);
                if let Some(data) = data.take() {
                    subscriber.events.push(Sse { data, ..block });
                }
            }
            Some(("id", id)) => event.id = id.into(),
            Some(("event", kind)) => event.kind = Some(kind.into()),
            Some(("data", text)) => data = Some(text.to_owned()),
            Some(("retry", wait)) => {
                subscriber.lock().unwrap().retry = Duration::from_millis(wait.parse().map_err(io::Error::other)?);
            }
            _ => {}
        }
    }
}

/// A whole line, with its end.
async fn line(socket: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    socket.read_line(&mut line).await?;
    if line.ends_with('\n') { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
