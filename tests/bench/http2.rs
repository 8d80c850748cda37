//! The cost of a delivery over HTTP/2, beside HTTP/1.1: `cargo bench --bench http2`.
//!
//! 1,000 subscribers, on 10 connections of HTTP/2 or on 1,000 of HTTP/1.1, and one publisher on the local socket.
//! *paced*: one event at a time, the next when all have the last; *saturated*: up to 1,000 events outstanding. The CPU
//! time is the daemon's alone; deliveries a second are what daemon and subscribers reach together on this machine.
//! Needs Linux and 1,100 descriptors.

use std::{
    error::Error,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::Request;
use bytes::Bytes;
use sse_bus::{Client, Endpoint, protocol::Publish};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    time::timeout,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const SUBSCRIBERS: u64 = 1000;
const CONNECTIONS: u64 = 10;
const ROUNDS: usize = 3;
/// A timeout for everything, which a lost event exceeds.
const PATIENCE: Duration = Duration::from_mins(1);

/// The number of events, and of those outstanding.
const PACED: (u64, u64) = (500, 1);
const SATURATED: (u64, u64) = (5000, 1000);

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("bus.sock");
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_sse-busd"))
        .args(["--no-config", "--listen", "127.0.0.1:0", "--log", "error", "--socket"])
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let measured = runtime.block_on(measure(&mut daemon, &socket));
    daemon.kill()?;
    daemon.wait()?;
    measured
}

async fn measure(daemon: &mut Child, socket: &Path) -> Result<()> {
    let endpoint = Endpoint::at(socket);
    let mut bus = loop {
        if let Ok(bus) = Client::connect(&endpoint).await {
            break bus;
        }
        if let Some(status) = daemon.try_wait()? {
            return Err(format!("the daemon has ended: {status}").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let url = bus.status().await?.url.ok_or("the daemon serves no HTTP")?;
    let address: SocketAddr = url.strip_prefix("http://").ok_or("a plain URL")?.parse()?;
    println!("medians of {ROUNDS} rounds, {SUBSCRIBERS} subscribers, events of 200 bytes");
    for (name, load) in [("paced", PACED), ("saturated", SATURATED)] {
        let mut figures = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (http2, figures) in [false, true].into_iter().zip(&mut figures) {
                figures.push(round(&mut bus, daemon.id(), address, http2, load).await?);
            }
        }
        for (way, figures) in ["HTTP/1.1", "HTTP/2"].iter().zip(figures) {
            let (rate, cpu): (Vec<f64>, Vec<f64>) = figures.into_iter().unzip();
            let (rate, cpu) = (median(rate), median(cpu));
            println!("{name:<10} {way:<9} {rate:>10.0} deliveries/s {cpu:>8.2} µs CPU a delivery");
        }
    }
    Ok(())
}

/// What the subscribers have received, together.
#[derive(Default)]
struct Received {
    events: AtomicU64,
    more: Notify,
}

impl Received {
    fn count(&self, bytes: &[u8]) {
        // Only the line of the data holds this letter, once.
        let events = memchr::memchr_iter(b'!', bytes).count() as u64;
        if events > 0 {
            let before = self.events.fetch_add(events, Ordering::AcqRel);
            if before / SUBSCRIBERS != (before + events) / SUBSCRIBERS {
                self.more.notify_one();
            }
        }
    }

    async fn reach(&self, events: u64) -> Result<()> {
        let reached = async {
            while self.events.load(Ordering::Acquire) < events {
                self.more.notified().await;
            }
        };
        let lost = |_| format!("{} of {events} deliveries arrived", self.events.load(Ordering::Relaxed));
        Ok(timeout(PATIENCE, reached).await.map_err(lost)?)
    }
}

/// One round. Returns deliveries a second and microseconds of the daemon's CPU time a delivery.
async fn round(bus: &mut Client, pid: u32, address: SocketAddr, http2: bool, load: (u64, u64)) -> Result<(f64, f64)> {
    let received = Arc::new(Received::default());
    let mut readers = tokio::task::JoinSet::new();
    if http2 {
        for _ in 0..CONNECTIONS {
            let socket = TcpStream::connect(address).await?;
            let mut builder = h2::client::Builder::new();
            builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 30);
            let (sender, connection) = builder.handshake::<_, Bytes>(socket).await?;
            readers.spawn(async move { Ok(connection.await?) });
            for _ in 0..SUBSCRIBERS / CONNECTIONS {
                let request = Request::get(format!("http://{address}/events/bench")).body(())?;
                let response = sender.clone().ready().await?.send_request(request, true)?.0.await?;
                readers.spawn(read_stream(response.into_body(), received.clone()));
            }
        }
    } else {
        for _ in 0..SUBSCRIBERS {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(format!("GET /events/bench HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
            readers.spawn(read_socket(stream, received.clone()));
        }
    }
    wait_for_subscribers(bus, SUBSCRIBERS).await?;

    let publish = Publish::new("bench", format!("!{}", "x".repeat(199)));
    let (events, outstanding) = load;
    let batch = vec![publish; (outstanding / 2).max(1) as usize];
    let (began, cpu) = (Instant::now(), cpu_time(pid)?);
    let mut sent = 0;
    while sent < events {
        bus.publish_many(batch.iter().cloned()).await?;
        sent += batch.len() as u64;
        received.reach((sent + batch.len() as u64).saturating_sub(outstanding) * SUBSCRIBERS).await?;
    }
    received.reach(sent * SUBSCRIBERS).await?;
    let (time, cpu) = (began.elapsed(), cpu_time(pid)? - cpu);
    readers.shutdown().await;
    wait_for_subscribers(bus, 0).await?;
    let deliveries = (sent * SUBSCRIBERS) as f64;
    Ok((deliveries / time.as_secs_f64(), cpu * 1e6 / deliveries))
}

async fn wait_for_subscribers(bus: &mut Client, wanted: u64) -> Result<()> {
    let began = Instant::now();
    while bus.status().await?.subscribers != wanted {
        if began.elapsed() > PATIENCE {
            return Err(format!("there are not {wanted} subscribers").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn read_stream(mut body: h2::RecvStream, received: Arc<Received>) -> Result<()> {
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        body.flow_control().release_capacity(bytes.len())?;
        received.count(&bytes);
    }
    Ok(())
}

async fn read_socket(mut stream: TcpStream, received: Arc<Received>) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        received.count(&buffer[..read]);
    }
}

/// The CPU time of all threads of a process in seconds: the first field of each thread's schedstat, in nanoseconds.
fn cpu_time(pid: u32) -> Result<f64> {
    let mut time = 0.0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        time += stat.split(' ').next().unwrap_or_default().parse::<f64>()? / 1e9;
    }
    Ok(time)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
