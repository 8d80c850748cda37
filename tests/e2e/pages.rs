//! `--pages`: files of the user's own directory at `/pages/`, and nothing else of the machine; tests/browser uses such a page.

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Command};

use crate::{
    doctor::says,
    harness::{Daemon, Process, Sandbox, bearer, http, until, wrap},
    other_users::{NOBODY, open},
    reload::reload,
};

/// A sandbox with a directory of pages.
fn with_pages(files: &[(&str, &str)]) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let pages = sandbox.path("pages");
    fs::create_dir(&pages).unwrap();
    open(&pages, 0o755);
    for (name, content) in files {
        let path = pages.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    (sandbox, pages)
}

fn serving(files: &[(&str, &str)]) -> (Daemon, PathBuf) {
    let (sandbox, pages) = with_pages(files);
    let daemon = Daemon::start_at(sandbox, &["--no-config", "--pages", pages.to_str().unwrap()]);
    (daemon, pages)
}

#[test]
fn files_are_served_with_their_types_and_headers() {
    let (daemon, pages) = serving(&[
        ("a b.html", "<p>é</p>"),
        ("app.js", "1"),
        ("style.css", ""),
        ("data.json", "{}"),
        ("icon.svg", "<svg/>"),
        ("sub/index.html", "the index"),
        ("sub/a:b c/index.html", ""),
        ("unknown", "bytes"),
    ]);
    for (path, kind) in [
        ("a%20b.html?v=1&x", "text/html; charset=utf-8"),
        ("app.js", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("data.json", "application/json"),
        ("icon.svg", "image/svg+xml"),
        ("sub/", "text/html; charset=utf-8"),
        ("unknown", "application/octet-stream"),
    ] {
        let response = daemon.get(&format!("/pages/{path}"));
        assert_eq!((response.status, response.header("content-type")), (200, Some(kind)), "{path}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("content-security-policy", "frame-ancestors 'self'"),
            ("cross-origin-resource-policy", "same-origin"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(response.header(name), Some(value), "{path}");
        }
    }
    assert_eq!(daemon.get("/pages/a%20b.html").text(), "<p>é</p>");
    assert_eq!(daemon.request_locally("GET", "/pages/sub/", "").text(), "the index");
    // Relative links need the slash.
    for (path, to) in [
        ("/pages/sub", "./sub/"),
        ("/pages", "./pages/"),
        ("/pages/sub?x=1&y", "./sub/?x=1&y"),
        ("/pages/sub/a:b%20c?", "./a:b%20c/?"),
    ] {
        let response = daemon.get(path);
        assert_eq!((response.status, response.header("location")), (307, Some(to)));
    }
    let part = daemon.request("GET", "/pages/unknown", &[("Range", "bytes=1-2")], "");
    assert_eq!((part.status, part.text()), (206, "yt".into()));
    assert_eq!(daemon.request("POST", "/pages/unknown", &[], "x").status, 405);
    // A change is served at once.
    fs::write(pages.join("unknown"), "other").unwrap();
    assert_eq!(daemon.get("/pages/unknown").text(), "other");
}

#[test]
fn nothing_else_is_served() {
    let (daemon, pages) =
        serving(&[("a.html", ""), ("sub/x.html", ""), (".env", "a secret"), (".git/config", "a secret")]);
    daemon.sandbox.file("secret", "a secret");
    symlink("../secret", pages.join("out")).unwrap();
    symlink("..", pages.join("up")).unwrap();
    symlink(".env", pages.join("dot")).unwrap();
    assert!(Command::new("mkfifo").arg(pages.join("pipe")).status().unwrap().success());
    for path in [
        "",
        "sub/",
        ".env",
        "dot",
        "%2eenv",
        ".git/config",
        "%2Egit/config",
        "out",
        "up/secret",
        "../secret",
        "%2e%2e/secret",
        "..%2fsecret",
        "sub/../../secret",
        "sub%2f..%2f..%2fsecret",
        "..%5csecret",
        "/etc/passwd",
        "%2fetc/passwd",
        "a.html/",
        "pipe",
        "a.html%00",
        "nothing",
    ] {
        let response = daemon.get(&format!("/pages/{path}"));
        assert_eq!(response.refusal(), (404, "request_invalid".into()), "{path}");
        let text = response.text();
        assert!(!text.contains("a secret") && !text.contains("x.html"), "{path}: {text}");
    }
    assert_eq!(daemon.get("/pages/%ff").status, 400);
    assert_eq!(daemon.get("/pages/a.html").status, 200);
    let none = Daemon::start(&[]);
    assert!(none.get("/pages/a.html").text().contains("sse-busd --pages DIR"));
}

#[test]
fn the_guards_come_first() {
    let (daemon, _) = serving(&[("a.html", "a secret")]);
    for (header, status) in [
        (("Origin", "http://evil.example"), 403),
        (("Sec-Fetch-Site", "cross-site"), 403),
        (("Authorization", "Bearer wrong"), 401),
    ] {
        let response = daemon.request("GET", "/pages/a.html", &[header], "");
        assert_eq!(response.status, status, "{header:?}");
        assert!(!response.text().contains("a secret"));
    }
    let rebound = http::exchange(Box::new(daemon.tcp()), "evil.example", "GET", "/pages/a.html", &[], b"");
    assert_eq!(rebound.status, 421);
    // Typed into the address bar, and a link of the bus's own page.
    for site in ["none", "same-origin"] {
        assert_eq!(daemon.request("GET", "/pages/a.html", &[("Sec-Fetch-Site", site)], "").status, 200, "{site}");
    }
}

#[test]
#[ignore = "needs root: acts as two users"]
fn another_user_needs_a_token() {
    let (daemon, _) = serving(&[("a.html", "a page")]);
    let token =
        daemon.ctl(&["token", "create", "--json", "--name", "phone", "--scope", "subscribe"]).ok().json()[0]["token"]
            .clone();
    let curl = |arguments: &[&str]| {
        let mut curl = daemon.sandbox.command("curl");
        curl.args(["-s", &format!("http://{}/pages/a.html", daemon.address)]).args(arguments).current_dir("/");
        let mut setpriv = Command::new("setpriv");
        setpriv.args([&format!("--reuid={NOBODY}"), "--clear-groups", "--"]);
        wrap(setpriv, &mut curl);
        Process::start(curl).finish().ok().stdout
    };
    assert!(curl(&[]).contains("denied"));
    assert_eq!(curl(&["-H", &format!("Authorization: {}", bearer(token.as_str().unwrap()))]), "a page");
}

#[test]
fn the_directory_can_be_configured_and_changed() {
    let (sandbox, _) = with_pages(&[("a.html", "first")]);
    fs::create_dir(sandbox.path("others")).unwrap();
    sandbox.file("others/a.html", "second");
    let file = sandbox.file("config.toml", "pages = \"~/pages\"\n");
    let daemon = Daemon::start_at(sandbox, &["--config", &file]);
    assert_eq!(daemon.get("/pages/a.html").text(), "first");
    reload(&daemon, "pages = \"~/others\"\n", "read the configuration again");
    assert_eq!(daemon.get("/pages/a.html").text(), "second");
    let shown = daemon.ctl(&["status", "--config"]).ok().stdout;
    assert!(shown.contains(daemon.sandbox.path("others").to_str().unwrap()), "{shown}");
    reload(&daemon, "", "read the configuration again");
    assert_eq!(daemon.get("/pages/a.html").status, 404);
}

#[test]
fn pages_that_others_can_change_are_reported_with_the_fix() {
    let (sandbox, pages) = with_pages(&[("a.html", "")]);
    let path = pages.to_str().unwrap();
    let check = |sandbox: &Sandbox| {
        let mut busd = sandbox.busd();
        busd.args(["--no-config", "--check", "--pages", path]);
        Process::start(busd).finish().ok().stderr
    };
    open(&pages.join("a.html"), 0o644);
    assert_eq!(check(&sandbox), "");
    open(&pages.join("a.html"), 0o666);
    let said =
        format!("--pages: pages = {path}: other users can change these pages, whose scripts may use the bus as you");
    let fix = format!("chmod go-w {}", pages.join("a.html").canonicalize().unwrap().display());
    let warned = check(&sandbox);
    assert!(warned.contains(&said) && warned.contains(&fix), "{warned}");
    let daemon = Daemon::start_at(sandbox, &["--no-config", "--pages", path]);
    until("the log has the warning", || daemon.log().contains(&said).then_some(()));
    says(&daemon.ctl(&["doctor"]).ok(), "pages", "warning", "other users can change the pages", &fix);
    open(&pages.join("a.html"), 0o644);
    says(&daemon.ctl(&["doctor"]).ok(), "pages", "ok", "only this user and root", "");
    fs::rename(&pages, daemon.sandbox.path("moved")).unwrap();
    says(&daemon.ctl(&["doctor"]).ok(), "pages", "warning", "cannot be served", &format!("mkdir -p {path}"));
    assert!(check(&daemon.sandbox).contains(&format!("pages = {path} cannot be served: No such file")));
}

#[test]
fn init_page_writes_a_page_that_is_served_and_replaces_none() {
    let (daemon, pages) = serving(&[]);
    fs::remove_dir(&pages).unwrap();
    let written = daemon.ctl(&["init-page", "hello"]).ok().json().remove(0);
    let url = format!("http://{}/pages/hello.html", daemon.address);
    assert_eq!((&written["url"], &written["file"]), (&url.into(), &pages.join("hello.html").to_str().unwrap().into()));
    let page = daemon.get("/pages/hello.html");
    assert!(page.status == 200 && page.text().contains("from \"/client.js\""), "{}", page.text());
    daemon.ctl(&["init-page", "hello.html"]).ends_with(1).says("exists").says("choose another name");
    daemon.ctl(&["init-page", "../hello"]).ends_with(2).says("cannot be the name of a page");
    let none = Daemon::start(&[]);
    none.ctl(&["init-page", "hello"]).ends_with(1).says("sse-busd --pages DIR");
}

#[test]
fn a_file_in_place_of_the_directory_is_not_answered_with_mkdir() {
    let (daemon, pages) = serving(&[]);
    fs::remove_dir(&pages).unwrap();
    fs::write(&pages, "").unwrap();
    let path = pages.to_str().unwrap();
    says(&daemon.ctl(&["doctor"]).ok(), "pages", "warning", "cannot be served", &format!("ls -ld {path}"));
    let checked = daemon.sandbox.busd_fails(&["--check", "--pages", path]).ok();
    checked.says("Not a directory (os error 20); name a directory that you can read");
}
