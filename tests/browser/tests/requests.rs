//! The module `request.js` in pages: a tab replies to requests from the shell, and another tab sends requests.

use std::fs;

use serde_json::json;
use sse_bus_browser_tests::{Browser, Bus, Tab, eventually};

const RESPONDER: &str = "<!doctype html><title>answers</title><p></p><script type=module>
    import { respond } from '/request.js';
    const handler = ({ topic, data }) => topic === 'page/title' ? document.title : data.toUpperCase();
    const onstate = ({ state }) => document.querySelector('p').textContent = state;
    respond('page/*', handler, { client: 'tab', onstate });
    </script>";
const REQUESTER: &str = "<!doctype html><p></p><script type=module>
    import { request } from '/request.js';
    const failed = await request('nobody/there', '').catch(({ code }) => code);
    document.querySelector('p').textContent = `${await request('page/upper', 'é')} ${failed}`;
    </script>";

#[tokio::test]
async fn tabs_send_requests_and_reply_to_them() {
    let pages = tempfile::tempdir().unwrap();
    fs::write(pages.path().join("responder.html"), RESPONDER).unwrap();
    fs::write(pages.path().join("requester.html"), REQUESTER).unwrap();
    let mut bus = Bus::start_with(&["--pages", pages.path().to_str().unwrap()]).await;
    let browser = Browser::start().await;
    let responder = browser.open(&format!("{}/pages/responder.html", bus.url())).await;
    shows(&responder, "open").await;
    let replies = bus.json(&["request", "page/title", "", "--json"]).await;
    assert_eq!(replies, [json!({ "data": "answers", "responder": "tab" })]);
    shows(&browser.open(&format!("{}/pages/requester.html", bus.url())).await, "É no_responder").await;
    // After a restart the page continues by itself.
    bus.stop().await;
    shows(&responder, "waiting").await;
    bus.restart().await;
    shows(&responder, "open").await;
    shows(&browser.open(&format!("{}/pages/requester.html", bus.url())).await, "É no_responder").await;
    browser.quit().await;
}

async fn shows(tab: &Tab, text: &str) {
    eventually(&format!("the page to show {text:?}"), async || {
        let texts = tab.texts("p").await;
        if texts.iter().any(|found| found == text) { Ok(()) } else { Err(format!("{texts:?}")) }
    })
    .await;
}
