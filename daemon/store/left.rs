//! What an earlier daemon has left in the file.
//!
//! Of events it gives entries only, but for those that are retained: the others are [read](super::reader) when somebody
//! wants them.

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
    database::{BUS, SCHEMA, STATE, State, TOPICS, TopicState, Trouble, guarded},
    record::{self, Record},
    rows::StoredBlocks,
};
use crate::clock::Relation;

/// What an earlier daemon has left.
pub(super) struct Left {
    pub(super) epoch: Epoch,
    /// The last number that may have been used.
    pub(super) head: u64,
    /// The end was none that was told, or something is damaged.
    pub(super) is_torn: bool,
    /// How many blocks are damaged.
    pub(super) damaged: usize,
    /// The bus's clock must not be before.
    pub(super) clock: u64,
    pub(super) clocks: Relation,
    /// What this end has taken is noted in it.
    pub(super) forgotten: UnattributedLosses,
    pub(super) topics: Vec<TopicRecord>,
    /// The events, in order; of each, its topic's place among the topics. Those that are retained are in memory.
    pub(super) entries: Vec<Entry>,
}

/// What is in a database: also what [`File`](super::file::File) goes on with.
pub(super) type Content = (State, Left, BTreeMap<u64, Block>);

fn damaged(why: &dyn std::fmt::Display) -> redb::Error {
    redb::Error::Corrupted(why.to_string())
}

/// The state of a database. Nothing if it is new.
///
/// # Errors
///
/// Also if it is of a newer version.
pub(super) fn state(database: &Database) -> Result<Option<State>, Trouble> {
    /// The part of [`State`] that every version has.
    #[derive(Deserialize)]
    struct Schema {
        schema: u32,
    }
    let state = guarded(|| match database.begin_read()?.open_table(STATE) {
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        table => {
            let state = table?.get(BUS)?.map(|state| state.value().to_vec());
            state.ok_or_else(|| damaged(&"it holds no bus")).map(Some)
        }
    })?;
    let Some(state) = state else { return Ok(None) };
    // Of a newer one nothing else may be as it is here.
    let Schema { schema } = serde_json::from_slice(&state).map_err(|e| damaged(&e))?;
    if schema > SCHEMA {
        let why = format!("it is of a newer sse-busd, use that (schema {schema}, this one knows {SCHEMA})");
        return Err(Trouble::Other(why));
    }
    Ok(Some(serde_json::from_slice(&state).map_err(|e| damaged(&e))?))
}

/// Reads what is in a database that is not new.
pub(super) fn read(database: &Database, epoch: Epoch) -> Result<Content, Trouble> {
    let state = state(database)?.ok_or_else(|| damaged(&"it holds no bus"))?;
    guarded(|| content(database, epoch, state))
}

fn content(database: &Database, epoch: Epoch, state: State) -> Result<Content, redb::Error> {
    let transaction = database.begin_read()?;
    let mut left = Left::new(&state, epoch);
    for row in transaction.open_table(TOPICS)?.iter()? {
        let (topic, state) = row?;
        let topic = Topic::parse(topic.value()).map_err(|e| damaged(&e))?;
        let TopicState { published, last, past } = serde_json::from_slice(state.value()).map_err(|e| damaged(&e))?;
        left.topics.push(TopicRecord { topic, published, last, past });
    }
    let retained: HashSet<_> = left.topics.iter().filter_map(|topic| topic.past.retained).collect();
    let places: HashMap<_, _> =
        left.topics.iter().enumerate().map(|(place, topic)| (topic.topic.as_str(), place)).collect();
    let mut blocks = BTreeMap::new();
    for found in StoredBlocks::open(&transaction)?.from(0)? {
        let (first, block) = found?;
        let Some(records) = record::decode(&block) else {
            left.damaged += 1;
            // It goes with the next batch, and what was lost with it is told once.
            blocks.insert(first, Block::default());
            continue;
        };
        let mut known = Block::new(records.len(), block.len());
        for record in records {
            let Record { seq, came, expires, topic, kind, headers, data, .. } = record;
            let Some(topic) = places.get(topic).copied() else {
                known.gone.insert(seq);
                continue;
            };
            let cost = Entry::cost_of(data.len(), kind.map_or(0, str::len), headers.len());
            let event = if retained.contains(&seq) { record.event(epoch, &mut HashMap::new()) } else { None };
            left.entries.push(Entry { seq, topic, arrived_at: came, expires, cost, event: event.map(Arc::new) });
        }
        blocks.insert(first, known);
    }
    if left.damaged > 0 {
        left.is_torn = true;
        left.forgotten.lose(left.head);
    }
    Ok((state, left, blocks))
}

impl Left {
    fn new(state: &State, epoch: Epoch) -> Left {
        let mut forgotten = state.forgotten.clone();
        if !state.ended {
            forgotten.add_crash(CrashLoss { after: state.head, last: state.reserved });
        }
        Left {
            epoch,
            head: if state.ended { state.head } else { state.reserved },
            is_torn: !state.ended,
            damaged: 0,
            clock: state.clock,
            clocks: state.clocks.clone(),
            forgotten,
            topics: Vec::new(),
            entries: Vec::new(),
        }
    }
}
