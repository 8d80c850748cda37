//! A page that the daemon does not know as its user's asks for a token.

use sse_bus_browser_tests::{Browser, Bus, Tab};

use super::{becomes, check, count, says};

async fn sign_in(page: &Tab, token: &str) {
    page.fill("login", "token", token).await;
    page.click("#login .main").await;
}

#[tokio::test]
async fn a_person_signs_in_with_a_token_and_signs_out() {
    let (bus, _) = Bus::start_exposed(&[]).await;
    let token = bus.token("publish,subscribe,admin").await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    becomes(&page, "login.hidden", false).await;
    becomes(&page, "main.hidden && document.activeElement === login.elements.token", true).await;
    page.load_axe().await;
    check(&page, "the login").await;
    page.screenshot("login").await;
    sign_in(&page, "wrong").await;
    says(&page, "#login-error", "invalid or expired token").await;
    becomes(&page, "login.elements.token.getAttribute('aria-invalid')", "true").await;
    sign_in(&page, "schlüssel").await;
    says(&page, "#login-error", "this is not a token").await;

    // With white space around it, as it is pasted.
    sign_in(&page, &format!("  {token} ")).await;
    page.connected().await;
    becomes(&page, "login.hidden && !main.hidden", true).await;
    count(&bus, "n", 0..5).await;
    page.shows("number 4.").await;
    page.fill("publish", "data", "from the page").await;
    page.click("#publish .main").await;
    page.shows("from the page").await;
    says(&page, "#topics .topic", "chat").await;
    page.eval("document.querySelector('#log .entry').click()").await;
    page.click("#log .open .history").await;
    says(&page, "#around-note", "before it").await;
    page.press("\u{e00c}").await;
    // The token is in no URL, and in no storage.
    let urls = page.strings("performance.getEntriesByType('resource').map((asked) => asked.name)").await;
    assert!(!urls.iter().any(|url| url.contains(&token)) && !urls.is_empty(), "{urls:?}");
    becomes(&page, "JSON.stringify([sessionStorage, localStorage, document.cookie])", r#"[{},{},""]"#).await;
    page.reload().await;
    becomes(&page, "login.hidden", false).await;

    // Kept in the tab, it is there after a reload, until the user signs out.
    page.click("#login [name=keep]").await;
    sign_in(&page, &token).await;
    page.connected().await;
    page.reload().await;
    page.connected().await;
    page.click("#sign-out").await;
    becomes(&page, "login.hidden", false).await;
    becomes(&page, "sessionStorage.length", 0).await;
    browser.quit().await;
}

#[tokio::test]
async fn a_stream_with_a_ticket_resumes_and_a_revoked_token_asks_again() {
    let (mut bus, _) = Bus::start_exposed(&["--history", "disk"]).await;
    let token = bus.token("publish,subscribe,admin").await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    becomes(&page, "login.hidden", false).await;
    sign_in(&page, &token).await;
    page.connected().await;
    count(&bus, "n", 0..5).await;
    page.shows("number 4.").await;
    // Tickets end with the daemon.
    assert!(bus.stop().await.success());
    becomes(&page, "state.dataset.state === 'open'", false).await;
    bus.restart().await;
    count(&bus, "n", 5..10).await;
    page.shows("number 9.").await;
    assert_eq!(page.texts("#log .data").await, (0..10).map(|n| format!("number {n}.")).collect::<Vec<_>>());

    bus.revoke_all().await;
    becomes(&page, "login.hidden", false).await;
    says(&page, "#login-error", "invalid or expired token").await;
    // The page behind the form is as it was.
    sign_in(&page, &bus.token("subscribe,admin").await).await;
    page.connected().await;
    browser.quit().await;
}

#[tokio::test]
async fn a_token_without_the_scope_admin_shows_events_only() {
    let (bus, _) = Bus::start_exposed(&[]).await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    becomes(&page, "login.hidden", false).await;
    sign_in(&page, &bus.token("subscribe").await).await;
    page.connected().await;
    count(&bus, "n", 0..5).await;
    page.shows("number 4.").await;
    says(&page, "#notices", "Only events are shown").await;
    becomes(&page, "document.querySelector('#topics').checkVisibility()", false).await;
    page.fill("publish", "data", "x").await;
    page.click("#publish .main").await;
    says(&page, "#result", "Not sent.").await;
    page.screenshot("limited").await;
    browser.quit().await;
}
