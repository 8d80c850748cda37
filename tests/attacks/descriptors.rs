//! Exhausted descriptors: streams continue, nothing spins, and there is room as soon as connections are closed.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use crate::{
    harness::{Daemon, Sandbox, after, http::Socket, until},
    measure::{alone, descriptors, processor_time},
};

/// Descriptors of the daemon.
const LIMIT: usize = 256;
/// Connections, more than there are descriptors for.
const CONNECTIONS: usize = 400;

/// Less than the timeout after which silent connections are closed and leave room.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A daemon with this limit of descriptors.
fn narrow() -> Daemon {
    let sandbox = Sandbox::new();
    let socket = sandbox.socket().display().to_string();
    let flags = ["--no-config", "--listen", "127.0.0.1:0", "--socket", &socket].map(str::to_owned).to_vec();
    Daemon::of_command(sandbox, flags, |busd| after(&format!("ulimit -n {LIMIT}"), busd))
}

/// Takes all descriptors with connections of one kind, holds them for a while, and closes them.
fn exhaust(what: &str, daemon: &Daemon, connect: impl Fn() -> Box<dyn Socket>, others: impl Fn() -> bool) {
    let mut stream = daemon.stream("/events/t");
    let mut publisher = daemon.lines();
    let mut publish = |data: String| {
        let reply = publisher.ask(format!(r#"{{"publish":{{"topic":"t","data":"{data}"}}}}"#));
        assert_eq!(reply["published"]["subscribers"], 1, "{what}: {reply}");
    };
    let before = descriptors(daemon);
    let connections: Vec<_> = (0..CONNECTIONS).map(|_| connect()).collect();
    until("the descriptors are taken", || {
        publish("while they come".into());
        (descriptors(daemon) > LIMIT / 2).then_some(())
    });
    let (cpu, began) = (processor_time(daemon), Instant::now());
    let mut events = 0;
    while began.elapsed() < Duration::from_secs(3) {
        publish(format!("{events}"));
        events += 1;
        let asked = Instant::now();
        assert!(
            others() && asked.elapsed() < AT_ONCE,
            "{what}: the other transport accepted nothing for {:?}",
            asked.elapsed()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let busy = processor_time(daemon).saturating_sub(cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    let open = descriptors(daemon);
    while stream.event().data != format!("{}", events - 1) {}
    eprintln!("{what}: {open} of {LIMIT} descriptors open, {:.1} % of a processor", busy * 100.0);
    assert!(open < LIMIT, "{what}: none is left for the daemon itself");
    assert!(busy < 0.3, "{what}: the daemon is busy with nothing: {busy}");

    drop(connections);
    let began = Instant::now();
    until("the daemon accepts connections again", || (daemon.get("/healthz").status == 200).then_some(()));
    assert!(daemon.lines().ask(r#"{"status":{}}"#)["status"].is_object());
    let room = began.elapsed();
    until("all descriptors are closed", || (descriptors(daemon) <= before + 4).then_some(()));
    eprintln!("{what}: room again after {room:.2?}, all closed after {:.2?}", began.elapsed());
    assert!(room < Duration::from_secs(2), "{what}: room only after {room:?}");
}

#[test]
fn streams_and_publishers_continue_while_tcp_connections_take_all_descriptors() {
    let _alone = alone();
    let daemon = narrow();
    exhaust(
        "over TCP",
        &daemon,
        || Box::new(daemon.tcp()),
        || daemon.lines().ask(r#"{"status":{}}"#)["status"].is_object(),
    );
}

#[test]
fn streams_and_publishers_continue_while_local_connections_take_all_descriptors() {
    let _alone = alone();
    let daemon = narrow();
    let connect = || {
        let mut socket = daemon.local();
        // They send the start of a request, and then nothing: neither publishers nor subscribers.
        let _ = socket.write_all(b"{\"status\":{}}\n");
        Box::new(socket) as Box<dyn Socket>
    };
    exhaust("locally", &daemon, connect, || daemon.get("/healthz").status == 200);
}

#[test]
fn a_connection_without_a_descriptor_is_closed_and_logged() {
    let _alone = alone();
    let daemon = narrow();
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| daemon.local()).collect();
    assert_eq!(connections.last_mut().unwrap().read(&mut [0]).unwrap_or(0), 0);
    until("the refusal is logged", || {
        daemon.log().contains("no file descriptors are left for more local").then_some(())
    });
}
