//! The stand-in for a browser: loads a page and holds the stream open that the page opens.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::eventually;

/// A tab. Closed when it is dropped.
pub(crate) struct Tab(Child);

impl Tab {
    /// Opens a page. `name` is the random id that the page would choose.
    pub(crate) fn open(url: &str, name: &str, folder: &Path) -> Result<Tab, String> {
        // The server may just be starting.
        let mut page = eventually(&format!("the page {url}"), || get(url))?;
        let origin: String = url.split_inclusive('/').take(3).collect();
        let origin = origin.trim_end_matches('/');
        // The page of the bus has its scripts in files, of which this one opens the stream.
        if page.contains("/page/page.js") {
            page = get(&format!("{origin}/page/stream.js"))?;
        }
        let address = page.split_once("new EventSource(\"").and_then(|(_, rest)| rest.split_once('"'));
        let (address, _) = address.ok_or_else(|| format!("{url} opens no stream:\n{page}"))?;

        let mut stream = if address.starts_with('/') { format!("{origin}{address}") } else { address.to_owned() };
        if !stream.ends_with("client=") {
            stream.push_str(if stream.contains('?') { "&client=" } else { "?client=" });
        }
        stream.push_str(name);
        let got = folder.join(format!("tab-{name}"));
        let file = std::fs::File::create(&got).map_err(|e| e.to_string())?;
        let child =
            curl().args(["--no-buffer", "--header", &format!("Origin: {origin}"), &stream]).stdout(file).spawn();
        let mut tab = Tab(child.map_err(|e| format!("curl: {e}"))?);
        eventually(&format!("the stream {stream}"), || {
            let got = std::fs::read_to_string(&got).unwrap_or_default();
            match tab.0.try_wait() {
                Ok(None) if got.starts_with("retry: ") => Ok(()),
                state => Err(format!("{state:?} {got}")),
            }
        })?;
        Ok(tab)
    }
}

fn get(url: &str) -> Result<String, String> {
    let got = curl().args(["--fail", url]).output().map_err(|e| format!("curl: {e}"))?;
    if !got.status.success() {
        return Err(String::from_utf8_lossy(&got.stderr).into());
    }
    String::from_utf8(got.stdout).map_err(|e| e.to_string())
}

fn curl() -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--globoff", "--noproxy", "*"]).stdin(Stdio::null());
    curl
}

impl Drop for Tab {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
