//! Chromium and Firefox, driven by their own protocols: DevTools and WebDriver BiDi. For tests that are the same in
//! both, and for tabs that crash or freeze, which a driver process does not survive.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpStream, sync::Mutex, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use crate::{
    DEADLINE,
    browser::{FLAGS, Group},
    eventually,
};

/// The kind of browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Chromium,
    Firefox,
}

/// A browser. Killed when it is dropped.
pub struct Remote {
    kind: Kind,
    socket: Arc<Socket>,
    // Dropped in this order.
    _processes: Group,
    _profile: TempDir,
}

/// A tab with a page.
#[derive(Clone)]
pub struct Page {
    kind: Kind,
    socket: Arc<Socket>,
    /// Chromium's target, Firefox's browsing context.
    id: String,
    /// Chromium's session with it.
    session: Option<String>,
}

impl Remote {
    /// Starts a browser, with some more flags.
    pub async fn start(kind: Kind, flags: &[&str]) -> Remote {
        let profile = tempfile::Builder::new().prefix("sse-bus-browser-").tempdir().expect("a temporary folder");
        let folder = profile.path();
        let log = folder.join("browser.log");
        let mut command = match kind {
            Kind::Chromium => chromium(folder),
            Kind::Firefox => firefox(folder),
        };
        command.args(flags).env("TMPDIR", folder).env("HOME", folder).stdin(Stdio::null()).stdout(Stdio::null());
        let processes = Group::start(command.stderr(File::create(&log).expect("a file in the profile's folder")));
        let url = eventually("the browser to listen", async || {
            let said = fs::read(&log).map_err(|e| e.to_string())?;
            let said = String::from_utf8_lossy(&said).into_owned();
            let url = said.lines().find_map(|line| line.split_once("listening on ws://")?.1.split(' ').next());
            url.map(|url| format!("ws://{}", url.trim())).ok_or(said)
        })
        .await;
        let url = if kind == Kind::Firefox { format!("{url}/session") } else { url };
        let (socket, _) = connect_async(&url).await.unwrap_or_else(|e| panic!("{url}: {e}"));
        let socket = Arc::new(Socket(Mutex::new((socket, 0))));
        if kind == Kind::Firefox {
            socket.ask("session.new", json!({ "capabilities": {} }), None).await.expect("a session");
        }
        Remote { kind, socket, _processes: processes, _profile: profile }
    }

    /// Grants or denies a permission to an origin on behalf of the user. Chromium only.
    pub async fn set_permission(&self, origin: &str, name: &str, setting: &str) {
        let params = json!({ "permission": { "name": name }, "setting": setting, "origin": origin });
        self.socket.ask("Browser.setPermission", params, None).await.expect("it is a permission");
    }

    /// Opens a page in a new tab and waits for its load.
    pub async fn open(&self, url: &str) -> Page {
        let ask = async |method: &str, params| self.socket.ask(method, params, None).await.expect("a tab opens");
        let page = |id: &Value, session| {
            let id = id.as_str().expect("a tab has an id").to_owned();
            Page { kind: self.kind, socket: self.socket.clone(), id, session }
        };
        match self.kind {
            Kind::Chromium => {
                let target = &ask("Target.createTarget", json!({ "url": url })).await["targetId"];
                let session = ask("Target.attachToTarget", json!({ "targetId": target, "flatten": true })).await;
                let page = page(target, session["sessionId"].as_str().map(str::to_owned));
                eventually(&format!("{url} to load"), async || {
                    match page.eval(&format!("location.href.startsWith({url:?}) && document.readyState")).await {
                        Value::String(state) if state == "complete" => Ok(()),
                        other => Err(other.to_string()),
                    }
                })
                .await;
                page
            }
            Kind::Firefox => {
                let context = &ask("browsingContext.create", json!({ "type": "tab" })).await["context"];
                ask("browsingContext.navigate", json!({ "context": context, "url": url, "wait": "complete" })).await;
                page(context, None)
            }
        }
    }
}

impl Page {
    /// The value of an expression, as JSON; of a promise, its result.
    pub async fn eval(&self, expression: &str) -> Value {
        let result = self.try_eval(expression).await;
        result.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    async fn try_eval(&self, expression: &str) -> Result<Value, String> {
        let expression = format!("(async () => JSON.stringify(await ({expression})) ?? null)()");
        let value = match self.kind {
            Kind::Chromium => {
                let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
                let response = self.ask("Runtime.evaluate", params).await?;
                response["result"]["value"].as_str().map(str::to_owned).ok_or(response)
            }
            Kind::Firefox => {
                let params =
                    json!({ "expression": expression, "awaitPromise": true, "target": { "context": self.id } });
                let response = self.ask("script.evaluate", params).await?;
                response["result"]["value"].as_str().map(str::to_owned).ok_or(response)
            }
        };
        match value {
            Ok(text) => serde_json::from_str(&text).map_err(|e| e.to_string()),
            Err(response) if response.to_string().contains("xception") => Err(response.to_string()),
            Err(_) => Ok(Value::Null),
        }
    }

    /// Closes the tab.
    pub async fn close(self) {
        let closed = match self.kind {
            Kind::Chromium => self.socket.ask("Target.closeTarget", json!({ "targetId": self.id }), None).await,
            Kind::Firefox => self.ask("browsingContext.close", json!({ "context": self.id })).await,
        };
        closed.expect("the tab closes");
    }

    /// Crashes the process that renders the page, and other pages of that process. Chromium only.
    pub async fn crash(self) {
        // The process ends before it answers.
        self.socket.send("Page.crash", json!({}), self.session.as_deref()).await;
    }

    /// Blocks the page's event loop for a time. No other page may share its process.
    pub async fn hang(&self, time: Duration) {
        let expression = format!("for (const end = Date.now() + {}; Date.now() < end; );", time.as_millis());
        self.socket.send("Runtime.evaluate", json!({ "expression": expression }), self.session.as_deref()).await;
    }

    /// Freezes the page, as a browser does with one in the background, or thaws it. Chromium only.
    pub async fn set_frozen(&self, frozen: bool) {
        let state = if frozen { "frozen" } else { "active" };
        self.ask("Page.setWebLifecycleState", json!({ "state": state })).await.expect("the page can be frozen");
    }

    async fn ask(&self, method: &str, params: Value) -> Result<Value, String> {
        self.socket.ask(method, params, self.session.as_deref()).await
    }
}

/// Requests and responses. Other messages of the browser are skipped.
struct Socket(Mutex<(WebSocketStream<MaybeTlsStream<TcpStream>>, u64)>);

impl Socket {
    async fn send(&self, method: &str, params: Value, session: Option<&str>) -> u64 {
        let (socket, last) = &mut *self.0.lock().await;
        *last += 1;
        let mut request = json!({ "id": *last, "method": method, "params": params });
        if let Some(session) = session {
            request["sessionId"] = session.into();
        }
        socket.send(Message::text(request.to_string())).await.expect("the browser listens");
        *last
    }

    async fn ask(&self, method: &str, params: Value, session: Option<&str>) -> Result<Value, String> {
        let id = self.send(method, params, session).await;
        let (socket, _) = &mut *self.0.lock().await;
        loop {
            let message = timeout(DEADLINE, socket.next()).await.unwrap_or_else(|_| panic!("no response to {method}"));
            let Message::Text(text) = message.expect("the browser is there").expect("its messages are whole") else {
                continue;
            };
            let mut response: Value = serde_json::from_str(&text).expect("its messages are JSON");
            if response["id"] == id {
                return match response["error"].take() {
                    Value::Null => Ok(response["result"].take()),
                    error => Err(format!("{error} {}", response["message"])),
                };
            }
        }
    }
}

fn chromium(profile: &Path) -> Command {
    let mut command = Command::new("chromium");
    command.args(FLAGS).arg("--remote-debugging-port=0").arg(format!("--user-data-dir={}", profile.display()));
    command
}

fn firefox(profile: &Path) -> Command {
    // No requests except those of the test.
    const PREFERENCES: &[(&str, &str)] = &[
        ("app.update.enabled", "false"),
        ("browser.shell.checkDefaultBrowser", "false"),
        ("browser.startup.page", "0"),
        ("datareporting.policy.dataSubmissionEnabled", "false"),
        ("network.captive-portal-service.enabled", "false"),
        ("network.connectivity-service.enabled", "false"),
        ("network.proxy.type", "0"),
        ("services.settings.server", "\"\""),
        ("toolkit.telemetry.enabled", "false"),
    ];
    let preferences: String =
        PREFERENCES.iter().map(|(name, value)| format!("user_pref(\"{name}\", {value});\n")).collect();
    fs::write(profile.join("user.js"), preferences).expect("a file in the profile's folder");
    let mut command = Command::new("firefox-esr");
    command.args(["--headless", "--no-remote", "--remote-debugging-port=0", "--profile"]).arg(profile);
    command
}
