//! The origins and hosts that were refused recently. `sse-busctl status` lists them with the setting that allows them.
//!
//! Names that the user's own programs sent, above all the browser, are in one list, names that other peers sent in another: others
//! can send any number of names, and evict only their own.

use std::sync::{Mutex, PoisonError};

use sse_bus::{
    protocol::{RefusedHost, RefusedOrigin},
    time::unix_now,
};

/// Number of names that a list keeps. The name that was refused longest ago is evicted first.
const REMEMBERED: usize = 8;

/// Names that were refused. Only what parsed as an origin or a host may be noted: a peer can send any text.
#[derive(Default)]
pub(crate) struct RefusedNames(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    own: List,
    others: List,
}

/// The newest first.
#[derive(Default)]
struct List(Vec<Noted>);

#[derive(Clone, Debug, PartialEq)]
struct Noted {
    name: String,
    times: u64,
    last: u64,
}

impl List {
    fn note(&mut self, name: &str, now: u64) {
        let mut noted = match self.0.iter().position(|noted| noted.name == name) {
            Some(found) => self.0.remove(found),
            None => Noted { name: name.to_owned(), times: 0, last: 0 },
        };
        (noted.times, noted.last) = (noted.times + 1, now);
        self.0.insert(0, noted);
        self.0.truncate(REMEMBERED);
    }
}

impl RefusedNames {
    /// Notes a refused name. `is_own` is true if a program of the daemon's own user has sent it.
    pub(crate) fn note(&self, name: &str, is_own: bool) {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let list = if is_own { &mut lists.own } else { &mut lists.others };
        list.note(name, unix_now());
    }

    /// Returns the names, as origins of pages.
    pub(crate) fn origins(&self) -> Vec<RefusedOrigin> {
        let noted = self.noted().into_iter();
        noted.map(|Noted { name, times, last }| RefusedOrigin::new(name, times, last)).collect()
    }

    /// Returns the names, as hosts that requests were for.
    pub(crate) fn hosts(&self) -> Vec<RefusedHost> {
        let noted = self.noted().into_iter();
        noted.map(|Noted { name, times, last }| RefusedHost::new(name, times, last)).collect()
    }

    /// Returns the user's own names first. A name in both lists appears once.
    fn noted(&self) -> Vec<Noted> {
        let lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut noted = lists.own.0.clone();
        for other in &lists.others.0 {
            match noted.iter_mut().find(|noted| noted.name == other.name) {
                Some(noted) => {
                    noted.times += other.times;
                    noted.last = noted.last.max(other.last);
                }
                None => noted.push(other.clone()),
            }
        }
        noted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_others_send_evict_only_their_own() {
        let refused = RefusedNames::default();
        refused.note("http://localhost:3000", true);
        for n in 0..100 {
            refused.note(&format!("http://x{n}.example"), false);
        }
        refused.note("http://localhost:3000", false);
        let names: Vec<_> = refused.noted().into_iter().map(|noted| (noted.name, noted.times)).collect();
        assert_eq!(names.len(), REMEMBERED, "{names:?}");
        assert_eq!(names[0], ("http://localhost:3000".to_owned(), 2));
        assert_eq!(names[1], ("http://x99.example".to_owned(), 1));
        for n in 0..100 {
            refused.note(&format!("http://y{n}.example"), true);
        }
        assert_eq!(refused.noted()[0].name, "http://y99.example");
        assert_eq!(refused.noted().len(), 2 * REMEMBERED);
    }
}
