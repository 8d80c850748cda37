//! What takes its time, in one test, so that the whole takes half a minute and not two.

use std::io::Read;

use crate::harness::Daemon;

/// Heartbeats every 15 s, a peer that says nothing closed after 10 s, one that
/// takes nothing after 30 s.
#[test]
fn the_idle_are_kept_alive_and_the_silent_and_the_stuck_are_closed() {
    let daemon = Daemon::start(&[]);
    let mut silent = [Box::new(daemon.tcp()) as Box<dyn Read>, Box::new(daemon.local())];
    let _stuck = daemon.stream("/events/flood?client=stuck");
    let mut stuck_lines = daemon.lines();
    stuck_lines.ask(r#"{"subscribe":{"filters":["flood"],"client":"stuck too"}}"#);
    for _ in 0..80 {
        daemon.publish("flood", "x".repeat(200_000));
    }

    let mut idle = daemon.stream("/events/t?client=idle");
    assert!(idle.line().unwrap().unwrap().starts_with("retry: "));
    // Less than PATIENCE passes between any two.
    assert_eq!(idle.line().unwrap().unwrap(), ":\n");
    for peer in &mut silent {
        assert_eq!(peer.read(&mut [0; 10]).unwrap(), 0);
    }
    assert_eq!(idle.line().unwrap().unwrap(), ":\n");
    daemon.publish("t", "after the heartbeats");
    assert_eq!(idle.event().data, "after the heartbeats");

    daemon.wait_for_subscribers(1);
    let clients = daemon.get("/clients").json();
    assert_eq!(clients[0]["name"], "idle");
}
