//! Checks a URL of the daemon, for example that of a reverse proxy: subscribes to it, sends an event and measures its
//! latency.
//!
//! The subscriber is `curl`, because it uses the certificates and proxies that the user has configured. The event is sent
//! over the local socket to this subscriber only, so that history does not keep it and no other client receives it. If it
//! does not arrive, more events are sent, which fill the buffer of a proxy: then the first one arrives if the proxy buffers.

use std::{path::Path, time::Duration};

use sse_bus::{
    Client, client,
    limits::HEARTBEAT,
    protocol::{Publish, Status},
    shell::quoted,
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    configuration,
    curl::{Head, Stream, WaitError, error_message, head},
    finding::Finding,
    program::PATIENCE,
    target::Target,
};
use crate::exit::{Exit, Failure};

/// Latency above which an event counts as buffered. On one machine an event takes milliseconds.
const LATENCY_MAX: Duration = Duration::from_secs(2);
/// Bytes of each event that is published to fill the buffer of a proxy.
const FILLER_BYTES: usize = 16 << 10;
/// Maximum number of these events.
const FILLERS_MAX: usize = 64;

/// Checks that a path can be appended to a URL; curl checks everything else. The error does not contain the URL, in which
/// there may be a password.
pub(super) fn validate(url: &str) -> Result<(), Failure> {
    if url.is_empty() || url.contains(['?', '#']) {
        let message = "--url must be the base URL of the daemon, such as https://bus.example/, without `?` and `#`";
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(())
}

/// Returns a URL without the user name and password that it may contain.
pub(super) fn without_credentials(url: &str) -> String {
    let scheme = url.find(":/").map_or(0, |colon| url.len() - url[colon + 1..].trim_start_matches('/').len());
    let host = url[scheme..].find('/').map_or(url.len(), |slash| scheme + slash);
    url[scheme..host].rfind('@').map_or_else(|| url.into(), |at| [&url[..scheme], &url[scheme + at + 1..]].concat())
}

/// A stream through which an event has arrived.
pub(super) struct OpenStream {
    stream: Stream,
    base: String,
    /// The name of the proxy, from the response head.
    server: String,
}

/// Checks that an event arrives. If it does, also returns the open stream.
pub(super) async fn check(
    url: &str,
    token: Option<&Path>,
    target: &Target,
    status: &Status,
) -> (Finding, Option<OpenStream>) {
    match send_event(url, token, target, status).await {
        Ok((finding, stream)) => (finding, Some(stream)),
        Err(finding) => (finding, None),
    }
}

async fn send_event(
    url: &str,
    token: Option<&Path>,
    target: &Target,
    status: &Status,
) -> Result<(Finding, OpenStream), Finding> {
    let (url, base) = (url.trim_end_matches('/'), without_credentials(url));
    let base = base.trim_end_matches('/');
    let name = format!("doctor-{}", std::process::id());
    let topic = format!("doctor/{}", std::process::id());
    let problem = |message: String, fix: String| Finding::problem("url", message, fix);
    let request = format!("curl -i {}", quoted(&format!("{base}/healthz")));

    let mut stream = Stream::open(url, &topic, &name, token).await?;
    let head = match stream.wait(PATIENCE, head).await {
        Ok(head) => Some(head),
        Err(WaitError::TimedOut) => None,
        Err(WaitError::Closed) => {
            let error = stream.error().await;
            return Err(problem(format!("cannot connect to {base}: {error}"), request));
        }
    };
    // A development server sends no `Server`, but its framework may send `X-Powered-By`.
    let field = |name| head.as_ref().and_then(|head| head.field(name));
    let server = field("server").or_else(|| field("x-powered-by")).unwrap_or_default().to_owned();
    if let Some(head) = &head {
        if head.status != 200 {
            let _ = stream.wait(Duration::from_secs(1), |_| None::<()>).await;
        }
        if let Some(finding) = refusal(head, base, &stream.received, token.is_some(), status) {
            return Err(finding);
        }
    }
    let no_daemon = || problem("the daemon does not accept another connection".into(), "sse-busctl clients".into());
    let mut client = target.connect().await.ok_or_else(no_daemon)?;
    if !is_connected(&mut client, &name).await {
        let upstream = status.url.as_deref().unwrap_or("the daemon's address");
        let message = match head {
            Some(_) => format!("{base} is a stream of another daemon: it does not reach this one"),
            None => {
                format!("{base} times out: no response within {PATIENCE:?}, and the request does not reach the daemon")
            }
        };
        return Err(problem(message, format!("sse-busctl url   # the proxy must forward to {upstream}")));
    }
    let text = format!("sent by {name}");
    let event = |data: String| Publish::new(topic.as_str(), data).to_client(name.as_str());
    let refused = |error: client::Error| problem(format!("cannot send an event: {error}"), "sse-busctl status".into());
    let began = Instant::now();
    client.publish(&event(text.clone())).await.map_err(refused)?;
    let arrived = |received: &[u8]| memchr::memmem::find(received, text.as_bytes()).map(|_| ());
    match stream.wait(LATENCY_MAX, arrived).await {
        Ok(()) => {
            let took = began.elapsed();
            let message = format!("an event arrives through {base} {took:.1?} after it was published");
            if took > Duration::from_secs(1) {
                return Err(Finding::warning("url", format!("{message}, which is slow"), proxy_setting(&server)));
            }
            return Ok((Finding::ok("url", message), OpenStream { stream, base: base.to_owned(), server }));
        }
        Err(WaitError::Closed) => return Err(closed("url", base, &mut stream, began.elapsed()).await),
        Err(WaitError::TimedOut) => {}
    }
    // Find out how much the proxy buffers.
    for filler in 1..=FILLERS_MAX {
        client.publish(&event("x".repeat(FILLER_BYTES))).await.map_err(refused)?;
        match stream.wait(Duration::from_millis(20), arrived).await {
            Ok(()) => {
                let message = format!(
                    "{base} is buffered: an event arrives only after about {} KiB more were sent",
                    filler * FILLER_BYTES / 1024
                );
                return Err(problem(message, proxy_setting(&server)));
            }
            Err(WaitError::Closed) => return Err(closed("url", base, &mut stream, began.elapsed()).await),
            Err(WaitError::TimedOut) => {}
        }
    }
    let message =
        format!("{base} is buffered: an event did not arrive after {:.0?}, nor any after it", began.elapsed());
    Err(problem(message, proxy_setting(&server)))
}

/// Checks that the stream stays open without events, until a heartbeat arrives.
pub(super) async fn check_idle(open: OpenStream) -> Finding {
    let OpenStream { mut stream, base, server } = open;
    let began = Instant::now();
    let start = stream.received.len();
    let heartbeat = |received: &[u8]| received.get(start..)?.windows(2).find(|two| *two == b":\n").map(|_| ());
    match stream.wait(HEARTBEAT + LATENCY_MAX, heartbeat).await {
        Ok(()) => Finding::ok("idle", format!("the stream stays open without events, {:.0?} so far", began.elapsed())),
        Err(WaitError::Closed) => closed("idle", &base, &mut stream, began.elapsed()).await,
        Err(WaitError::TimedOut) => {
            let message = format!("no heartbeat arrives, which the daemon sends every {HEARTBEAT:?}: it is buffered");
            Finding::problem("idle", message, proxy_setting(&server))
        }
    }
}

/// Returns the finding for a response that is not an event stream, or None if it is one.
fn refusal(head: &Head, base: &str, received: &[u8], has_token: bool, daemon: &Status) -> Option<Finding> {
    let problem = |message: String, fix: String| Some(Finding::problem("url", message, fix));
    let content_type = head.field("content-type").unwrap_or("no type");
    let request = || format!("curl -i {}", quoted(&format!("{base}/healthz")));
    let reason = error_message(received).map_or(String::new(), |message| format!(": {message}"));
    match head.status {
        200 if content_type.starts_with("text/event-stream") => None,
        200 => {
            problem(format!("{base} is not an event stream but {content_type}; is it a URL of the daemon?"), request())
        }
        401 if has_token => problem(
            format!("{base} refuses the token (401){reason}"),
            "sse-busctl token create --scope subscribe > FILE   # then --token-file FILE".into(),
        ),
        401 => problem(
            format!("{base} requires a token (401){reason}"),
            "sse-busctl token create --scope subscribe > FILE   # then --token-file FILE".into(),
        ),
        421 => {
            let host = base.split_once("://").map_or(base, |(_, rest)| rest).split('/').next().unwrap_or_default();
            let fix = configuration::edit(daemon, &format!("allow_host = [{host:?}]"));
            problem(format!("the daemon refuses this host name (421){reason}"), fix)
        }
        status => problem(format!("{base} is not an event stream: the response is {status}{reason}"), request()),
    }
}

/// Returns the finding for a stream that was closed.
async fn closed(check: &'static str, base: &str, stream: &mut Stream, after: Duration) -> Finding {
    let error = stream.error().await;
    let message = format!("{base} times out: the stream was closed after {after:.1?}: {error}");
    let fix = "nginx: proxy_read_timeout 60s;   Caddy: transport http { read_timeout 60s }   Apache: ProxyTimeout 60   \
               Vite, webpack: proxyTimeout: 60000 of the proxy";
    Finding::problem(check, message, fix)
}

/// Returns true if the daemon has a client with this name.
async fn is_connected(client: &mut Client, name: &str) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while let Ok(Ok(clients)) = timeout_at(deadline, client.clients()).await {
        if clients.iter().any(|client| client.name.as_deref() == Some(name)) {
            return true;
        }
        sleep(Duration::from_millis(20)).await;
    }
    false
}

/// Returns the setting that disables buffering of a proxy. nginx does not buffer because of `X-Accel-Buffering: no`
/// from the daemon, unless it is configured to ignore that header.
fn proxy_setting(server: &str) -> String {
    let nginx = "nginx: proxy_buffering off; and no proxy_ignore_headers X-Accel-Buffering;";
    let caddy = "Caddy: reverse_proxy { flush_interval -1 }";
    let apache = "Apache: ProxyPass … flushpackets=on, and SetEnv no-gzip 1";
    // The middleware of these servers that compresses responses holds events back if it ignores `no-transform`.
    let vite = "Vite: server.proxy without a plugin that compresses";
    let webpack = "webpack: devServer: { compress: false }";
    let next = "Next.js: compress: false";
    let server = server.to_ascii_lowercase();
    let known = [("nginx", nginx), ("caddy", caddy), ("apache", apache), ("express", webpack), ("next.js", next)];
    match known.iter().find(|(name, _)| server.contains(name)) {
        Some((_, setting)) => (*setting).to_owned(),
        None => [nginx, caddy, apache, vite, webpack, next].join("   "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_removed_from_a_url() {
        for (url, wanted) in [
            ("http://user:s@cr@t@host:80/bus", "http://host:80/bus"),
            ("http:/user:secret@host", "http:/host"),
            ("user:secret@host/", "host/"),
            ("https://token@[::1]", "https://[::1]"),
            ("https://host/@team/", "https://host/@team/"),
            ("host", "host"),
        ] {
            assert_eq!(without_credentials(url), wanted);
        }
    }

    #[test]
    fn a_known_proxy_gets_only_its_own_setting() {
        assert!(
            proxy_setting("nginx/1.22.1").starts_with("nginx: proxy_buffering off;")
                && !proxy_setting("nginx").contains("Caddy")
        );
        assert_eq!(proxy_setting("Express"), "webpack: devServer: { compress: false }");
        assert!(
            ["nginx", "Caddy", "Apache", "Vite", "webpack", "Next.js"]
                .iter()
                .all(|name| proxy_setting("").contains(name))
        );
    }
}
