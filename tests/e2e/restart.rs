//! Restarts under load: a thousand subscribers reconnect and miss nothing, or receive a gap; publishers continue.

use std::{
    collections::{BTreeMap, HashSet},
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixStream,
    path::Path,
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};
use sse_bus::{
    Client,
    client::{Backoff, Item},
    protocol::Subscribe,
};

use crate::{
    harness::{Daemon, Lines, Sandbox, Sse, Subscriber, Subscribers, block_on, until},
    service::InheritedSockets,
};

const SUBSCRIBERS: usize = 1000;
/// All subscribers have reconnected within this time.
const BACK: Duration = Duration::from_secs(15);
const PUBLISHERS: usize = 3;
/// Between two events of a publisher; each event goes to a thousand subscribers.
const PACE: Duration = Duration::from_millis(200);
/// Subscribers whose reconnect must fail before the next daemon starts.
const TOO_EARLY: usize = 100;

/// One test at a time: the measured restart must not include the load of another.
static ALONE: Mutex<()> = Mutex::new(());

/// Who owns the daemon's sockets.
pub(crate) enum Sockets {
    /// The test, as a service manager does; they outlive the daemon.
    Inherited(InheritedSockets),
    /// The daemon; the port is closed while it is down.
    Own(SocketAddr),
}

impl Sockets {
    pub(crate) fn inherited(sandbox: &Sandbox) -> Sockets {
        Sockets::Inherited(InheritedSockets::new(sandbox))
    }

    /// On a port below the ephemeral range, so that it is still free after a restart.
    fn own() -> Sockets {
        let first = std::process::id() as u16 % 10_000;
        let mut ports = (0..10_000).map(|n| SocketAddr::from(([127, 0, 0, 1], 10_000 + (first + n) % 10_000)));
        Sockets::Own(ports.find(|port| TcpListener::bind(port).is_ok()).expect("a free port"))
    }

    pub(crate) fn start(&self, sandbox: Sandbox, history: &str) -> Daemon {
        let mut flags = ["--no-config", "--history", history].map(str::to_owned).to_vec();
        if let Sockets::Own(address) = self {
            let socket = sandbox.socket().display().to_string();
            flags.extend(["--listen", &address.to_string(), "--socket", &socket].map(str::to_owned));
        }
        Daemon::of_command(sandbox, flags, |command| self.give(command))
    }

    /// Passes the sockets to a daemon's command.
    pub(crate) fn give(&self, command: &mut Command) {
        if let Sockets::Inherited(inherited) = self {
            inherited.give(command, "http:ipc");
        }
    }
}

/// An event that was acknowledged as published.
struct Published {
    id: String,
    data: String,
}

/// Publishes until `over` is set, also while the daemon is down. Returns the acknowledged events.
fn publish(socket: &Path, name: &str, ack: &str, over: &AtomicBool) -> Vec<Published> {
    let mut published = Vec::new();
    let mut connection = None;
    for n in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        thread::sleep(PACE);
        let connect = || UnixStream::connect(socket).ok().map(Lines::new);
        let Some(mut lines) = connection.take().or_else(connect) else { continue };
        let data = format!("{name}-{n}");
        let request = json!({"publish": {"topic": "load", "data": data, "ack": ack}}).to_string();
        let Some(reply) = lines.try_ask(&request) else { continue };
        match reply["published"]["id"].as_str() {
            Some(id) => published.push(Published { id: id.to_owned(), data }),
            None => assert_eq!(reply["error"]["code"], "stopping", "{reply}"),
        }
        connection = Some(lines);
    }
    published
}

/// Restarts the daemon under load and waits until all subscribers have reconnected. Returns the acknowledged events.
fn restart(
    daemon: &mut Daemon,
    sockets: &Sockets,
    subscribers: &Subscribers,
    signal: Signal,
    ack: &str,
) -> Vec<Published> {
    let how = if signal == Signal::TERM { "stop" } else { "crash" };
    let over = AtomicBool::new(false);
    let socket = daemon.sandbox.socket();
    let (before, streams) =
        subscribers.states().next().map(|subscriber| (subscriber.events.len(), subscriber.streams)).unwrap();
    thread::scope(|scope| {
        let (socket, over) = (&socket, &over);
        let publishers: Vec<_> =
            (0..PUBLISHERS).map(|n| scope.spawn(move || publish(socket, &format!("{how}-{n}"), ack, over))).collect();
        until("events arrive", || {
            subscribers.all(|subscriber| subscriber.events.len() > before + 2 * PUBLISHERS).then_some(())
        });
        let began = Instant::now();
        daemon.signal(signal);
        daemon.wait();
        until("some try to reconnect while it is down", || {
            let early = subscribers.states().filter(|subscriber| subscriber.tries > 0).count();
            (early >= TOO_EARLY).then_some(())
        });
        let away = began.elapsed();
        daemon.start_again_as(|command| sockets.give(command));
        until("all have reconnected", || subscribers.all(|subscriber| subscriber.streams > streams).then_some(()));
        let last = subscribers.states().filter_map(|subscriber| subscriber.since).max().unwrap() - began;
        over.store(true, Ordering::Relaxed);
        let published = publishers.into_iter().flat_map(|publisher| publisher.join().unwrap()).collect();
        eprintln!("{how}: {SUBSCRIBERS} subscribers, down for {away:.2?}: the last one reconnected after {last:.2?}");
        assert!(last < BACK, "{last:?}");
        published
    })
}

/// Restarts cleanly and then by a crash. Returns the events acknowledged around each, and the subscribers.
fn restart_twice(sockets: &Sockets, sandbox: Sandbox, history: &str) -> (Daemon, [Vec<Published>; 2], Subscribers) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut daemon = sockets.start(sandbox, history);
    let subscribers = Subscribers::connect(SUBSCRIBERS, daemon.address, "/events/load");
    daemon.wait_for_subscribers(SUBSCRIBERS as u64);
    // A subscriber without an event would have no position to resume from.
    daemon.publish("load", "first");
    until("all have the first event", || subscribers.all(|subscriber| !subscriber.events.is_empty()).then_some(()));
    // A crash may lose events that were not acknowledged as durable.
    let ack = if history == "disk" { "durable" } else { "accepted" };
    let clean = restart(&mut daemon, sockets, &subscribers, Signal::TERM, "accepted");
    let crash = restart(&mut daemon, sockets, &subscribers, Signal::KILL, ack);
    daemon.publish("load", "last");
    let has_last = |subscriber: &Subscriber| subscriber.events.last().is_some_and(|event| event.data == "last");
    until("all have the last event", || subscribers.all(has_last).then_some(()));
    (daemon, [clean, crash], subscribers)
}

/// Checks that a subscriber received the wanted events, none twice or out of order. Returns its gaps.
fn account(wanted: &BTreeMap<&str, &str>, subscriber: &Subscriber) -> Vec<Value> {
    let (gaps, events): (Vec<_>, Vec<_>) =
        subscriber.events.iter().partition(|event| event.kind.as_deref() == Some("$gap"));
    let epoch = |event: &Sse| event.id.split('-').next().unwrap().to_owned();
    for pair in events.windows(2) {
        let rises = epoch(pair[0]) != epoch(pair[1]) || pair[0].seq() < pair[1].seq();
        assert!(rises, "{} after {}", pair[1].id, pair[0].id);
    }
    let heard: HashSet<_> = events.iter().map(|event| event.data.as_str()).collect();
    assert_eq!(heard.len(), events.len(), "something came twice");
    let by_id: BTreeMap<_, _> = events.iter().map(|event| (event.id.as_str(), event.data.as_str())).collect();
    for (id, data) in wanted {
        assert_eq!(by_id.get(id), Some(data), "{id} is missing, or is another");
    }
    gaps.into_iter().map(Sse::json).collect()
}

fn with_history_on_disk_no_subscriber_misses_an_event(sockets: &Sockets, sandbox: Sandbox) {
    let (daemon, published, subscribers) = restart_twice(sockets, sandbox, "disk");
    let history = daemon.ctl(&["history", "load"]).ok().json();
    let wanted: BTreeMap<_, _> =
        history.iter().map(|event| (event["id"].as_str().unwrap(), event["data"].as_str().unwrap())).collect();
    for Published { id, data } in published.iter().flatten() {
        assert_eq!(wanted.get(id.as_str()), Some(&data.as_str()), "{id} was answered, and is not in history");
    }
    for subscriber in subscribers.states() {
        let gaps = account(&wanted, &subscriber);
        // After a crash the bus cannot tell whether an event is missing, so a gap may say so.
        assert!(gaps.len() <= 1 && gaps.iter().all(|gap| gap["missed"].is_null()), "{gaps:?}");
    }
}

#[test]
fn with_inherited_sockets_a_thousand_subscribers_miss_nothing() {
    let sandbox = Sandbox::new();
    with_history_on_disk_no_subscriber_misses_an_event(&Sockets::inherited(&sandbox), sandbox);
}

#[test]
fn with_its_own_sockets_a_thousand_subscribers_miss_nothing() {
    with_history_on_disk_no_subscriber_misses_an_event(&Sockets::own(), Sandbox::new());
}

#[test]
fn with_history_in_memory_a_thousand_subscribers_receive_a_gap() {
    let sandbox = Sandbox::new();
    let sockets = Sockets::inherited(&sandbox);
    let (_daemon, [clean, crash], subscribers) = restart_twice(&sockets, sandbox, "memory");
    let epoch = |published: &Published| published.id.split('-').next().unwrap().to_owned();
    let last = epoch(crash.last().unwrap());
    // Events acknowledged before a clean stop were delivered, and all since are in history.
    let wanted = clean.iter().chain(crash.iter().filter(|published| epoch(published) == last));
    let wanted: BTreeMap<_, _> = wanted.map(|published| (published.id.as_str(), published.data.as_str())).collect();
    assert!(wanted.len() > clean.len());
    for subscriber in subscribers.states() {
        let gaps = account(&wanted, &subscriber);
        assert_eq!(gaps.iter().map(|gap| &gap["reason"]).collect::<Vec<_>>(), ["restarted", "restarted"]);
    }
}

/// Both clients read all events through a restart: the library's and the command line.
#[test]
fn the_library_and_the_command_line_resume_after_their_last_event() {
    let sandbox = Sandbox::new();
    let sockets = Sockets::inherited(&sandbox);
    let mut daemon = sockets.start(sandbox, "disk");
    let mut command = daemon.spawn_ctl(&["subscribe", "load", "--format", "data"]);
    let endpoint = daemon.endpoint();
    let (subscribed, is_subscribed) = mpsc::channel();
    let library = thread::spawn(move || {
        block_on(async {
            let client = Client::connect(&endpoint).await.unwrap();
            let mut events = client.subscribe(Subscribe::new(["load"])).await.unwrap().reconnecting(Backoff::default());
            subscribed.send(()).unwrap();
            let (mut heard, mut last) = (Vec::new(), String::new());
            let (mut losses, mut resumed) = (0, Vec::new());
            loop {
                match events.next().await.unwrap().unwrap() {
                    Item::Event(event) if event.data == "end" => return (heard, losses, resumed),
                    Item::Event(event) => {
                        last = event.id.unwrap().to_string();
                        heard.push(event.data);
                    }
                    Item::Reconnecting { attempt, .. } => losses += u32::from(attempt == 1),
                    Item::Resumed { since, .. } => resumed.push((since, last.clone())),
                    Item::Gap { gap, .. } => assert_eq!(gap.missed, None, "{gap:?}"),
                    other => panic!("{other:?}"),
                }
            }
        })
    });
    is_subscribed.recv().unwrap();
    daemon.wait_for_subscribers(2);
    let over = AtomicBool::new(false);
    let socket = daemon.sandbox.socket();
    let published = thread::scope(|scope| {
        let publisher = scope.spawn(|| publish(&socket, "p", "durable", &over));
        for (restart, signal) in [Signal::TERM, Signal::KILL].into_iter().enumerate() {
            (0..4).for_each(|_| drop(command.line()));
            daemon.signal(signal);
            daemon.wait();
            command.stderr.wait("the notice of the disconnect", |bytes, _| {
                (String::from_utf8_lossy(bytes).matches("; reconnecting\n").count() > restart).then_some(())
            });
            daemon.start_again_as(|command| sockets.give(command));
            command.stderr.wait("the notice of the reconnect", |bytes, _| {
                (String::from_utf8_lossy(bytes).matches("reconnected; resuming from ").count() > restart).then_some(())
            });
        }
        (0..4).for_each(|_| drop(command.line()));
        over.store(true, Ordering::Relaxed);
        publisher.join().unwrap()
    });
    daemon.publish("load", "end");
    let history = daemon.ctl(&["history", "load", "--format", "data"]).ok().stdout;
    let mut wanted: Vec<_> = history.lines().collect();
    assert!(published.iter().all(|Published { data, .. }| wanted.contains(&data.as_str())));
    wanted.pop();
    let (heard, losses, resumed) = library.join().unwrap();
    // Events that the crash lost may have been delivered before.
    let known = |data: &&str| wanted.contains(data);
    assert_eq!(heard.iter().map(String::as_str).filter(known).collect::<Vec<_>>(), wanted);
    assert!(heard.iter().collect::<HashSet<_>>().len() == heard.len(), "something came twice");
    assert_eq!((losses, resumed.len()), (2, 2));
    assert!(resumed.iter().all(|(since, last)| since == last), "{resumed:?}");
    command.stdout.wait_for("end\n");
    let printed = command.stdout.text();
    assert_eq!(printed.lines().filter(known).collect::<Vec<_>>(), wanted);
    assert_eq!(printed.lines().collect::<HashSet<_>>().len(), printed.lines().count(), "something came twice");
    // Two lines for each restart, besides the notice of a gap.
    assert_eq!(command.stderr.text().lines().filter(|line| !line.contains("missed")).count(), 4);
}
