//! Reads the history that an earlier daemon left in the database.
//!
//! Only retained events are loaded. Other events are represented by entries and [read](super::reader) when a subscriber
//! needs them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use redb::{Database, ReadableDatabase as _, ReadableTable as _};
use serde::Deserialize;
use sse_bus::{
    Epoch, Topic,
    bus::{
        batch::TopicRecord,
        history::{CrashLoss, Entry, UnattributedLosses},
    },
};

use super::{
    block::Block,
    consumers::RecoveredConsumers,
    database::{BUS, SCHEMA, STATE, State, TOPICS, TopicState, guarded},
    encoding::{self, EventRecord},
    error::StoreError,
    publishes::RecoveredPublishes,
    rows::StoredBlocks,
};
use crate::clock::Relation;

/// History recovered from the database.
pub(super) struct Recovered {
    pub(super) epoch: Epoch,
    /// The highest sequence number that may have been used.
    pub(super) head: u64,
    /// The previous daemon did not shut down cleanly, or a block is damaged.
    pub(super) has_losses: bool,
    /// Number of damaged blocks.
    pub(super) damaged: usize,
    /// The bus's clock must not continue before this time.
    pub(super) clock: u64,
    pub(super) clocks: Relation,
    /// Includes the losses caused by this shutdown.
    pub(super) forgotten: UnattributedLosses,
    pub(super) topics: Vec<TopicRecord>,
    /// The events in log order. `topic` is an index into `topics`. Only retained events are in memory.
    pub(super) entries: Vec<Entry>,
    pub(super) consumers: RecoveredConsumers,
    pub(super) publishes: RecoveredPublishes,
}

/// The content of a database, including the parts that [`Files`](super::files::Files) continues with.
pub(super) type Content = (State, Recovered, BTreeMap<u64, Block>);

fn damaged(why: &dyn std::fmt::Display) -> redb::Error {
    redb::Error::Corrupted(why.to_string())
}

/// Returns the state of a database, or `None` if it is new.
///
/// # Errors
///
/// The database cannot be read, or it was written by a newer version.
pub(super) fn state(database: &Database) -> Result<Option<State>, StoreError> {
    /// The part of [`State`] that every version has.
    #[derive(Deserialize)]
    struct Schema {
        schema: u32,
    }
    let state = guarded(|| match database.begin_read()?.open_table(STATE) {
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        table => {
            let state = table?.get(BUS)?.map(|state| state.value().to_vec());
            state.ok_or_else(|| damaged(&"it holds no state of a bus")).map(Some)
        }
    })?;
    let Some(state) = state else { return Ok(None) };
    // Checked first: other fields of a newer version may differ.
    let Schema { schema } = serde_json::from_slice(&state).map_err(|e| damaged(&e))?;
    if schema > SCHEMA {
        return Err(StoreError::NewerSchema { schema, newest: SCHEMA });
    }
    Ok(Some(serde_json::from_slice(&state).map_err(|e| damaged(&e))?))
}

/// Reads the content of a database that is not new.
pub(super) fn read(database: &Database, epoch: Epoch) -> Result<Content, StoreError> {
    let state = state(database)?.ok_or_else(|| damaged(&"it holds no state of a bus"))?;
    guarded(|| content(database, epoch, state))
}

fn content(database: &Database, epoch: Epoch, state: State) -> Result<Content, redb::Error> {
    let transaction = database.begin_read()?;
    let mut recovered = Recovered::new(&state, epoch);
    recovered.consumers = RecoveredConsumers::read(&transaction)?;
    recovered.publishes = RecoveredPublishes::read(&transaction)?;
    for row in transaction.open_table(TOPICS)?.iter()? {
        let (topic, state) = row?;
        let topic = Topic::parse(topic.value()).map_err(|e| damaged(&e))?;
        let TopicState { published, last, past } = serde_json::from_slice(state.value()).map_err(|e| damaged(&e))?;
        recovered.topics.push(TopicRecord { topic, published, last, past });
    }
    let retained: HashSet<_> = recovered.topics.iter().filter_map(|topic| topic.past.retained).collect();
    let positions: HashMap<_, _> =
        recovered.topics.iter().enumerate().map(|(position, topic)| (topic.topic.as_str(), position)).collect();
    let mut blocks = BTreeMap::new();
    for found in StoredBlocks::open(&transaction)?.iter_from(0)? {
        let (first, block) = found?;
        let Some(records) = encoding::decode(&block) else {
            recovered.damaged += 1;
            // The next batch removes this block, so that the loss is reported only once.
            blocks.insert(first, Block::default());
            continue;
        };
        let mut found_block = Block::new(records.len(), block.len());
        for record in records {
            let EventRecord { seq, arrived_at, expires, topic, event_type, headers, data, .. } = record;
            let Some(topic) = positions.get(topic).copied() else {
                found_block.evicted.insert(seq);
                continue;
            };
            let cost = Entry::cost_of(data.len(), event_type.map_or(0, str::len), headers.len());
            let event = if retained.contains(&seq) { record.event(epoch, &mut HashMap::new()) } else { None };
            recovered.entries.push(Entry { seq, topic, arrived_at, expires, cost, event: event.map(Arc::new) });
        }
        blocks.insert(first, found_block);
    }
    if recovered.damaged > 0 {
        recovered.has_losses = true;
        recovered.forgotten.lose(recovered.head);
    }
    Ok((state, recovered, blocks))
}

impl Recovered {
    fn new(state: &State, epoch: Epoch) -> Recovered {
        let mut forgotten = state.forgotten.clone();
        if !state.ended {
            forgotten.add_crash(CrashLoss { after: state.head, last: state.reserved });
        }
        Recovered {
            epoch,
            head: if state.ended { state.head } else { state.reserved },
            has_losses: !state.ended,
            damaged: 0,
            clock: state.clock,
            clocks: state.clocks.clone(),
            forgotten,
            topics: Vec::new(),
            entries: Vec::new(),
            consumers: RecoveredConsumers::default(),
            publishes: RecoveredPublishes::default(),
        }
    }
}
