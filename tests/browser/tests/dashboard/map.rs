//! The map: publishers, topics and subscribers, with 5 and with 500 clients.

use std::{io::Write, net::TcpStream, os::unix::net::UnixStream, path::Path};

use serde_json::json;
use sse_bus_browser_tests::{Browser, Bus, Tab, eventually};

use super::{becomes, says};

/// A publisher on the local socket that has published once to each of some topics.
fn publisher(socket: &Path, topics: &[&str]) -> UnixStream {
    let mut bus = UnixStream::connect(socket).expect("the daemon listens");
    for topic in topics {
        let publish = json!({ "publish": { "topic": topic, "data": "x", "ack": "none" } });
        writeln!(bus, "{publish}").expect("the daemon reads");
    }
    bus
}

fn subscriber(bus: &Bus, filter: &str, name: &str) -> TcpStream {
    let mut stream = TcpStream::connect(bus.address()).expect("the daemon listens");
    let host = bus.address();
    write!(stream, "GET /events/{filter}?client={name} HTTP/1.1\r\nhost: {host}\r\n\r\n").expect("the daemon reads");
    stream
}

/// Waits until a column has these nodes, in any order: clients connect side by side.
async fn has(page: &Tab, column: &str, wanted: &[&str]) {
    eventually(&format!("{column} to be {wanted:?}"), async || {
        let mut seen = page.texts(&format!("#map .{column} .label")).await;
        seen.sort();
        if seen == wanted { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
}

fn node(label: &str) -> String {
    format!(
        "[...document.querySelectorAll('#map .node')].find((node) => node.querySelector('.label').textContent === '{label}')"
    )
}

#[tokio::test]
async fn the_map_shows_what_flows_and_selects_events() {
    let bus = Bus::start().await;
    let _publishers =
        [publisher(&bus.socket(), &["build/web", "build/api"]), publisher(&bus.socket(), &["clock", "build/web"])];
    let _subscribers = [subscriber(&bus, "build/**", "watcher"), subscriber(&bus, "clock", "watch")];
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    has(&page, "topics", &["build/api", "build/web", "clock"]).await;
    has(&page, "subscribers", &["this page", "watch", "watcher"]).await;
    becomes(&page, "document.querySelectorAll('#map .publishers .node').length", 2).await;
    // Each line: 4 of the publishers, 2 + 1 + 3 of the subscribers.
    becomes(&page, "document.querySelectorAll('#map .sent path').length", 4).await;
    becomes(&page, "document.querySelectorAll('#map .received path').length", 6).await;

    page.hover("#map .node[title^='watcher,']").await;
    becomes(&page, "document.querySelectorAll('#map .received path.near').length", 4).await;
    page.eval(&format!("{}.focus()", node("watcher"))).await;
    // Left to a topic that it receives, then to the publisher of that.
    page.press("\u{e012}").await;
    becomes(&page, "document.activeElement.querySelector('.label').textContent", "build/api").await;
    page.press("\u{e007}").await;
    becomes(&page, "location.search", "?topic=build%2Fapi&since=latest").await;
    becomes(&page, "document.querySelectorAll('#log .event').length", 1).await;
    page.eval(&format!("{}.click()", node("watcher"))).await;
    becomes(&page, "location.search", "?topic=build%2F**&since=latest").await;
    page.eval("document.querySelector('#map .publishers .node').click()").await;
    // The topics of either publisher, the one that it published to last first.
    becomes(&page, "/topic=build%2F(api&topic=build%2Fweb|web&topic=clock)&/.test(location.search)", true).await;

    // A rate makes a line wide, and a publisher without a connection is one of the others.
    let width = "Math.max(...[...document.querySelectorAll('#map .sent path')].map((path) => parseFloat(path.style.strokeWidth)))";
    assert_eq!(page.eval(&format!("return {width}")).await, 1);
    page.eval("document.querySelector('#map').scrollIntoView()").await;
    for n in 0..20 {
        bus.ctl(&["publish", "clock", &n.to_string()]).await;
    }
    becomes(&page, &format!("{width} > 3"), true).await;
    says(&page, "#map .publishers .label", "others").await;
    page.screenshot("map-5").await;
    browser.quit().await;
}

#[tokio::test]
async fn five_hundred_clients_and_many_topics_are_grouped() {
    let bus = Bus::start().await;
    let topics: Vec<_> = (0..60).map(|n| format!("sensor/{}/room{}", ["door", "light"][n % 2], n / 2)).collect();
    let all: Vec<_> = topics.iter().map(String::as_str).collect();
    let _publishers: Vec<_> = (0..60).map(|n| publisher(&bus.socket(), &[all[n], all[(n + 7) % 60]])).collect();
    let _subscribers: Vec<_> = (0..500)
        .map(|n| match n % 5 {
            0..3 => subscriber(&bus, &format!("sensor/*/room{}", n % 30), &format!("panel-{n}")),
            3 => subscriber(&bus, "sensor/door/*", &format!("guard-{n}")),
            _ => subscriber(&bus, "**", "recorder"),
        })
        .collect();
    bus.subscribers(500).await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    has(&page, "topics", &["sensor/door/…", "sensor/light/…"]).await;
    has(&page, "subscribers", &["guard-*", "panel-*", "recorder", "this page"]).await;
    says(&page, "#map .subscribers .detail", "× 300").await;
    becomes(&page, "document.querySelectorAll('#map .publishers .node').length", 1).await;
    says(&page, "#clients-note", "501 subscribers, 60 publishers").await;
    // The tables show some, and more on request, without a list that scrolls inside.
    becomes(&page, "document.querySelectorAll('#clients tbody tr').length", 20).await;
    page.click("#clients-more").await;
    becomes(&page, "document.querySelectorAll('#clients tbody tr').length", 220).await;
    page.eval(&format!("{}.click()", node("sensor/light/…"))).await;
    becomes(&page, "location.search", "?topic=sensor%2Flight%2F**&since=latest").await;
    page.eval("document.querySelector('#map').scrollIntoView()").await;
    page.screenshot("map-500").await;
    browser.quit().await;
}
