//! A page that uses the module, and what the tests ask it.

pub(crate) use sse_bus_browser_tests::Kind;
use sse_bus_browser_tests::{Bus, Page, Remote, Response, Site, Value, eventually, free_port};

/// The script of every page: imports the module and records events.
const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>tab</title><script>
  window.warned = [];
  console.warn = (text) => warned.push(text);
  // A page that a browser has suspended for a while does not hear these.
  window.BroadcastChannel = class extends BroadcastChannel {
    set onmessage(hear) {
      super.onmessage = (message) => window.deaf || hear(message);
    }
  };
</script><script type="module">
  import * as module from "MODULE";
  const bus = MODULE_IS_VENDORED ? module.connect("BUS", OPTIONS) : module;
  Object.assign(window, { bus, subs: {}, leads });
  window.listen = (name, filters, options = {}) => {
    const sub = { got: [], gaps: [], states: [], events: [] };
    subs[name] = Object.assign(sub, {
      sub: bus.subscribe(filters, {
        ...options,
        onevent: (event) => sub.events.push(event) && sub.got.push(event.data),
        ongap: (gap) => sub.gaps.push(gap),
        onstate: (state) => sub.states.push(state),
      }),
    });
    return true;
  };
  // True if this tab holds the lock: by the id that the browser assigns to its locks.
  async function leads() {
    const own = await navigator.locks.request("own" + Math.random(), async ({ name }) =>
      (await navigator.locks.query()).held.find((lock) => lock.name === name).clientId);
    return (await navigator.locks.query()).held.some((lock) => lock.name.startsWith("sse-bus") && lock.clientId === own);
  }
</script>"#;

/// The module, for pages that load it from their own server.
const MODULE: &str = include_str!("../../../../daemon/web/client/client.js");

/// A site whose pages import the module from a bus.
pub(crate) async fn site(port: u16, bus: &str) -> Site {
    let page = PAGE.replace("MODULE_IS_VENDORED", "false").replace("MODULE", &format!("{bus}/client.js"));
    Site::start(port, move |_| Response::document("text/html", page.clone())).await
}

/// A site whose pages load the module from the site.
pub(crate) async fn site_with_module(port: u16, bus: &str, options: &str) -> Site {
    let page = PAGE.replace("MODULE_IS_VENDORED", "true").replace("\"MODULE\"", "\"/module.js\"");
    let page = page.replace("BUS", bus).replace("OPTIONS", options);
    Site::start(port, move |target| match target {
        "/module.js" => Response::document("text/javascript", MODULE),
        _ => Response::document("text/html", page.clone()),
    })
    .await
}

/// The origin of the pages of a site on this port. Tabs find each other in secure contexts only, and the name
/// `localhost` is enough for that.
pub(crate) fn origin(port: u16) -> String {
    format!("http://localhost:{port}")
}

/// A bus, and a site that it allows.
pub(crate) async fn bus_and_site(arguments: &[&str]) -> (Bus, Site, String) {
    let port = free_port();
    let origin = origin(port);
    let bus = Bus::start_with(&[&["--allow-origin", &origin], arguments].concat()).await;
    let site = site(port, &bus.url()).await;
    (bus, site, origin)
}

/// Opens a page and waits for its script.
pub(crate) async fn open(browser: &Remote, origin: &str) -> Page {
    let page = browser.open(origin).await;
    eventually("the page's script to run", async || {
        let state = page.eval("[typeof window.listen, warned]").await;
        if state[0] == "function" { Ok(()) } else { Err(state.to_string()) }
    })
    .await;
    page
}

/// Subscribes in a page, under a name for the tests.
pub(crate) async fn listen(page: &Page, name: &str, filters: &str, options: &str) {
    page.eval(&format!("listen({name:?}, {filters}, {options})")).await;
}

/// Waits until a subscription is in this state, and returns its last message.
pub(crate) async fn state(page: &Page, name: &str, wanted: &str) -> Value {
    eventually(&format!("{name} to be {wanted}"), async || {
        let states = page.eval(&format!("subs[{name:?}].states")).await;
        let last = states.as_array().and_then(|states| states.last()).cloned().unwrap_or_default();
        if last["state"] == wanted { Ok(last) } else { Err(states.to_string()) }
    })
    .await
}

/// Waits until exactly these events were received.
pub(crate) async fn got(page: &Page, name: &str, wanted: &[&str]) {
    eventually(&format!("{name} to have {wanted:?}"), async || {
        let got = page.eval(&format!("subs[{name:?}].got")).await;
        if got == Value::from(wanted) { Ok(()) } else { Err(got.to_string()) }
    })
    .await;
}

/// Defines a test for each kind of browser.
macro_rules! in_both_browsers {
    ($($name:ident)*) => {
        mod chromium {
            $(#[tokio::test] async fn $name() { super::$name($crate::page::Kind::Chromium).await; })*
        }
        mod firefox {
            $(#[tokio::test] async fn $name() { super::$name($crate::page::Kind::Firefox).await; })*
        }
    };
}
pub(crate) use in_both_browsers;
