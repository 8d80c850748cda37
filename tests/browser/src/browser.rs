//! Headless Chromium, driven over WebDriver, with a profile of its own.

use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{ChromiumLikeCapabilities, DesiredCapabilities, WebDriver, WindowHandle, error::WebDriverResult};

use crate::{DEADLINE, eventually, npm};

/// Without the background flags Chromium looks up its vendor's hosts; in a container it has no sandbox.
pub(crate) const FLAGS: &[&str] = &[
    "--headless",
    "--window-size=1000,800",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A browser. Call [`Browser::quit`] at the end of a test; if the test fails first, it is killed.
pub struct Browser {
    driver: WebDriver,
    // Dropped in this order.
    _processes: Group,
    _profile: TempDir,
}

/// A tab of a browser.
#[derive(Clone)]
pub struct Tab {
    driver: WebDriver,
    window: WindowHandle,
}

impl Browser {
    /// Starts a browser.
    pub async fn start() -> Browser {
        Browser::start_with(&[]).await
    }

    /// Starts a browser with some more flags.
    pub async fn start_with(flags: &[&str]) -> Browser {
        let profile = tempfile::Builder::new().prefix("sse-bus-browser-").tempdir().expect("a temporary folder");
        let log = profile.path().join("chromedriver.log");
        let processes = Group::start(
            Command::new("chromedriver")
                .arg("--port=0")
                .env("TMPDIR", profile.path())
                .env("HOME", profile.path())
                .stdin(Stdio::null())
                .stdout(File::create(&log).expect("a file in the profile's folder"))
                .stderr(Stdio::null()),
        );
        let port = eventually("chromedriver to listen", async || {
            let said = fs::read_to_string(&log).map_err(|e| e.to_string())?;
            listening_port(&said).ok_or(said)
        })
        .await;
        let driver = session(&format!("http://127.0.0.1:{port}"), flags).await.expect("Chromium starts");
        Browser { driver, _processes: processes, _profile: profile }
    }

    /// Opens a page in a new tab and waits for its load only.
    pub async fn open(&self, url: &str) -> Tab {
        let window = self.driver.new_tab().await.expect("a tab opens");
        let tab = Tab { driver: self.driver.clone(), window };
        tab.front().await;
        self.driver.goto(url).await.unwrap_or_else(|e| panic!("{url} opens: {e}"));
        tab
    }

    /// Closes the browser.
    pub async fn quit(self) {
        self.driver.clone().quit().await.expect("the browser closes");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver's own way to end an open session waits longer than a test takes.
        let _ = self.driver.clone().leak();
    }
}

impl Tab {
    /// The result of a script's `return`, as JSON.
    pub async fn eval(&self, script: &str) -> Value {
        self.front().await;
        let result = self.driver.execute(script, Vec::new()).await;
        result.unwrap_or_else(|e| panic!("{script}: {e}")).json().clone()
    }

    /// The texts of all elements that a CSS selector finds.
    pub async fn texts(&self, selector: &str) -> Vec<String> {
        self.strings(&format!("[...document.querySelectorAll({})].map((e) => e.textContent)", json!(selector))).await
    }

    /// An expression's array of strings, fetched in parts because it may be long.
    pub async fn strings(&self, expression: &str) -> Vec<String> {
        const PART: usize = 500;
        let mut all = Vec::new();
        loop {
            let part = self.eval(&format!("return ({expression}).slice({}, {})", all.len(), all.len() + PART)).await;
            let part: Vec<String> = serde_json::from_value(part).expect("an array of strings");
            let last = part.len() < PART;
            all.extend(part);
            if last {
                return all;
            }
        }
    }

    /// Waits until the page's stream is open, and returns the id that the page chose.
    pub async fn connected(&self) -> String {
        const SHOWN: &str = "return ['#state', '#client'].map((part) => document.querySelector(part))
                               .map((part) => part?.dataset.state ?? part?.textContent)";
        eventually("the page to connect", async || {
            let shown = self.eval(SHOWN).await;
            match (&shown[0], &shown[1]) {
                (Value::String(state), Value::String(client)) if state == "open" => Ok(client.clone()),
                _ => Err(shown.to_string()),
            }
        })
        .await
    }

    /// Waits until the page shows an event with exactly this data.
    pub async fn shows(&self, data: &str) {
        eventually(&format!("the page to show {data:?}"), async || {
            let texts = self.texts("#log .data").await;
            if texts.iter().any(|t| t == data) { Ok(()) } else { Err(format!("{texts:?}")) }
        })
        .await;
    }

    /// Pauses the page's list, and waits until it shows as many events as it keeps: while running, it leaves out those
    /// that it has no time to draw.
    pub async fn pause(&self) {
        self.click("#pause").await;
        eventually("the list to be drawn", async || {
            let state = self.eval("return [pause.textContent, log.ariaBusy]").await;
            if state == json!(["Resume", "false"]) { Ok(()) } else { Err(state.to_string()) }
        })
        .await;
    }

    /// Types into a field of the page, replacing its text.
    pub async fn fill(&self, form: &str, name: &str, text: &str) {
        self.front().await;
        let field = self.find(&format!("#{form} [name={name}]")).await;
        field.clear().await.expect("the field can be cleared");
        field.send_keys(text).await.expect("the field takes text");
    }

    /// Clicks on the element that a CSS selector finds.
    pub async fn click(&self, selector: &str) {
        self.front().await;
        self.find(selector).await.click().await.unwrap_or_else(|e| panic!("{selector}: {e}"));
    }

    /// The text of a frame's document once it is not empty. The driver can read what no page may.
    pub async fn text_of_frame(&self, selector: &str, wanted: &str) -> String {
        self.front().await;
        self.find(selector).await.enter_frame().await.unwrap_or_else(|e| panic!("{selector}: {e}"));
        let text = eventually(&format!("the frame to show {wanted:?}"), async || {
            let shown = self.driver.execute("return document.body?.innerText ?? ''", Vec::new()).await;
            let text = shown.map_err(|e| e.to_string())?.json().as_str().unwrap_or_default().to_owned();
            if text.contains(wanted) { Ok(text) } else { Err(text) }
        })
        .await;
        self.driver.enter_default_frame().await.expect("the page is still there");
        text
    }

    /// Presses one or more keys, wherever the page has its focus.
    pub async fn press(&self, keys: &str) {
        self.front().await;
        let actions = self.driver.action_chain().send_keys(keys);
        actions.perform().await.unwrap_or_else(|e| panic!("{keys}: {e}"));
    }

    /// Shows the page in another size, and light or dark.
    pub async fn look(&self, scheme: &str, width: u32, height: u32) {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.front().await;
        self.tell("Emulation.setEmulatedMedia", media).await;
        self.tell("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Moves the pointer over the middle of an element.
    pub async fn hover(&self, selector: &str) {
        self.front().await;
        let element = self.find(selector).await;
        self.driver.action_chain().move_to_element_center(&element).perform().await.expect("the pointer moves");
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        self.front().await;
        self.driver.refresh().await.expect("the page loads again");
    }

    /// Lets the page use the clipboard.
    pub async fn grant_clipboard(&self) {
        self.front().await;
        let permissions = json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
        self.tell("Browser.grantPermissions", permissions).await;
    }

    /// Loads axe, which checks pages by the rules of WCAG. It is not part of what the daemon serves.
    pub async fn load_axe(&self) {
        let file = npm::packages("axe").join("axe-core/axe.min.js");
        self.eval(&fs::read_to_string(file).expect("it is installed")).await;
    }

    /// A mouse click in the tab in front, sent to the browser like one of the system: independent of what the page is
    /// doing.
    pub async fn tap(&self, x: f64, y: f64) {
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.tell("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Sends a command of the browser's own protocol for the tab in front.
    async fn tell(&self, command: &str, parameters: Value) {
        let done = self.driver.cdp().send_raw(command, parameters).await;
        done.unwrap_or_else(|e| panic!("{command}: {e}"));
    }

    /// Takes a screenshot, if `SSE_BUS_SCREENSHOTS` names a folder.
    pub async fn screenshot(&self, name: &str) {
        if let Some(folder) = std::env::var_os("SSE_BUS_SCREENSHOTS") {
            self.front().await;
            let file = std::path::Path::new(&folder).join(name).with_extension("png");
            self.driver.screenshot(&file).await.expect("a screenshot");
        }
    }

    /// Closes the tab.
    pub async fn close(self) {
        self.front().await;
        self.driver.close_window().await.expect("the tab closes");
    }

    async fn front(&self) {
        self.driver.switch_to_window(self.window.clone()).await.expect("the tab is still there");
    }

    async fn find(&self, selector: &str) -> thirtyfour::WebElement {
        let found = self.driver.find(thirtyfour::By::Css(selector)).await;
        found.unwrap_or_else(|e| panic!("{selector}: {e}"))
    }
}

async fn session(url: &str, flags: &[&str]) -> WebDriverResult<WebDriver> {
    let mut capabilities = DesiredCapabilities::chrome();
    for flag in FLAGS.iter().chain(flags) {
        capabilities.add_arg(flag)?;
    }
    WebDriver::builder(url, capabilities).request_timeout(DEADLINE + Duration::from_secs(10)).await
}

/// The first line contains "on port 0" whatever the port is; a later one has the port.
fn listening_port(said: &str) -> Option<u16> {
    let line = said.lines().find(|l| l.contains("started successfully on port"))?;
    line.rsplit(' ').next()?.trim_end_matches('.').parse().ok()
}

/// A process and its descendants, killed together when this is dropped.
pub(crate) struct Group(Child);

impl Group {
    pub(crate) fn start(command: &mut Command) -> Group {
        use std::os::unix::process::CommandExt;
        Group(command.process_group(0).spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}
