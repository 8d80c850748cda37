//! Several machines: a page on each of two nodes, and one behind a load balancer that continues while nodes are killed.

use std::net::SocketAddr;

use sse_bus_browser_tests::{Browser, Bus, Tab, eventually};
use sse_bus_support::harness::{HaProxy, nats::NatsCluster};

#[tokio::test]
async fn pages_of_two_nodes_show_the_same_events_and_one_behind_a_balancer_outlives_its_node() {
    let servers = NatsCluster::start();
    let pages = tempfile::tempdir().unwrap();
    let directory = pages.path().join("pages");
    let start = async |name: &str| {
        let flags = [
            "--pages",
            directory.to_str().unwrap(),
            "--history",
            "nats",
            "--nats",
            &servers.urls(),
            "--nats-bus",
            "pages",
            "--nats-node",
            name,
            "--nats-create",
            "--nats-replicas",
            "3",
        ];
        Bus::start_with(&flags).await
    };
    let mut nodes = [start("a").await, start("b").await];
    let written = nodes[0].json(&["init-page", "hello"]).await.remove(0);
    let path = written["url"].as_str().unwrap().strip_prefix(&nodes[0].url()).unwrap().to_owned();
    let balancer = HaProxy::start(&nodes.each_ref().map(|node| node.address().parse::<SocketAddr>().unwrap()));

    let browser = Browser::start().await;
    let own = [
        browser.open(&format!("{}{path}", nodes[0].url())).await,
        browser.open(&format!("{}{path}", nodes[1].url())).await,
    ];
    let balanced = browser.open(&format!("http://{}{path}", balancer.address)).await;
    for tab in own.iter().chain([&balanced]) {
        eventually("the page to be connected", async || {
            let status = tab.texts("[role=status]").await.concat();
            if status == "open" { Ok(()) } else { Err(status) }
        })
        .await;
    }
    // What one page publishes, the others show.
    own[1].fill("say", "text", "from a page of b").await;
    own[1].click("#say button").await;
    let mut wanted = vec!["from a page of b".to_owned()];
    for tab in own.iter().chain([&balanced]) {
        shows(tab, &wanted).await;
    }
    shows_nodes(&browser, &nodes[0].url()).await;
    // Each node is killed in turn; one of them has the stream of the balanced page.
    for killed in [0, 1] {
        nodes[killed].crash().await;
        for number in 0..5 {
            let text = format!("{number} while {killed} is down");
            nodes[1 - killed].ctl(&["publish", "chat", &text]).await;
            wanted.push(text);
        }
        shows(&balanced, &wanted).await;
        nodes[killed].restart().await;
    }
    for tab in own.iter().chain([&balanced]) {
        shows(tab, &wanted).await;
    }
    balanced.screenshot("several_machines").await;
    browser.quit().await;
}

/// The dashboard of a node shows both, and the log.
async fn shows_nodes(browser: &Browser, url: &str) {
    let page = browser.open(&format!("{url}/")).await;
    eventually("both nodes to be listed", async || {
        let (names, note) = (page.texts("#nodes tbody .name").await, page.texts("#nodes-note").await.concat());
        let is_right = names == ["a", "b"] && note.starts_with("stream SSEBUS_pages on ") && note.ends_with(" ms away");
        if is_right { Ok(()) } else { Err(format!("{names:?} {note}")) }
    })
    .await;
    assert_eq!(page.texts("#nodes .mark").await, ["this page", ""]);
    assert_eq!(page.texts("#nodes-error").await, [""]);
    page.load_axe().await;
    let faults = page.eval("return axe.run('#nodes').then((result) => result.violations.map(({ id }) => id))").await;
    assert_eq!(faults, serde_json::json!([]));
    page.screenshot("nodes").await;
}

/// Waits until a page, whose newest event is first, shows these texts and no others.
async fn shows(tab: &Tab, wanted: &[String]) {
    eventually("the page to show every event once", async || {
        let mut texts = tab.texts("li").await;
        texts.reverse();
        if texts == wanted { Ok(()) } else { Err(format!("{texts:?} instead of {wanted:?}")) }
    })
    .await;
}
