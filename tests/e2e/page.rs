//! The dashboard at `/` and its files as they are served; tests/browser tests what they do.

use std::collections::BTreeSet;

use crate::harness::{Daemon, http::Response};

/// The names of the files below `/page/` that a text refers to.
fn names(text: &str) -> BTreeSet<String> {
    let rest = text.split("/page/").skip(1);
    rest.map(|rest| rest.chars().take_while(|c| !"\"'".contains(*c)).collect()).collect()
}

fn check(response: &Response, kind: &str) {
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some(kind));
    assert_eq!(response.header("cache-control"), Some("no-cache"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(response.header("referrer-policy"), Some("no-referrer"));
    let policy = response.header("content-security-policy").expect("there is a policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.split("; ").any(|found| found == part), "{part} is not in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[test]
fn the_page_and_its_files_are_served_with_a_policy_that_allows_nothing_else() {
    let daemon = Daemon::start(&[]);
    let page = daemon.get("/");
    check(&page, "text/html; charset=utf-8");
    let html = page.text();
    for inline in [" style=", "<style", " onclick=", " onload=", "javascript:", "<script>"] {
        assert!(!html.contains(inline), "{inline} stands in the page");
    }
    // Every file that one refers to exists, and refers to existing files only.
    let (mut wanted, mut got) = (names(&html), BTreeSet::new());
    while let Some(name) = wanted.pop_first() {
        let file = daemon.get(&format!("/page/{name}"));
        let kind = match name.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        check(&file, kind);
        let text = file.text();
        assert!(!text.contains("://") || name == "icon.svg" || name == "dom.js", "{name}");
        assert!(!text.contains("innerHTML") && !text.contains("eval("), "{name}");
        got.insert(name);
        wanted.extend(names(&text).into_iter().filter(|name| !got.contains(name)));
    }
    assert!(got.contains("events.js") && got.contains("page.css"), "{got:?}");
    assert_eq!(daemon.request("HEAD", "/page/page.js", &[], b"").status, 200);
    assert_eq!(daemon.request_locally("GET", "/page/page.js", "").status, 200);
}

#[test]
fn they_need_no_token_and_allow_nothing_else() {
    let (daemon, tokens) = Daemon::exposed(&[]);
    for path in ["/", "/page/page.js"] {
        assert_eq!(daemon.get(path).status, 200, "{path}");
        assert_eq!(daemon.with_token("GET", path, &format!("{}x", tokens.all)), 200, "{path} with a wrong token");
        for foreign in [("Host", "evil.example", 421), ("Origin", "http://evil.example", 403)] {
            let (name, value, status) = foreign;
            assert_eq!(daemon.request("GET", path, &[(name, value)], "").status, status, "{path} {name}");
        }
        assert_eq!(daemon.request("POST", path, &[], "").status, 401, "{path}");
    }
    for path in ["/status", "/page", "/pages", "//", "/client.js"] {
        assert_eq!(daemon.get(path).status, 401, "{path}");
    }
}

#[test]
fn there_are_no_other_files() {
    let daemon = Daemon::start(&[]);
    for path in ["/page/nothing.js", "/page/", "/page", "/page/../page.js", "/page/%2e%2e%2fpage.js", "/page/%ff"] {
        assert_eq!(daemon.get(path).status, 404, "{path}");
    }
    assert_eq!(daemon.request("POST", "/page/page.js", &[], b"").status, 405);
}

#[test]
fn other_pages_cannot_read_them() {
    let daemon = Daemon::start(&[]);
    for path in ["/", "/page/page.js"] {
        assert_eq!(daemon.request("GET", path, &[("Host", "evil.example")], b"").status, 421, "{path}");
        assert_eq!(daemon.request("GET", path, &[("Origin", "http://evil.example")], b"").status, 403, "{path}");
        assert_eq!(daemon.request("GET", path, &[("Sec-Fetch-Site", "cross-site")], b"").status, 403, "{path}");
    }
}
