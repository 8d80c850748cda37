//! An event stream that `curl` receives, which uses the certificates and proxies that the user has configured.

use std::{io, path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdout, Command},
    time::{Instant, timeout_at},
};

use super::{finding::Finding, program::PATIENCE};
use crate::remote::read_token;

/// Maximum bytes of the response.
const RESPONSE_MAX: usize = 8 << 20;

/// A stream that `curl` receives.
pub(super) struct Stream {
    curl: Child,
    stdout: ChildStdout,
    /// Everything received so far: the heads, then the body.
    pub(super) received: Vec<u8>,
}

/// Why the expected bytes did not arrive.
pub(super) enum WaitError {
    TimedOut,
    Closed,
}

impl Stream {
    /// Subscribes with `curl`.
    pub(super) async fn open(url: &str, topic: &str, name: &str, token: Option<&Path>) -> Result<Stream, Finding> {
        let token = match token {
            Some(path) => Some(read_token(path).map_err(|e| {
                let message = format!("the token in {} cannot be used: {e}", path.display());
                Finding::problem("url", message, "sse-busctl token create --scope subscribe > FILE")
            })?),
            None => None,
        };
        let url = format!("{url}/events/{topic}?since=now&client={name}");
        let started = Command::new("curl")
            // Compressed, as browsers request it. The token is passed on stdin, where other users cannot see it.
            .args(["--silent", "--show-error", "--no-buffer", "--include", "--compressed", "--proto", "=http,https"])
            .args(["--config", "-", "--", &url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let no_curl = |e: io::Error| {
            Finding::warning("url", format!("no event was sent: cannot run curl: {e}"), "curl --version")
        };
        let mut curl = started.map_err(no_curl)?;
        let mut stdin = curl.stdin.take().ok_or_else(|| no_curl(io::ErrorKind::BrokenPipe.into()))?;
        if let Some(token) = token {
            // If curl has exited, its error is on stderr.
            let _ = stdin.write_all(format!("header = \"Authorization: Bearer {token}\"\n").as_bytes()).await;
        }
        let stdout = curl.stdout.take().ok_or_else(|| no_curl(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Stream { curl, stdout, received: Vec::new() })
    }

    /// Reads until `find` finds something in the received bytes.
    pub(super) async fn wait<T>(
        &mut self,
        patience: Duration,
        find: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, WaitError> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(found) = find(&self.received) {
                return Ok(found);
            }
            match timeout_at(deadline, self.stdout.read_buf(&mut self.received)).await {
                Err(_) => return Err(WaitError::TimedOut),
                Ok(Ok(read)) if read > 0 && self.received.len() < RESPONSE_MAX => {}
                Ok(_) => return Err(WaitError::Closed),
            }
        }
    }

    /// Returns the error message of curl.
    pub(super) async fn error(&mut self) -> String {
        let mut error = String::new();
        if let Some(stderr) = &mut self.curl.stderr {
            let _ = timeout_at(Instant::now() + PATIENCE, stderr.read_to_string(&mut error)).await;
        }
        let error = error.trim();
        if error.is_empty() { "the connection was closed".into() } else { error.replace('\n', "; ") }
    }
}

/// The head of a response.
pub(super) struct Head {
    pub(super) status: u16,
    fields: String,
}

/// Returns the last response head in the output of curl. Earlier ones are interim responses, or come from a proxy.
pub(super) fn head(received: &[u8]) -> Option<Head> {
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
    /// Returns the value of a header field.
    pub(super) fn field(&self, wanted: &str) -> Option<&str> {
        self.fields.lines().skip(1).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    }
}

/// Returns the error message in a response of the daemon.
pub(super) fn error_message(received: &[u8]) -> Option<String> {
    let body = &received[memchr::memmem::rfind(received, b"\r\n\r\n")? + 4..];
    let error: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(error["error"]["message"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_head_is_used() {
        let text = b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/2 103 \r\nlink: x\r\n\r\nHTTP/2 200 \r\nServer: nginx/1.22.1\r\n\r\nretry: 1\n";
        let head = head(text).unwrap();
        assert_eq!((head.status, head.field("server")), (200, Some("nginx/1.22.1")));
        assert!(super::head(b"HTTP/1.1 100 Continue\r\n\r\n").is_none());
    }
}
