//! Sends an event through a URL and times it: whether what stands before the daemon lets a stream through as it is.
//!
//! `curl` subscribes, as it knows every way to a server that people use, with certificates and proxies as they have set
//! them up. The event goes in over the local socket, on a topic of its own, and expires within a minute. What a proxy holds
//! back is told apart from what does not come at all: more is published until something moves.

use std::{io, path::Path, process::Stdio, time::Duration};

use sse_bus::{
    Client, client,
    limits::HEARTBEAT,
    protocol::{Publish, Status},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdout, Command},
    time::{Instant, sleep, timeout_at},
};

use super::{Finding, PATIENCE, quoted, socket::Place};
use crate::exit::{Exit, Failure};

/// How long an event may be under way before it counts as held back. Within a machine it takes milliseconds.
const UNDER_WAY: Duration = Duration::from_secs(2);
/// What is published to make a proxy give out what it holds back, in pieces of so many bytes, and so many of them.
const PIECE: usize = 16 << 10;
const PIECES: usize = 64;
/// Bytes of the answer that are kept.
const ANSWER_MAX: usize = 8 << 20;

/// A stream that `curl` receives.
pub(super) struct Stream {
    curl: Child,
    stdout: ChildStdout,
    /// Everything that has come: the heads, then the body.
    received: Vec<u8>,
    base: String,
    server: String,
}

/// Why what was waited for has not come.
enum Ended {
    /// Its time is over.
    Late,
    /// The connection is.
    Closed,
}

/// Checks that paths can follow a URL. What else may be wrong with it, curl knows better. What was given is not repeated: a
/// password may be in it.
pub(super) fn check(url: &str) -> Result<(), Failure> {
    if url.is_empty() || url.contains(['?', '#']) {
        let what = "--url is where the daemon's paths begin, such as https://bus.example/, without `?` and `#`";
        return Err(Failure::new(Exit::Usage, what));
    }
    Ok(())
}

/// A URL without the name and the password that may be in it, as whoever reads along may see it.
pub(super) fn shown(url: &str) -> String {
    let scheme = url.find(":/").map_or(0, |colon| url.len() - url[colon + 1..].trim_start_matches('/').len());
    let host = url[scheme..].find('/').map_or(url.len(), |slash| scheme + slash);
    url[scheme..host].rfind('@').map_or_else(|| url.into(), |at| [&url[..scheme], &url[scheme + at + 1..]].concat())
}

/// Subscribes and publishes. The stream goes on if the event came.
pub(super) async fn send(url: &str, token: Option<&Path>, place: &Place, status: &Status) -> (Finding, Option<Stream>) {
    match sent(url, token, place, status).await {
        Ok((finding, stream)) => (finding, Some(stream)),
        Err(finding) => (finding, None),
    }
}

async fn sent(url: &str, token: Option<&Path>, place: &Place, status: &Status) -> Result<(Finding, Stream), Finding> {
    let (url, base) = (url.trim_end_matches('/'), shown(url));
    let base = base.trim_end_matches('/');
    let name = format!("doctor-{}", std::process::id());
    let topic = format!("doctor/{}", std::process::id());
    let problem = |what: String, mend: String| Finding::problem("url", what, mend);
    let look = format!("curl -i {}", quoted(&format!("{base}/healthz")));

    let mut stream = Stream::open(url, base, &topic, &name, token).await?;
    let head = match stream.wait(PATIENCE, head).await {
        Ok(head) => Some(head),
        Err(Ended::Late) => None,
        Err(Ended::Closed) => {
            let said = stream.last_words().await;
            return Err(problem(format!("{base} cannot be reached: {said}"), look));
        }
    };
    if let Some(head) = &head {
        stream.server = head.field("server").unwrap_or_default().to_owned();
        if head.status != 200 {
            let _ = stream.wait(Duration::from_secs(1), |_| None::<()>).await;
        }
        if let Some(finding) = head.refusal(base, &stream.received, token.is_some(), place) {
            return Err(finding);
        }
    }
    let mut client = place.connect().await.ok_or_else(|| problem("the daemon has gone".into(), place.start()))?;
    if !has_come(&mut client, &name).await {
        let upstream = status.url.as_deref().unwrap_or("the daemon's address");
        let what = match head {
            Some(_) => format!("{base} is a stream of another bus: this daemon knows nothing of it"),
            None => format!("{base} times out: no answer within {PATIENCE:?}, and nothing of it reaches the daemon"),
        };
        return Err(problem(what, format!("sse-busctl url   # {upstream}: where the proxy has to lead")));
    }
    let word = format!("sent by {name}");
    let event = |data: String| Publish::new(topic.as_str(), data).with_ttl(Duration::from_mins(1));
    let refused = |error: client::Error| problem(format!("no event could be published: {error}"), place.start());
    let began = Instant::now();
    client.publish(&event(word.clone())).await.map_err(refused)?;
    let arrived = |received: &[u8]| memchr::memmem::find(received, word.as_bytes()).map(|_| ());
    match stream.wait(UNDER_WAY, arrived).await {
        Ok(()) => {
            let took = began.elapsed();
            let what = format!("an event arrives through {base} {took:.1?} after it was published");
            if took > Duration::from_secs(1) {
                return Err(Finding::warning("url", format!("{what}, which is slow"), setting(&stream.server)));
            }
            return Ok((Finding::ok("url", what), stream));
        }
        Err(Ended::Closed) => return Err(stream.cut("url", began.elapsed()).await),
        Err(Ended::Late) => {}
    }
    // It is held back: how much does it take?
    for piece in 1..=PIECES {
        client.publish(&event("x".repeat(PIECE))).await.map_err(refused)?;
        match stream.wait(Duration::from_millis(20), arrived).await {
            Ok(()) => {
                let what = format!(
                    "{base} is buffered: an event is held back until about {} KiB more have come",
                    piece * PIECE / 1024
                );
                return Err(problem(what, setting(&stream.server)));
            }
            Err(Ended::Closed) => return Err(stream.cut("url", began.elapsed()).await),
            Err(Ended::Late) => {}
        }
    }
    let what =
        format!("{base} is buffered: an event has not come after {:.0?}, nor what was sent after it", began.elapsed());
    Err(problem(what, setting(&stream.server)))
}

/// Whether the stream stays while nothing is published, until it carries a heartbeat.
pub(super) async fn stays(mut stream: Stream) -> Finding {
    let began = Instant::now();
    let so_far = stream.received.len();
    let beat = |received: &[u8]| received.get(so_far..)?.windows(2).find(|two| *two == b":\n").map(|_| ());
    match stream.wait(HEARTBEAT + UNDER_WAY, beat).await {
        Ok(()) => Finding::ok("idle", format!("the stream stays open without events, {:.0?} so far", began.elapsed())),
        Err(Ended::Closed) => stream.cut("idle", began.elapsed()).await,
        Err(Ended::Late) => {
            let what =
                format!("no heartbeat comes through, which the daemon sends every {HEARTBEAT:?}: it is held back");
            Finding::problem("idle", what, setting(&stream.server))
        }
    }
}

impl Stream {
    async fn open(url: &str, base: &str, topic: &str, name: &str, token: Option<&Path>) -> Result<Stream, Finding> {
        let token = match token {
            Some(path) => Some(read_token(path).map_err(|e| {
                let what = format!("the token in {} cannot be used: {e}", path.display());
                Finding::problem("url", what, "sse-busctl token create --scope subscribe > FILE")
            })?),
            None => None,
        };
        let url = format!("{url}/events/{topic}?since=now&client={name}");
        let started = Command::new("curl")
            // As browsers ask; and the token where nobody sees it.
            .args(["--silent", "--show-error", "--no-buffer", "--include", "--compressed", "--proto", "=http,https"])
            .args(["--config", "-", "--", &url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let no_curl = |e: io::Error| {
            Finding::warning("url", format!("nothing was sent: curl cannot be run: {e}"), "curl --version")
        };
        let mut curl = started.map_err(no_curl)?;
        let mut stdin = curl.stdin.take().ok_or_else(|| no_curl(io::ErrorKind::BrokenPipe.into()))?;
        if let Some(token) = token {
            // A curl that has gone says why on stderr.
            let _ = stdin.write_all(format!("header = \"Authorization: Bearer {token}\"\n").as_bytes()).await;
        }
        let stdout = curl.stdout.take().ok_or_else(|| no_curl(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Stream { curl, stdout, received: Vec::new(), base: base.to_owned(), server: String::new() })
    }

    /// Reads until something is there.
    async fn wait<T>(&mut self, patience: Duration, look: impl Fn(&[u8]) -> Option<T>) -> Result<T, Ended> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(found) = look(&self.received) {
                return Ok(found);
            }
            match timeout_at(deadline, self.stdout.read_buf(&mut self.received)).await {
                Err(_) => return Err(Ended::Late),
                Ok(Ok(read)) if read > 0 && self.received.len() < ANSWER_MAX => {}
                Ok(_) => return Err(Ended::Closed),
            }
        }
    }

    /// What curl says at its end.
    async fn last_words(&mut self) -> String {
        let mut said = String::new();
        if let Some(stderr) = &mut self.curl.stderr {
            let _ = timeout_at(Instant::now() + PATIENCE, stderr.read_to_string(&mut said)).await;
        }
        let said = said.trim();
        if said.is_empty() { "the connection was closed".into() } else { said.replace('\n', "; ") }
    }

    /// The stream has ended while it should go on.
    async fn cut(&mut self, check: &'static str, after: Duration) -> Finding {
        let said = self.last_words().await;
        let what = format!("{} times out: the stream was cut after {after:.1?}: {said}", self.base);
        let mend =
            "nginx: proxy_read_timeout 60s;   Caddy: transport http { read_timeout 60s }   Apache: ProxyTimeout 60";
        Finding::problem(check, what, mend)
    }
}

/// The head of an answer.
struct Head {
    status: u16,
    fields: String,
}

/// The last head of what curl has printed; those before it are interim answers, or a proxy's own.
fn head(received: &[u8]) -> Option<Head> {
    let mut rest = received;
    loop {
        let end = memchr::memmem::find(rest, b"\r\n\r\n")?;
        let fields = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 4..];
        let status = fields.split_whitespace().nth(1)?.parse().ok()?;
        if status >= 200 && !rest.starts_with(b"HTTP/") {
            return Some(Head { status, fields });
        }
    }
}

impl Head {
    fn field(&self, wanted: &str) -> Option<&str> {
        self.fields.lines().skip(1).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    }

    /// Why this is no stream.
    fn refusal(&self, base: &str, received: &[u8], has_token: bool, place: &Place) -> Option<Finding> {
        let problem = |what: String, mend: String| Some(Finding::problem("url", what, mend));
        let kind = self.field("content-type").unwrap_or("nothing");
        let look = || format!("curl -i {}", quoted(&format!("{base}/healthz")));
        let said = said(received).map_or(String::new(), |said| format!(": {said}"));
        match self.status {
            200 if kind.starts_with("text/event-stream") => None,
            200 => {
                problem(format!("{base} is not an event stream: it answers with {kind}; is it the daemon's?"), look())
            }
            401 if has_token => problem(
                format!("{base} refuses the token (401){said}"),
                "sse-busctl token create --scope subscribe > FILE   # then --token-file FILE".into(),
            ),
            401 => problem(
                format!("{base} asks for a token (401){said}"),
                "sse-busctl token create --scope subscribe > FILE   # then --token-file FILE".into(),
            ),
            421 => {
                let host = base.split_once("://").map_or(base, |(_, rest)| rest).split('/').next().unwrap_or_default();
                let mend = place.start_with(&format!("--allow-host {}", quoted(host)));
                problem(format!("the daemon does not go by this name (421){said}"), mend)
            }
            status => problem(format!("{base} answers with {status}{said}; it is no event stream"), look()),
        }
    }
}

/// What the daemon says in an answer that is an error.
fn said(received: &[u8]) -> Option<String> {
    let body = &received[memchr::memmem::rfind(received, b"\r\n\r\n")? + 4..];
    let error: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(error["error"]["message"].as_str()?.to_owned())
}

/// Whether the stream has come to the daemon, which knows it by its name.
async fn has_come(client: &mut Client, name: &str) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while let Ok(Ok(clients)) = timeout_at(deadline, client.clients()).await {
        if clients.iter().any(|client| client.name.as_deref() == Some(name)) {
            return true;
        }
        sleep(Duration::from_millis(20)).await;
    }
    false
}

/// A token as `sse-busctl token create` prints it, alone or in its JSON, or as a header.
fn read_token(path: &Path) -> io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begin = text.find(sse_bus::tokens::PREFIX).ok_or_else(|| io::Error::other("there is none in it"))?;
    Ok(text[begin..].split(|c| !is_part(c)).next().unwrap_or_default().to_owned())
}

/// What makes a proxy pass events on at once. The daemon asks every nginx for that with `X-Accel-Buffering: no`, and the
/// one that does not do it was told to ignore it.
fn setting(server: &str) -> String {
    let nginx = "nginx: proxy_buffering off; and no proxy_ignore_headers X-Accel-Buffering;";
    let caddy = "Caddy: reverse_proxy { flush_interval -1 }";
    let apache = "Apache: ProxyPass … flushpackets=on, and SetEnv no-gzip 1";
    let server = server.to_ascii_lowercase();
    match [("nginx", nginx), ("caddy", caddy), ("apache", apache)].iter().find(|(name, _)| server.contains(name)) {
        Some((_, setting)) => (*setting).to_owned(),
        None => [nginx, caddy, apache].join("   "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_head_counts() {
        let text = b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/2 103 \r\nlink: x\r\n\r\nHTTP/2 200 \r\nServer: nginx/1.22.1\r\n\r\nretry: 1\n";
        let head = head(text).unwrap();
        assert_eq!((head.status, head.field("server")), (200, Some("nginx/1.22.1")));
        assert!(super::head(b"HTTP/1.1 100 Continue\r\n\r\n").is_none());
    }

    #[test]
    fn a_url_is_shown_without_name_and_password() {
        for (url, wanted) in [
            ("http://user:s@cr@t@host:80/bus", "http://host:80/bus"),
            ("http:/user:secret@host", "http:/host"),
            ("user:secret@host/", "host/"),
            ("https://token@[::1]", "https://[::1]"),
            ("https://host/@team/", "https://host/@team/"),
            ("host", "host"),
        ] {
            assert_eq!(shown(url), wanted);
        }
    }

    #[test]
    fn a_proxy_that_says_who_it_is_is_told_its_own_setting() {
        assert!(
            setting("nginx/1.22.1").starts_with("nginx: proxy_buffering off;") && !setting("nginx").contains("Caddy")
        );
        assert!(["nginx", "Caddy", "Apache"].iter().all(|name| setting("").contains(name)));
    }
}
