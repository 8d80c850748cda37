//! The usual first tutorial on Server-Sent Events, in a real browser: several tabs, each with a random id; a message to
//! all and a message to one; the time every second; the server stopped and started.

use sse_bus_browser_tests::{Browser, Bus, Tab, eventually};

#[tokio::test]
async fn several_tabs_receive_broadcasts_and_one_its_own_message() {
    let mut bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = format!("{}/", bus.url());
    let tabs = [browser.open(&page).await, browser.open(&page).await, browser.open(&page).await];
    let ids = [tabs[0].connected().await, tabs[1].connected().await, tabs[2].connected().await];
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "ids are random: {ids:?}");
    for (tab, id) in tabs.iter().zip(&ids) {
        notes(tab, "note", "open").await;
        logged(&bus, id, "connect").await;
    }

    publish(&tabs[0], "to all of you").await;
    for tab in &tabs {
        tab.shows("to all of you").await;
    }
    send(&tabs[0], &ids[1], "to you alone").await;
    tabs[1].shows("to you alone").await;
    publish(&tabs[0], "to all again").await;
    for (n, tab) in tabs.iter().enumerate() {
        tab.shows("to all again").await;
        // In order, and each once.
        let expected: &[&str] = match n {
            1 => &["to all of you", "to you alone", "to all again"],
            _ => &["to all of you", "to all again"],
        };
        assert_eq!(tab.texts("#log .data").await, expected, "tab {n}");
    }
    assert_eq!(tabs[0].texts("#log .type").await, ["greeting", "greeting"]);

    bus.ctl(&["publish", "clock", "--every", "1s", "--count", "2", "--exec", "date"]).await;
    for tab in &tabs {
        eventually("the time, twice", async || {
            let topics = tab.texts("#log .topic").await;
            if topics.iter().filter(|t| *t == "clock").count() == 2 { Ok(()) } else { Err(format!("{topics:?}")) }
        })
        .await;
        let last = tab.texts("#log li:last-child .data").await.concat();
        assert!(last.contains(':') && !last.ends_with('\n'), "the output of date: {last:?}");
        tab.screenshot("tutorial").await;
    }

    let [first, second, third] = tabs;
    third.close().await;
    logged(&bus, &ids[2], "disconnect").await;

    let status = bus.stop().await;
    assert!(status.success(), "the daemon stops cleanly: {status}");
    for (tab, id) in [(&first, &ids[0]), (&second, &ids[1])] {
        notes(tab, "error", "the connection was closed").await;
        logged(&bus, id, "disconnect").await;
    }

    bus.restart().await;
    assert_eq!([first.connected().await, second.connected().await], ids[..2]);
    bus.ctl(&["publish", "news", "back again"]).await;
    for tab in [&first, &second] {
        tab.shows("back again").await;
        // The ids before the stop are of another history, and the page receives a gap.
        notes(tab, "gap", "restarted").await;
    }
    first.screenshot("restarted").await;
    browser.quit().await;
}

async fn publish(tab: &Tab, data: &str) {
    speak(tab, "publish", "#result", data, "sent to 3 subscribers").await;
}

async fn send(tab: &Tab, to: &str, data: &str) {
    tab.fill("send", "to", to).await;
    let outcome = format!("sent to 1 connection of {to}");
    speak(tab, "send", "#sent", data, &outcome).await;
    assert_eq!(tab.texts("#sent").await.concat(), outcome, "it has no id");
}

async fn speak(tab: &Tab, form: &str, output: &str, data: &str, expected: &str) {
    tab.fill(form, "topic", "chat/tutorial").await;
    tab.fill(form, "type", "greeting").await;
    tab.fill(form, "data", data).await;
    tab.click(&format!("#{form} .main")).await;
    eventually("the page to show the outcome", async || {
        let said = tab.texts(output).await.concat();
        if said.ends_with(expected) { Ok(()) } else { Err(said) }
    })
    .await;
}

async fn notes(tab: &Tab, kind: &str, text: &str) {
    eventually(&format!("a line of the page with {text:?}"), async || {
        let lines = tab.texts(&format!("#log .{kind}")).await;
        if lines.iter().any(|l| l.contains(text)) { Ok(()) } else { Err(format!("{lines:?}")) }
    })
    .await;
}

/// Waits for a line of the daemon's log that contains the id and the word.
async fn logged(bus: &Bus, id: &str, word: &str) {
    let is_letter = |c: char| c.is_ascii_alphabetic();
    eventually(&format!("{word} of {id} in the daemon's log"), async || {
        let log = bus.log();
        let found = log.lines().filter(|l| l.contains(id)).any(|line| {
            // "connected" as well as "connect", but not the one in "disconnected".
            line.split(|c| !is_letter(c)).any(|w| w.starts_with(word))
        });
        if found { Ok(()) } else { Err(log) }
    })
    .await;
}
