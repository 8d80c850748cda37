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
        history::{Entry, Forgotten, Torn},
        journal::TopicRecord,
    },
};

use super::{
    file::{BUS, EVENTS, SCHEMA, STATE, State, TOPICS, TopicState},
    piece::Piece,
    record::{self, Record},
};

/// What an earlier daemon has left.
pub(super) struct Left {
    pub(super) epoch: Epoch,
    /// The last number that may have been used.
    pub(super) head: u64,
    /// The end was none that was told, or something is damaged.
    pub(super) is_torn: bool,
    /// How many pieces are damaged.
    pub(super) damaged: usize,
    /// The bus's clock must not be before.
    pub(super) clock: u64,
    /// What this end has taken is noted in it.
    pub(super) forgotten: Forgotten,
    pub(super) topics: Vec<TopicRecord>,
    /// The events, in order; of each, its topic's place among the topics. Those that are retained are in memory.
    pub(super) entries: Vec<Entry>,
}

/// The part of [`State`] that every version has.
#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

/// What is in a database: also what [`File`](super::file::File) goes on with.
pub(super) type Content = (State, Left, BTreeMap<u64, Piece>);

/// Reads what is in a database; nothing if it is new. Of one with a newer schema only that.
pub(super) fn read(database: &Database) -> Result<Option<Content>, redb::Error> {
    let damaged = |e: &dyn std::fmt::Display| redb::Error::Corrupted(e.to_string());
    let transaction = database.begin_read()?;
    let state = match transaction.open_table(STATE) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        table => table?.get(BUS)?.map(|state| state.value().to_vec()),
    };
    let state = state.ok_or_else(|| damaged(&"it holds no bus"))?;
    // Of a newer one nothing else may be as it is here.
    let Schema { schema } = serde_json::from_slice(&state).map_err(|e| damaged(&e))?;
    if schema > SCHEMA {
        let left = Left::new(&State::default(), Epoch::from_seed(0));
        return Ok(Some((State { schema, ..State::default() }, left, BTreeMap::new())));
    }
    let state: State = serde_json::from_slice(&state).map_err(|e| damaged(&e))?;
    let epoch = Epoch::parse(&state.epoch).ok_or_else(|| damaged(&"its epoch is none"))?;
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
    let mut pieces = BTreeMap::new();
    for row in transaction.open_table(EVENTS)?.iter()? {
        let (first, piece) = row?;
        let Some(records) = record::decode(piece.value()) else {
            left.damaged += 1;
            // It goes with the next batch, and what was lost with it is told once.
            pieces.insert(first.value(), Piece::default());
            continue;
        };
        let mut piece = Piece::new(records.len(), piece.value().len());
        for record in records {
            let Record { seq, came, expires, topic, kind, data, .. } = record;
            let Some(topic) = places.get(topic).copied() else {
                piece.gone.insert(seq);
                continue;
            };
            let cost = Entry::cost_of(data.len(), kind.map_or(0, str::len));
            let event = if retained.contains(&seq) { record.event(epoch, &mut HashMap::new()) } else { None };
            left.entries.push(Entry { seq, topic, came, expires, cost, event: event.map(Arc::new) });
        }
        pieces.insert(first.value(), piece);
    }
    if left.damaged > 0 {
        left.is_torn = true;
        left.forgotten.lose(left.head);
    }
    Ok(Some((state, left, pieces)))
}

impl Left {
    fn new(state: &State, epoch: Epoch) -> Left {
        let mut forgotten = state.forgotten.clone();
        if !state.ended {
            forgotten.tear(Torn { after: state.head, last: state.reserved });
        }
        Left {
            epoch,
            head: if state.ended { state.head } else { state.reserved },
            is_torn: !state.ended,
            damaged: 0,
            clock: state.clock,
            forgotten,
            topics: Vec::new(),
            entries: Vec::new(),
        }
    }
}
