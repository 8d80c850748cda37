//! The loads: one function for each kind, each with a daemon of its own.

use std::{
    fmt::Write as _,
    io::{ErrorKind, Read, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use sse_bus::limits::{HEAD_MAX, HTTP2_STREAMS, Limits, UNAUTHENTICATED_BYTES, UNICAST_BUFFERS};

use super::{
    Result,
    daemon::{Daemon, On, PATIENCE, event},
    line,
    measure::{Lines, press},
};

/// KiB per subscriber: a read that its socket does not accept, and the cost of a stream.
const EACH: u32 = 160;
/// The largest event that is accepted by default.
const LARGE: usize = 256 << 10;

/// Starts a daemon that measures how long the lock is held in processor time.
fn start(options: &[&str]) -> Result<Daemon> {
    Daemon::start_with(On::All, options, &[("SSE_BUS_HOLD_CLOCK", "cpu")])
}

/// Subscribers that do not read, and very many retained events.
pub(super) fn snapshot() -> Result<()> {
    const STREAMS: u32 = 500;
    let daemon = start(&["--history-events", "1"])?;
    publish_to_each(&daemon, 60_000, r#""data":"x","retain":true"#)?;
    let asked = mebibytes(STREAMS * EACH);
    press("500 unread streams, 60,000 retained events", &daemon, asked, || streams(&daemon, STREAMS, "/events"))
}

/// Subscribers that do not read, and very many topics with losses.
pub(super) fn losses() -> Result<()> {
    const STREAMS: u32 = 150;
    let daemon = start(&["--history-events", "1"])?;
    for data in [r#""data":"lost""#, r#""data":"kept""#] {
        publish_to_each(&daemon, 90_000, data)?;
    }
    let asked = mebibytes(STREAMS * EACH);
    press("150 unread streams of the past, 90,000 topics that have lost an event", &daemon, asked, || {
        streams(&daemon, STREAMS, "/events?since=all")
    })
}

/// Subscribers that skip to the newest events, and read less than is published.
pub(super) fn latest() -> Result<()> {
    const STREAMS: u32 = 64;
    let daemon = start(&[])?;
    let thousand = event("flood", &"x".repeat(100)).repeat(1000);
    let mut publisher = daemon.publisher()?;
    for _ in 0..50 {
        publisher.send(&thousand)?;
    }
    publisher.status()?;
    let asked = mebibytes(STREAMS * EACH) + 4;
    press("64 slow streams with slow=latest, a flood", &daemon, asked, || {
        let mut streams = streams(&daemon, STREAMS, "/events/flood?slow=latest")?;
        let began = Instant::now();
        let mut chunk = vec![0; 16 << 10];
        while began.elapsed() < Duration::from_secs(5) {
            publisher.send(&thousand)?;
            for stream in &mut streams {
                stream.set_nonblocking(true)?;
                match stream.read(&mut chunk) {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
                    _ => {}
                }
            }
        }
        Ok(streams)
    })
}

/// Large events to one name that very many streams have.
pub(super) fn unicast() -> Result<()> {
    const STREAMS: u32 = 1500;
    let daemon = start(&[])?;
    let _streams = streams(&daemon, STREAMS, "/events/t?client=x")?;
    let large = "x".repeat(LARGE);
    // Events that a stream has taken, and its socket has not accepted, are copies of their own.
    let asked = mebibytes(STREAMS * EACH) + mebibytes((UNICAST_BUFFERS >> 10) as u32);
    press("4 events of 256 KiB to a name that 1,500 unread streams have", &daemon, asked, || {
        let mut lines = Lines::connect(&daemon)?;
        for _ in 0..4 {
            let answer = lines.ask(&format!(r#"{{"publish":{{"topic":"t","data":"{large}","to":"x"}}}}"#))?;
            if !answer.starts_with(r#"{"published""#) {
                return Err(answer.into());
            }
        }
        Ok(lines)
    })
}

/// Small events to one name that as many streams have as a benchmark can open.
pub(super) fn name() -> Result<()> {
    const STREAMS: u32 = 10_000;
    let daemon = start(&[])?;
    let _streams = streams(&daemon, STREAMS, "/events/t?client=x")?;
    press("20 small events to a name that 10,000 streams have", &daemon, mebibytes(STREAMS * 2), || {
        let mut lines = Lines::connect(&daemon)?;
        for _ in 0..20 {
            let answer = lines.ask(r#"{"publish":{"topic":"t","data":"x","to":"x"}}"#)?;
            if !answer.ends_with(r#""subscribers":10000}}"#) {
                return Err(answer.into());
            }
        }
        Ok(lines)
    })
}

/// Events to a topic that very many different filters match.
pub(super) fn feeds() -> Result<()> {
    const STREAMS: u32 = 10_000;
    let daemon = start(&[])?;
    let _streams = streams_of_many_filters(&daemon, STREAMS)?;
    press("20 events to a topic that 10,000 different filters match", &daemon, mebibytes(STREAMS * 4), || {
        publish_news(&daemon, 20, "x", STREAMS)
    })
}

/// The same with as many filters as there may be subscribers, over HTTP/2, which needs few descriptors.
pub(super) fn most() -> Result<()> {
    const STREAMS: u32 = 50_000;
    let daemon = start(&[])?;
    let runtime = tokio::runtime::Runtime::new()?;
    let _streams = runtime.block_on(http2_streams(daemon.address, STREAMS))?;
    press("20 events to a topic that 50,000 different filters match", &daemon, mebibytes(STREAMS * 4), || {
        publish_news(&daemon, 20, "x", STREAMS)
    })
}

/// Large events to a topic that many different filters match.
pub(super) fn large() -> Result<()> {
    const STREAMS: u32 = 500;
    let daemon = start(&[])?;
    let _streams = streams_of_many_filters(&daemon, STREAMS)?;
    let buffers = (Limits::default().feeds_buffer >> 20) as u32;
    let asked = mebibytes(STREAMS * ((LARGE >> 10) as u32 + EACH)) + buffers;
    press("2 events of 256 KiB to a topic that 500 different filters match", &daemon, asked, || {
        publish_news(&daemon, 2, &"x".repeat(LARGE), STREAMS)
    })
}

/// Opens streams that all have the topic `news`, each with a feed of its own.
fn streams_of_many_filters(daemon: &Daemon, count: u32) -> Result<Vec<Vec<TcpStream>>> {
    (0..count).map(|n| streams(daemon, 1, &format!("/events?topic=news&topic=own/{n}"))).collect()
}

/// Opens such streams over HTTP/2, on connections that have as many as are allowed.
async fn http2_streams(address: SocketAddr, count: u32) -> Result<Vec<h2::RecvStream>> {
    let mut streams = Vec::new();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 30);
    let mut numbers = 0..count;
    while !numbers.is_empty() {
        let socket = tokio::net::TcpStream::connect(address).await?;
        let (sender, connection) = builder.handshake::<_, bytes::Bytes>(socket).await?;
        tokio::spawn(connection);
        for n in numbers.by_ref().take(HTTP2_STREAMS as usize) {
            let uri = format!("http://{address}/events?topic=news&topic=own/{n}");
            let request = axum::http::Request::get(uri).body(())?;
            let answer = sender.clone().ready().await?.send_request(request, true)?.0.await?;
            streams.push(answer.into_body());
        }
    }
    Ok(streams)
}

/// Publishes events, one after the other, that all streams receive.
fn publish_news(daemon: &Daemon, events: u32, data: &str, streams: u32) -> Result<Lines> {
    let (mut lines, expected) = (Lines::connect(daemon)?, format!(r#""subscribers":{streams}}}}}"#));
    for _ in 0..events {
        let answer = lines.ask(&format!(r#"{{"publish":{{"topic":"news","data":"{data}"}}}}"#))?;
        if !answer.ends_with(&expected) {
            return Err(answer.into());
        }
    }
    Ok(lines)
}

/// Subscribers that do not read a history of large events.
pub(super) fn past() -> Result<()> {
    const STREAMS: u32 = 1500;
    let daemon = start(&[])?;
    let mut publisher = daemon.publisher()?;
    for _ in 0..60 {
        publisher.send(&event("large", &"x".repeat(LARGE)))?;
    }
    publisher.status()?;
    press("1,500 unread streams of the past, events of 256 KiB", &daemon, 64, || {
        streams(&daemon, STREAMS, "/events/large?since=all")
    })
}

/// A list of very many topics, which completion requests.
pub(super) fn topics() -> Result<()> {
    let daemon = start(&["--history-events", "1"])?;
    publish_to_each(&daemon, 99_000, r#""data":"x""#)?;
    press("the list of 99,000 topics, ten times", &daemon, 64, || {
        let mut lines = Lines::connect(&daemon)?;
        for _ in 0..10 {
            let answer = lines.ask(r#"{"topics":{}}"#)?;
            if answer.len() < 1 << 20 {
                return Err(answer.into());
            }
        }
        Ok(lines)
    })
}

/// A flood with history on disk, and the memory that remains at rest.
pub(super) fn rest() -> Result<()> {
    const FLOOD: Duration = Duration::from_secs(6);
    const REST: Duration = Duration::from_mins(1);
    const ASKED: i64 = 32;
    let state = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let directory = state.path().display().to_string();
    let daemon = start(&["--history", "disk", "--state-dir", &directory])?;
    let before = daemon.resident()?;
    press("8 publishers flood a bus with history on disk for 6 s", &daemon, 512, || {
        let until = Instant::now() + FLOOD;
        thread::scope(|scope| {
            let flood = |topic| {
                let (mut publisher, line) =
                    (daemon.publisher()?, event(&format!("flood/{topic}"), &"x".repeat(10_000)));
                while Instant::now() < until {
                    publisher.send(&line)?;
                }
                publisher.status().map(drop)
            };
            let publishers: Vec<_> = (0..8).map(|topic| scope.spawn(move || flood(topic))).collect();
            publishers.into_iter().try_for_each(|publisher| publisher.join().unwrap_or_else(|_| Err("panicked".into())))
        })
    })?;
    let (rest, flooded) = (Instant::now(), (daemon.resident()? - before) >> 20);
    let mut now = flooded;
    while now > ASKED && rest.elapsed() < REST {
        thread::sleep(Duration::from_millis(250));
        now = (daemon.resident()? - before) >> 20;
    }
    let took = rest.elapsed().as_secs();
    line(
        &format!("  {flooded} MiB after it; after {took} s of rest"),
        &format!("{now} MiB"),
        &format!("at most {ASKED} MiB"),
    );
    Ok(())
}

/// Connections without a token that never finish their heads.
pub(super) fn strangers() -> Result<()> {
    let state = tempfile::tempdir()?;
    let directory = state.path().display().to_string();
    let mut token = Command::new(env!("CARGO_BIN_EXE_sse-busctl"));
    token.args(["token", "create", "--name", "bench", "--state-dir", &directory]);
    let made = token.output()?;
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into());
    }
    let daemon = start(&["--listen", "0.0.0.0:0", "--insecure", "--state-dir", &directory])?;
    let urls = daemon.publisher()?.status()?["urls"].clone();
    let exposed: SocketAddr =
        urls[1].as_str().and_then(|url| url.strip_prefix("http://")).unwrap_or_default().parse()?;
    let head = format!("GET /events HTTP/1.1\r\nHost: bus\r\nX: {}", "x".repeat(HEAD_MAX - 1000));
    let asked = (UNAUTHENTICATED_BYTES >> 20) as u32 + 32;
    press("1,536 strangers with unfinished heads of 63 KiB", &daemon, asked, || {
        let mut strangers = Vec::new();
        for _ in 0..3 * UNAUTHENTICATED_BYTES / HEAD_MAX {
            let mut stranger = TcpStream::connect(exposed)?;
            // The daemon may have closed it meanwhile.
            let _ = stranger.write_all(head.as_bytes());
            strangers.push(stranger);
        }
        Ok(strangers)
    })
}

/// Publishes an event, given as the fields after the topic, to each of many topics.
fn publish_to_each(daemon: &Daemon, topics: usize, fields: &str) -> Result<()> {
    let mut publisher = daemon.publisher()?;
    for first in (0..topics).step_by(500) {
        let mut lines = String::new();
        for topic in first..topics.min(first + 500) {
            writeln!(lines, r#"{{"publish":{{"topic":"many/{topic}",{fields},"ack":"none"}}}}"#)?;
        }
        publisher.send(&lines)?;
    }
    publisher.status().map(drop)
}

/// Opens streams, and reads only the first byte of each.
fn streams(daemon: &Daemon, count: u32, path: &str) -> Result<Vec<TcpStream>> {
    let open = |_| {
        let mut stream = TcpStream::connect(daemon.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", daemon.address)?;
        stream.read_exact(&mut [0])?;
        Ok(stream)
    };
    (0..count).map(open).collect()
}

/// KiB as MiB.
fn mebibytes(kibibytes: u32) -> u32 {
    kibibytes.div_ceil(1 << 10)
}
