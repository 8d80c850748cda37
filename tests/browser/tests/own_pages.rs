//! Pages of the directory that the bus serves: they use the bus as they are, in every tab, and other sites cannot embed them.

use std::fs;

use sse_bus_browser_tests::{Browser, Bus, Tab, eventually};

#[tokio::test]
async fn the_page_of_init_page_publishes_and_shows_events_as_it_is() {
    let pages = tempfile::tempdir().unwrap();
    let directory = pages.path().join("pages");
    let mut bus = Bus::start_with(&["--pages", directory.to_str().unwrap()]).await;
    let written = bus.json(&["init-page", "hello"]).await.remove(0);
    let url = written["url"].as_str().unwrap().to_owned();
    let browser = Browser::start().await;
    let tabs = [browser.open(&url).await, browser.open(&url).await];
    for tab in &tabs {
        shows(tab, "[role=status]", "open").await;
    }
    tabs[1].fill("say", "text", "<b>hello</b> &amp; welcome").await;
    tabs[1].click("#say button").await;
    for tab in &tabs {
        shows(tab, "li", "<b>hello</b> &amp; welcome").await;
        assert_eq!(tab.eval("return document.querySelectorAll('b').length").await, 0, "data became markup");
    }
    // After a restart the page continues by itself.
    bus.stop().await;
    bus.restart().await;
    eventually("both tabs to be connected again", async || {
        match (tabs[0].texts("[role=status]").await.concat(), tabs[1].texts("[role=status]").await.concat()) {
            (a, b) if a == "open" && b == "open" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    bus.ctl(&["publish", "chat", "from a shell"]).await;
    for tab in &tabs {
        shows(tab, "li", "from a shell").await;
    }
    tabs[0].screenshot("own_page").await;
    browser.quit().await;
}

#[tokio::test]
async fn a_page_loads_its_files_and_only_the_bus_itself_can_embed_it() {
    let pages = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| fs::write(pages.path().join(name), content).unwrap();
    file("style.css", "p { color: rgb(1, 2, 3) }");
    file("app.js", "import { publish } from '/client.js'; document.querySelector('p').textContent = typeof publish;");
    let head = "<!doctype html><link rel=stylesheet href=style.css><script type=module src=app.js></script>";
    file("page.html", &format!("{head}<p>é</p>"));
    file("frame.html", "<!doctype html><iframe src=page.html></iframe>");
    let bus = Bus::start_with(&["--pages", pages.path().to_str().unwrap()]).await;
    let browser = Browser::start().await;
    let page = browser.open(&format!("{}/pages/page.html", bus.url())).await;
    shows(&page, "p", "function").await;
    assert_eq!(page.eval("return getComputedStyle(document.querySelector('p')).color").await, "rgb(1, 2, 3)");
    let framed = browser.open(&format!("{}/pages/frame.html", bus.url())).await;
    framed.text_of_frame("iframe", "function").await;
    // The same files from the origin of another bus.
    let other = Bus::start_with(&["--pages", pages.path().to_str().unwrap()]).await;
    file("foreign.html", &format!("<!doctype html><iframe src='{}/pages/page.html'></iframe>", bus.url()));
    let foreign = browser.open(&format!("{}/pages/foreign.html", other.url_as("localhost"))).await;
    foreign.text_of_frame("iframe", "a page of another site may not use this bus").await;
    browser.quit().await;
}

async fn shows(tab: &Tab, selector: &str, text: &str) {
    eventually(&format!("{selector} to show {text:?}"), async || {
        let texts = tab.texts(selector).await;
        if texts.iter().any(|found| found == text) { Ok(()) } else { Err(format!("{texts:?}")) }
    })
    .await;
}
