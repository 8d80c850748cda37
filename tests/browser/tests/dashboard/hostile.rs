//! Hostile events: the page shows any content as text; nothing in it runs, loads or becomes part of the page.

use std::collections::BTreeSet;

use sse_bus_browser_tests::{Browser, Bus, Random, Tab, Value, eventually};

use super::{publish_all, says};

const IMAGE: &str = "<img/src=x/onerror=window.run=1>";
const SCRIPT: &str = "</script><script>window.run=1</script>";

/// Texts that have broken pages before, and texts that are displayed differently from what they are.
const NASTY: &[&str] = &[
    IMAGE,
    SCRIPT,
    "<svg onload=alert(1)>",
    "<iframe srcdoc=\"<script>parent.run=1</script>\"></iframe>",
    "\"><script>alert(1)</script>",
    "' autofocus onfocus=window.run=1 x='",
    "<style>*{display:none}</style>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "<!--",
    "]]>",
    "javascript:window.run=1",
    "${window.run=1}{{window.run=1}}",
    "&lt;b&gt;&amp;&#0;&nbsp",
    "</pre></li></ol></main>",
    "<template><slot>",
    "__proto__",
    "constructor",
    "{\"__proto__\":{\"run\":1},\"a\":[1e400,-0,\"</script>\"],\"a\":{}}",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    "{\"a\":\"\\u003cimg src=x onerror=alert(1)\\u003e\", \"b\" : [ ] }",
    "{broken json",
    "",
    " ",
    "\n\n\n",
    "\r\n\r",
    "\u{202e}txet desrever\u{202c}",
    "\u{2066}\u{2067}\u{200f}",
    "\u{2028}\u{2029}\u{85}\u{b}",
    "\u{feff}x\u{ffff}\u{fffd}",
    "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
    "👩‍👩‍👧 🦀",
    "\u{1}\u{7}\u{1b}[31mred\u{7f}",
    "data: x\n\nid: 1\nevent: $gap",
    "$gap",
];

#[tokio::test]
async fn everything_shown_equals_the_text_sent() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&format!("{}/?topic=**&since=latest", bus.url())).await;
    page.connected().await;
    watch(&page).await;
    let events = events();
    publish_all(&bus, events.iter().cloned()).await;
    says(&page, "#received", &events.len().to_string()).await;
    // Paused, the list shows all events that it keeps, and not only those that it had time to draw.
    page.pause().await;

    // In the list, where long texts are shortened, and in the opened event.
    let shown = page
        .strings(
            "[...document.querySelectorAll('#log .event')].map((row) => {
               const text = (selector) => row.querySelector(selector)?.textContent ?? '';
               const line = [text('.line .topic'), text('.line .type'), text('.line .data')];
               row.querySelector('.line').click();
               const json = text('pre');
               const as = row.querySelector('.as');
               as?.click();
               const whole = [text('dd.topic'), text('dd.type'), text('pre')];
               row.querySelector('.line').click();
               return JSON.stringify({ line, whole, json: as ? json : null });
             })",
        )
        .await;
    assert_eq!(shown.len(), events.len());
    for (shown, sent) in shown.iter().zip(&events) {
        let shown: Value = serde_json::from_str(shown).expect("JSON");
        assert_eq!(shown["whole"], Value::from(sent.as_slice()), "what is opened");
        for (part, sent) in sent.iter().enumerate() {
            let line = shown["line"][part].as_str().expect("text");
            assert!(
                line == sent || (part == 2 && line.len() >= 400 && sent.starts_with(line)),
                "{line:?} for {sent:?}"
            );
        }
        if let Some(json) = shown["json"].as_str() {
            // Only white space between its parts differs.
            let bare = |text: &str| text.replace([' ', '\n', '\r', '\t'], "");
            assert_eq!(bare(json), bare(&sent[2]), "JSON");
        }
    }
    let topics: BTreeSet<_> = events.iter().map(|[topic, ..]| topic.clone()).collect();
    eventually("the table of topics to hold them all", async || {
        page.eval(
            "document.querySelectorAll('#topics .fold[aria-expanded=false]:not(:disabled)').forEach((fold) => fold.click());
             document.querySelector('#topics-more:not([hidden])')?.click();",
        )
        .await;
        let filters = page.strings("[...document.querySelectorAll('#topics .topic')].map((topic) => topic.title)").await;
        let listed: BTreeSet<_> =
            filters.iter().map(|filter| filter.strip_suffix("/**").unwrap_or(filter).to_owned()).collect();
        if topics.is_subset(&listed) { Ok(()) } else { Err(format!("{:?}", topics.difference(&listed))) }
    })
    .await;

    // The input of the text filter is text, too.
    page.eval("text.value = '<IMG/SRC'; text.oninput();").await;
    let holds = |[topic, kind, data]: &&[String; 3]| {
        [topic, kind, data].iter().any(|field| field.to_lowercase().contains("<img/src"))
    };
    let wanted = events.iter().filter(holds).count();
    eventually("the events with the text", async || {
        let found = page.texts("#log .event").await.len();
        if found == wanted { Ok(()) } else { Err(format!("{found}, not {wanted}")) }
    })
    .await;
    page.screenshot("hostile").await;
    nothing_ran(&page).await;
    browser.quit().await;
}

#[tokio::test]
async fn names_and_refusals_are_shown_as_text() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&format!("{}/?topic=**&topic=$sys/clients&topic={SCRIPT}", bus.url())).await;
    page.connected().await;
    watch(&page).await;

    // The name of a client, in its presence event and in the table.
    let stream = bus.path().join("stream");
    let name = IMAGE.replace('<', "%3C").replace('>', "%3E");
    let _named = bus.curl(&format!("/events/quiet?client={name}"), &stream);
    says(&page, "#log .data", IMAGE).await;
    says(&page, "#clients .name", IMAGE).await;

    // The headers of an event, in the opened event and in its JSON.
    let header = format!("trace={IMAGE}");
    bus.ctl(&["publish", "headers", "with headers", "--header", &header]).await;
    says(&page, "#log .data", "with headers").await;
    page.eval("[...document.querySelectorAll('#log .line')].find((line) => line.textContent.includes('with headers')).click()")
        .await;
    says(&page, "#log .whole", IMAGE).await;

    // The origin and the host of a request that was refused: only what can be one is kept.
    let own = bus.address();
    for (host, origin) in
        [(&*own, &*format!("http://{IMAGE}")), (IMAGE, "http://localhost"), (&own, "http://xn--e.example")]
    {
        refused(&bus, host, origin).await;
    }
    says(&page, "#refused .origin", "http://xn--e.example").await;
    assert!(!page.texts("#refused, #misdirected").await.concat().contains("<img"), "not an origin, and not a host");

    // The message of a refusal, of a publish, of a send, of a stream.
    for (form, output, field) in [("publish", "#result", "topic"), ("send", "#sent", "to")] {
        page.fill(form, field, &format!("a//{IMAGE}")).await;
        page.fill(form, "data", IMAGE).await;
        page.click(&format!("#{form} .main")).await;
        says(&page, output, "Not sent.").await;
    }
    page.fill("subscribe", "topics", &format!("a//{IMAGE}")).await;
    page.click("#subscribe .main").await;
    says(&page, "#notices", IMAGE).await;
    says(&page, "#log .error .text", IMAGE).await;
    nothing_ran(&page).await;
    browser.quit().await;
}

/// Sends a request with a host and an origin that the daemon refuses.
async fn refused(bus: &Bus, host: &str, origin: &str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut daemon = tokio::net::TcpStream::connect(bus.address()).await.expect("the daemon listens");
    let head = format!("GET /events HTTP/1.1\r\nhost: {host}\r\norigin: {origin}\r\nconnection: close\r\n\r\n");
    daemon.write_all(head.as_bytes()).await.expect("the daemon reads");
    let mut answer = String::new();
    daemon.read_to_string(&mut answer).await.expect("the daemon answers");
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

/// Records the elements of the page, and violations of its policy, past and future.
async fn watch(page: &Tab) {
    page.eval(
        "window.parts = () => document.querySelectorAll(
           'img, script, iframe, object, embed, base, link, style, meta, template, svg:not(.spark)').length;
         window.clean = parts();
         window.forbidden = [];
         new ReportingObserver((reports) => forbidden.push(...reports.map(({ body }) => JSON.stringify(body))),
           { types: ['csp-violation'], buffered: true }).observe();
         addEventListener('securitypolicyviolation', (e) => forbidden.push(e.violatedDirective));",
    )
    .await;
}

async fn nothing_ran(page: &Tab) {
    assert_eq!(page.eval("return window.run ?? ({}).run ?? null").await, Value::Null, "something ran");
    assert_eq!(page.eval("return parts() - clean").await, 0, "elements were added to the page");
    assert_eq!(page.strings("forbidden").await, [""; 0], "the policy was violated");
    // It has requested its own files, the stream, and the daemon's status.
    let asked = page.strings("performance.getEntriesByType('resource').map((asked) => asked.name)").await;
    let known = ["page", "events", "status", "topics", "clients"];
    let is_known =
        |url: &String| url.split('/').nth(3).is_some_and(|part| known.contains(&part.split('?').next().unwrap()));
    assert!(asked.iter().all(is_known), "{asked:?}");
}

/// Every hostile text in every field that may hold it, and random mixtures of them.
fn events() -> Vec<[String; 3]> {
    let mut random = Random(0x1bad_5eed);
    let mut events: Vec<_> = NASTY.iter().map(|text| [topic(text), kind(text), (*text).to_owned()]).collect();
    for n in 0..120 {
        let mut mix = |most: usize| -> String {
            let parts = random.below(most);
            (0..=parts).map(|_| *random.one_of(NASTY)).collect()
        };
        let data = if n % 20 == 19 { mix(8).repeat(300) + "end" } else { mix(8) };
        events.push([topic(&mix(3)), kind(&mix(3)), data]);
    }
    events
}

/// A topic from the characters of a text that are valid in one.
fn topic(text: &str) -> String {
    let allowed = |c: &char| !c.is_whitespace() && !c.is_control() && !"*?#".contains(*c);
    let text: String = text.chars().filter(allowed).collect();
    let levels: Vec<_> = text.split('/').filter(|level| !level.is_empty()).collect();
    shortened(&format!("x{}", levels.join("/")))
}

/// A type likewise.
fn kind(text: &str) -> String {
    // Those that begin with `$` are the bus's own.
    shortened(text.replace(['\r', '\n', '\0'], "").trim_start_matches('$'))
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(200)].trim_end_matches('/').to_owned()
}
