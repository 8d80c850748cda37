//! Stores consumers and the states of their events.
//!
//! A consumer is stored under its name, and each of its unfinished events and dead letters under the name and the event's
//! number, both as JSON. Files before schema 5 have no consumers. A batch and the changes of consumers that precede it are
//! written together: a batch removes events that consumers have finished.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use redb::{ReadTransaction, ReadableTable as _, Table, TableDefinition, TableError, WriteTransaction};
use serde::{Deserialize, Serialize};
use sse_bus::{
    FilterSet,
    bus::consumers::{
        ConsumerChanges, ConsumerName, ConsumerRecord, ConsumerSettings, Counts, DeadReason, EventRecord,
    },
    protocol::OnFull,
};

const CONSUMERS: TableDefinition<&str, &[u8]> = TableDefinition::new("consumers");
const EVENT_STATES: TableDefinition<(&str, u64), &[u8]> = TableDefinition::new("consumer_events");

/// Approximate bytes of a consumer in the write-ahead file, and of the state of an event.
const CONSUMER_BYTES: usize = 600;
const EVENT_BYTES: usize = 100;

/// A consumer, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ConsumerState {
    filters: Vec<String>,
    ack_wait: Duration,
    max_attempts: u32,
    backoff: Vec<Duration>,
    max_in_flight: usize,
    drop_when_full: bool,
    inactive_after: Duration,
    position: u64,
    is_paused: bool,
    delivered: u64,
    redelivered: u64,
    acknowledged: u64,
    dead: u64,
    expired: u64,
    missed: u64,
    /// Missing events that were not reported yet: their number, the first, the last.
    unreported: Option<(u64, u64, u64)>,
    created: u64,
}

/// An unfinished event or a dead letter, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct EventState {
    attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dead: Option<DeadState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DeadState {
    reason: Reason,
    since: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reason {
    Attempts,
    Rejected(String),
    Expired,
}

/// The changes of one consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Change {
    /// An earlier consumer of this name was removed, before the other changes.
    is_removed: bool,
    state: Option<ConsumerState>,
    /// None for an event to remove.
    events: BTreeMap<u64, Option<EventState>>,
}

/// The combined changes of consumers, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ConsumerUpdates(BTreeMap<String, Change>);

impl ConsumerUpdates {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Approximate bytes of the changes in the write-ahead file.
    pub(super) fn bytes(&self) -> usize {
        self.0.values().map(|change| CONSUMER_BYTES + change.events.len() * EVENT_BYTES).sum()
    }

    /// Adds later changes, as the bus returns them.
    pub(super) fn add(&mut self, changes: ConsumerChanges) {
        let ConsumerChanges { removed, records, events, more: _ } = changes;
        for name in removed {
            self.0.insert(name.as_str().to_owned(), Change { is_removed: true, ..Change::default() });
        }
        for record in records {
            self.of(&record.name).state = Some(ConsumerState::of(&record));
        }
        for (name, seq, record) in events {
            self.of(&name).events.insert(seq, record.as_ref().map(EventState::of));
        }
    }

    fn of(&mut self, name: &ConsumerName) -> &mut Change {
        self.0.entry(name.as_str().to_owned()).or_default()
    }

    /// Adds the changes of a later batch.
    pub(super) fn merge(&mut self, later: ConsumerUpdates) {
        for (name, change) in later.0 {
            let known = self.0.entry(name).or_default();
            if change.is_removed {
                *known = change;
            } else {
                known.state = change.state.or(known.state.take());
                known.events.extend(change.events);
            }
        }
    }
}

/// The tables of consumers in a write transaction.
pub(super) struct ConsumerTables<'txn> {
    consumers: Table<'txn, &'static str, &'static [u8]>,
    events: Table<'txn, (&'static str, u64), &'static [u8]>,
}

impl<'txn> ConsumerTables<'txn> {
    /// Opens the tables, and creates them if necessary.
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<ConsumerTables<'txn>, TableError> {
        Ok(ConsumerTables {
            consumers: transaction.open_table(CONSUMERS)?,
            events: transaction.open_table(EVENT_STATES)?,
        })
    }

    /// Applies changes.
    pub(super) fn put(&mut self, updates: &ConsumerUpdates) -> Result<(), redb::Error> {
        for (name, Change { is_removed, state, events }) in &updates.0 {
            let name = name.as_str();
            if *is_removed {
                self.consumers.remove(name)?;
                self.events.retain_in((name, 0)..=(name, u64::MAX), |_, _| false)?;
            }
            // Serializing numbers and texts cannot fail.
            if let Some(state) = state {
                self.consumers.insert(name, &*serde_json::to_vec(state).unwrap_or_default())?;
            }
            for (seq, event) in events {
                match event {
                    Some(event) => {
                        self.events.insert((name, *seq), &*serde_json::to_vec(event).unwrap_or_default())?;
                    }
                    None => drop(self.events.remove((name, *seq))?),
                }
            }
        }
        Ok(())
    }

    /// Copies all consumers of another database.
    pub(super) fn copy(&mut self, from: &ReadTransaction) -> Result<(), redb::Error> {
        if let Some(table) = existing(from.open_table(CONSUMERS))? {
            for row in table.iter()? {
                let (name, state) = row?;
                self.consumers.insert(name.value(), state.value())?;
            }
        }
        if let Some(table) = existing(from.open_table(EVENT_STATES))? {
            for row in table.iter()? {
                let (key, state) = row?;
                self.events.insert(key.value(), state.value())?;
            }
        }
        Ok(())
    }
}

/// Returns a table, or None in files that have none yet.
fn existing<T>(table: Result<T, TableError>) -> Result<Option<T>, TableError> {
    match table {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        table => table.map(Some),
    }
}

/// The consumers of a database, to be restored into the bus.
#[derive(Debug, Default)]
pub(super) struct RecoveredConsumers {
    pub(super) records: Vec<ConsumerRecord>,
    pub(super) events: Vec<(ConsumerName, u64, EventRecord)>,
}

impl RecoveredConsumers {
    /// Reads all consumers. What cannot be read means that the database is damaged.
    pub(super) fn read(transaction: &ReadTransaction) -> Result<RecoveredConsumers, redb::Error> {
        let mut recovered = RecoveredConsumers::default();
        let mut names = HashMap::new();
        if let Some(table) = existing(transaction.open_table(CONSUMERS))? {
            for row in table.iter()? {
                let (name, state) = row?;
                let record = serde_json::from_slice::<ConsumerState>(state.value()).ok();
                let record = record.and_then(|state| state.into_record(name.value()));
                let record = record.ok_or_else(|| damaged(name.value()))?;
                names.insert(name.value().to_owned(), record.name.clone());
                recovered.records.push(record);
            }
        }
        if let Some(table) = existing(transaction.open_table(EVENT_STATES))? {
            for row in table.iter()? {
                let (key, state) = row?;
                let (name, seq) = key.value();
                let state: EventState = serde_json::from_slice(state.value()).map_err(|_| damaged(name))?;
                let name = names.get(name).ok_or_else(|| damaged(name))?;
                recovered.events.push((name.clone(), seq, state.into_record()));
            }
        }
        Ok(recovered)
    }
}

fn damaged(name: &str) -> redb::Error {
    redb::Error::Corrupted(format!("the consumer `{name}` cannot be read"))
}

impl ConsumerState {
    fn of(record: &ConsumerRecord) -> ConsumerState {
        let ConsumerRecord { name: _, settings, position, is_paused, counts, missed: unreported, created } = record;
        let ConsumerSettings { filters, ack_wait, max_attempts, backoff, max_in_flight, on_full, inactive_after } =
            settings;
        let Counts { delivered, redelivered, acknowledged, dead, expired, missed } = *counts;
        ConsumerState {
            filters: filters.to_strings(),
            ack_wait: *ack_wait,
            max_attempts: *max_attempts,
            backoff: backoff.clone(),
            max_in_flight: *max_in_flight,
            drop_when_full: *on_full == OnFull::Drop,
            inactive_after: *inactive_after,
            position: *position,
            is_paused: *is_paused,
            delivered,
            redelivered,
            acknowledged,
            dead,
            expired,
            missed,
            unreported: *unreported,
            created: *created,
        }
    }

    fn into_record(self, name: &str) -> Option<ConsumerRecord> {
        let counts = Counts {
            delivered: self.delivered,
            redelivered: self.redelivered,
            acknowledged: self.acknowledged,
            dead: self.dead,
            expired: self.expired,
            missed: self.missed,
        };
        let settings = ConsumerSettings {
            ack_wait: self.ack_wait,
            max_attempts: self.max_attempts,
            backoff: self.backoff,
            max_in_flight: self.max_in_flight,
            on_full: if self.drop_when_full { OnFull::Drop } else { OnFull::Refuse },
            inactive_after: self.inactive_after,
            ..ConsumerSettings::new(FilterSet::parse(&self.filters).ok()?)
        };
        Some(ConsumerRecord {
            name: ConsumerName::parse(name).ok()?,
            settings,
            position: self.position,
            is_paused: self.is_paused,
            counts,
            missed: self.unreported,
            created: self.created,
        })
    }
}

impl EventState {
    fn of(record: &EventRecord) -> EventState {
        let EventRecord { attempts, key, worker, dead } = record;
        let dead = dead.as_ref().map(|(reason, since)| DeadState {
            reason: match reason {
                DeadReason::Attempts => Reason::Attempts,
                DeadReason::Rejected(text) => Reason::Rejected(text.to_string()),
                DeadReason::Expired => Reason::Expired,
            },
            since: *since,
        });
        EventState { attempts: *attempts, key: *key, worker: worker.as_deref().map(str::to_owned), dead }
    }

    fn into_record(self) -> EventRecord {
        let dead = self.dead.map(|DeadState { reason, since }| {
            let reason = match reason {
                Reason::Attempts => DeadReason::Attempts,
                Reason::Rejected(text) => DeadReason::Rejected(text.into()),
                Reason::Expired => DeadReason::Expired,
            };
            (reason, since)
        });
        EventRecord { attempts: self.attempts, key: self.key, worker: self.worker.map(Into::into), dead }
    }
}
