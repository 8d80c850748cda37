//! Consumers, dead letters and schedules: what the page shows of them, and its commands.

use std::process::Command;

use sse_bus_browser_tests::{Browser, Bus, Tab, Value};

use super::{access::check, becomes, count, says};

/// The names that a small window cuts.
const CUT: &str = "[...document.querySelectorAll('#consumers tbody th, #schedules tbody th')]
  .filter((cell) => cell.scrollWidth > cell.clientWidth).map((cell) => cell.textContent)";

const LETTERS: &str = "document.querySelectorAll('#dead .letter').length";

/// Sends a request as a program of this machine's user does, and returns the JSON values of the response.
fn request(bus: &Bus, method: &str, path: &str, body: &str) -> Vec<Value> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail-with-body", "--globoff", "--noproxy", "*", "--request", method]);
    curl.args(["--data-binary", body]).arg(format!("{}{path}", bus.url()));
    let done = curl.output().expect("there is a curl");
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{method} {path}: {text} {done:?}");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON value")).collect()
}

/// Takes deliveries of the consumer `thumbs`, and returns their tokens.
fn take(bus: &Bus, count: usize) -> Vec<Value> {
    let taken = request(bus, "POST", &format!("/consumers/thumbs/next?count={count}&worker=w1&wait=10s"), "");
    let tokens: Vec<_> = taken.iter().map(|event| event["delivery"]["token"].clone()).collect();
    assert_eq!(tokens.len(), count, "{taken:?}");
    tokens
}

fn settle(bus: &Bus, how: &str, tokens: &[Value], reason: Option<&str>) {
    let mut body = serde_json::json!({ "tokens": tokens });
    if let Some(reason) = reason {
        body["reason"] = reason.into();
    }
    request(bus, "POST", &format!("/consumers/thumbs/{how}"), &body.to_string());
}

fn describe(bus: &Bus) -> Value {
    request(bus, "GET", "/consumers/thumbs", "").remove(0)
}

/// The cell of the consumer `thumbs` in a column.
async fn cell(page: &Tab, column: usize, wanted: &str) {
    let row = "[...document.querySelectorAll('#consumers tbody tr')].find((row) => row.querySelector('.name').textContent === 'thumbs')";
    becomes(page, &format!("({row})?.children[{column}].innerText.trim()"), wanted).await;
}

#[tokio::test]
async fn consumers_and_their_dead_letters_are_shown_and_managed() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    says(&page, "#clients-note", "1 subscriber, 0 publishers").await;
    becomes(&page, "consumers.hidden && schedules.hidden && nodes.hidden", true).await;
    page.look("light", 1280, 800).await;

    request(&bus, "PUT", "/consumers/thumbs?filter=jobs/**&max_attempts=1&ack_wait=10m", "");
    request(&bus, "PUT", "/consumers/idle?filter=other", "");
    becomes(&page, "consumers.hidden", false).await;
    count(&bus, "jobs/a", 0..6).await;
    cell(&page, 1, "6").await;
    cell(&page, 5, "0").await;
    let tokens = take(&bus, 3);
    cell(&page, 1, "3").await;
    cell(&page, 2, "3").await;
    let worker = bus.curl("/consumers/thumbs/events?worker=alice", &bus.path().join("alice"));
    cell(&page, 2, "4").await;
    cell(&page, 5, "1").await;
    says(&page, "#clients-note", "1 worker").await;
    says(&page, "#clients .name", "alice").await;

    // Acknowledged events have a rate; the others die.
    settle(&bus, "reject", &tokens[..2], Some("not a <b>picture</b>"));
    settle(&bus, "nak", &tokens[2..], None);
    cell(&page, 3, "3").await;
    says(&page, "#consumers-note", "3 dead letters").await;
    let more = take(&bus, 1);
    settle(&bus, "ack", &more, None);
    becomes(
        &page,
        "[...document.querySelectorAll('#consumers tbody tr:last-child .number')].at(-1).textContent > '0'",
        true,
    )
    .await;

    // With the keyboard: to the consumers, to the dead letters of `thumbs`, and into the dialog.
    page.press("w").await;
    becomes(&page, "document.activeElement.textContent", "idle").await;
    page.press("\u{e004}\u{e004}").await;
    becomes(&page, "document.activeElement.getAttribute('aria-label')", "3 dead letters of thumbs").await;
    page.press("\u{e007}").await;
    becomes(&page, "dead.open", true).await;
    becomes(&page, LETTERS, 3).await;
    says(&page, "#dead-title", "Dead letters of thumbs").await;
    says(&page, "#dead .why", "rejected · not a <b>picture</b> · 1 attempt · last by w1").await;
    says(&page, "#dead .why", "all attempts have failed · 1 attempt").await;
    says(&page, "#dead .data", "number 2.").await;
    page.load_axe().await;
    for (scheme, width) in [("light", 1280), ("dark", 320)] {
        page.look(scheme, width, 800).await;
        check(&page, &format!("dead letters, {scheme} {width}")).await;
        page.screenshot(&format!("dead-{scheme}-{width}")).await;
    }
    page.look("light", 1280, 800).await;

    // One is delivered again. The focus moves to the next one.
    page.eval("document.querySelector('#dead .retry').focus()").await;
    page.press("\u{e007}").await;
    says(&page, "#dead-note", "1 event will be delivered again").await;
    becomes(&page, LETTERS, 2).await;
    becomes(&page, "document.activeElement === document.querySelector('#dead .retry')", true).await;
    assert_eq!((&describe(&bus)["dead"], &describe(&bus)["died"]), (&2.into(), &3.into()));

    // Dropping asks first, and the answer that changes nothing has the focus.
    page.click("#dead .drop").await;
    says(&page, "#confirm-question", "This cannot be undone").await;
    check(&page, "the question").await;
    page.screenshot("confirm").await;
    page.press("\u{e007}").await;
    becomes(&page, "document.querySelector('#confirm').open", false).await;
    assert_eq!(describe(&bus)["dead"], 2);
    page.click("#dead .drop").await;
    page.click("#confirm .yes").await;
    becomes(&page, LETTERS, 1).await;
    assert_eq!(describe(&bus)["dead"], 1);

    // A new one appears while the dialog is open.
    let again = take(&bus, 1);
    settle(&bus, "reject", &again, None);
    becomes(&page, LETTERS, 2).await;
    page.click("#dead .letter .quiet").await;
    says(&page, "#around .here .data", "number").await;
    page.press("\u{e00c}").await;
    page.click("#dead-drop").await;
    says(&page, "#confirm-question", "Drop all 2 dead letters?").await;
    page.click("#confirm .yes").await;
    becomes(&page, LETTERS, 0).await;
    says(&page, "#dead-note", "There are no dead letters.").await;
    assert_eq!(describe(&bus)["dead"], 0);
    page.click("#dead .close").await;

    request(&bus, "POST", "/consumers/thumbs/pause", "");
    says(&page, "#consumers .mark", "paused").await;
    drop(worker);
    cell(&page, 5, "0").await;
    request(&bus, "DELETE", "/consumers/thumbs", "");
    request(&bus, "DELETE", "/consumers/idle", "");
    becomes(&page, "consumers.hidden", true).await;
    browser.quit().await;
}

#[tokio::test]
async fn schedules_are_shown_and_cancelled() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    bus.ctl(&["publish", "wake/me", "up", "--in", "10m", "--schedule-id", "tea"]).await;
    bus.ctl(&["publish", "wake/you", "up", "--in", "2d", "--schedule-id", "supper"]).await;
    says(&page, "#schedules tbody tr", "in 9 min").await;
    becomes(
        &page,
        "[...document.querySelectorAll('#schedules .name')].map((name) => name.textContent).join(' ')",
        "tea supper",
    )
    .await;
    says(&page, "#schedules .filters", "wake/me").await;
    page.load_axe().await;
    page.click("#schedules [aria-label='Cancel tea']").await;
    says(&page, "#confirm-question", "Cancel the schedule tea?").await;
    page.click("#confirm .no").await;
    assert_eq!(bus.json(&["schedule", "list"]).await.len(), 2);
    page.click("#schedules [aria-label='Cancel tea']").await;
    page.click("#confirm .yes").await;
    says(&page, "#schedules-note", "cancelled tea").await;
    becomes(&page, "document.querySelectorAll('#schedules tbody tr').length", 1).await;
    let left = bus.json(&["schedule", "list"]).await;
    assert_eq!((left.len(), &left[0]["schedule"]), (1, &"supper".into()));
    bus.ctl(&["schedule", "cancel", "supper"]).await;
    becomes(&page, "schedules.hidden", true).await;
    browser.quit().await;
}

#[tokio::test]
async fn panels_of_queues_follow_the_accessibility_rules_in_every_size() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    request(&bus, "PUT", "/consumers/thumbs?filter=jobs/**&max_attempts=1&ack_wait=10m", "");
    request(&bus, "PUT", "/consumers/a-consumer-with-a-rather-long-name?filter=jobs/**&filter=photos/*/new", "");
    request(&bus, "POST", "/consumers/a-consumer-with-a-rather-long-name/pause", "");
    count(&bus, "jobs/a", 0..1200).await;
    let tokens = take(&bus, 10);
    settle(&bus, "reject", &tokens[..7], Some("no"));
    bus.ctl(&["publish", "wake/me", "up", "--in", "10m", "--schedule-id", "tea"]).await;
    cell(&page, 3, "7").await;
    says(&page, "#schedules .name", "tea").await;
    page.load_axe().await;
    let sizes = [
        ("light", 3840),
        ("light", 1280),
        ("dark", 1280),
        ("light", 1024),
        ("light", 768),
        ("light", 320),
        ("dark", 320),
    ];
    for (scheme, width) in sizes {
        page.look(scheme, width, 800).await;
        let name = format!("queue-{scheme}-{width}");
        check(&page, &name).await;
        let overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(page.eval(overflow).await, 0, "{name}");
        assert_eq!(page.strings(CUT).await, [""; 0], "{name}");
        page.screenshot(&name).await;
        page.eval("document.querySelector('#consumers').scrollIntoView()").await;
        page.screenshot(&format!("{name}-consumers")).await;
        page.eval("document.querySelector('#schedules').scrollIntoView()").await;
        page.screenshot(&format!("{name}-schedules")).await;
        page.eval("scrollTo(0, 0)").await;
    }
    browser.quit().await;
}
