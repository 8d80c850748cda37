//! Permissions and lifetimes of tokens and tickets.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::harness::{Daemon, Http2, Process, Sandbox};
pub(crate) use crate::harness::{bearer, token};

/// Creates a ticket of a token.
pub(crate) fn ticket(daemon: &Daemon, token: &str, query: &str) -> Value {
    let response = daemon.request("POST", &format!("/tickets{query}"), &[("Authorization", &bearer(token))], "");
    assert_eq!(response.status, 201, "{}", response.text());
    assert_eq!(response.header("cache-control"), Some("no-store"));
    response.json()
}

#[test]
fn a_token_allows_its_scopes_and_topics_only() {
    let (daemon, tokens) = Daemon::exposed(&[]);
    for (method, path, publish, subscribe) in [
        ("POST", "/events/t", 202, 403),
        ("HEAD", "/events/t", 403, 200),
        ("GET", "/topics", 403, 403),
        ("GET", "/clients", 403, 403),
        ("GET", "/status", 403, 403),
        ("GET", "/metrics", 403, 403),
        ("DELETE", "/clients/nobody", 403, 403),
        ("POST", "/tickets", 403, 201),
    ] {
        assert_eq!(daemon.with_token(method, path, &tokens.publish), publish, "publish: {method} {path}");
        assert_eq!(daemon.with_token(method, path, &tokens.subscribe), subscribe, "subscribe: {method} {path}");
        let all = daemon.with_token(method, path, &tokens.all);
        assert!([200, 201, 202, 404].contains(&all), "all: {method} {path}: {all}");
    }
    for (path, status) in [
        ("/events/build/web", 200),
        ("/events/build", 200),
        ("/events/build/**", 200),
        ("/events/build/*/css", 200),
        ("/events?topic=deploy&topic=build/x", 200),
        ("/events", 200),
        ("/events/deploy/**", 403),
        ("/events/*", 403),
        ("/events/**", 403),
        ("/events/$sys/clients", 403),
        ("/events?topic=build/x&topic=secret", 403),
    ] {
        assert_eq!(daemon.with_token("HEAD", path, &tokens.builds), status, "{path}");
    }
    for (topic, status) in [("build/web", 202), ("deploy", 202), ("deploy/x", 403), ("secret", 403)] {
        assert_eq!(daemon.with_token("POST", &format!("/events/{topic}"), &tokens.builds), status, "{topic}");
    }
    // Without a topic, the stream has those that the token allows.
    let secret = daemon.request_locally("POST", "/events/secret", "x");
    assert_eq!(secret.status, 202);
    let mut stream = daemon.stream_with("/events?since=all", &[("Authorization", &bearer(&tokens.builds))]);
    assert_eq!(stream.data(2), ["x", "x"]);
    let listed = daemon.request_locally("GET", "/clients", "").json();
    assert_eq!(listed[0]["filters"], serde_json::json!(["build/**", "deploy"]));
    assert!(listed[0]["peer"].as_str().unwrap().ends_with(" (token builds)"), "{listed}");
}

/// Unicast events pass no filter, and any client may use any name.
#[test]
fn a_token_does_not_receive_unicast_events_of_other_topics() {
    let (daemon, tokens) = Daemon::exposed(&[]);
    let ticket = ticket(&daemon, &tokens.builds, "?client=phone")["ticket"].as_str().unwrap().to_owned();
    let mut named = daemon.stream_with("/events/deploy?client=phone", &[("Authorization", &bearer(&tokens.builds))]);
    let mut ticketed = daemon.stream(&format!("/events/deploy?ticket={ticket}"));
    daemon.ctl(&["send", "phone", "a letter"]).ends_with(4);
    daemon.ctl(&["send", "phone", "another letter", "--topic", "secret/letter"]).ends_with(4);
    daemon.ctl(&["send", "phone", "ok", "--topic", "build/web"]).ok();
    for stream in [&mut named, &mut ticketed] {
        assert_eq!(stream.event().data, "ok");
    }
    let mut all = daemon.stream_with("/events/deploy?client=phone", &[("Authorization", &bearer(&tokens.subscribe))]);
    daemon.ctl(&["send", "phone", "for a token with all topics"]).ok();
    assert_eq!(all.event().data, "for a token with all topics");
}

#[test]
fn a_token_restricts_the_own_user_too() {
    let daemon = Daemon::start(&[]);
    let token = token(&daemon.sandbox, &["--scope", "subscribe"]);
    assert_eq!(daemon.with_token("POST", "/events/t", &token), 403);
    assert_eq!(daemon.with_token("GET", "/healthz", "ssebus_0"), 401);
    // Credentials of another scheme are ignored.
    assert_eq!(daemon.request("POST", "/events/t", &[("Authorization", "Basic eDp5")], "x").status, 202);
}

#[test]
fn streams_end_when_their_token_is_revoked_or_expires() {
    let (daemon, tokens) = Daemon::exposed(&[]);
    let brief = token(&daemon.sandbox, &["--expires", "6s"]);
    let open = |token: &str| daemon.stream_with("/events/t", &[("Authorization", &bearer(token))]);
    let mut streams = [open(&tokens.all), open(&tokens.subscribe), open(&brief)];
    let ticket = ticket(&daemon, &tokens.subscribe, "?client=tab");
    let path = format!("/events/t?ticket={}", ticket["ticket"].as_str().unwrap());
    let mut ticketed = daemon.stream(&path);
    let http2 = Http2::connect(daemon.address);
    let mut over_http2 = http2.stream("/events/t", &[("authorization", &bearer(&tokens.subscribe))]);

    daemon.ctl(&["token", "revoke", "subscribe"]).ok();
    // No new request is accepted from then on.
    assert_eq!(daemon.with_token("HEAD", "/events/t", &tokens.subscribe), 401);
    assert_eq!(daemon.get(&path).status, 401);
    let [kept, revoked, over] = &mut streams;
    revoked.ends();
    ticketed.ends();
    over_http2.ends();
    over.ends();
    assert_eq!(daemon.with_token("HEAD", "/events/t", &brief), 401);
    daemon.request_locally("POST", "/events/t", "still there");
    assert_eq!(kept.event().data, "still there");
}

#[test]
fn a_ticket_opens_and_reopens_the_streams_of_one_client() {
    let (daemon, tokens) = Daemon::exposed(&[]);
    let given = ticket(&daemon, &tokens.builds, "?client=tab");
    assert_eq!((&given["client"], &given["expires_in_ms"]), (&"tab".into(), &60_000.into()));
    let ticket_text = given["ticket"].as_str().unwrap();
    let path = format!("/events/build/**?ticket={ticket_text}");
    let mut first = daemon.stream(&path);
    assert_eq!(first.head.header("referrer-policy"), Some("no-referrer"));
    daemon.request_locally("POST", "/events/build/web", "one");
    let last = first.event();
    assert_eq!(daemon.request_locally("GET", "/clients", "").json()[0]["name"], "tab");
    drop(first);
    daemon.request_locally("POST", "/events/build/web", "two");
    let mut again = daemon.stream_with(&format!("{path}&client=tab"), &[("Last-Event-ID", &last.id)]);
    assert_eq!(again.event().data, "two");

    for (method, path) in [
        ("GET", format!("/events/build/x?client=other&ticket={ticket_text}")),
        ("GET", format!("/events/secret?ticket={ticket_text}")),
    ] {
        assert_eq!(daemon.request(method, &path, &[], "x").refusal(), (403, "denied".into()), "{path}");
    }
    for (method, path) in [
        ("POST", format!("/events/build/web?ticket={ticket_text}")),
        ("GET", format!("/status?ticket={ticket_text}")),
        ("POST", format!("/tickets?ticket={ticket_text}")),
        ("GET", format!("/events/build/x?ticket={}", &ticket_text[1..])),
        ("GET", "/events/build/x?ticket=".to_owned()),
    ] {
        assert_eq!(daemon.request(method, &path, &[], "x").refusal(), (401, "denied".into()), "{method} {path}");
    }
    // Without a client name, the daemon assigns one.
    let named = ticket(&daemon, &tokens.all, "")["client"].as_str().unwrap().to_owned();
    assert!(named.starts_with("client-"), "{named}");
    let response = daemon.request("POST", "/tickets?client=a%0Ab", &[("Authorization", &bearer(&tokens.all))], "");
    assert_eq!(response.refusal(), (400, "client_invalid".into()));
    // A client that needs no token needs no ticket.
    assert_eq!(daemon.request_locally("POST", "/tickets", "").refusal(), (400, "request_invalid".into()));
}

#[test]
fn tokens_are_created_listed_and_revoked_with_or_without_a_daemon() {
    let sandbox = Sandbox::new();
    let ctl = |args: &[&str]| Process::start(sandbox.busctl(&[&["token"], args].concat())).finish();
    assert_eq!(ctl(&["list"]).ok().json(), [] as [Value; 0]);
    let made =
        ctl(&["create", "--json", "--name", "phone", "--scope", "subscribe", "--topic", "a/*", "--expires", "1h"]).ok();
    let made = &made.json()[0];
    assert!(made["token"].as_str().unwrap().starts_with("ssebus_"));
    assert_eq!((&made["scopes"], &made["topics"]), (&serde_json::json!(["subscribe"]), &serde_json::json!(["a/*"])));
    assert_eq!(made["expires"].as_u64().unwrap() - made["created"].as_u64().unwrap(), 3_600_000);
    let listed = ctl(&["list"]).ok();
    assert_eq!(listed.json()[0]["id"], made["id"]);
    assert!(!listed.stdout.contains(made["token"].as_str().unwrap()));
    ctl(&["create", "--name", "phone"]).ends_with(1).says("phone");
    ctl(&["create", "--scope", "all"]).ends_with(2);
    ctl(&["create", "--topic", "a//b"]).ends_with(2).says("a//b");
    ctl(&["create", "--expires", "soon"]).ends_with(2);
    ctl(&["revoke", "tablet"]).ends_with(1).says("tablet");
    assert_eq!(ctl(&["revoke", made["id"].as_str().unwrap()]).ok().json()[0]["name"], "phone");

    // The command asks the daemon for its state directory.
    let state = sandbox.path("elsewhere").display().to_string();
    let daemon = Daemon::start_at(sandbox, &["--no-config", "--state-dir", &state]);
    let token = token(&daemon.sandbox, &[]);
    assert!(daemon.sandbox.path("elsewhere/tokens.json").exists());
    assert_eq!(daemon.with_token("POST", "/events/t", &token), 202);

    // The daemon reports it as an absolute path.
    let sandbox = Sandbox::new();
    let socket = sandbox.socket().display().to_string();
    let flags = ["--no-config", "--listen", "127.0.0.1:0", "--socket", &socket, "--state-dir", "here"];
    let daemon = Daemon::of_command(sandbox, flags.map(str::to_owned).to_vec(), |_| {});
    assert!(std::path::Path::new(daemon.status()["state_dir"].as_str().unwrap()).is_absolute());
}

#[test]
fn a_token_file_writable_by_others_is_ignored() {
    let daemon = Daemon::start(&[]);
    let token = token(&daemon.sandbox, &[]);
    assert_eq!(daemon.with_token("GET", "/healthz", &token), 200);
    let file = daemon.sandbox.path("sse-bus/tokens.json");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
    // As another user with write access would: without renaming, and with a change in it.
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text} ")).unwrap();
    assert_eq!(daemon.with_token("GET", "/healthz", &token), 401);
    daemon.has_logged("chmod 600");
    daemon.ctl(&["token", "list"]).ends_with(1).says("chmod 600");
}

/// A change of the mode alone, in both directions, and a change of the content that keeps length and time.
#[test]
fn permissions_of_the_token_file_and_its_directory_apply_from_the_next_request_on() {
    use std::fs::{self, Permissions};
    let daemon = Daemon::start(&[]);
    let token = token(&daemon.sandbox, &[]);
    let (file, directory) = (daemon.sandbox.path("sse-bus/tokens.json"), daemon.sandbox.path("sse-bus"));
    let status = || daemon.with_token("GET", "/healthz", &token);
    assert_eq!(status(), 200);
    for (path, open, closed) in [(&file, 0o660, 0o600), (&directory, 0o770, 0o700)] {
        fs::set_permissions(path, Permissions::from_mode(open)).unwrap();
        assert_eq!(status(), 401, "{open:o} {}", path.display());
        fs::set_permissions(path, Permissions::from_mode(closed)).unwrap();
        assert_eq!(status(), 200, "{closed:o} {}", path.display());
    }
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    let content = fs::read_to_string(&file).unwrap();
    let digest = content.split("\"digest\": \"").nth(1).unwrap()[..8].to_owned();
    let other = digest.chars().map(|c| if c == '0' { '1' } else { '0' }).collect::<String>();
    fs::write(&file, content.replace(&digest, &other)).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    assert_eq!(status(), 401);
}

#[test]
fn a_token_without_admin_reads_neither_clients_nor_events_of_the_bus() {
    let (daemon, tokens) = Daemon::exposed(&[]);
    for filter in ["$sys/clients", "$sys/consumers", "$sys/nodes", "$sys/schedules", "$sys/**", "$sys/*"] {
        let path = format!("/events?topic={filter}");
        let denied = daemon.request("HEAD", &path, &[("Authorization", &bearer(&tokens.subscribe))], "");
        assert_eq!(denied.status, 403, "{filter}");
        let allowed = daemon.request("HEAD", &path, &[("Authorization", &bearer(&tokens.all))], "");
        assert_eq!(allowed.status, 200, "{filter}");
    }
    assert_eq!(daemon.with_token("HEAD", "/events?topic=**", &tokens.subscribe), 200);
    assert_eq!(daemon.with_token("GET", "/clients", &tokens.subscribe), 403);
    // Nor does a ticket, which is for streams only.
    let all = ticket(&daemon, &tokens.all, "");
    let path = format!("/events?topic=$sys/clients&ticket={}", all["ticket"].as_str().unwrap());
    assert_eq!(daemon.request("HEAD", &path, &[], "").status, 403);
}

/// The head is sent before the revocation, the body after it.
#[test]
fn a_publish_whose_token_is_revoked_meanwhile_is_refused() {
    use std::io::{Read, Write};
    let (daemon, tokens) = Daemon::exposed(&[]);
    let mut socket = daemon.tcp();
    let head = format!(
        "POST /events/t HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nContent-Length: 2\r\n\
         Expect: 100-continue\r\n\r\n",
        daemon.address,
        bearer(&tokens.publish)
    );
    socket.write_all(head.as_bytes()).unwrap();
    // The daemon asks for the body once it has accepted the head.
    let mut proceed = [0; 25];
    socket.read_exact(&mut proceed).unwrap();
    assert_eq!(proceed.as_slice(), b"HTTP/1.1 100 Continue\r\n\r\n");
    daemon.ctl(&["token", "revoke", "publish"]).ok();
    socket.write_all(b"xy").unwrap();
    let mut response = [0; 12];
    socket.read_exact(&mut response).unwrap();
    assert_eq!(response.as_slice(), b"HTTP/1.1 403");
    assert_eq!(daemon.request_locally("GET", "/status", "").json()["published"], 0);
}
