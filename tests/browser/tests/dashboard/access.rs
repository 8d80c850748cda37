//! Accessibility of the page: keyboard, screen reader, small windows, light and dark.

use sse_bus_browser_tests::{Browser, Bus, Tab, eventually};

use super::{becomes, publish_all, refuse, says};

#[tokio::test]
async fn the_page_follows_the_accessibility_rules() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    page.load_axe().await;
    for scheme in ["light", "dark"] {
        page.look(scheme, 1280, 800).await;
        check(&page, &format!("{scheme}, empty")).await;
        page.screenshot(&format!("{scheme}-empty")).await;
    }

    let long = "topic/a-long-name/with/many/levels/of/depth";
    publish_all(&bus, [[long.into(), String::new(), "x".into()]]).await;
    let event = |n| [format!("topic/{}", n % 5), "type".into(), format!("{{\"n\": {n}}}")];
    publish_all(&bus, (0..60).map(event)).await;
    refuse(&bus).await;
    page.shows("{\"n\": 59}").await;
    becomes(&page, "document.querySelector(\"#topics .topic[title='topic/4']\") !== null", true).await;
    says(&page, "#refused .origin", "http://other.example").await;
    says(&page, "#refused code", "sse-busd --allow-origin http://other.example").await;
    says(&page, "#misdirected .origin", "bus.example").await;
    says(&page, "#misdirected code", "sse-busd --allow-host bus.example").await;
    page.eval("[...document.querySelectorAll('#log .line')].at(-2).click()").await;
    for (scheme, width) in [("light", 3840), ("light", 1280), ("dark", 1280), ("light", 320), ("dark", 320)] {
        page.look(scheme, width, 800).await;
        let name = format!("{scheme}-{width}");
        check(&page, &name).await;
        // Nothing overflows a small window.
        assert_eq!(
            page.eval("return document.documentElement.scrollWidth - document.documentElement.clientWidth").await,
            0,
            "{name}"
        );
        // A button that does not fit into its cell is not shown at all, and a field is cut.
        assert_eq!(page.strings(CUT).await, [""; 0], "{name}");
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
async fn every_control_is_reachable_with_the_keyboard() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    let event = |n: usize| ["t".into(), String::new(), format!("number {n}.")];
    publish_all(&bus, (0..20).map(event)).await;
    page.shows("number 19.").await;
    says(&page, "#clients tr", "this page").await;
    says(&page, "#topics .topic", "t").await;

    // Once round with the Tab key; each focused element is visibly focused.
    let mut reached = Vec::new();
    page.eval("document.activeElement.blur()").await;
    for _ in 0..80 {
        page.press("\u{e004}").await;
        let at = page
            .eval(
                "const at = document.activeElement, style = getComputedStyle(at);
                 if (at === document.body) return null;
                 const seen = style.outlineStyle !== 'none' && at.getBoundingClientRect().width > 5;
                 return [at.id || at.name || at.getAttribute('href') || at.classList[0] || at.textContent, at.form?.id ?? '', seen];",
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
        "#map",
        "pause",
        "clear",
        "subscribe topics",
        "subscribe since",
        "text",
        "log",
        "range",
        "chart",
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
        "open",
        "name",
        "quiet",
        "node",
    ];
    for wanted in wanted {
        assert!(reached.iter().any(|at| at == wanted), "{wanted} is not among {reached:?}");
    }
    // The list of events is one stop, however many there are.
    assert_eq!(reached.iter().filter(|at| at.contains("line")).count(), 0, "{reached:?}");

    // Keyboard shortcuts are explained, and can be turned off.
    page.eval("document.activeElement.blur()").await;
    page.press("?").await;
    becomes(&page, "help.open", true).await;
    page.click("#keys-on").await;
    page.click("#help .close").await;
    page.press("p").await;
    page.press("c").await;
    becomes(&page, "document.querySelectorAll('#log .event').length", 20).await;
    says(&page, "#pause", "Pause").await;

    // A screen reader announces the connection and the results of commands, but not every event.
    let spoken = "[...document.querySelectorAll('[role=status], [role=log], [aria-live], output')].map((e) => e.id)";
    assert_eq!(page.strings(spoken).await, ["result", "sent", "around-note", "dead-note", "say"]);
    browser.quit().await;
}

/// Returns what a small window cuts: the names of topics and clients, and the texts of fields.
const CUT: &str = "(() => {
  const room = document.createElement('canvas').getContext('2d');
  const fits = (field) => {
    const style = getComputedStyle(field);
    room.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    const text = field.options?.[field.selectedIndex].text ?? field.placeholder;
    // A select has an arrow beside its text.
    const inner = field.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - (field.options ? 16 : 0);
    return room.measureText(text).width <= inner;
  };
  const cells = [...document.querySelectorAll('#topics tbody th, #clients tbody th')];
  const fields = [...document.querySelectorAll('#subscribe select, #speak input:not([type=checkbox])')];
  return [...cells.filter((cell) => cell.scrollWidth > cell.clientWidth), ...fields.filter((field) => !fits(field))]
    .map((cut) => cut.name ?? cut.textContent);
})()";

/// Checks a page with axe, which it has [loaded](Tab::load_axe).
pub(super) async fn check(page: &Tab, what: &str) {
    let tags = r#"["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa","best-practice"]"#;
    let broken = eventually("the rules to be checked", async || {
        let run = format!(
            "return axe.run({{ runOnly: {tags} }}).then((result) => ({{
               passes: result.passes.length,
               broken: result.violations.flatMap((rule) => rule.nodes.map((node) =>
                 `${{rule.id}}: ${{node.html.slice(0, 200)}} ${{node.failureSummary}}`)) }}))"
        );
        let found = page.eval(&run).await;
        if found["passes"].as_u64() > Some(15) { Ok(found["broken"].clone()) } else { Err(found.to_string()) }
    })
    .await;
    assert_eq!(broken, serde_json::json!([]), "{what}");
}
