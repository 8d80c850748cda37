//! Clients of earlier and later versions of the binary protocol.

use std::io::{Read as _, Write as _};

use sse_bus::protocol::{
    ErrorCode, Publish, Refused, Reply, Request, Subscribe, Transport,
    binary::{Frame, Version},
};

use crate::harness::{Daemon, Process, Sandbox};

#[test]
fn a_client_of_version_1_receives_what_it_always_did_and_no_headers() {
    let daemon = Daemon::start(&[]);
    let mut old = daemon.frames_of(Version::V1);
    let mut new = daemon.frames();
    for subscriber in [&mut old, &mut new] {
        let reply = subscriber.ask(&Request::Subscribe(Subscribe::new(["t"])));
        assert!(matches!(reply, Reply::Subscribed(_)), "{reply:?}");
    }
    let publish = Publish::new("t", "Grüße\n").with_type("done").with_header("key", "7");
    let mut ids = Vec::new();
    // They stay connected until the end: a disconnect publishes an event.
    let mut publishers = Version::ALL.map(|version| daemon.frames_of(version));
    for publisher in &mut publishers {
        match publisher.ask(&Request::Publish(publish.clone())) {
            Reply::Published(published) => ids.push(published.id),
            other => panic!("{other:?}"),
        }
    }
    // An event published with version 1 has no headers, and version 1 delivers none.
    for (subscriber, keys) in [(&mut old, [None, None]), (&mut new, [None, Some("7")])] {
        for (id, key) in ids.iter().zip(keys) {
            let Some(Reply::Event(event)) = subscriber.next() else { panic!("no event") };
            assert_eq!((event.id, event.headers.get("key")), (*id, key));
            assert_eq!((&*event.topic, event.event_type.as_deref(), &*event.data), ("t", Some("done"), "Grüße\n"));
        }
    }
    // Every request of version 1 is answered as in the current version.
    for request in [Request::Topics {}, Request::Config {}, Request::Kick { client: "nobody".into(), for_ms: None }] {
        assert_eq!(daemon.frames_of(Version::V1).ask(&request), daemon.frames().ask(&request), "{request:?}");
    }
    let Reply::Status(status) = old.ask(&Request::Status {}) else { panic!("no status") };
    assert_eq!((status.pid, status.published), (daemon.pid(), daemon.status()["published"].as_u64().unwrap()));
    let Reply::Clients(clients) = old.ask(&Request::Clients {}) else { panic!("no clients") };
    assert!(clients.iter().all(|client| client.via == Transport::Binary), "{clients:?}");
}

#[test]
fn an_unknown_version_is_refused_in_a_frame_that_every_version_reads() {
    let daemon = Daemon::start(&[]);
    for (preface, named) in [(&b"\0SSEB\x63"[..], "99"), (b"\0SSEB\0", "not 0"), (b"\0OOPS!", "preface is invalid")] {
        for version in Version::ALL {
            let mut stream = daemon.local();
            stream.write_all(preface).unwrap();
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply).unwrap();
            match version.decode(&reply) {
                Frame::Whole(Reply::Error(Refused { code, message, .. }), used) => {
                    assert_eq!((code, used), (ErrorCode::RequestInvalid, reply.len()));
                    assert!(message.contains(named), "{message}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The reply of a daemon that supports version 1 only to any other version.
#[test]
fn the_command_line_shows_why_a_daemon_of_version_1_refuses_it() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("run")).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(sandbox.socket()).unwrap();
    let busctl = Process::start(sandbox.busctl(&["publish", "t", "x"]));
    let (mut peer, _) = listener.accept().unwrap();
    let message = "this daemon speaks version 1 of the binary protocol; use a client of the same";
    let reply = format!(r#"{{"error":{{"code":"request_invalid","message":"{message}","request":0}}}}"#);
    peer.write_all(format!("{reply}\n").as_bytes()).unwrap();
    busctl.finish().ends_with(1).says(message);
}
