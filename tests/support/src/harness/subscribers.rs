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
pub struct Crowd {
    members: Vec<Arc<Mutex<Member>>>,
    _runtime: Runtime,
}

/// One of them.
#[derive(Default)]
pub struct Member {
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

impl Crowd {
    /// Starts subscribers of a path.
    pub fn gather(size: usize, address: SocketAddr, path: &str) -> Crowd {
        // Each takes a descriptor. If there are too few, connecting fails with an error.
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let members: Vec<Arc<Mutex<Member>>> = (0..size).map(|_| Arc::default()).collect();
        for member in &members {
            runtime.spawn(stay(address, path.to_owned(), member.clone()));
        }
        Crowd { members, _runtime: runtime }
    }

    pub fn members(&self) -> impl Iterator<Item = MutexGuard<'_, Member>> {
        self.members.iter().map(|member| member.lock().unwrap())
    }

    /// Returns true if a condition holds for all of them. Panics if one was refused.
    pub fn all(&self, is: impl Fn(&Member) -> bool) -> bool {
        self.members().all(|member| {
            assert_eq!(member.refused, None);
            is(&member)
        })
    }
}

async fn stay(address: SocketAddr, path: String, member: Arc<Mutex<Member>>) {
    loop {
        // After any end it reconnects.
        let _ = listen(address, &path, &member).await;
        let wait = member.lock().unwrap().retry;
        sleep(wait).await;
    }
}

async fn listen(address: SocketAddr, path: &str, member: &Mutex<Member>) -> io::Result<()> {
    let request = {
        let mut member = member.lock().unwrap();
        member.tries += 1;
        let last = match &*member.last_id {
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
        let mut member = member.lock().unwrap();
        if !status.starts_with("HTTP/1.1 200 ") {
            member.refused = Some(status);
            return Ok(());
        }
        (member.streams, member.since, member.tries) = (member.streams + 1, Some(Instant::now()), 0);
    }
    let (mut event, mut data) = (Sse::default(), None);
    loop {
        // The lines of chunk frames end in CRLF and are ignored.
        let line = line(&mut socket).await?;
        // An incomplete line at a disconnect is not an event.
        match line.trim_end_matches('\n').split_once(": ") {
            _ if line == "\n" && !event.id.is_empty() => {
                let mut member = member.lock().unwrap();
                member.last_id.clone_from(&event.id);
                let block = std::mem::take(&mut event);
                if let Some(data) = data.take() {
                    member.events.push(Sse { data, ..block });
                }
            }
            Some(("id", id)) => event.id = id.into(),
            Some(("event", kind)) => event.kind = Some(kind.into()),
            Some(("data", text)) => data = Some(text.to_owned()),
            Some(("retry", wait)) => {
                member.lock().unwrap().retry = Duration::from_millis(wait.parse().map_err(io::Error::other)?);
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
