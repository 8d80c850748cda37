//! Foreign pages in a real browser: with no attack do they read or publish anything, and the daemon never has a
//! subscriber because of them.

use std::collections::BTreeSet;

use sse_bus_browser_tests::{Browser, Gateway, GuardStrippingProxy, eventually, free_port};

use crate::attack::{NAMES, SECRET, attack, bus_with_a_secret, foreign_site, nothing_got_through, refusals, through};

#[tokio::test]
async fn a_foreign_page_reads_nothing_and_publishes_nothing() {
    let bus = bus_with_a_secret(free_port(), &[]).await;
    let site = foreign_site(free_port()).await;
    let browser = Browser::start_with(&[NAMES]).await;
    for (number, (from, to, contexts)) in [
        ("evil.example", "127.0.0.1", &["page", "sandboxed", "srcdoc", "data", "worker"][..]),
        // Same-site according to browsers: the same name with another port.
        ("localhost", "localhost", &["page", "service"]),
        // A name, and an address, that resolve to the daemon as well.
        ("evil.example", "evil.example", &["page"]),
        ("evil.example", "0.0.0.0", &["page"]),
    ]
    .into_iter()
    .enumerate()
    {
        let before = refusals(&bus).await;
        let tab = browser.open(&site.origin(from)).await;
        let account = attack(&tab, &bus.url_as(to), contexts).await;
        let read = account.iter().filter(|row| row.has_read()).collect::<Vec<_>>();
        assert!(read.is_empty(), "{from} read from {to}: {read:#?}");
        eventually("every attempt to arrive, and to be refused", async || {
            let refused = refusals(&bus).await - before;
            if refused >= account.len() { Ok(()) } else { Err(format!("{refused} of {}", account.len())) }
        })
        .await;
        tab.screenshot(&format!("foreign-{number}")).await;
    }
    browser.quit().await;
    nothing_got_through(&bus).await;
    let refused = bus.json(&["status"]).await[0]["refused_origins"].clone();
    for origin in [site.origin("evil.example"), site.origin("localhost"), "null".into()] {
        let listed = refused.as_array().expect("an array");
        assert!(listed.iter().any(|refused| refused["origin"] == *origin), "{origin} is not in {refused}");
    }
}

/// The counterpart: each attack is effective, and the checks detect it.
#[tokio::test]
async fn without_the_guards_the_same_page_succeeds() {
    let bus = bus_with_a_secret(free_port(), &[]).await;
    let proxy = GuardStrippingProxy::start(&bus, SECRET).await;
    let site = foreign_site(free_port()).await;
    let browser = Browser::start_with(&[NAMES]).await;
    let mut tried = BTreeSet::new();
    for (from, to, contexts) in [
        ("evil.example", "127.0.0.1", &["page", "sandboxed", "srcdoc", "data", "worker"][..]),
        ("localhost", "localhost", &["service"]),
    ] {
        let tab = browser.open(&site.origin(from)).await;
        let account = attack(&tab, &proxy.url(to), contexts).await;
        let read = account.iter().filter(|row| row.outcome.contains(SECRET)).map(|row| &*row.context);
        assert_eq!(read.collect::<BTreeSet<_>>(), contexts.iter().copied().collect(), "{account:#?}");
        tried.extend(
            account.iter().filter(|row| row.kind != "others").map(|row| format!("{}/{}", row.context, row.way)),
        );
        tab.screenshot(&format!("without-guards-{to}")).await;
    }
    eventually("all attempts to succeed", async || {
        let through = through(&bus).await;
        if through == tried { Ok(()) } else { Err(format!("not {:?}", tried.difference(&through))) }
    })
    .await;
    browser.quit().await;
}

/// The owner of a name serves a page, and then rebinds the name to the daemon, on the same port: for the browser, page
/// and bus have one origin.
#[tokio::test]
async fn a_page_whose_name_is_rebound_to_the_daemon_reads_refusals_only() {
    let port = free_port();
    let site = foreign_site(port).await;
    let browser = Browser::start_with(&[NAMES]).await;
    let tab = browser.open(&site.origin("evil.example")).await;
    site.stop().await;
    let bus = bus_with_a_secret(port, &[]).await;
    let account = attack(&tab, &bus.url_as("evil.example"), &["page"]).await;
    let (refused, other): (Vec<_>, Vec<_>) = account
        .iter()
        .filter(|row| row.outcome.starts_with("read"))
        .partition(|row| row.outcome.contains("this daemon does not answer to the name evil.example"));
    assert!(other.is_empty(), "{other:#?}");
    // It could not have read a response of another origin.
    assert!(refused.len() >= 10, "{account:#?}");
    tab.screenshot("rebound").await;
    browser.quit().await;
    nothing_got_through(&bus).await;
}

/// As with socat or nginx in front of the local socket, where every process looks like the own user's to the daemon.
#[tokio::test]
async fn behind_a_forwarder_to_the_local_socket_a_foreign_page_publishes_nothing() {
    let bus = bus_with_a_secret(free_port(), &[]).await;
    let forwarder = Gateway::start_local(bus.socket()).await;
    let site = foreign_site(free_port()).await;
    let browser = Browser::start_with(&[NAMES]).await;
    for from in ["evil.example", "localhost"] {
        let tab = browser.open(&site.origin(from)).await;
        let account = attack(&tab, &forwarder.url_as("localhost"), &["page", "sandboxed", "worker"]).await;
        let read = account.iter().filter(|row| row.has_read()).collect::<Vec<_>>();
        assert!(read.is_empty(), "{from}: {read:#?}");
    }
    nothing_got_through(&bus).await;
    // The page of the forwarder is the bus's own.
    let own = browser.open(&forwarder.url_as("localhost")).await;
    let publish = "fetch('/events/own', { method: 'POST', body: 'x' }).then((response) => response.status)";
    assert_eq!(own.eval(&format!("return {publish}")).await, 202);
    browser.quit().await;
}

#[tokio::test]
async fn links_and_forms_of_a_foreign_page_show_a_refusal() {
    let bus = bus_with_a_secret(free_port(), &[]).await;
    let site = foreign_site(free_port()).await;
    let browser = Browser::start_with(&[NAMES]).await;
    for path in ["/events/secret", "/", "/status"] {
        let target = format!("{}{path}", bus.url());
        let tab = browser.open(&site.origin("evil.example")).await;
        tab.eval(&format!("add('iframe', {{ id: 'framed', src: {target:?} }})")).await;
        let text = tab.text_of_frame("#framed", "may not use this bus").await;
        assert!(!text.contains(SECRET), "{text}");
        tab.eval(&format!("document.body.prepend(Object.assign(add('a', {{ href: {target:?} }}), {{ text: 'bus' }}))"))
            .await;
        tab.click("a").await;
        eventually("the tab to show a refusal", async || {
            let text = tab.texts("body").await.concat();
            if text.contains("may not use this bus") { Ok(()) } else { Err(text) }
        })
        .await;
        tab.screenshot("followed").await;
    }
    browser.quit().await;
    nothing_got_through(&bus).await;
}
