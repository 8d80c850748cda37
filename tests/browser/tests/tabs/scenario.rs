//! Nine tabs on one connection, while the tab that holds it is closed, crashes or freezes, and the daemon restarts:
//! each tab receives each event once, in order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sse_bus_browser_tests::{Bus, Kind, Page, Remote, Value, eventually};
use tokio::task::JoinHandle;

use crate::page::{bus_and_site, in_both_browsers, listen, open, state};

const TABS: usize = 9;

in_both_browsers! { nine_tabs_on_one_connection_receive_each_event_once_whatever_happens_to_it }

async fn nine_tabs_on_one_connection_receive_each_event_once_whatever_happens_to_it(kind: Kind) {
    let (mut bus, _site, origin) = bus_and_site(&["--history", "disk"]).await;
    let publisher = Publisher::start(&bus);
    let browser = Remote::start(kind, &[]).await;
    let began = Instant::now();
    let mut tabs = Vec::new();
    for number in 0..TABS {
        let page = open(&browser, &origin).await;
        // Each tab also subscribes to a topic of its own.
        let filters = format!("['n/**', 'tab/{number}']");
        listen(&page, "all", &filters, "{ since: 'all', client: 'tabs' }").await;
        state(&page, "all", "open").await;
        tabs.push(page);
    }
    one_connection(&bus, &tabs).await;
    println!("{kind:?}: {TABS} tabs open after {:?}", began.elapsed());

    // A page with nine streams of its own would wait here for ever.
    for (number, page) in tabs.iter().enumerate() {
        let published = page.eval(&format!("bus.publish('tab/{number}', 'own')")).await;
        assert_eq!(published["subscribers"], 1, "{published}");
    }
    events_arrive(&tabs).await;
    bus.ctl(&["send", "tabs", "to all tabs of this name"]).await;

    takeover("its tab is closed", &mut tabs, async |leader| leader.close().await).await;
    one_connection(&bus, &tabs).await;

    restart(&mut bus).await;
    events_arrive(&tabs).await;

    if kind == Kind::Chromium {
        takeover("its process crashes", &mut tabs, async |leader| leader.crash().await).await;
        let frozen = leader(&tabs).await;
        let frozen_page = tabs[frozen].clone();
        takeover("it freezes", &mut tabs, async |leader| leader.set_frozen(true).await).await;
        restart(&mut bus).await;
        events_arrive(&tabs).await;
        frozen_page.set_frozen(false).await;
        tabs.push(frozen_page);
        events_arrive(&tabs).await;
        let hung = tabs[leader(&tabs).await].clone();
        takeover("it hangs", &mut tabs, async |leader| leader.hang(Duration::from_secs(12)).await).await;
        tabs.push(hung);
        events_arrive(&tabs).await;
    } else {
        restart(&mut bus).await;
        events_arrive(&tabs).await;
    }
    one_connection(&bus, &tabs).await;

    publisher.stop().await;
    let wanted = history(&bus).await;
    for (number, page) in tabs.iter().enumerate() {
        let got = eventually("the last event in each tab", async || {
            let got: Vec<_> = strings(page.eval("subs.all.got").await);
            if got.last() == wanted.last() { Ok(got) } else { Err(format!("{} of {}", got.len(), wanted.len())) }
        })
        .await;
        let (own, got): (Vec<_>, Vec<_>) = got.into_iter().partition(|data| data.parse::<u64>().is_err());
        assert!(got == wanted, "tab {number}: {}", difference(&got, &wanted));
        assert_eq!(own, ["own", "to all tabs of this name"], "tab {number}");
        let gaps = page.eval("subs.all.gaps").await;
        assert_eq!(gaps, Value::Array(Vec::new()), "tab {number}");
    }
    println!("{kind:?}: {} events in each of {} tabs, in {:?}", wanted.len(), tabs.len(), began.elapsed());
}

/// An event in the life of the leader, and the time until the others receive the next event.
async fn takeover(what: &str, tabs: &mut Vec<Page>, happens: impl AsyncFnOnce(Page)) {
    let leader = tabs.remove(leader(tabs).await);
    let began = Instant::now();
    happens(leader).await;
    // One process may have rendered several of the pages.
    events_arrive(tabs).await;
    println!("the next event after {what}: within {:?}", began.elapsed());
}

/// The tab that holds the connection.
async fn leader(tabs: &[Page]) -> usize {
    eventually("one of the tabs to lead", async || {
        for (number, page) in tabs.iter().enumerate() {
            if page.eval("leads()").await == true {
                return Ok(number);
            }
        }
        Err("none does".into())
    })
    .await
}

/// Waits until the daemon has exactly one subscriber, and so one connection, since each stream has its own.
async fn one_connection(bus: &Bus, tabs: &[Page]) {
    bus.subscribers(1).await;
    let clients = bus.json(&["clients"]).await;
    let clients: Vec<_> = clients.iter().filter(|client| client["role"] == "subscriber").collect();
    assert_eq!((clients.len(), &clients[0]["name"]), (1, &"tabs".into()), "{} tabs: {clients:?}", tabs.len());
}

/// Waits until every tab has later events than any has now.
async fn events_arrive(tabs: &[Page]) {
    let mut newest = 0;
    let last = async |page: &Page| page.eval("Number(subs.all.got.findLast(Number) ?? 0)").await.as_u64().unwrap_or(0);
    for page in tabs {
        newest = newest.max(last(page).await);
    }
    for (number, page) in tabs.iter().enumerate() {
        eventually(&format!("tab {number} to receive events after {newest}"), async || {
            let last = last(page).await;
            if last > newest { Ok(()) } else { Err(format!("{last} {}", page.eval("subs.all.states").await)) }
        })
        .await;
    }
}

async fn restart(bus: &mut Bus) {
    bus.stop().await;
    bus.restart().await;
}

/// The history of `n/**`.
async fn history(bus: &Bus) -> Vec<String> {
    let events = bus.ctl(&["history", "n/**", "--format", "data"]).await.stdout;
    events.lines().map(str::to_owned).collect()
}

fn strings(value: Value) -> Vec<String> {
    serde_json::from_value(value).expect("an array of strings")
}

fn difference(got: &[String], wanted: &[String]) -> String {
    let at = got.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    let around = |list: &[String]| list[at.saturating_sub(3)..list.len().min(at + 5)].join(" ");
    format!("{} of {}, from {at} on {} and not {}", got.len(), wanted.len(), around(got), around(wanted))
}

/// Publishes numbers in turn, also while the daemon is down.
struct Publisher {
    over: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Publisher {
    fn start(bus: &Bus) -> Publisher {
        let (over, address) = (Arc::<AtomicBool>::default(), bus.address());
        let has_ended = over.clone();
        let task = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(10));
            for number in 1_u64.. {
                if has_ended.load(Ordering::Relaxed) {
                    return;
                }
                // A number without a reply may be in history or not; history decides.
                let _ = sse_bus_browser_tests::post(&address, "/events/n/x", &number.to_string()).await;
                pace.tick().await;
            }
        });
        Publisher { over, task }
    }

    async fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        self.task.await.expect("publishing does not fail");
    }
}
