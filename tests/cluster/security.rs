//! Nodes that may not use the servers end with a sentence that says why, and what others publish on the subjects of a bus harms
//! nothing.

use std::fs;

use async_nats::HeaderMap;

use crate::{
    harness::{
        Daemon, Sandbox,
        nats::{NatsServer, node, node_flags},
    },
    js::{connect, headers, publish},
    load::{numbered, publish_all_of},
    site::BUS,
};

/// A pair of keys that only these tests use.
const SEED: &str = "SUAPTCCGRCTRSANU4LEHUDYRR65SI2HZUK6Q4CUD7ND6XSWWKZKZEOCGNQ";
const PUBLIC: &str = "UD4WGM7ZMHA62P7KZN2LCW6LTVEVANAJ5UEJDQIZYG2H7L7XF5ZPO3SX";

/// An operator and an account, and the credentials of a user of that account. Only these tests use them.
const OPERATOR: &str = include_str!("credentials/operator.conf");
const CREDENTIALS: &str = include_str!("credentials/node.creds");

const PASSWORDS: &str = "authorization { users: [
  { user: bus, password: right },
  { user: guest, password: right, permissions: { publish: { deny: [\"$JS.>\"] } } },
] }";

/// Starts a node that cannot start, and returns what it says.
fn refused(server: &NatsServer, flags: &[&str]) -> String {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("wrong"), "wrong").unwrap();
    fs::write(sandbox.path("right"), "right").unwrap();
    fs::write(sandbox.path("seed"), SEED).unwrap();
    let all = node_flags(&sandbox, &server.url(), BUS, "a");
    let all: Vec<&str> = all.iter().map(String::as_str).chain(flags.iter().copied()).collect();
    // It has this flag as well.
    let run = sandbox.busd_fails(&all[1..]);
    assert_ne!(run.code, Some(0), "{run}");
    assert!(!run.stderr.contains("panicked"), "{run}");
    run.stderr
}

/// Checks that a text contains one of some words.
#[track_caller]
fn names(text: &str, words: &[&str]) {
    let lower = text.to_lowercase();
    assert!(words.iter().any(|word| lower.contains(word)), "none of {words:?} in: {text}");
}

/// Starts a node with files for its flags.
fn allowed(server: &NatsServer, files: &[(&str, &str)], flags: &[&str]) -> Daemon {
    let sandbox = Sandbox::new();
    for (name, text) in files {
        sandbox.file(name, text);
    }
    let mut all = node_flags(&sandbox, &server.url(), BUS, "a");
    all.extend(flags.iter().map(ToString::to_string));
    Daemon::of_command(sandbox, all, |_| {})
}

#[test]
#[ignore = "needs nats-server: it asks for a password"]
fn wrong_credentials_are_refused_at_start() {
    let server = NatsServer::configured(PASSWORDS);
    names(&refused(&server, &[]), &["authoriz", "credentials"]);
    names(&refused(&server, &["--nats-user", "bus", "--nats-password-file", "wrong"]), &["authoriz", "credentials"]);
    names(&refused(&server, &["--nats-nkey", "seed"]), &["authoriz", "credentials", "nkey"]);
    let node = allowed(&server, &[("right", "right")], &["--nats-user", "bus", "--nats-password-file", "right"]);
    node.publish("t", "x");
}

#[test]
#[ignore = "needs nats-server: it asks for a signature"]
fn a_node_with_the_right_key_is_accepted() {
    let server = NatsServer::configured(&format!("authorization {{ users: [ {{ nkey: {PUBLIC} }} ] }}"));
    names(&refused(&server, &[]), &["authoriz", "credentials"]);
    allowed(&server, &[("seed", SEED)], &["--nats-nkey", "seed"]).publish("t", "x");
}

#[test]
#[ignore = "needs nats-server: it asks for credentials"]
fn a_node_with_a_file_of_credentials_is_accepted() {
    let server = NatsServer::configured(OPERATOR);
    names(&refused(&server, &[]), &["authoriz", "credentials"]);
    allowed(&server, &[("node.creds", CREDENTIALS)], &["--nats-credentials", "node.creds"]).publish("t", "x");
}

#[test]
#[ignore = "needs nats-server: it permits nothing"]
fn a_user_without_permission_for_streams_is_refused_at_start() {
    let server = NatsServer::configured(PASSWORDS);
    let text = refused(&server, &["--nats-user", "guest", "--nats-password-file", "right"]);
    names(&text, &["permission", "not allowed", "denied"]);
}

#[test]
#[ignore = "needs nats-server: it has no stream"]
fn a_missing_stream_is_refused_with_the_flag_that_creates_it() {
    let server = NatsServer::start();
    let sandbox = Sandbox::new();
    let flags = node_flags(&sandbox, &server.url(), BUS, "a");
    let without: Vec<&str> = flags[1..].iter().map(String::as_str).filter(|flag| *flag != "--nats-create").collect();
    let run = sandbox.busd_fails(&without);
    assert_ne!(run.code, Some(0), "{run}");
    assert!(run.stderr.contains("--nats-create"), "{run}");
}

#[test]
#[ignore = "needs nats-server: it has no certificate"]
fn plain_text_where_tls_is_required_is_refused_at_start() {
    let server = NatsServer::start();
    names(&refused(&server, &["--nats-tls"]), &["tls"]);
}

#[test]
#[ignore = "needs nats-server: it has a certificate"]
fn a_certificate_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    fs::write(&cert, certificate.cert.pem()).unwrap();
    fs::write(&key, certificate.signing_key.serialize_pem()).unwrap();
    let tls = format!("tls {{ cert_file: {cert:?}, key_file: {key:?} }}");
    let server = NatsServer::configured(&tls);
    names(&refused(&server, &[]), &["certificate", "tls"]);
    names(&refused(&server, &["--nats-tls"]), &["certificate"]);
    let ca = cert.display().to_string();
    allowed(&server, &[], &["--nats-tls", "--nats-tls-ca", &ca]).publish("t", "x");
}

/// Messages that no node has published: without headers, not text, large, with subjects that are no topics, or with headers that
/// are not as nodes write them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: it publishes what no node would"]
async fn messages_of_others_are_skipped() {
    let server = NatsServer::start();
    let nodes = ["a", "b"].map(|name| node(&server.url(), BUS, name, &[]));
    let mut streams = nodes.each_ref().map(|node| node.stream("/events/**"));
    let (client, context) = connect(&server.url()).await;
    publish_all_of(&nodes[0], "t", &numbered("before", 1..=3));

    // The headers of an event of a node, on which others are modelled.
    let stream = context.get_stream(crate::site::STREAM).await.unwrap();
    let real = stream.get_raw_message(1).await.unwrap().headers;
    let subjects = ["t", "%zz", "%", "%00", "%24sys.clients", "a.%2E", "a.b.c.d", "%FF%FE", "%E2%80%AE"];
    for subject in subjects {
        let subject = format!("ssebus.{BUS}.ev.{subject}");
        publish(&context, &subject, HeaderMap::new(), "no headers").await.unwrap();
        publish(&context, &subject, headers([("X", "y".repeat(60_000))]), "large headers").await.unwrap();
        for (name, _) in real.iter() {
            let mut forged = real.clone();
            forged.insert(name.clone(), "\u{fffd} not what it was");
            // The server refuses some of them itself.
            let _ = publish(&context, &subject, forged, "forged").await;
        }
        client.publish(subject.clone(), vec![0xff; 1 << 10].into()).await.unwrap();
    }
    client.publish(format!("ssebus.{BUS}.ev.t"), vec![b'x'; (1 << 20) - 1].into()).await.unwrap();
    client.publish(format!("ssebus.{BUS}.rt.t"), vec![0xff; 1 << 10].into()).await.unwrap();
    client.publish(format!("ssebus.{BUS}.ctl.x"), vec![0xff; 1 << 10].into()).await.unwrap();
    client.flush().await.unwrap();

    publish_all_of(&nodes[1], "t", &numbered("after", 1..=3));
    for (node, stream) in nodes.iter().zip(&mut streams) {
        let mut received = Vec::new();
        while received.last().is_none_or(|data| data != "after-3") {
            let event = stream.event();
            assert_eq!(event.kind, None, "{event:?}");
            received.push(event.data);
        }
        received.retain(|data| !data.starts_with("forged"));
        assert_eq!(received, [numbered("before", 1..=3), numbered("after", 1..=3)].concat());
        // A fresh reader sees the same.
        let mut past = node.stream("/events/t?since=all");
        let mut again = Vec::new();
        while again.last().is_none_or(|data| data != "after-3") {
            again.push(past.event().data);
        }
        again.retain(|data| !data.starts_with("forged"));
        assert_eq!(again, received);
        let log = node.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}
