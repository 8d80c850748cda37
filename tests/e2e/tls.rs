//! HTTPS, in builds with the feature: HTTP/1.1 and HTTP/2 over TLS, with a curl that trusts the certificate.

use std::process::Command;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::Signal;

use crate::harness::{Daemon, Process, Sandbox, until};

/// Writes a certificate for loopback and its key, and returns their paths.
fn certificate(sandbox: &Sandbox, name: &str) -> [String; 2] {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    [
        sandbox.file(&format!("{name}.pem"), cert.pem()),
        sandbox.file(&format!("{name}.key"), signing_key.serialize_pem()),
    ]
}

fn serve() -> Daemon {
    let sandbox = Sandbox::new();
    let [cert, key] = certificate(&sandbox, "bus");
    Daemon::start_at(sandbox, &["--no-config", "--tls-cert", &cert, "--tls-key", &key])
}

/// curl that trusts the daemon's certificate.
fn curl(daemon: &Daemon, version: &str, path: &str) -> Command {
    let mut curl = daemon.sandbox.command("curl");
    curl.args(["-sSN", version, "--cacert"]).arg(daemon.sandbox.path("bus.pem"));
    curl.args(["-w", "%{http_version} %{http_code}", &format!("https://{}{path}", daemon.address)]);
    curl
}

/// Reads the status over the local socket: there is no plain HTTP.
fn wait_for_subscribers(daemon: &Daemon, wanted: u64) {
    until(&format!("{wanted} subscribers"), || {
        (daemon.request_locally("GET", "/status", "").json()["subscribers"] == wanted).then_some(())
    });
}

#[test]
fn streams_are_served_over_both_versions_of_http() {
    let daemon = serve();
    let ways = [("--http1.1", "1.1 200"), ("--http2", "2 200")];
    let mut streams: Vec<_> = ways.map(|(version, _)| Process::start(curl(&daemon, version, "/events/t"))).into();
    wait_for_subscribers(&daemon, 2);
    for (version, _) in ways {
        let mut publish = curl(&daemon, version, "/events/t");
        publish.args(["-d", version]);
        let run = Process::start(publish).finish().ok();
        assert!(run.stdout.contains("\"subscribers\":2"), "{run}");
    }
    for stream in &mut streams {
        assert!(stream.line().starts_with("retry: "));
        assert!(stream.line().starts_with("id: "), "the first position");
        assert_eq!(stream.line(), "");
        for (version, _) in ways {
            assert!(stream.line().starts_with("id: "));
            assert_eq!(stream.line(), format!("data: {version}"));
            assert_eq!(stream.line(), "");
        }
    }
    daemon.signal(Signal::TERM);
    for (stream, (_, wanted)) in streams.into_iter().zip(ways) {
        let run = stream.finish().ok();
        assert!(run.stdout.ends_with(wanted), "{run}");
    }
}

#[test]
fn a_disconnect_is_noticed() {
    let daemon = serve();
    let streams = ["--http1.1", "--http2"].map(|version| Process::start(curl(&daemon, version, "/events/t")));
    for stream in &streams {
        stream.stdout.wait_for("retry: ");
    }
    drop(streams);
    wait_for_subscribers(&daemon, 0);
}

#[test]
fn guards_apply_and_the_own_origin_is_https() {
    let daemon = serve();
    let own = format!("origin: https://{}", daemon.address);
    let plain = format!("origin: http://{}", daemon.address);
    for version in ["--http1.1", "--http2"] {
        for (header, wanted) in
            [("host: evil.example", "421"), ("origin: https://evil.example", "403"), (&plain, "403"), (&own, "200")]
        {
            let mut request = curl(&daemon, version, "/status");
            request.args(["-H", header]);
            let run = Process::start(request).finish().ok();
            assert!(run.stdout.ends_with(wanted), "{header} {run}");
        }
    }
}

#[test]
fn the_daemon_reports_https_and_refuses_plain_http() {
    let daemon = serve();
    let url = format!("https://{}", daemon.address);
    assert_eq!(daemon.request_locally("GET", "/status", "").json()["url"], url.as_str());
    assert!(daemon.ctl(&["url", "t"]).ok().stdout.contains(&format!("{url}/events/t")));
    let mut plain = daemon.sandbox.command("curl");
    plain.args(["-sS", &format!("http://{}/status", daemon.address)]);
    let run = Process::start(plain).finish();
    assert_ne!(run.code, Some(0), "{run}");
    daemon.ctl(&["publish", "t", "still serving"]).ok();
}

#[test]
fn unusable_certificate_files_are_named() {
    let sandbox = Sandbox::new();
    let [cert, key] = certificate(&sandbox, "bus");
    let [other, other_key] = certificate(&sandbox, "other");
    let text = sandbox.file("text.pem", "no certificate");
    let missing = sandbox.path("missing.pem").display().to_string();
    let garbled = sandbox.file("garbled.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for (cert, key, says) in [
        (&cert, &missing, &["tls_key = ", "missing.pem", "private key"][..]),
        (&missing, &key, &["tls_cert = ", "missing.pem", "name a PEM file"]),
        (&text, &key, &["tls_cert = ", "text.pem", "no certificate"]),
        (&garbled, &key, &["tls_cert = ", "garbled.pem", "name a PEM file"]),
        (&cert, &text, &["tls_key = ", "text.pem", "no private key"]),
        (&cert, &cert, &["tls_key = ", "bus.pem", "no private key"]),
        (&cert, &other_key, &["tls_key = ", "other.key", "is not the key of", "bus.pem"]),
        (&other, &key, &["tls_key = ", "bus.key", "is not the key of", "other.pem"]),
    ] {
        let mut run = sandbox.busd_fails(&["--check", "--tls-cert", cert, "--tls-key", key]).ends_with(2);
        for text in says {
            run = run.says(text);
        }
        assert_eq!(run.stderr.lines().count(), 1, "{run}");
    }
    sandbox.busd_fails(&["--check", "--tls-cert", &cert, "--tls-key", &key]).ok();
}

#[test]
fn a_daemon_elsewhere_is_verified_by_its_certificate() {
    let daemon = serve();
    let url = format!("https://{}", daemon.address);
    let authority = daemon.sandbox.path("bus.pem").display().to_string();
    let trusting = ["--url", &url, "--ca-file", &authority];
    let ctl = |args: &[&str]| daemon.ctl(&[&trusting, args].concat());
    let mut subscriber = daemon.spawn_ctl(&[&trusting[..], &["subscribe", "t", "--format", "data"]].concat());
    wait_for_subscribers(&daemon, 1);
    ctl(&["publish", "t", "one"]).ok();
    let input: Vec<String> = (0..5000).map(|n| n.to_string()).collect();
    daemon.ctl_fed(&[&trusting[..], &["publish", "t", "--lines"]].concat(), input.join("\n").as_bytes()).ok();
    assert_eq!(subscriber.line(), "one");
    for line in input {
        assert_eq!(subscriber.line(), line);
    }
    ctl(&["status"]).ok();
    // The authorities of the system.
    let mut command = daemon.sandbox.busctl(&["--url", &url, "status"]);
    command.env("SSL_CERT_FILE", &authority);
    Process::start(command).finish().ok();
    // Another authority, or another name than that of the certificate.
    daemon.ctl(&["--url", &url, "status"]).ends_with(1).says("cannot be verified").says("--ca-file");
    let [other, _] = certificate(&daemon.sandbox, "other");
    for command in [&["status"][..], &["subscribe", "t"]] {
        let run = daemon.ctl(&[&["--url", &url, "--ca-file", &other], command].concat());
        run.ends_with(1).says("cannot be verified");
    }
    let port = daemon.address.port();
    let run = daemon.ctl(&["--url", &format!("https://[::1]:{port}"), "--ca-file", &authority, "status"]);
    run.ends_with(3);
    let misnamed = format!("https://127.0.0.2:{port}");
    daemon.ctl(&["--url", &misnamed, "--ca-file", &authority, "status"]).ends_with(3);
    let key = daemon.sandbox.path("bus.key").display().to_string();
    daemon.ctl(&["--url", &url, "--ca-file", &key, "status"]).ends_with(2).says("contains no certificate");
    // Plain HTTP to a port with TLS.
    daemon.ctl(&["--url", &format!("http://{}", daemon.address), "status"]).ends_with(1);
}
