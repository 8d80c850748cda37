//! The panels beside the events: topics, rates, and what an empty bus shows.

use sse_bus_browser_tests::{Browser, Bus, Tab};

use super::{becomes, count, publish_all, refuse, says};

const FILTERS: &str = "[...document.querySelectorAll('#topics .topic')].map((topic) => topic.title)";

/// The last value of a topic.
async fn value(page: &Tab, topic: &str, wanted: &str) {
    let cell = format!(
        "document.querySelector(\"#topics .topic[title='{topic}']\")?.closest('tr').querySelector('.open').textContent"
    );
    becomes(page, &cell, wanted).await;
}

#[tokio::test]
async fn topics_are_a_tree_that_folds_and_have_their_last_values_from_the_beginning() {
    let bus = Bus::start().await;
    for (n, topic) in ["build/web", "build/api/eu", "build/api/us", "clock", "x/y/z"].into_iter().enumerate() {
        count(&bus, topic, n..n + 1).await;
    }
    let browser = Browser::start().await;
    // The stream has none of them.
    let page = browser.open(&format!("{}/?topic=other&since=now", bus.url())).await;
    page.connected().await;
    becomes(
        &page,
        &format!("{FILTERS}.join(' ')"),
        "build/** build/api/** build/api/eu build/api/us build/web clock x/y/z",
    )
    .await;
    for (topic, wanted) in [("build/web", 0), ("build/api/us", 2), ("clock", 3), ("x/y/z", 4)] {
        value(&page, topic, &format!("number {wanted}.")).await;
    }
    count(&bus, "build/web", 10..13).await;
    value(&page, "build/web", "number 12.").await;
    becomes(&page, "document.querySelector(\"#topics .topic[title='build/web']\").closest('tr').querySelector('.spark').classList.contains('idle')", false).await;

    // Folded, a level has the numbers of all its topics, also after the next events.
    let row = "document.querySelector(\"#topics .topic[title='build/**']\").closest('tr')";
    page.click("#topics .fold[aria-label='Levels below build']").await;
    becomes(&page, &format!("{FILTERS}.join(' ')"), "build/** clock x/y/z").await;
    becomes(&page, &format!("{row}.querySelector('.number').textContent"), "6").await;
    count(&bus, "build/new", 13..14).await;
    becomes(&page, &format!("{row}.querySelector('.number').textContent"), "7").await;
    becomes(&page, &format!("{FILTERS}.length"), 3).await;

    // A level selects all its topics, a value opens its event.
    page.click("#topics .topic[title='build/**']").await;
    becomes(&page, "location.search", "?topic=build%2F**&since=now").await;
    page.eval("document.querySelector(\"#topics .topic[title='clock']\").closest('tr').querySelector('.open').click()")
        .await;
    becomes(&page, "document.querySelector('#around .here .data')?.textContent", "number 3.").await;
    browser.quit().await;
}

#[tokio::test]
async fn an_empty_bus_shows_the_first_command() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    let socket = bus.socket();
    says(&page, "#first code", &format!("sse-busctl --socket {} publish chat hello", socket.display())).await;
    says(&page, "#first code", &format!("curl -d hello {}/events/chat", bus.url())).await;
    page.grant_clipboard().await;
    page.click("#first .command:nth-of-type(2) button, #first .command button").await;
    says(&page, "#first button", "Copied").await;
    let copied = page.eval("return navigator.clipboard.readText()").await;
    assert_eq!(copied, format!("sse-busctl --socket {} publish chat hello", socket.display()));
    bus.ctl(&["publish", "chat", "hello"]).await;
    page.shows("hello").await;
    becomes(&page, "first.hidden", true).await;
    browser.quit().await;
}

#[tokio::test]
async fn the_chart_shows_values_under_the_pointer_and_by_keyboard() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    becomes(&page, "document.querySelector('#chart .line.in').getAttribute('d').length > 0", true).await;
    publish_all(&bus, (0..500).map(|n| ["n".into(), String::new(), n.to_string()])).await;
    becomes(&page, "document.querySelector('#peak-in').textContent !== '0'", true).await;
    becomes(&page, "Number(document.querySelector('#peak-out').textContent) >= 50", true).await;
    says(&page, "#chart .time", ":").await;

    page.eval("document.querySelector('#chart').focus()").await;
    page.press("\u{e012}\u{e012}").await; // left, twice
    says(&page, "#rate-at", "at ").await;
    becomes(&page, "document.querySelector('#chart').getAttribute('aria-valuenow')", "-10").await;
    becomes(&page, "/in, .* out per second|no values/.test(document.querySelector('#chart').ariaValueText)", true)
        .await;
    page.press("\u{e011}").await; // Home
    becomes(&page, "document.querySelector('#chart').getAttribute('aria-valuenow')", "-300").await;
    says(&page, "#rate-in", "–").await;
    page.press("\u{e00c}").await; // Escape
    becomes(&page, "document.querySelector('#rate-at').textContent", "now").await;

    page.click("#range [value='60']").await;
    becomes(&page, "document.querySelector('#chart').getAttribute('aria-valuemin')", "-60").await;
    says(&page, "#chart .time", ":").await;
    page.hover("#chart").await;
    says(&page, "#rate-at", "at ").await;
    page.click("#range [value='3600']").await;
    becomes(&page, "document.querySelector('#chart').getAttribute('aria-valuemin')", "-3600").await;
    browser.quit().await;
}

#[tokio::test]
async fn refused_pages_are_shown_above_everything_until_they_are_dismissed() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    refuse(&bus).await;
    says(&page, "#refused .origin", "http://other.example").await;
    becomes(&page, "notices.getBoundingClientRect().bottom < events.getBoundingClientRect().top", true).await;
    page.click("#refused .dismiss").await;
    becomes(&page, "refused.hidden", true).await;
    page.click("#misdirected .dismiss").await;
    becomes(&page, "notices.hidden", true).await;
    refuse(&bus).await;
    becomes(&page, "refused.hidden", false).await;
    browser.quit().await;
}
