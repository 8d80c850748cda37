//! Who can use the page: with a keyboard, a screen reader, a small window, in the light and in the dark.

use std::fs;

use sse_bus_browser_tests::{Browser, Bus, Tab, eventually, npm};

use super::{becomes, publish_all, refuse, says};

/// Checks a page by the rules of WCAG. It is loaded into the page by the test, and no part of what is served.
const AXE: &str = "axe-core/axe.min.js";

#[tokio::test]
async fn the_rules_for_accessible_pages_are_kept() {
    let bus = Bus::start().await;
    let axe = fs::read_to_string(npm::packages("axe").join(AXE)).expect("it is installed");
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    page.eval(&axe).await;
    for scheme in ["light", "dark"] {
        page.look(scheme, 1280, 800).await;
        check(&page, &format!("{scheme}, empty")).await;
    }

    let event = |n| [format!("topic/{}", n % 5), "type".into(), format!("{{\"n\": {n}}}")];
    publish_all(&bus, (0..60).map(event)).await;
    refuse(&bus).await;
    page.shows("{\"n\": 59}").await;
    says(&page, "#topics .topic", "topic/4").await;
    says(&page, "#refused .origin", "http://other.example").await;
    says(&page, "#refused code", "sse-busd --allow-origin http://other.example").await;
    says(&page, "#misdirected .origin", "bus.example").await;
    says(&page, "#misdirected code", "sse-busd --allow-host bus.example").await;
    page.eval("[...document.querySelectorAll('#log .line')].at(-2).click()").await;
    for (scheme, width) in [("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)] {
        page.look(scheme, width, 800).await;
        let name = format!("{scheme}-{width}");
        check(&page, &name).await;
        // Nothing sticks out of a small window.
        assert_eq!(page.eval("return document.documentElement.scrollWidth - innerWidth").await, 0, "{name}");
        page.screenshot(&name).await;
    }
    page.click("#help-open").await;
    check(&page, "the help").await;
    page.click("#help .close").await;
    page.click("#log .open .history").await;
    says(&page, "#around-note", "before it").await;
    check(&page, "around an event").await;
    browser.quit().await;
}

#[tokio::test]
async fn everything_is_reached_with_the_keyboard() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    let event = |n: usize| ["t".into(), String::new(), format!("number {n}.")];
    publish_all(&bus, (0..20).map(event)).await;
    page.shows("number 19.").await;
    says(&page, "#clients tr", "this page").await;
    says(&page, "#topics .topic", "t").await;

    // Once round, by the Tab key alone, and each place can be seen to have the focus.
    let mut reached = Vec::new();
    page.eval("document.activeElement.blur()").await;
    for _ in 0..60 {
        page.press("\u{e004}").await;
        let at = page
            .eval(
                "const at = document.activeElement, style = getComputedStyle(at);
                 if (at === document.body) return null;
                 const seen = style.outlineStyle !== 'none' && at.getBoundingClientRect().width > 5;
                 return [at.id || at.name || at.className || at.textContent, at.form?.id ?? '', seen];",
            )
            .await;
        if at.is_null() {
            break;
        }
        assert_eq!(at[2], true, "the focus cannot be seen at {at}");
        reached.push(format!("{} {}", at[1].as_str().unwrap(), at[0].as_str().unwrap()).trim().to_owned());
    }
    let wanted = [
        "help-open",
        "pause",
        "clear",
        "subscribe topics",
        "subscribe since",
        "text",
        "log",
        "publish topic",
        "publish type",
        "publish data",
        "publish retain",
        "publish ttl",
        "send to",
        "send topic",
        "send data",
        "send type",
        "topic",
        "quiet",
    ];
    for wanted in wanted {
        assert!(reached.iter().any(|at| at == wanted), "{wanted} is not among {reached:?}");
    }
    // The events are one stop, however many there are.
    assert_eq!(reached.iter().filter(|at| at.contains("line")).count(), 0, "{reached:?}");

    // Keys can be read about, and turned off.
    page.eval("document.activeElement.blur()").await;
    page.press("?").await;
    becomes(&page, "help.open", true).await;
    page.click("#keys-on").await;
    page.click("#help .close").await;
    page.press("p").await;
    page.press("c").await;
    becomes(&page, "document.querySelectorAll('#log .event').length", 20).await;
    says(&page, "#pause", "Pause").await;

    // Who listens is told of the connection and of what was asked for, and not of every event.
    let spoken = "[...document.querySelectorAll('[role=status], [role=log], [aria-live], output')].map((e) => e.id)";
    assert_eq!(page.strings(spoken).await, ["result", "sent", "around-note", "say"]);
    browser.quit().await;
}

async fn check(page: &Tab, what: &str) {
    let tags = r#"["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa","best-practice"]"#;
    let broken = eventually("the rules to be checked", async || {
        let run = format!(
            "return axe.run({{ runOnly: {tags} }}).then((result) => ({{
               passes: result.passes.length,
               broken: result.violations.flatMap((rule) => rule.nodes.map((node) =>
                 `${{rule.id}}: ${{node.html.slice(0, 200)}} ${{node.failureSummary}}`)) }}))"
        );
        let found = page.eval(&run).await;
        if found["passes"].as_u64() > Some(20) { Ok(found["broken"].clone()) } else { Err(found.to_string()) }
    })
    .await;
    assert_eq!(broken, serde_json::json!([]), "{what}");
}
