//! Consumers: named positions in the log, shared by workers. Each event goes to one worker, and is done when acknowledged.
//!
//! # The states of an event
//!
//! | state | where it is stored | bounded by |
//! |---|---|---|
//! | ahead | nowhere: it is in history, after the position | the budget of history |
//! | in flight | `unfinished`, with a token and a deadline | `max_in_flight`, and the slots of the worker |
//! | waiting | `unfinished`, until its back-off ends | `max_in_flight`, together with those in flight |
//! | ready | `unfinished`, to be delivered again before later events | the same, and retried dead letters |
//! | blocked | `unfinished`, behind an earlier event with the same `key` header | `max_in_flight` |
//! | dead | `dead`, with a reason | [`DEAD_MAX`](crate::limits::DEAD_MAX): a consumer at the limit delivers nothing more |
//! | done | nowhere: it is before the position, and in neither table | |
//!
//! The position is the sequence number of the last event that was examined for the consumer. All consumers together have at
//! most [`UNFINISHED_MAX`](crate::limits::UNFINISHED_MAX) unfinished events; at the limit no consumer examines later events
//! until others are finished. An event that is waiting counts towards `max_in_flight`, so that with one in flight the order of
//! the log also holds through failures.
//!
//! Events with one key are delivered one at a time, in order. Keys are compared by a hash of 64 bits: two keys with the same
//! hash wait for each other, which is safe.
//!
//! # Hold
//!
//! When the bounds evict an event that a consumer has not finished, it is removed from the history of subscribers as any other
//! event, and [held](super::history::History::hold) until every consumer has finished it. So subscribers receive the same with
//! and without consumers. Held events share the budget of history, and may use half of it. A publish to a topic of a consumer
//! that would exceed it is refused with `limit_history`; if all consumers that hold the oldest event have `on_full = "drop"`,
//! that event is evicted instead, and they receive a gap.
//!
//! # Workers
//!
//! Workers that wait take turns. A worker that is woken has the next turn, for at most
//! [`TURN`](crate::limits::TURN), and one turn delivers at most [`TAKE_MAX`](crate::limits::TAKE_MAX)
//! events: a worker with many slots does not starve one with few.
//!
//! A worker that ends in an orderly way releases its deliveries: they are ready at once, and the attempt does not count. A
//! worker whose connection is lost may have been killed by the event itself, so its deliveries fail as if their deadline had
//! passed now: the attempt counts, and the back-off applies. Without the count, an event that kills its workers would be
//! delivered forever. A restart of the daemon makes deliveries ready without counting the attempt.
//!
//! # Mailboxes
//!
//! A publish to the name of a consumer is stored under the topic `$mailbox/NAME/TOPIC`, which that consumer alone has in its
//! filters; see `mailbox.rs`. It waits, survives and is done as any other event of the consumer.
//!
//! # Persistence
//!
//! [`Bus::take_consumer_changes`](super::Bus::take_consumer_changes) returns the changes since the last call, in bounded
//! steps. The written position never exceeds an unfinished event that is not written: after a crash acknowledgements may be
//! lost, and deliveries are not.

mod changes;
#[cfg(debug_assertions)]
mod check;
mod chores;
mod consumer;
mod dead_letters;
mod delivery;
mod describe;
mod event_state;
mod hold;
mod ids;
mod keys;
mod lifecycle;
mod mailbox;
mod mailbox_topic;
mod name;
mod notice;
mod notices;
mod parse;
mod registry;
mod restore;
mod settings;
mod settle;
mod steps;
mod table;
mod take;
mod timers;
mod turns;
mod wanted;
mod worker;
mod write;

pub use self::{
    changes::{ConsumerChanges, ConsumerRecord, EventRecord},
    dead_letters::{DeadOperation, DeadStep},
    delivery::{Delivery, Departure, Missed, Next, Settlement, Taken, Token, WorkerId},
    event_state::{Counts, DeadReason},
    mailbox_topic::{put_in_mailbox, sent_topic},
    name::ConsumerName,
    notices::CONSUMERS_TOPIC,
    settings::{ConsumerSettings, SeekTo},
    wanted::WantedEvent,
};
pub(super) use self::{mailbox_topic::is_mailbox, table::Consumers};
