//! Bounds how often peers can cause a line of the log: each kind of line, from each address, [`BURST`] times at once and
//! then once a second. The rest is counted, and the counts are logged at most once a second.
//!
//! A kind is a place in the code, whichever crate it is in. The address is the one in the field `peer` or `from`; lines
//! without one share a bound. At most [`TRACKED`] pairs are tracked; further addresses share a bound per kind. Lines at the
//! levels `debug` and `trace` are bounded only if they contain an address: the others are about local processes, which are
//! trusted, and the daemon's user has turned them on.

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::Hash,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
    warn,
};
use tracing_subscriber::layer::{Context, Layer};

use super::format;

/// Lines of one kind and address that are logged at once, for example when a browser restores its tabs.
const BURST: u32 = 5;
/// Time between two further lines, and between two reports.
const INTERVAL: Duration = Duration::from_secs(1);
/// Pairs of kind and address that are tracked.
const TRACKED: usize = 1024;

/// Suppresses lines that come too often, and counts them.
#[derive(Default)]
pub(super) struct Throttle(Mutex<State<Identifier>>);

/// The throttle, in front of everything that writes lines.
pub(super) struct ThrottleLayer {
    pub(super) throttle: Arc<Throttle>,
    /// The beginning of the target of the log's own lines, which come at a bounded rate already.
    pub(super) own_target: &'static str,
}

struct State<K> {
    tracked: HashMap<(K, Option<IpAddr>), Tracked>,
    reported: Option<Instant>,
}

impl<K> Default for State<K> {
    fn default() -> Self {
        State { tracked: HashMap::new(), reported: None }
    }
}

struct Tracked {
    /// When all lines so far are paid for, at one for each interval.
    paid: Instant,
    suppressed: u64,
    /// The message of the first line that was suppressed since the last report.
    example: String,
}

/// The suppressed lines of one kind.
struct Suppressed {
    lines: u64,
    example: String,
}

impl<S: Subscriber> Layer<S> for ThrottleLayer {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let mut seen = Seen::default();
        event.record(&mut seen);
        !self.is_bounded(metadata, seen.address) || self.throttle.admit(metadata.callsite(), seen, Instant::now())
    }
}

impl ThrottleLayer {
    fn is_bounded(&self, metadata: &Metadata<'_>, address: Option<IpAddr>) -> bool {
        (*metadata.level() <= Level::INFO || address.is_some()) && !metadata.target().starts_with(self.own_target)
    }
}

impl Throttle {
    /// Returns true if a line may be written.
    fn admit(&self, kind: Identifier, seen: Seen, now: Instant) -> bool {
        let (is_admitted, due) = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (state.admit(kind, seen, now), state.due(now))
        };
        report(due);
        is_admitted
    }

    /// Logs what was suppressed since the last report.
    pub(super) fn report(&self) {
        let due = self.0.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        report(due);
    }
}

fn report(due: Vec<Suppressed>) {
    for Suppressed { lines, example } in due {
        warn!(suppressed = lines, like = example, "similar log lines were suppressed");
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn admit(&mut self, kind: K, seen: Seen, now: Instant) -> bool {
        let mut key = (kind, seen.address);
        if self.tracked.len() >= TRACKED && !self.tracked.contains_key(&key) {
            self.tracked.retain(|_, tracked| tracked.suppressed > 0 || tracked.paid > now);
            if self.tracked.len() >= TRACKED {
                key.1 = None;
            }
        }
        let tracked =
            self.tracked.entry(key).or_insert_with(|| Tracked { paid: now, suppressed: 0, example: String::new() });
        let paid = tracked.paid.max(now) + INTERVAL;
        if paid <= now + INTERVAL * BURST {
            tracked.paid = paid;
            return true;
        }
        if tracked.suppressed == 0 {
            tracked.example = seen.message;
        }
        tracked.suppressed += 1;
        false
    }

    /// Returns the lines to report now: none until an interval after the last report.
    fn due(&mut self, now: Instant) -> Vec<Suppressed> {
        let reported = *self.reported.get_or_insert(now);
        if now.saturating_duration_since(reported) < INTERVAL { Vec::new() } else { self.take(now) }
    }

    /// Takes the suppressed lines, with one sum for each kind.
    fn take(&mut self, now: Instant) -> Vec<Suppressed> {
        self.reported = Some(now);
        let mut kinds: HashMap<K, Suppressed> = HashMap::new();
        for ((kind, _), tracked) in self.tracked.iter_mut().filter(|(_, tracked)| tracked.suppressed > 0) {
            let example = std::mem::take(&mut tracked.example);
            let sum = kinds.entry(kind.clone()).or_insert(Suppressed { lines: 0, example });
            sum.lines += std::mem::take(&mut tracked.suppressed);
        }
        kinds.into_values().collect()
    }
}

/// The fields of an event that matter here.
#[derive(Default)]
struct Seen {
    message: String,
    address: Option<IpAddr>,
}

impl Visit for Seen {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format::short(value),
            // The address comes first; a description may follow.
            "peer" | "from" => {
                let shown = format::short(value);
                let address = shown.split(' ').next().unwrap_or_default();
                self.address = address.parse::<SocketAddr>().ok().map(|address| address.ip());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::{debug, info};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn from(address: u32) -> Seen {
        Seen { message: format!("line of {address}"), address: Some(IpAddr::from(address.to_be_bytes())) }
    }

    #[test]
    fn each_kind_and_address_has_a_burst_and_then_a_line_a_second() {
        let (mut state, start) = (State::default(), Instant::now());
        let mut admitted = |kind: &'static str, address, seconds| {
            let now = start + Duration::from_secs(seconds);
            (0..100).filter(|_| state.admit(kind, from(address), now)).count()
        };
        assert_eq!([admitted("one", 1, 0), admitted("one", 2, 0), admitted("two", 1, 0)], [5, 5, 5]);
        assert_eq!([admitted("one", 1, 1), admitted("one", 1, 4), admitted("one", 1, 100)], [1, 3, 5]);
        let mut due = state.take(start);
        due.sort_by_key(|kind| kind.lines);
        let lines: Vec<_> = due.iter().map(|kind| kind.lines).collect();
        assert_eq!(lines, [95, 95 + 95 + 99 + 97 + 95]);
        assert!(state.take(start).is_empty());
    }

    /// The lines that are logged, with their levels.
    #[derive(Clone, Default)]
    struct Logged(Arc<Mutex<Vec<(Level, String)>>>);

    impl<S: Subscriber> Layer<S> for Logged {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut seen = Seen::default();
            event.record(&mut seen);
            self.0.lock().unwrap().push((*event.metadata().level(), seen.message));
        }
    }

    #[test]
    fn a_peer_on_the_network_is_bounded_at_every_level_and_a_local_process_at_info() {
        let logged = Logged::default();
        // Not under the target of the log's own lines, as this test would be.
        let subscriber = tracing_subscriber::registry()
            .with(ThrottleLayer { throttle: Arc::default(), own_target: "sse_busd::logging" })
            .with(logged.clone());
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..100 {
                debug!(target: "sse_busd", peer = "192.0.2.1:80", "network");
                debug!(target: "sse_busd", peer = "python3 (pid 812)", "local");
                info!(target: "sse_busd", peer = "python3 (pid 812)", "local");
            }
        });
        let logged = logged.0.lock().unwrap();
        let count = |level, message: &str| logged.iter().filter(|line| **line == (level, message.into())).count();
        let counts = [count(Level::DEBUG, "network"), count(Level::DEBUG, "local"), count(Level::INFO, "local")];
        assert_eq!(counts, [BURST as usize, 100, BURST as usize]);
    }

    #[test]
    fn many_addresses_cost_a_bounded_table_and_share_a_bound() {
        let (mut state, now) = (State::default(), Instant::now());
        let admitted = (0..10_000).filter(|address| state.admit("one", from(*address), now)).count();
        assert_eq!(admitted, TRACKED + BURST as usize);
        assert_eq!(state.tracked.len(), TRACKED + 1);
        // Idle ones are evicted for others.
        let later = now + Duration::from_mins(1);
        state.take(later);
        assert!(state.admit("one", from(20_000), later));
        assert_eq!(state.tracked.len(), 1);
    }
}
