//! Development proxies. They compress responses unless `no-transform` forbids it, and so would hold events back; and the
//! bus refuses a page whose `Host` they change.

use std::process::Command;

use sse_bus_browser_tests::{
    Bus, Process,
    document::{self, block},
    eventually, free_port,
    npm::Scripts,
};

use crate::prints;

/// Publishes one event after another, each when the one before it has passed the proxy, and then one from a page behind the
/// proxy. `config` is a file of the documents, with which the proxy is configured.
async fn events_pass(proxy: &str, config: Option<&str>) {
    let bus = Bus::start().await;
    let port = free_port();
    let scripts = Scripts::installed("node", bus.path());
    if let Some(config) = config {
        let text = block("docs/how-to/development-servers.md", &format!("// {config}"));
        scripts.add(config, &text.replace(document::BUS, &bus.url()));
    }
    let mut node = scripts.node(proxy);
    let _proxy = Process::start(node.args([port.to_string(), bus.url()]), &bus.path().join("proxy.out"));
    eventually("the proxy to listen", async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map_err(|e| e.to_string())
    })
    .await;

    let output = bus.path().join("curl.out");
    let mut curl = Command::new("curl");
    // The headers of a browser.
    curl.args(["--silent", "--no-buffer", "--compressed", "--noproxy", "*", "--header", "Accept: text/event-stream"]);
    let _curl = Process::start(curl.arg(format!("http://127.0.0.1:{port}/events/t")), &output);
    bus.subscribers(1).await;
    for event in ["one", "two", "three"] {
        bus.ctl(&["publish", "t", event]).await;
        prints(&output, &format!("data: {event}\n\n")).await;
    }

    // A browser sends `Origin` when a page publishes, also to the page's own server.
    let published = bus.path().join("published.out");
    let page = format!("http://127.0.0.1:{port}");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--noproxy", "*", "--data", "four", "--header", &format!("Origin: {page}")]);
    let _curl = Process::start(curl.arg(format!("{page}/events/t")), &published);
    prints(&published, "\"subscribers\":1").await;
}

#[tokio::test]
async fn events_pass_express_with_compression() {
    events_pass("compression.mjs", None).await;
}

#[tokio::test]
async fn events_pass_the_proxy_of_webpack_dev_server() {
    events_pass("webpack.mjs", Some("webpack.config.mjs")).await;
}

#[tokio::test]
async fn events_pass_the_proxy_of_vite() {
    events_pass("vite.mjs", Some("vite.config.js")).await;
}
