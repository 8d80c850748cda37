//! The clients in pages: one Chromium and one Firefox.

use std::{fs, path::Path};

use sse_bus_browser_tests::{Kind, Page, Remote, Response, Site, npm};

use crate::{
    listeners::{Listener, Source, Streams},
    mixed::TYPES,
};

/// Clients in pages of an allowed origin, each with its page.
const FOREIGN: [(&str, &str); 5] = [
    ("event-source-polyfill", "listen.html"),
    ("fetch-event-source", "listen.html"),
    ("reconnecting-eventsource", "listen.html"),
    ("htmx 2", "htmx2.html"),
    ("htmx 4", "htmx4.html"),
];

/// Starts all of these clients.
pub(crate) async fn all(streams: &Streams<'_>, port: u16) -> Vec<Listener> {
    let (chromium, firefox) = tokio::join!(Remote::start(Kind::Chromium, &[]), Remote::start(Kind::Firefox, &[]));
    let firefox_page = native(&firefox, streams, "Firefox").await;
    let chromium_page = native(&chromium, streams, "Chromium").await;
    let site = serve(streams, port).await;
    let mut all = vec![Listener::new("Firefox", Source::Page(firefox_page), firefox)];
    for (name, page) in FOREIGN {
        let page = chromium.open(&format!("{}/{page}?{}", site.origin("localhost"), streams.target(name))).await;
        all.push(Listener::new(name, Source::Page(page), ()));
    }
    all.push(Listener::new("Chromium", Source::Page(chromium_page), (chromium, site)));
    all
}

/// Serves the folder of pages, with the address of the stream and the types filled in, and the packages.
async fn serve(streams: &Streams<'_>, port: u16) -> Site {
    let (packages, url) = (npm::packages("node"), streams.bus.url());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let types = serde_json::to_string(&TYPES).unwrap();
    Site::start(port, move |target| {
        // The query of a page is the request target of its stream.
        let (path, target) = target.split_once('?').unwrap_or((target, ""));
        let file = match path.strip_prefix("/packages/") {
            Some(package) => packages.join(package),
            None => folder.join(&path[1..]),
        };
        // One package imports its own files without an extension.
        let file = if file.extension().is_none() { file.with_extension("js") } else { file };
        let kind = if path.ends_with(".html") { "text/html" } else { "text/javascript" };
        let text = fs::read_to_string(file).unwrap_or_default();
        Response::document(kind, text.replace("STREAM", &format!("{url}{target}")).replace("TYPES", &types))
    })
    .await
}

/// The browser's own `EventSource`, in a page of the bus's origin. It uses another host name than the other pages,
/// because a browser opens six connections per host.
async fn native(browser: &Remote, streams: &Streams<'_>, name: &str) -> Page {
    let page = browser.open(&format!("{}/healthz", streams.bus.url_as("localhost"))).await;
    let target = streams.target(name);
    let types = serde_json::to_string(&TYPES).unwrap();
    page.eval(&format!(
        "(() => {{
           window.heard = [];
           const events = new EventSource({target:?});
           for (const type of {types}) events.addEventListener(type, ({{ data }}) => heard.push({{ type, data }}));
         }})()"
    ))
    .await;
    page
}
