//! What all consumers share: tokens, timers, workers, sums.

use std::{collections::BTreeSet, task::Waker};

use rustc_hash::FxHashMap;

use super::{
    delivery::{Token, WorkerId},
    event_state::State,
    ids::{ConsumerKey, Timer},
    notice::Notice,
    worker::Worker,
};
use crate::bus::{Now, split_map::FxSplitMap};

/// The tokens, timers, workers and sums of all consumers.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// The current tokens, each with its consumer and event.
    pub(super) tokens: FxSplitMap<u64, (ConsumerKey, u64)>,
    last_token: u64,
    run: u64,
    pub(super) timers: BTreeSet<(u64, ConsumerKey, Timer)>,
    pub(super) workers: FxHashMap<WorkerId, Worker>,
    pub(super) last_worker: u64,
    /// Unfinished events of all consumers.
    pub(super) unfinished: usize,
    /// Dead letters of all consumers.
    pub(super) dead: usize,
    /// Consumers that had no room for another unfinished event.
    pub(super) starved: BTreeSet<ConsumerKey>,
    /// Consumers with changes that are not written.
    pub(super) changed: BTreeSet<ConsumerKey>,
    /// The time of the last operation.
    pub(super) now: Now,
    /// Tasks to wake.
    pub(super) woken: Vec<Waker>,
    pub(super) notices: Vec<Notice>,
    /// Events that a consumer has finished, which may be held.
    pub(super) finished: Vec<u64>,
}

impl Registry {
    /// Distinguishes the tokens of this run of the bus from those of other runs.
    pub(super) fn begin_run(&mut self, unix: u64) {
        if self.run == 0 {
            self.run = unix.max(1);
        }
    }

    /// Registers a delivery.
    pub(super) fn issue(&mut self, consumer: ConsumerKey, seq: u64) -> Token {
        self.last_token += 1;
        self.tokens.insert(self.last_token, (consumer, seq));
        Token { run: self.run, number: self.last_token }
    }

    /// Returns the consumer and the event of a current token.
    pub(super) fn find(&self, token: Token) -> Option<(ConsumerKey, u64)> {
        self.tokens.get(&token.number).copied().filter(|_| token.run == self.run)
    }

    /// Removes the token, the timer and the slot of an event that leaves a state.
    pub(super) fn forget(&mut self, consumer: ConsumerKey, seq: u64, state: State) {
        match state {
            State::InFlight { token, worker, deadline } => {
                self.tokens.remove(&token);
                self.timers.remove(&(deadline, consumer, Timer::Event(seq)));
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.in_flight.remove(&token);
                }
            }
            State::Waiting { due } => drop(self.timers.remove(&(due, consumer, Timer::Event(seq)))),
            State::Ready | State::Blocked => {}
        }
    }
}
