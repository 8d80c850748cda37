//! Consumers of a bus whose log is on NATS: a consumer of the stream each, from which every node pulls for its workers.
//!
//! | | what |
//! |---|---|
//! | position, in flight, redelivery | the durable consumer of the stream, with explicit acknowledgements |
//! | settings | in the metadata of that consumer |
//! | tokens, deadlines, attempts, back-off | the [node that has delivered](deliveries) the event; the servers count deliveries, and redeliver what a dead node had |
//! | dead letters | a stream of their own: a node stores one [before](settle) it ends the event, so that none can be lost |
//! | mailboxes, retried dead letters | [events for one consumer](job) in the log, on a subject that its consumer has as well |
//!
//! A delivery is settled at the node that made it. Other nodes pass the request on, by the name of the node in the token.

mod deliveries;
mod job;
mod letters;
mod mailbox;
mod manage;
mod pull;
mod settle;
mod state;
mod subjects;
mod watch;
mod worker;

pub(crate) use self::{
    deliveries::{Delivered, QueueToken, stale},
    state::Queue,
    worker::QueueWorker,
};
