//! What a click selects: topics, events, and what the list says about it.

use sse_bus_browser_tests::{Browser, Bus};

use super::{becomes, count, says};

#[tokio::test]
async fn rows_of_an_old_filter_are_removed_and_the_list_names_the_new_one() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    count(&bus, "old", 0..10).await;
    page.shows("number 9.").await;
    page.pause().await;
    page.fill("subscribe", "topics", "new/**").await;
    page.click("#subscribe .main").await;
    becomes(&page, "document.querySelectorAll('#log .event').length", 0).await;
    says(&page, "#log .note .text", "subscribing to new/**").await;
    says(&page, "#showing", "new/**").await;
    says(&page, "#received", "0").await;
    says(&page, "#pause", "Pause").await;
    becomes(&page, "paused.hidden", true).await;
    page.connected().await;
    count(&bus, "new/x", 10..12).await;
    page.shows("number 11.").await;
    assert_eq!(page.texts("#log .topic").await, ["new/x", "new/x"]);

    // A refused filter is marked.
    page.fill("subscribe", "topics", "a//b").await;
    page.click("#subscribe .main").await;
    says(&page, "#notices", "The stream was refused. Topics: the filter `a//b` cannot be used").await;
    becomes(&page, "subscribe.elements.topics.getAttribute('aria-invalid')", "true").await;
    page.screenshot("refused").await;
    page.fill("subscribe", "topics", "new/x").await;
    page.click("#subscribe .main").await;
    page.connected().await;
    becomes(&page, "subscribe.elements.topics.hasAttribute('aria-invalid')", false).await;
    browser.quit().await;
}

#[tokio::test]
async fn a_topic_selects_its_events_and_an_opened_event_shows_that_it_pauses() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    count(&bus, "a", 0..2).await;
    count(&bus, "b", 2..4).await;
    page.shows("number 3.").await;
    page.click("#log .event:last-child .entry").await;
    says(&page, "#why", "Paused while an event is open").await;
    count(&bus, "b", 4..6).await;
    says(&page, "#behind", "2 more").await;
    page.screenshot("paused").await;
    // Closed at the end of the list, it continues.
    page.click("#log .open .entry").await;
    becomes(&page, "paused.hidden", true).await;
    page.shows("number 5.").await;

    // The topic of a row, with the mouse and with the keyboard.
    page.click("#log .event:last-child .topic").await;
    becomes(&page, "location.search", "?topic=b&since=latest").await;
    page.shows("number 5.").await;
    becomes(&page, "document.querySelectorAll('#log .event').length", 1).await;
    page.press("e").await;
    page.press("\u{e013}\u{e012}\u{e007}").await; // up, left, Enter
    becomes(&page, "location.search", "?topic=**&since=latest").await;
    page.shows("number 1.").await;
    browser.quit().await;
}
