//! The self-check: computes every counter, sum and index of the bus from scratch. It exists in debug builds only; tests run
//! it after each step.
//!
//! Each part checks itself, in the file with its private fields. Relations between two parts are checked here.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::Ordering,
};

use super::{
    Bus,
    clients::Role,
    cursor::Position,
    feed::FeedUsers,
    heartbeats::{Heartbeats, Phase},
    ids::{ClientId, FeedKey},
    shared_cursor::SharedCursor,
};

impl Bus {
    /// Compares every counter, sum and index of the bus with one that is computed from scratch. Its cost grows with all that
    /// the bus holds.
    ///
    /// # Panics
    ///
    /// If one of them differs. The message names it.
    pub fn self_check(&self) {
        self.clients.self_check();
        self.topics.self_check(&self.feeds);
        self.feeds.self_check(&self.feed_users());
        self.self_check_groups();
        self.self_check_heartbeats();
        self.self_check_parked();
        self.self_check_unicast();
        self.history.self_check();
        self.self_check_consumers();
        self.self_check_requests();
        self.dedup.self_check();
        self.schedules.self_check();
        let (mut events, mut bytes, mut retained) = (0, 0, 0);
        for (key, state) in self.topics.iter() {
            let usage = self.history.usage(key);
            events += usage.events;
            bytes += usage.bytes;
            retained += usize::from(usage.retained);
            assert!(
                state.last.is_none_or(|(seq, _)| seq <= self.head),
                "the last event of {state:?} is above the head"
            );
        }
        let totals = self.history.totals();
        let have = (totals.events, totals.bytes, totals.retained);
        assert_eq!(have, (events, bytes, retained), "events, bytes and retained events of the known topics");
    }

    fn feed_users(&self) -> HashMap<FeedKey, FeedUsers> {
        let mut users = HashMap::<FeedKey, FeedUsers>::new();
        for (_, client) in self.clients.iter() {
            let Role::Subscriber(subscriber) = &client.role else { continue };
            let feed = users.entry(subscriber.feed).or_default();
            feed.subscribers += 1;
            feed.positions.extend(subscriber.cursor.segment());
        }
        for (key, feed) in self.feeds.iter() {
            users.entry(key).or_default().positions.extend(feed.self_check_positions());
        }
        users
    }

    /// A client that waits alone has read its feed to the end, or waits for the log.
    fn self_check_parked(&self) {
        for (key, feed) in self.feeds.iter() {
            for id in feed.parked.keys() {
                let client = self.clients.get(*id).map(|client| &client.role);
                let Some(Role::Subscriber(subscriber)) = client else { panic!("{id} waits, and is no subscriber") };
                assert_eq!(subscriber.feed, key, "the feed of {id}, which waits");
                let may_wait = match subscriber.cursor.position {
                    Position::Live { segment, .. } => segment == feed.end() || self.feeds.self_check_is_dirty(key),
                    // It may have read in the middle of a batch, at whose end it is woken.
                    Position::History(_) | Position::Snapshot(_) => {
                        subscriber.cursor.wanted.is_some() || self.feeds.self_check_is_dirty(key)
                    }
                    Position::Shared(_) => false,
                };
                assert!(may_wait, "{id} waits alone at {:?}", subscriber.cursor);
            }
        }
    }

    fn self_check_unicast(&self) {
        let mut waiting = HashMap::new();
        for (id, client) in self.clients.iter() {
            if let Role::Subscriber(subscriber) = &client.role {
                subscriber.unicast.self_check(id, &mut waiting);
            }
        }
        let charged = self.unicast_bytes.load(Ordering::Relaxed);
        assert_eq!(charged, waiting.values().sum::<usize>(), "bytes of all waiting unicast events");
    }

    fn self_check_heartbeats(&self) {
        let mut phases = BTreeMap::<Phase, Vec<ClientId>>::new();
        for id in self.client_ids() {
            let role = self.clients.get(id).map(|client| &client.role);
            let Some(Role::Subscriber(subscriber)) = role else { continue };
            if self.feeds.get(subscriber.feed).is_some_and(|feed| feed.format.has_heartbeat()) {
                phases.entry(Heartbeats::phase(id, subscriber.heartbeat_interval)).or_default().push(id);
            }
        }
        assert_eq!(self.heartbeats.phases, phases, "subscribers by when their heartbeats are due");
    }

    fn self_check_groups(&self) {
        let mut memberships = 0;
        for (key, feed) in self.feeds.iter() {
            for (index, SharedCursor { reader, members, segment, is_woken, .. }) in
                feed.shared_cursors.iter().enumerate()
            {
                assert!(
                    !feed.shared_cursors[..index].iter().any(|other| other.reader == *reader),
                    "shared cursors of {reader:?}"
                );
                for (number, id) in members.iter().enumerate() {
                    let role = self.clients.get(*id).map(|client| &client.role);
                    let Some(Role::Subscriber(subscriber)) = role else {
                        panic!("{id} is on a shared cursor, and no subscriber")
                    };
                    assert_eq!((subscriber.feed, subscriber.reader), (key, Some(*reader)), "feed and reader of {id}");
                    let Position::Shared(membership) = &subscriber.cursor.position else {
                        panic!("{id} is on a shared cursor by mistake")
                    };
                    assert_eq!(membership.index, number, "the membership of {id}");
                    memberships += 1;
                }
                let has_news = !members.is_empty() && *segment != feed.end();
                assert!(
                    !has_news || *is_woken || self.feeds.self_check_is_dirty(key),
                    "{reader:?} is not woken for feed {key}"
                );
            }
        }
        let is_on_shared_cursor =
            |role: &Role| matches!(role, Role::Subscriber(s) if matches!(s.cursor.position, Position::Shared(_)));
        let sharing = self.clients.iter().filter(|(_, client)| is_on_shared_cursor(&client.role)).count();
        assert_eq!(sharing, memberships, "clients on shared cursors");
    }
}
