//! A node that does not respond delays no other, and catches up.

use rustix::process::Signal;

use crate::{
    harness::{
        nats::{NatsServer, node},
        until,
    },
    load::numbered,
    site::BUS,
};

#[test]
#[ignore = "needs nats-server: it suspends a node"]
fn a_suspended_node_delays_no_other_and_catches_up() {
    let server = NatsServer::start();
    let [running, slow] = ["a", "b"].map(|name| node(&server.url(), BUS, name, &[]));
    let mut streams = [&running, &slow].map(|node| node.stream("/events/t"));
    slow.suspend();
    let data = numbered("x", 1..=5_000);
    let run = running.ctl_fed(&["publish", "t", "--lines"], (data.join("\n") + "\n").as_bytes()).ok();
    assert_eq!(run.json()[0]["accepted"], 5_000);
    assert_eq!(streams[0].data(5_000), data);
    let shown = || running.ctl(&["nodes", "--json"]).ok().json()[1].clone();
    until("its lag is shown", || (shown()["lag"].as_u64() >= Some(5_000)).then_some(()));
    assert!(shown()["name"] == "b" && shown()["state"] != "up", "{}", shown());
    slow.signal(Signal::CONT);
    assert_eq!(streams[1].data(5_000), data);
    until("it has caught up", || (shown()["lag"] == 0).then_some(()));
    let lag = slow.metric("sse_bus_log_lag");
    assert!(lag.abs() < 0.5, "{lag}");
}
