//! Pages of allowed origins: they stream and publish, also with a token of another daemon, within their permissions.
//! And the bus's own page does not send its address to others.

use sse_bus_browser_tests::{Browser, Bus, Response, Site, Tab, Value, eventually, free_port};

use crate::attack::{NAMES, SECRET, attack, bus_with_a_secret, foreign_site, nothing_got_through};

#[tokio::test]
async fn a_page_of_an_allowed_origin_streams_and_publishes() {
    let site = foreign_site(free_port()).await;
    let origin = site.origin("app.example");
    let bus = bus_with_a_secret(free_port(), &["--allow-origin", &origin]).await;
    let browser = Browser::start_with(&[NAMES]).await;
    let page = browser.open(&origin).await;
    listen(&page, &format!("{}/events?topic=secret&topic=app/**", bus.url())).await;
    heard(&page, &["open", SECRET]).await;
    let url = format!("{}/events/app/news", bus.url());
    let post = "method: 'POST', body: '{}'";
    for (init, status) in [
        (format!("{{ {post} }}"), 202),
        // Both send a preflight first.
        (format!("{{ {post}, headers: {{ 'Content-Type': 'application/json' }} }}"), 202),
        ("{ headers: { 'Last-Event-ID': 'x-1' } }".into(), 200),
    ] {
        let response = page.eval(&format!("return fetch({url:?}, {init}).then((response) => response.status)")).await;
        assert_eq!(response, status, "{init}");
    }
    heard(&page, &["open", SECRET, "{}", "{}"]).await;
    page.screenshot("allowed").await;
    browser.quit().await;
}

/// htmx always sends credentials, and tracing, hypermedia and caching libraries add headers to each request.
#[tokio::test]
async fn a_page_of_an_allowed_origin_sends_credentials_and_headers_of_its_own() {
    let site = foreign_site(free_port()).await;
    let origin = site.origin("app.example");
    let bus = bus_with_a_secret(free_port(), &["--allow-origin", &origin]).await;
    let browser = Browser::start_with(&[NAMES]).await;
    let page = browser.open(&origin).await;
    let url = format!("{}/events/app/news", bus.url());
    listen_with(&page, &format!("{}/events?topic=secret&topic=app/**", bus.url()), "{ withCredentials: true }").await;
    heard(&page, &["open", SECRET]).await;
    let names = ["Cache-Control", "Pragma", "X-Requested-With", "HX-Request", "Datastar-Request", "traceparent"];
    let headers = names.map(|name| format!("{name:?}: '1'")).join(", ");
    for (number, init) in [
        "credentials: 'include'".to_owned(),
        format!("headers: {{ {headers} }}"),
        format!("credentials: 'include', headers: {{ {headers}, 'Content-Type': 'application/json' }}"),
    ]
    .iter()
    .enumerate()
    {
        let sent = format!("fetch({url:?}, {{ method: 'POST', body: '{number}', {init} }})");
        let response = page.eval(&format!("return {sent}.then((response) => response.json()).catch(String)")).await;
        assert_eq!(response["subscribers"], 1, "{init}: {response}");
    }
    heard(&page, &["open", SECRET, "0", "1", "2"]).await;
    // The page can read why its request fails, and deletions need a preflight.
    let gone = format!("fetch('{}/clients/nobody', {{ method: 'DELETE', credentials: 'include' }})", bus.url());
    let response = page.eval(&format!("return {gone}.then((response) => response.json()).catch(String)")).await;
    assert_eq!(response["error"]["code"], "client_unknown", "{response}");
    browser.quit().await;
}

#[tokio::test]
async fn neither_a_sandboxed_frame_nor_another_port_of_an_allowed_page_is_allowed() {
    let [site, other] = [foreign_site(free_port()).await, foreign_site(free_port()).await];
    let origin = site.origin("app.example");
    let bus = bus_with_a_secret(free_port(), &["--allow-origin", &origin]).await;
    let browser = Browser::start_with(&[NAMES]).await;
    let page = browser.open(&origin).await;
    let mut account = attack(&page, &bus.url(), &["sandboxed", "srcdoc", "data"]).await;
    let page = browser.open(&other.origin("app.example")).await;
    account.extend(attack(&page, &bus.url(), &["page", "worker"]).await);
    let read = account.iter().filter(|row| row.has_read()).collect::<Vec<_>>();
    assert!(read.is_empty(), "{read:#?}");
    browser.quit().await;
    nothing_got_through(&bus).await;
}

#[tokio::test]
async fn a_page_with_a_token_streams_with_a_ticket_that_no_other_program_learns() {
    let site = foreign_site(free_port()).await;
    let origin = site.origin("app.example");
    let (bus, token) = Bus::start_exposed(&["--allow-origin", &origin, "--log", "trace"]).await;
    let browser = Browser::start_with(&[NAMES]).await;
    let page = browser.open(&origin).await;
    let stream = format!("{}/events/news", bus.url());
    let ask = async |token: &str| {
        let (url, headers) = (format!("{}/tickets?client=tab", bus.url()), format!("Authorization: 'Bearer {token}'"));
        let ask = format!("fetch({url:?}, {{ method: 'POST', headers: {{ {headers} }} }})");
        page.eval(&format!("return {ask}.then(async (response) => [response.status, await response.text()])")).await
    };
    // The page can read why it is refused.
    let unknown = ask("ssebus_0").await;
    assert_eq!(unknown[0], 401);
    assert!(unknown[1].as_str().unwrap().contains("sse-busctl token create"), "{unknown}");
    listen(&page, &stream).await;
    heard(&page, &["closed"]).await;

    let given = ask(&token).await;
    assert_eq!(given[0], 201, "{given}");
    let given: Value = serde_json::from_str(given[1].as_str().unwrap()).unwrap();
    let ticket = given["ticket"].as_str().unwrap();
    listen(&page, &format!("{stream}?ticket={ticket}")).await;
    heard(&page, &["open"]).await;
    bus.ctl(&["publish", "news", "one"]).await;
    heard(&page, &["open", "one"]).await;
    bus.ctl(&["kick", "tab"]).await;
    bus.ctl(&["publish", "news", "while it was away"]).await;
    heard(&page, &["open", "one", "lost", "open", "while it was away"]).await;

    // Neither the page's own server nor the log of the daemon holds one of the secrets.
    page.eval("add('img', { src: '/after' })").await;
    eventually("the page to have asked for more", async || {
        let asked = site.asked();
        if asked.iter().any(|head| head.starts_with("GET /after ")) { Ok(()) } else { Err(format!("{asked:?}")) }
    })
    .await;
    for (who, text) in [("the site", site.asked().concat()), ("the log", bus.log())] {
        assert!(!text.contains(ticket) && !text.contains(&token["ssebus_".len()..]), "{who}: {text}");
    }
    browser.quit().await;
}

#[tokio::test]
async fn the_own_page_sends_no_referrer() {
    let bus = Bus::start().await;
    let site = Site::start(free_port(), |_| Response::document("text/html", "<p>elsewhere</p>")).await;
    let browser = Browser::start_with(&[NAMES]).await;
    let referer = async |from: &str, to: &str| {
        let tab = browser.open(from).await;
        let link = format!("{}{to}", site.origin("evil.example"));
        let link = format!("Object.assign(document.createElement('a'), {{ href: {link:?} }})");
        tab.eval(&format!("const link = {link}; document.body.append(link); link.click()")).await;
        eventually("the link to be followed", async || {
            let asked = site.asked();
            let head = asked.iter().find(|head| head.starts_with(&format!("GET {to} ")));
            head.map(|head| head.to_lowercase().contains("\r\nreferer:")).ok_or_else(|| format!("{asked:?}"))
        })
        .await
    };
    assert!(referer(&site.origin("app.example"), "/from-another-page").await);
    let [own, rebound] = ["127.0.0.1", "evil.example"].map(|name| bus.url_as(name));
    for (number, from) in [
        format!("{own}/?topic=a"),
        format!("{own}/healthz?ticket=a"),
        format!("{own}/nothing?ticket=a"),
        format!("{rebound}/events?ticket=a"),
    ]
    .iter()
    .enumerate()
    {
        assert!(!referer(from, &format!("/from-the-bus-{number}")).await, "{from}");
    }
    browser.quit().await;
}

/// Opens an `EventSource` in the page and records its events.
async fn listen(page: &Tab, url: &str) {
    listen_with(page, url, "{}").await;
}

async fn listen_with(page: &Tab, url: &str, init: &str) {
    page.eval(&format!(
        "window.heard = [];
         window.events = new EventSource({url:?}, {init});
         events.onopen = () => heard.push('open');
         events.onmessage = (event) => heard.push(event.data);
         events.onerror = () => heard.push(events.readyState === EventSource.CLOSED ? 'closed' : 'lost');"
    ))
    .await;
}

/// Waits until exactly these were recorded.
async fn heard(page: &Tab, wanted: &[&str]) {
    eventually(&format!("the page to hear {wanted:?}"), async || {
        let heard = page.eval("return heard").await;
        if heard == Value::from(wanted) { Ok(()) } else { Err(heard.to_string()) }
    })
    .await;
}
