//! Tabs that cannot share a connection, pages with a token, and browsers that ask their user first. In Chromium only:
//! name resolution and the user's answer are set there.

use sse_bus_browser_tests::{Bus, Kind, Remote, free_port};

use crate::page::{got, listen, open, origin, site, site_with_module, state};

#[tokio::test]
async fn in_an_insecure_context_each_tab_has_its_own_connection_and_warns_once() {
    let port = free_port();
    let origin = format!("http://app.example:{port}");
    let bus = Bus::start_with(&["--allow-origin", &origin]).await;
    let _site = site(port, &bus.url()).await;
    let browser = Remote::start(Kind::Chromium, &["--host-resolver-rules=MAP app.example 127.0.0.1"]).await;
    for tabs in 1..=2 {
        let page = open(&browser, &origin).await;
        assert_eq!(page.eval("isSecureContext").await, false);
        for name in ["one", "other"] {
            listen(&page, name, "'a'", "{}").await;
            state(&page, name, "open").await;
        }
        bus.subscribers(tabs).await;
        bus.ctl(&["publish", "a", "to all"]).await;
        for name in ["one", "other"] {
            got(&page, name, &["to all"]).await;
        }
        let warned = page.eval("warned").await;
        assert_eq!(warned.as_array().unwrap().len(), 1, "{warned}");
        assert!(warned[0].as_str().unwrap().contains("a connection of its own"), "{warned}");
    }
}

#[tokio::test]
async fn a_page_with_a_token_is_accepted_and_one_without_gets_the_reason() {
    let port = free_port();
    let (bus, token) = Bus::start_exposed(&["--allow-origin", &origin(port)]).await;
    let _site = site_with_module(port, &bus.url(), &format!("{{ token: {token:?} }}")).await;
    let browser = Remote::start(Kind::Chromium, &[]).await;
    let page = open(&browser, &origin(port)).await;
    listen(&page, "with", "'a'", "{}").await;
    state(&page, "with", "open").await;
    bus.ctl(&["publish", "a", "one"]).await;
    got(&page, "with", &["one"]).await;
    listen(&page, "without", "'a'", "{ token: '' }").await;
    let waiting = state(&page, "without", "waiting").await;
    assert_eq!(waiting["reason"], "denied", "{waiting}");
    assert!(waiting["message"].as_str().unwrap().contains("sse-busctl token create"), "{waiting}");
}

/// Chromium takes the site for one of the internet, and so asks its user whether it may reach this machine.
#[tokio::test]
async fn a_page_blocked_by_the_browser_gets_the_reason_and_continues_once_permitted() {
    let port = free_port();
    let bus = Bus::start_with(&["--allow-origin", &origin(port)]).await;
    let _site = site_with_module(port, &bus.url(), "{}").await;
    let elsewhere = format!("--ip-address-space-overrides=127.0.0.1:{port}=public");
    let browser = Remote::start(Kind::Chromium, &[&elsewhere]).await;
    browser.set_permission(&origin(port), "loopback-network", "denied").await;
    let page = open(&browser, &origin(port)).await;
    listen(&page, "it", "'a'", "{}").await;
    let waiting = state(&page, "it", "waiting").await;
    assert_eq!(waiting["reason"], "permission_denied", "{waiting}");
    browser.set_permission(&origin(port), "loopback-network", "granted").await;
    state(&page, "it", "open").await;
    bus.ctl(&["publish", "a", "one"]).await;
    got(&page, "it", &["one"]).await;
}
