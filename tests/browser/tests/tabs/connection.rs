//! The beginning of a subscription: refused pages, a bus that does not run yet, tokens.

use sse_bus_browser_tests::{Bus, Gateway, Kind, Remote, Value, eventually, free_port};

use crate::page::{bus_and_site, got, in_both_browsers, listen, open, origin, site_with_module, state};

in_both_browsers! {
    a_refused_page_gets_the_flag_that_allows_it_and_reads_nothing
    a_page_opened_before_the_bus_starts_connects_once_it_runs
    behind_a_proxy_without_its_bus_a_page_reports_it_and_continues
    a_subscription_begins_where_it_says_independent_of_other_tabs
    a_tab_that_missed_relayed_events_fetches_them_whether_or_not_it_leads_then
}

async fn a_refused_page_gets_the_flag_that_allows_it_and_reads_nothing(kind: Kind) {
    let (bus, port) = (Bus::start().await, free_port());
    bus.ctl(&["publish", "secret", "only for the own user", "--retain"]).await;
    let _site = site_with_module(port, &bus.url(), "{}").await;
    let browser = Remote::start(kind, &[]).await;
    let page = open(&browser, &origin(port)).await;
    listen(&page, "it", "'**'", "{ since: 'all' }").await;
    let waiting = state(&page, "it", "waiting").await;
    assert_eq!(waiting["reason"], "origin_refused", "{waiting}");
    let how = format!("sse-busd --allow-origin {}", origin(port));
    assert!(waiting["message"].as_str().unwrap().ends_with(&how), "{waiting}");
    for attempt in ["bus.publish('secret', 'x')", "bus.clients()"] {
        let refused = page.eval(&format!("{attempt}.then(() => 'done', (error) => error.code)")).await;
        assert_eq!(refused, "origin_refused", "{attempt}");
    }
    // It retries, and is refused again.
    eventually("another attempt", async || {
        let states = page.eval("subs.it.states.filter(({ state }) => state === 'waiting').length").await;
        if states.as_u64() > Some(1) { Ok(()) } else { Err(states.to_string()) }
    })
    .await;
    assert_eq!(page.eval("subs.it.got").await, Value::Array(Vec::new()));
    let status = bus.json(&["status"]).await.remove(0);
    assert_eq!((&status["published"], &status["subscribers"]), (&1.into(), &0.into()), "{status}");
    assert_eq!(status["refused_origins"][0]["origin"], origin(port), "{status}");
}

async fn a_page_opened_before_the_bus_starts_connects_once_it_runs(kind: Kind) {
    let [port, bus_port] = [free_port(), free_port()];
    let _site = site_with_module(port, &format!("http://127.0.0.1:{bus_port}"), "{}").await;
    let browser = Remote::start(kind, &[]).await;
    let page = open(&browser, &origin(port)).await;
    listen(&page, "it", "'a'", "{}").await;
    let waiting = state(&page, "it", "waiting").await;
    assert_eq!(waiting["reason"], "unreachable", "{waiting}");
    assert!(waiting["retryIn"].as_u64().unwrap() >= 500, "{waiting}");
    let bus = Bus::start_at(bus_port, &["--allow-origin", &origin(port)]).await;
    state(&page, "it", "open").await;
    bus.ctl(&["publish", "a", "here I am"]).await;
    got(&page, "it", &["here I am"]).await;
}

/// The proxy's own response has no CORS headers, so the page may not read it.
async fn behind_a_proxy_without_its_bus_a_page_reports_it_and_continues(kind: Kind) {
    let [port, bus_port] = [free_port(), free_port()];
    let proxy = Gateway::start(bus_port).await;
    let _site = site_with_module(port, &proxy.url(), "{}").await;
    let browser = Remote::start(kind, &[]).await;
    let page = open(&browser, &origin(port)).await;
    let away = async |name: &str| {
        let waiting = eventually("the page to report it", async || {
            let states = page.eval(&format!("subs[{name:?}].states")).await;
            let last = states.as_array().and_then(|states| states.last()).cloned().unwrap_or_default();
            if last["reason"] == "no_bus" { Ok(states) } else { Err(states.to_string()) }
        })
        .await;
        assert!(!waiting.to_string().contains("origin_refused"), "{waiting}");
        assert!(waiting.to_string().contains("no bus behind the proxy at http://127.0.0.1:"), "{waiting}");
    };
    // Before the bus was ever up, and after.
    listen(&page, "it", "'a'", "{}").await;
    away("it").await;
    let mut bus = Bus::start_at(bus_port, &["--allow-origin", &origin(port)]).await;
    state(&page, "it", "open").await;
    bus.crash().await;
    away("it").await;
    bus.restart().await;
    state(&page, "it", "open").await;
    bus.ctl(&["publish", "a", "back"]).await;
    got(&page, "it", &["back"]).await;
}

async fn a_subscription_begins_where_it_says_independent_of_other_tabs(kind: Kind) {
    let (bus, _site, origin) = bus_and_site(&[]).await;
    let browser = Remote::start(kind, &[]).await;
    let [first, second] = [open(&browser, &origin).await, open(&browser, &origin).await];
    for data in ["a1", "a2", "a3"] {
        bus.ctl(&["publish", "a/x", data, "--type", "t"]).await;
    }
    bus.ctl(&["publish", "a/kept", "kept", "--retain"]).await;
    listen(&first, "now", "'a/*'", "{ since: 'now' }").await;
    state(&first, "now", "open").await;
    listen(&second, "all", "['a/**', 'b']", "{ since: 'all', client: 'second' }").await;
    listen(&second, "retained", "'**'", "{}").await;
    listen(&second, "other", "'c'", "{ since: 'all' }").await;
    got(&second, "all", &["a1", "a2", "a3", "kept"]).await;
    got(&second, "retained", &["kept"]).await;
    for name in ["all", "retained", "other"] {
        state(&second, name, "open").await;
    }
    bus.subscribers(1).await;
    let event = second.eval("(({ json, ...event }) => event)(subs.all.events[0])").await;
    assert_eq!((&event["topic"], &event["type"], &event["data"]), (&"a/x".into(), &"t".into(), &"a1".into()));

    let published = first.eval("bus.publish('b', { n: [1] }, { type: 'json' })").await;
    assert_eq!(published["subscribers"], 1, "{published}");
    bus.ctl(&["publish", "c", "c1"]).await;
    bus.ctl(&["send", "second", "to second"]).await;
    got(&first, "now", &[]).await;
    got(&second, "all", &["a1", "a2", "a3", "kept", r#"{"n":[1]}"#, "to second"]).await;
    got(&second, "retained", &["kept", r#"{"n":[1]}"#, "c1"]).await;
    got(&second, "other", &["c1"]).await;
    assert_eq!(second.eval("subs.all.events[4].json().n[0]").await, 1);

    // A topic without a subscription any more is no longer requested.
    second.eval("subs.retained.sub.close() || subs.all.sub.close() || true").await;
    assert_eq!(state(&second, "all", "closed").await["state"], "closed");
    eventually("the stream to have the remaining topics", async || {
        let clients = bus.json(&["clients"]).await;
        let filters = &clients.iter().find(|client| client["role"] == "subscriber").ok_or("none")?["filters"];
        if *filters == Value::from(vec!["a/*", "c"]) { Ok(()) } else { Err(filters.to_string()) }
    })
    .await;
    second.close().await;
    bus.ctl(&["publish", "a/x", "a4"]).await;
    got(&first, "now", &["a4"]).await;
}

async fn a_tab_that_missed_relayed_events_fetches_them_whether_or_not_it_leads_then(kind: Kind) {
    let (bus, _site, origin) = bus_and_site(&[]).await;
    let browser = Remote::start(kind, &[]).await;
    let [first, second, third] =
        [open(&browser, &origin).await, open(&browser, &origin).await, open(&browser, &origin).await];
    for page in [&first, &second, &third] {
        listen(page, "a", "'a'", "{}").await;
        state(page, "a", "open").await;
    }
    assert_eq!(first.eval("leads()").await, true);
    let mut published = Vec::new();
    let numbers: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    // It hears nothing in the first half of each round; then an event arrives, or the leader closes.
    for (round, numbers) in numbers.chunks(6).enumerate() {
        second.eval("window.deaf = true").await;
        for number in &numbers[..3] {
            bus.ctl(&["publish", "a", number]).await;
            published.push(number.as_str());
        }
        got(&third, "a", &published).await;
        assert_eq!(second.eval("subs.a.got.length").await, published.len() - 3, "it is deaf");
        second.eval("window.deaf = false").await;
        if round == 1 {
            first.clone().close().await;
        }
        for number in &numbers[3..] {
            bus.ctl(&["publish", "a", number]).await;
            published.push(number.as_str());
        }
        got(&second, "a", &published).await;
        got(&third, "a", &published).await;
    }
    assert_eq!(second.eval("leads()").await, true, "it was the next in turn");
    bus.subscribers(1).await;
}
