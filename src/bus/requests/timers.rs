//! Deadlines of requests, and the rest of the work that one call did not finish.

use super::table::Ending;
use crate::{
    bus::{Bus, Now},
    limits::{CALLS_MAX, REQUESTS_AT_ONCE},
};

impl Bus {
    /// Returns when [`tick_requests`](Bus::tick_requests) must be called next, in milliseconds of the monotonic clock.
    pub fn next_request_timer(&self) -> Option<u64> {
        if !self.requests.unfinished.is_empty() || self.requests.review.is_some() {
            return Some(0);
        }
        self.requests.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Ends the requests whose time has passed, and continues what earlier calls did not finish, in a bounded step.
    pub fn tick_requests(&mut self, now: Now) {
        let over = self.requests.deadlines.iter().take_while(|(deadline, _)| *deadline <= now.mono).take(CALLS_MAX);
        for (_, id) in over {
            self.requests.ending.insert(*id, Ending::TimedOut);
        }
        self.end_requests(now);
        if let Some(client) = self.requests.unfinished.first().copied() {
            self.offer_requests(client, now);
        }
        self.review_requests();
        self.end_requests(now);
    }

    /// Checks a bounded number of waiting requests for other responders, after one has disconnected.
    pub(super) fn review_requests(&mut self) {
        let Some(mut next) = self.requests.review else { return };
        let mut left = REQUESTS_AT_ONCE;
        while left > 0 {
            let Some(id) = self.requests.waiting.range(next..).next().copied() else {
                let again = std::mem::take(&mut self.requests.review_again);
                self.requests.review = self.requests.waiting.first().copied().filter(|_| again);
                return;
            };
            left = left.saturating_sub(1 + self.review_request(id));
            next.0 = id.0 + 1;
        }
        self.requests.review = Some(next);
    }
}
