//! The page's commands: publish, send, kick, pause, search, clear, show history.

use sse_bus_browser_tests::{Browser, Bus, eventually};

use super::{becomes, count, publish_all, says};

#[tokio::test]
async fn a_person_publishes_sends_and_kicks() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    let own = page.connected().await;
    let stream = bus.path().join("phone");
    let mut phone = Some(bus.curl("/events/quiet?client=phone", &stream));
    bus.subscribers(2).await;

    page.fill("publish", "topic", "door/front").await;
    page.fill("publish", "type", "state").await;
    page.fill("publish", "data", "{\"open\":true}").await;
    page.click("#publish [name=retain]").await;
    page.click("#publish .main").await;
    says(&page, "#result", "sent to 1 subscriber").await;
    page.shows("{\"open\":true}").await;
    says(&page, "#topics tr", "door/frontretained{\"open\":true}1").await;
    let kept = bus.json(&["history", "door/front"]).await;
    assert_eq!((&kept[0]["type"], &kept[0]["data"]), (&"state".into(), &"{\"open\":true}".into()), "{kept:?}");
    page.fill("publish", "ttl", "soon").await;
    page.click("#publish .main").await;
    says(&page, "#result", "Not sent. Expires after: write a duration such as 10m").await;

    becomes(&page, "document.activeElement === publish.elements.ttl", true).await;
    becomes(&page, "publish.elements.ttl.getAttribute('aria-invalid')", "true").await;
    page.fill("publish", "topic", "a//b").await;
    page.click("#publish .main").await;
    says(&page, "#result", "Not sent. Expires after:").await;
    page.fill("publish", "ttl", "1h").await;
    page.click("#publish .main").await;
    says(&page, "#result", "Not sent. Topic: the topic `a//b` cannot be used").await;
    becomes(&page, "document.querySelectorAll('[aria-invalid]').length", 1).await;

    // A click on a client selects it as the addressee.
    says(&page, "#clients tr", "phone").await;
    page.eval("[...document.querySelectorAll('#clients .name')].find((name) => name.textContent === 'phone').click()")
        .await;
    page.fill("send", "data", "call me\u{e009}\u{e007}").await; // and Ctrl+Enter
    says(&page, "#sent", "sent to 1 connection of phone").await;
    eventually("the phone to be called", async || {
        let got = std::fs::read_to_string(&stream).unwrap();
        if got.contains("data: call me\n") { Ok(()) } else { Err(got) }
    })
    .await;
    page.fill("send", "to", "nobody").await;
    page.fill("send", "data", "call me").await;
    page.click("#send .main").await;
    says(&page, "#sent", "Not sent. Client: no client with the name or id nobody").await;

    // The clients: this page by its origin. Their number is that of the rows.
    becomes(&page, "document.querySelectorAll('#clients tbody tr').length", 2).await;
    says(&page, "#clients-note", "2 subscribers, 0 publishers").await;
    let row = page.texts("#clients tr").await.into_iter().find(|row| row.contains(&own)).expect("the page is listed");
    assert!(row.contains("this page") && row.contains(&bus.url()), "{row}");
    let listed = bus.json(&["clients"]).await;
    let listed = listed.iter().find(|client| client["name"] == *own).unwrap();
    assert_eq!((&listed["origin"], &listed["gaps"]), (&bus.url().into(), &0.into()));
    page.click("#clients [aria-label='Disconnect phone']").await;
    says(&page, "#clients-note", "disconnected phone").await;
    bus.subscribers(1).await;
    becomes(&page, "document.querySelector(\"#clients [aria-label='Disconnect phone']\")", serde_json::Value::Null)
        .await;
    drop(phone.take());
    page.screenshot("work").await;
    browser.quit().await;
}

#[tokio::test]
async fn a_person_pauses_searches_clears_and_selects() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    count(&bus, "a/x", 0..30).await;
    page.shows("number 29.").await;

    // While paused the list does not change, and new events are counted.
    page.press("p").await;
    says(&page, "#pause", "Resume").await;
    count(&bus, "a/y", 30..60).await;
    says(&page, "#received", "60").await;
    says(&page, "#behind", "30 more").await;
    assert_eq!(page.texts("#log .data").await.len(), 30);
    page.press("p").await;
    page.shows("number 59.").await;
    assert_eq!(page.texts("#log .data").await.len(), 60);

    // A search covers topic, type and data, of existing and new events.
    page.press("/").await;
    page.press("NUMBER 5").await;
    becomes(&page, "document.querySelectorAll('#log .event').length", 11).await;
    count(&bus, "a/z", 500..510).await;
    count(&bus, "a/z", 60..70).await;
    becomes(&page, "document.querySelectorAll('#log .event').length", 21).await;
    page.eval("text.value = ''; text.oninput();").await;
    becomes(&page, "document.querySelectorAll('#log .event').length", 80).await;

    // Clearing empties the list; the count stays.
    page.press("\u{e00c}c").await; // Escape leaves the field
    becomes(&page, "document.querySelectorAll('#log li').length", 0).await;
    says(&page, "#received", "80").await;

    // A topic selected in the table is part of the address. Its history is loaded on request.
    becomes(&page, "document.querySelector(\"#topics .topic[title='a/y']\")?.textContent", "y").await;
    page.eval("subscribe.elements.since.value = 'all'").await;
    page.click("#topics .topic[title='a/y']").await;
    page.shows("number 59.").await;
    becomes(&page, "document.querySelectorAll('#log .event').length", 30).await;
    becomes(&page, "location.search", "?topic=a%2Fy&since=all").await;
    count(&bus, "a/x", 70..71).await;
    count(&bus, "a/y", 71..72).await;
    page.shows("number 71.").await;
    assert!(!page.texts("#log .data").await.contains(&"number 70.".to_owned()));

    // More events are kept than drawn, and shown on request. The number of those not drawn is shown.
    page.press("c").await;
    count(&bus, "a/y", 1000..2200).await;
    page.shows("number 2199.").await;
    assert!(page.texts("#log .data").await.len() <= 500);
    page.pause().await;
    page.click("#older").await;
    page.click("#older").await;
    becomes(&page, "older.hidden", true).await;
    let all: Vec<_> = (1000..2200).map(|n| format!("number {n}.")).collect();
    assert_eq!(page.texts("#log .data").await, all);
    browser.quit().await;
}

#[tokio::test]
async fn a_person_opens_an_event_and_the_events_around_it() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let other = |n| ["b".to_owned(), String::new(), format!("between {n}.")];
    publish_all(&bus, (0..100).flat_map(|n| [["a".into(), "step".into(), format!("{{\"n\": {n}}}")], other(n)])).await;
    let page = browser.open(&format!("{}/?topic=a&since=all", bus.url())).await;
    page.connected().await;
    page.shows("{\"n\": 99}").await;

    // With the keyboard: up from the end to the 50th, and open it.
    page.pause().await;
    page.press("e").await;
    page.press(&"\u{e013}".repeat(50)).await;
    page.press("\u{e007}").await;
    becomes(&page, "document.querySelector('#log .open pre')?.textContent", "{\n  \"n\": 50\n}").await;
    says(&page, "#pause", "Resume").await;
    page.screenshot("open").await;
    page.click("#log .open .history").await;
    let shown = "[...document.querySelectorAll('#around .data')].map((data) => data.textContent)";
    becomes(&page, &format!("{shown}.length"), 41).await;
    assert_eq!(page.strings(shown).await, (30..71).map(|n| format!("{{\"n\": {n}}}")).collect::<Vec<_>>());
    becomes(&page, "document.querySelector('#around .here .data').textContent", "{\"n\": 50}").await;
    says(&page, "#around-note", "20 events before it, 20 after it").await;

    page.click("#around-scope").await;
    becomes(&page, &format!("{shown}[0]"), "{\"n\": 40}").await;
    let both = |n| [format!("{{\"n\": {n}}}"), format!("between {n}.")];
    let expected: Vec<_> = (40..61).flat_map(both).take(41).collect();
    assert_eq!(page.strings(shown).await, expected);
    page.screenshot("around").await;
    page.press("\u{e00c}").await;
    becomes(&page, "around.open", false).await;

    // Evicted events are shown as missed.
    let gone = Bus::start_with(&["--history-events", "10"]).await;
    count(&gone, "a", 0..5).await;
    let page = browser.open(&format!("{}/?since=all", gone.url())).await;
    page.connected().await;
    page.shows("number 4.").await;
    count(&gone, "a", 5..40).await;
    page.shows("number 39.").await;
    page.eval("document.querySelector('#log .event .line').click()").await;
    page.click("#log .open .history").await;
    says(&page, "#around-note", "The event itself is no longer in history").await;
    browser.quit().await;
}
