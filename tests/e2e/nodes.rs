//! `nodes` of a daemon whose bus is its own. Several nodes are tested in `tests/cluster`.

use serde_json::json;

use crate::{harness::Daemon, remote::url};

#[test]
fn a_daemon_with_a_bus_of_its_own_has_no_nodes() {
    let daemon = Daemon::start(&[]);
    assert_eq!(daemon.get("/nodes").json(), json!([]));
    assert_eq!(daemon.lines().ask(r#"{"nodes":{}}"#), json!({"nodes": []}));
    assert_eq!(daemon.status().get("nodes"), None);
    for before in [&[][..], &["--url", &url(&daemon)]] {
        assert_eq!(daemon.ctl(&[before, &["nodes"]].concat()).ok().stdout, "");
        let run = daemon.ctl(&[before, &["nodes", "--format", "text"]].concat()).ok();
        run.says("a bus of its own");
    }
    // The form of the id of a client of another node is no name.
    let refused = daemon.lines().ask(r#"{"subscribe":{"client":"c1@node"}}"#);
    assert_eq!(refused["error"]["code"], "client_invalid");
    daemon.lines().ask(r#"{"subscribe":{"client":"me@node"}}"#)["subscribed"].as_object().unwrap();
}
