//! The other nodes, as their announcements describe them.
//!
//! Times are milliseconds of this daemon's monotonic clock. The age of a message needs no common clock: the smallest
//! difference between the clocks that announcements have shown is the one without a delay.

use std::collections::BTreeMap;

use sse_bus::{
    limits::{NODE_LOST, NODE_LOST_KEPT, NODE_MESSAGE_AGE, NODES_MAX},
    protocol::{NodeInfo, NodeState},
    time::whole_millis,
};

use super::message::Announcement;

/// How much faster than ours the clock of a node may be, in milliseconds for each announcement.
const DRIFT: i64 = 2;

/// The other nodes by name.
#[derive(Debug, Default)]
pub(super) struct Nodes(BTreeMap<String, Node>);

#[derive(Debug)]
struct Node {
    instance: u64,
    info: NodeInfo,
    /// When it announced itself last.
    seen: u64,
    /// The last number of the log at that time.
    last: u64,
    /// The difference of the clocks: ours at the arrival of a message without delay, less that of the node.
    offset: i64,
    watches_presence: bool,
    /// It did not answer in time. Others do not wait for it until it announces itself again.
    is_silent: bool,
    /// It has not announced itself for some time.
    is_lost: bool,
    /// Its turn: increases with each request that any node receives.
    turn: u64,
}

impl Node {
    fn info(&self, now: u64) -> NodeInfo {
        let mut info = self.info.clone();
        info.own = false;
        info.age_ms = now.saturating_sub(self.seen);
        info.state = match self {
            Node { is_lost: true, .. } => NodeState::Lost,
            Node { is_silent: true, .. } => NodeState::Silent,
            _ => NodeState::Up,
        };
        info
    }
}

/// A node has come or gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The type of the event: `joined`, `left` or `lost`.
    pub(super) what: &'static str,
    pub(super) node: NodeInfo,
    /// An earlier node with its name has ended: it has left, was lost, or was started again.
    pub(super) has_ended: bool,
}

impl Nodes {
    /// Notes an announcement. Returns a change if the node is new.
    pub(super) fn announced(
        &mut self,
        name: &str,
        instance: u64,
        sent: u64,
        announcement: Announcement,
        now: u64,
        last: u64,
    ) -> Option<Change> {
        let Announcement { mut info, watches_presence, .. } = announcement;
        name.clone_into(&mut info.name);
        let offset = difference(now, sent);
        if let Some(known) = self.0.get_mut(name).filter(|known| known.instance == instance) {
            known.offset = offset.min(known.offset.saturating_add(DRIFT));
            (known.info, known.seen, known.last) = (info, now, last);
            (known.watches_presence, known.is_silent) = (watches_presence, false);
            let was_lost = std::mem::take(&mut known.is_lost);
            return was_lost.then(|| Change { what: "joined", node: known.info(now), has_ended: false });
        }
        if self.0.len() >= NODES_MAX && !self.0.contains_key(name) {
            return None;
        }
        let (is_silent, is_lost) = (false, false);
        let node = Node { instance, info, seen: now, last, offset, watches_presence, is_silent, is_lost, turn: 0 };
        let joined = node.info(now);
        let has_ended = self.0.insert(name.to_owned(), node).is_some();
        Some(Change { what: "joined", node: joined, has_ended })
    }

    /// Notes that a node has left.
    pub(super) fn left(&mut self, name: &str, instance: u64, now: u64) -> Option<Change> {
        let node = self.0.get(name).filter(|node| node.instance == instance)?;
        let change = Change { what: "left", node: node.info(now), has_ended: true };
        self.0.remove(name);
        Some(change)
    }

    /// Returns the nodes that have just been lost. Those that were lost some time ago are forgotten.
    pub(super) fn expire(&mut self, now: u64) -> Vec<Change> {
        let (lost, kept) = (whole_millis(NODE_LOST), whole_millis(NODE_LOST_KEPT));
        self.0.retain(|_, node| now.saturating_sub(node.seen) < lost + kept);
        let overdue = self.0.values_mut().filter(|node| !node.is_lost && now.saturating_sub(node.seen) >= lost);
        let report = |node: &mut Node| {
            node.is_lost = true;
            Change { what: "lost", node: node.info(now), has_ended: true }
        };
        overdue.map(report).collect()
    }

    /// Returns true if a message of a node is not older than [`NODE_MESSAGE_AGE`]. A message that waited in a connection must
    /// not have an effect later: its sender has given up.
    pub(super) fn is_recent(&self, name: &str, instance: u64, sent: u64, now: u64) -> bool {
        let node = self.0.get(name).filter(|node| node.instance == instance);
        let most = i64::try_from(whole_millis(NODE_MESSAGE_AGE)).unwrap_or(i64::MAX);
        node.is_some_and(|node| difference(now, sent).saturating_sub(node.offset) <= most)
    }

    /// Notes that a node did not answer in time.
    pub(super) fn mark_silent(&mut self, name: &str) {
        if let Some(node) = self.0.get_mut(name) {
            node.is_silent = true;
        }
    }

    /// Returns the names of all nodes, and whether each is expected to answer.
    pub(super) fn names(&self) -> Vec<(String, bool)> {
        let is_up = |node: &Node| !node.is_lost && !node.is_silent;
        self.0.iter().map(|(name, node)| (name.clone(), is_up(node))).collect()
    }

    /// Returns true if there are no other nodes.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns true if a node is there, and not lost.
    pub(super) fn is_present(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|node| !node.is_lost)
    }

    /// Returns true if another node has subscribers of presence events.
    pub(super) fn watch_presence(&self) -> bool {
        self.0.values().any(|node| node.watches_presence && !node.is_lost)
    }

    /// Describes the nodes, by name. `last` is the last number of the log: what a node has not announced to have received counts as
    /// its lag.
    pub(super) fn list(&self, now: u64, last: u64) -> Vec<NodeInfo> {
        let describe = |node: &Node| {
            let mut info = node.info(now);
            if info.state != NodeState::Up {
                info.lag = info.lag.map(|lag| lag.saturating_add(last.saturating_sub(node.last)));
            }
            info
        };
        self.0.values().map(describe).collect()
    }

    /// Returns the turn of a node: the one that has not received a request for the longest time has the lowest.
    pub(super) fn turn(&self, name: &str) -> u64 {
        self.0.get(name).map_or(0, |node| node.turn)
    }

    /// Notes that a node receives a request.
    pub(super) fn take_turn(&mut self, name: &str) {
        let last = self.0.values().map(|node| node.turn).max().unwrap_or_default();
        if let Some(node) = self.0.get_mut(name) {
            node.turn = last + 1;
        }
    }
}

/// Returns the difference between two clocks.
fn difference(now: u64, sent: u64) -> i64 {
    let signed = |time| i64::try_from(time).unwrap_or(i64::MAX);
    signed(now).saturating_sub(signed(sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement() -> Announcement {
        Announcement { info: NodeInfo::new("ignored"), is_new: false, watches_presence: false }
    }

    fn announce(nodes: &mut Nodes, name: &str, sent: u64, now: u64) -> Option<&'static str> {
        nodes.announced(name, 1, sent, announcement(), now, 0).map(|change| change.what)
    }

    fn states(nodes: &Nodes, now: u64) -> Vec<NodeState> {
        nodes.list(now, 0).iter().map(|info| info.state).collect()
    }

    #[test]
    fn a_node_joins_is_lost_and_joins_again() {
        let mut nodes = Nodes::default();
        assert_eq!(announce(&mut nodes, "a", 0, 1000), Some("joined"));
        assert_eq!(announce(&mut nodes, "a", 2000, 3000), None);
        let lost = 3000 + whole_millis(NODE_LOST);
        assert_eq!(nodes.expire(lost - 1), []);
        let changes = nodes.expire(lost);
        assert_eq!((changes.len(), changes[0].what, &*changes[0].node.name), (1, "lost", "a"));
        assert_eq!((states(&nodes, lost), nodes.expire(lost)), (vec![NodeState::Lost], vec![]));
        assert_eq!(announce(&mut nodes, "a", 9000, lost + 1), Some("joined"));
        assert_eq!(states(&nodes, lost + 1), [NodeState::Up]);
        let forgotten = lost + 1 + whole_millis(NODE_LOST + NODE_LOST_KEPT);
        assert_eq!((nodes.expire(forgotten), nodes.is_empty()), (vec![], true));
    }

    #[test]
    fn a_node_that_was_started_again_joins_and_the_end_of_the_earlier_one_is_ignored() {
        let mut nodes = Nodes::default();
        announce(&mut nodes, "a", 0, 1);
        let change = nodes.announced("a", 2, 0, announcement(), 2, 0).unwrap();
        assert_eq!((change.what, change.has_ended), ("joined", true));
        assert_eq!(nodes.left("a", 1, 3), None);
        assert_eq!(nodes.left("a", 2, 3).map(|change| change.what), Some("left"));
        assert!(nodes.is_empty());
    }

    #[test]
    fn the_lag_of_a_node_that_is_silent_grows_with_the_log() {
        let mut nodes = Nodes::default();
        let announce = |nodes: &mut Nodes, lag, last| {
            let mut announcement = announcement();
            announcement.info.lag = Some(lag);
            nodes.announced("a", 1, 0, announcement, 1, last);
        };
        announce(&mut nodes, 2, 100);
        let lag = |nodes: &Nodes, last| nodes.list(2, last)[0].lag;
        assert_eq!(lag(&nodes, 500), Some(2));
        nodes.mark_silent("a");
        assert_eq!((lag(&nodes, 500), lag(&nodes, 50)), (Some(402), Some(2)));
        announce(&mut nodes, 0, 500);
        assert_eq!(lag(&nodes, 600), Some(0));
    }

    #[test]
    fn nobody_waits_for_a_silent_node_until_it_announces_itself() {
        let mut nodes = Nodes::default();
        announce(&mut nodes, "a", 0, 1);
        nodes.mark_silent("a");
        assert_eq!((nodes.names(), states(&nodes, 2)), (vec![("a".into(), false)], vec![NodeState::Silent]));
        announce(&mut nodes, "a", 1, 3);
        assert_eq!(nodes.names(), [("a".into(), true)]);
    }

    #[test]
    fn the_age_of_a_message_does_not_depend_on_the_clocks() {
        let age = whole_millis(NODE_MESSAGE_AGE);
        for (clock, ours) in [(1_000_000, 500_000), (500_000, 1_000_000), (0, 0)] {
            let mut nodes = Nodes::default();
            // The first announcement was delayed by 5 s, the second one was not.
            announce(&mut nodes, "a", clock, ours + 5000);
            announce(&mut nodes, "a", clock + 6000, ours + 6000);
            let arrives = |after: u64| nodes.is_recent("a", 1, clock + 7000, ours + 7000 + after);
            assert!(arrives(0) && arrives(age) && !arrives(age + 1), "{clock}");
            assert!(!nodes.is_recent("a", 2, clock + 7000, ours + 7000) && !nodes.is_recent("b", 1, 0, 0));
        }
    }

    #[test]
    fn extreme_times_and_many_nodes_are_harmless() {
        let mut nodes = Nodes::default();
        for (sent, now) in [(u64::MAX, 0), (0, u64::MAX), (u64::MAX, u64::MAX)] {
            announce(&mut nodes, "a", sent, now);
            nodes.is_recent("a", 1, sent, now);
        }
        for number in 0..2 * NODES_MAX {
            announce(&mut nodes, &format!("n{number}"), 0, 1);
        }
        assert_eq!(nodes.names().len(), NODES_MAX);
    }

    #[test]
    fn nodes_take_turns() {
        let mut nodes = Nodes::default();
        for name in ["a", "b"] {
            announce(&mut nodes, name, 0, 1);
        }
        nodes.take_turn("a");
        assert!(nodes.turn("b") < nodes.turn("a"));
        nodes.take_turn("b");
        assert!(nodes.turn("a") < nodes.turn("b"));
    }
}
