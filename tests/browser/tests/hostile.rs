//! Whatever an event holds, the page shows it as text: nothing in it runs, loads or becomes part of the page.

use sse_bus_browser_tests::{Browser, Bus, Value, eventually};

const IMAGE: &str = "<img/src=x/onerror=window.run=1>";
const SCRIPT: &str = "</script><script>window.run=1</script>";

#[tokio::test]
async fn nothing_in_an_event_runs_on_the_page() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&format!("{}/?topic=**&topic=$sys/clients&topic={SCRIPT}", bus.url())).await;
    page.connected().await;
    let clean = page.eval("return document.querySelectorAll('img, script, iframe, svg').length").await;

    // As the data, the topic, the type, and the name of a client.
    let data = format!("{IMAGE}<iframe srcdoc=\"{SCRIPT}\"></iframe>{SCRIPT}<svg onload=window.run=1>");
    bus.ctl(&["publish", IMAGE, &data, "--type", SCRIPT]).await;
    bus.ctl(&["publish", "quiet/script>", SCRIPT, "--type", "<img src=x onerror=window.run=1>"]).await;
    let stream = bus.path().join("stream");
    let name = IMAGE.replace('<', "%3C").replace('>', "%3E");
    let _named = bus.curl(&format!("/events/quiet?client={name}"), &stream);
    page.shows(&data).await;
    page.shows(SCRIPT).await;
    eventually("the client with the hostile name", async || {
        let texts = page.texts("#log .data").await;
        if texts.iter().any(|t| t.contains(IMAGE) && *t != data) { Ok(()) } else { Err(format!("{texts:?}")) }
    })
    .await;
    assert!(page.texts("#log .topic").await.contains(&IMAGE.to_owned()));
    assert!(page.texts("#log .type").await.contains(&SCRIPT.to_owned()));

    // And in what a refusal says.
    page.fill("publish", "topic", "<img src=x onerror=window.run=1>").await;
    page.fill("publish", "data", IMAGE).await;
    page.click("#publish .main").await;
    eventually("the refusal", async || {
        let said = page.texts("#result").await.concat();
        if said.starts_with("not published") { Ok(()) } else { Err(said) }
    })
    .await;

    // Also in that of a stream, which the page has to ask for.
    page.fill("subscribe", "topics", &format!("a//{IMAGE}")).await;
    page.click("#subscribe .main").await;
    eventually("the refusal of the stream", async || {
        let errors = page.texts("#log .error .text").await;
        if errors.iter().any(|e| e.contains(IMAGE) || e.contains("level")) {
            Ok(())
        } else {
            Err(format!("{errors:?}"))
        }
    })
    .await;

    assert_eq!(page.eval("return window.run ?? null").await, Value::Null, "something ran");
    assert_eq!(page.eval("return document.querySelectorAll('img, script, iframe, svg').length").await, clean);
    // The page asked for nothing but itself, the stream and the publish.
    let requests = page.strings("performance.getEntriesByType('resource').map((r) => new URL(r.name).pathname)").await;
    assert!(requests.iter().all(|path| path.starts_with("/events")), "{requests:?}");
    page.screenshot("hostile").await;
    browser.quit().await;
}
