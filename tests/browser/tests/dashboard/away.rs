//! A daemon that stops and restarts: the page shows it, and continues without a missing event.

use sse_bus_browser_tests::{Browser, Bus, Gateway, Response, Site, Tab, eventually};

use super::{becomes, count, says};

#[tokio::test]
async fn a_restart_costs_the_page_no_event() {
    let mut bus = Bus::start_with(&["--history", "disk"]).await;
    let browser = Browser::start().await;
    // One page that has received an event before, and one that has not.
    let [page, idle] = [browser.open(&bus.url()).await, browser.open(&format!("{}/?topic=idle", bus.url())).await];
    page.connected().await;
    idle.connected().await;
    count(&bus, "n", 0..50).await;
    page.shows("number 49.").await;

    assert!(bus.stop().await.success());
    for tab in [&page, &idle] {
        becomes(tab, "state.dataset.state === 'open'", false).await;
    }
    says(&page, "#notices", "The daemon has not answered").await;
    page.screenshot("away").await;
    bus.restart().await;
    count(&bus, "n", 50..100).await;
    count(&bus, "idle", 0..10).await;
    page.shows("number 99.").await;
    idle.shows("number 9.").await;
    count(&bus, "n", 100..110).await;
    page.shows("number 109.").await;
    assert_eq!(shown(&page).await, numbers("n", 0..110, &[("idle", 10)]));
    assert_eq!(idle.texts("#log .data").await.len(), 10);
    for tab in [&page, &idle] {
        assert_eq!(tab.texts("#log .gap").await, [""; 0]);
        says(tab, "#state", "connected").await;
        becomes(tab, "notices.hidden", true).await;
    }
    browser.quit().await;
}

#[tokio::test]
async fn behind_a_proxy_without_its_daemon_the_page_shows_it_and_reconnects() {
    let mut bus = Bus::start().await;
    let proxy = Gateway::start(bus.port()).await;
    let browser = Browser::start().await;
    let page = browser.open(&proxy.url()).await;
    page.connected().await;
    bus.crash().await;
    says(&page, "#notices", "a proxy answers, but there is no bus behind it").await;
    bus.restart().await;
    page.connected().await;
    count(&bus, "n", 0..3).await;
    page.shows("number 2.").await;
    browser.quit().await;
}

#[tokio::test]
async fn the_page_reconnects_also_where_the_browser_gives_up() {
    let mut bus = Bus::start_with(&["--history", "disk"]).await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    count(&bus, "n", 0..5).await;
    page.shows("number 4.").await;
    assert!(bus.stop().await.success());

    // Another server that has the port meanwhile sends no event stream, and a browser does not retry.
    let site = Site::start(bus.port(), |_| Response::document("text/html", "not the bus")).await;
    becomes(&page, "state.dataset.state", "waiting").await;
    eventually("the page to try again and again", async || {
        let asked =
            site.asked().iter().filter(|head| head.contains("/events?") && head.contains("last_event_id")).count();
        if asked >= 2 { Ok(()) } else { Err(format!("{asked} times")) }
    })
    .await;
    site.stop().await;
    bus.restart().await;
    count(&bus, "n", 5..10).await;
    page.shows("number 9.").await;
    assert_eq!(shown(&page).await, numbers("n", 0..10, &[]));
    assert_eq!(page.texts("#log .gap").await, [""; 0]);
    browser.quit().await;
}

#[tokio::test]
async fn events_lost_with_the_daemon_are_a_row_of_their_own() {
    let mut bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    count(&bus, "n", 0..3).await;
    page.shows("number 2.").await;
    assert!(bus.stop().await.success());
    becomes(&page, "state.dataset.state === 'open'", false).await;
    bus.restart().await;
    count(&bus, "n", 3..6).await;
    page.shows("number 5.").await;
    let gaps = page.texts("#log .gap .text").await;
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!(gaps[0].contains("restarted") && gaps[0].contains("unknown number of events"), "{gaps:?}");
    assert_eq!(shown(&page).await, numbers("n", 0..6, &[]));
    becomes(&page, "gaps.textContent.includes('1 gap')", true).await;
    browser.quit().await;
}

/// All events of the page, in order: paused, it shows more than it had time to draw.
async fn shown(page: &Tab) -> Vec<String> {
    page.pause().await;
    page.strings(
        "[...document.querySelectorAll('#log .event')]
           .map((row) => row.querySelector('.topic').textContent + ' ' + row.querySelector('.data').textContent)",
    )
    .await
}

/// The numbers of one topic, preceded by numbers of others before the last ten.
fn numbers(topic: &str, numbers: std::ops::Range<usize>, others: &[(&str, usize)]) -> Vec<String> {
    let mut all: Vec<_> = numbers.map(|n| format!("{topic} number {n}.")).collect();
    let end = all.split_off(all.len().saturating_sub(if others.is_empty() { 0 } else { 10 }));
    for (other, many) in others {
        all.extend((0..*many).map(|n| format!("{other} number {n}.")));
    }
    all.extend(end);
    all
}

#[tokio::test]
async fn after_a_restart_a_client_with_the_id_of_another_has_its_own_name() {
    let mut bus = Bus::start().await;
    let _first = bus.curl("/events/a?client=first", &bus.path().join("first"));
    bus.subscribers(1).await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    says(&page, "#clients .name", "first").await;
    bus.crash().await;
    bus.restart().await;
    // The id of the first client, since the page waits before it reconnects.
    let _second = bus.curl("/events/a?client=second", &bus.path().join("second"));
    says(&page, "#clients .name", "second").await;
    assert!(!page.texts("#clients .name").await.contains(&"first".to_owned()));
    browser.quit().await;
}
