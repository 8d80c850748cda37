//! `sse-busctl bench --nats` measures a daemon of its own on a server, and leaves nothing there.

use rustix::process::Signal;

use crate::harness::{Process, Sandbox, nats::NatsServer, until};

/// The number of streams that the server has.
fn streams(server: &NatsServer) -> u64 {
    server.monitoring("/jsz").and_then(|jsz| jsz["streams"].as_u64()).expect("JetStream")
}

fn bench(sandbox: &Sandbox, args: &[&str]) -> Process {
    Process::start(sandbox.busctl(&[&["bench"], args].concat()))
}

#[test]
#[ignore = "needs nats-server: a benchmark uses it"]
fn a_benchmark_on_a_server_leaves_nothing_there() {
    let server = NatsServer::start();
    let sandbox = Sandbox::new();
    let args = ["--nats", &server.url(), "--subscribers", "3", "--duration", "1s", "--json"];
    let report = bench(&sandbox, &args).finish().ok().json().remove(0);
    assert_eq!((&report["subscribers"], &report["log"]), (&3.into(), &server.url().into()));
    assert!(report["latency"]["p50_us"].as_f64() > Some(0.0) && report["deliveries_per_second"].as_u64() > Some(0));
    assert_eq!(streams(&server), 0);

    // The same when it is interrupted, and even when it is killed.
    for signal in [Signal::INT, Signal::KILL] {
        let long = bench(&sandbox, &["--nats", &server.url(), "--subscribers", "3", "--duration", "1m"]);
        until("the streams are there", || (streams(&server) > 0).then_some(()));
        long.signal(signal);
        drop(long);
        until("the streams are removed", || (streams(&server) == 0).then_some(()));
    }
    bench(&sandbox, &["--nats", "nats://127.0.0.1:1"]).finish().ends_with(1).says("cannot reach the NATS servers");
}
