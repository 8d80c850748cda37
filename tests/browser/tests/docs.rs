//! The code for browsers of the documents, run in a real one. `tests/docs` runs the rest of them.

use std::fs;

use sse_bus_browser_tests::{
    Browser, Bus, Response, Site, Tab, Value,
    document::{BUS, block},
    eventually, free_port, npm,
};

#[tokio::test]
async fn the_page_of_the_readme_shows_past_and_live_events() {
    let pages = tempfile::tempdir().expect("a folder");
    fs::write(pages.path().join("hello.html"), block("README.md", "<!-- ~/bus-pages/hello.html -->")).expect("a page");
    let bus = Bus::start_with(&["--pages", &pages.path().display().to_string()]).await;
    bus.ctl(&["publish", "hello", "world"]).await;
    let browser = Browser::start().await;
    let tab = browser.open(&format!("{}/pages/hello.html", bus.url())).await;
    shows(&tab, "world").await;
    bus.ctl(&["publish", "hello", "hello page"]).await;
    shows(&tab, "hello page").await;
    browser.quit().await;
}

#[tokio::test]
async fn the_page_of_the_tutorial_works_from_an_origin_of_its_own() {
    let port = free_port();
    let origin = format!("http://localhost:{port}");
    let mut bus = Bus::start_with(&["--allow-origin", &origin]).await;
    let page = block("docs/tutorial/first-page.md", "<!-- page.html -->").replace(BUS, &bus.url());
    let _site = Site::start(port, move |_| Response::document("text/html", page.clone())).await;
    let browser = Browser::start().await;
    let address = format!("{origin}/page.html");
    let tabs = [browser.open(&address).await, browser.open(&address).await];
    let mut names = Vec::new();
    for tab in &tabs {
        shows(tab, "connected").await;
        let text = text(tab).await;
        let name = text.lines().find_map(|line| line.strip_prefix("I am ")).expect("the page shows its id");
        names.push(name.trim().to_owned());
    }

    bus.ctl(&["publish", "chat", "good morning"]).await;
    bus.ctl(&["send", &names[0], "only you see this"]).await;
    bus.ctl(&["publish", "clock", "12:00"]).await;
    for tab in &tabs {
        shows(tab, "12:00").await;
        shows(tab, "good morning").await;
    }
    assert!(text(&tabs[0]).await.contains("only you see this"));
    assert!(!text(&tabs[1]).await.contains("only you see this"));
    assert!(names.iter().all(|name| bus.log().contains(name)), "the daemon's log names them");

    bus.stop().await;
    shows(&tabs[0], "lost; the browser reconnects").await;
    bus.restart().await;
    eventually("both tabs to be reconnected", async || {
        let clients = bus.ctl(&["clients"]).await.stdout;
        if names.iter().all(|name| clients.contains(name)) { Ok(()) } else { Err(clients) }
    })
    .await;
    browser.quit().await;
}

#[tokio::test]
async fn htmx_inserts_the_data_of_events() {
    let port = free_port();
    let origin = format!("http://localhost:{port}");
    let bus = Bus::start_with(&["--allow-origin", &origin]).await;
    let page = block("docs/how-to/htmx.md", "<!-- live.html -->").replace(BUS, &bus.url());
    let packages = npm::packages("node");
    let _site = Site::start(port, move |target| match target.strip_prefix("/npm/") {
        // NAME@VERSION/FILE
        Some(file) => {
            let (name, rest) = file.split_once('@').expect("a pinned version");
            let (_, file) = rest.split_once('/').expect("a file");
            let script = fs::read_to_string(packages.join(name).join(file)).expect("a file of the package");
            Response::document("text/javascript", script)
        }
        None => Response::document("text/html", page.replace("https://cdn.jsdelivr.net", "")),
    })
    .await;
    let browser = Browser::start().await;
    let tab = browser.open(&format!("{origin}/live.html")).await;
    bus.subscribers(1).await;
    bus.ctl(&["publish", "builds", "<li>web: 42 tests passed</li>"]).await;
    bus.ctl(&["publish", "builds", "finished at 14:05", "--type", "done"]).await;
    shows(&tab, "finished at 14:05").await;
    shows(&tab, "web: 42 tests passed").await;
    browser.quit().await;
}

#[tokio::test]
async fn events_are_dispatched_by_their_type() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let tab = browser.open(&format!("{}/healthz", bus.url())).await;
    let script = block("docs/how-to/web-page.md", "// stream.js").replace(BUS, &bus.url());
    let opened = "events.onopen = () => console.log('open');";
    tab.eval(&format!("window.got = []; console.log = (...all) => got.push(all.join(' '));\n{script}\n{opened}")).await;
    logs(&tab, &["open"]).await;

    bus.ctl(&["publish", "build/web", "plain"]).await;
    bus.ctl(&["publish", "deploy", "typed", "--type", "done"]).await;
    bus.ctl(&["publish", "elsewhere", "not for us"]).await;
    bus.ctl(&["publish", "build/api", "last"]).await;
    logs(&tab, &["open", "plain", "done typed", "last"]).await;
    browser.quit().await;
}

#[tokio::test]
async fn tabs_share_a_connection() {
    let port = free_port();
    let origin = format!("http://localhost:{port}");
    let bus = Bus::start_with(&["--allow-origin", &origin]).await;
    let script = block("docs/how-to/many-tabs.md", "// tabs.js").replace(BUS, &bus.url());
    let before = "window.got = []; console.log = (...all) => got.push(all.join(' '));";
    let page = format!("<!doctype html><script>{before}</script><script type=module>{script}</script>");
    let _site = Site::start(port, move |_| Response::document("text/html", page.clone())).await;
    let browser = Browser::start().await;
    let tabs = [browser.open(&origin).await, browser.open(&origin).await];
    for tab in &tabs {
        eventually("the first state", async || {
            let got = tab.eval("return got").await;
            if got.to_string().contains("open") { Ok(()) } else { Err(got.to_string()) }
        })
        .await;
    }
    eventually("a stream of the topics of both", async || {
        let clients = bus.ctl(&["clients", "--json"]).await.stdout;
        let is_shared = clients.matches("subscriber").count() == 1 && clients.contains("clock");
        if is_shared && clients.contains("dashboard") { Ok(()) } else { Err(clients) }
    })
    .await;
    bus.ctl(&["publish", "build/web/css", "ok"]).await;
    bus.ctl(&["publish", "clock", "12:00"]).await;
    for tab in &tabs {
        eventually("what was published", async || {
            let got = tab.eval("return got").await;
            let got: Vec<&str> = got.as_array().expect("an array").iter().filter_map(Value::as_str).collect();
            let ends = got.ends_with(&["build/web/css ok", "12:00"]);
            if ends { Ok(()) } else { Err(format!("{got:?}")) }
        })
        .await;
    }
    browser.quit().await;
}

async fn text(tab: &Tab) -> String {
    tab.eval("return document.body?.innerText ?? ''").await.as_str().unwrap_or_default().to_owned()
}

async fn shows(tab: &Tab, wanted: &str) {
    eventually(&format!("the page to show {wanted:?}"), async || {
        let text = text(tab).await;
        if text.lines().any(|line| line.trim() == wanted) { Ok(()) } else { Err(text) }
    })
    .await;
}

async fn logs(tab: &Tab, wanted: &[&str]) {
    eventually(&format!("the script to log {wanted:?}"), async || {
        let got = tab.eval("return window.got").await;
        if got == Value::from(wanted) { Ok(()) } else { Err(got.to_string()) }
    })
    .await;
}
