//! One thread reads from disk what subscribers wait for, so that neither the bus nor another subscriber waits for it.
//!
//! Who goes through the file from piece to piece gets several at once. What is handed over and not read yet is bounded:
//! beyond it the thread waits until some of it is, but not for ever for those who take nothing.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use redb::ReadableDatabase as _;
use sse_bus::{
    Epoch,
    bus::fetch::{Fetched, Wanted},
};
use tracing::warn;

use super::{
    AGAIN, Shared,
    file::{EVENTS, Failed, Shelf, Trouble, guarded},
    record,
};
use crate::shared::SharedBus;

/// Bytes that are read at once for one who goes through the file.
const AHEAD: usize = 256 << 10;
/// Bytes that may be handed over and not read yet.
const OUT: usize = 16 << 20;
/// How long the thread waits for those who do not read.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it looks whether they have.
const LOOK: Duration = Duration::from_millis(2);
/// What was read last is kept for others who want the same, while there are any.
const RECENT: usize = 4;
/// How often reading is tried before what is wanted counts as lost.
const TRIES: usize = 3;

/// The thread that reads.
pub(super) struct Reader {
    pub(super) bus: SharedBus,
    pub(super) shelf: Shelf,
    pub(super) epoch: Epoch,
    pub(super) shared: Arc<Shared>,
}

impl Reader {
    pub(super) fn run(self) {
        let mut recent: VecDeque<Arc<Fetched>> = VecDeque::new();
        let mut out = Out::default();
        while !self.shared.ends.load(Ordering::Acquire) {
            let wanted = self.bus.with(|bus, _| bus.take_wanted());
            if wanted.is_empty() {
                recent.clear();
                thread::park();
            }
            for wanted in wanted {
                let known = recent.iter().find(|recent| (recent.from..=recent.upto).contains(&wanted.seq)).cloned();
                let fetched = known.unwrap_or_else(|| {
                    out.wait_for_room();
                    let (fetched, bytes) = self.fetch(wanted);
                    let fetched = Arc::new(fetched);
                    out.add(&fetched, bytes);
                    recent.truncate(RECENT - 1);
                    recent.push_front(fetched.clone());
                    fetched
                });
                self.bus.with(|bus, _| bus.hand_over(wanted.client, fetched));
            }
        }
    }

    /// Reads what is wanted, and gives how many bytes it was.
    fn fetch(&self, wanted: Wanted) -> (Fetched, usize) {
        for tried in 1.. {
            match self.try_fetch(wanted) {
                Ok(fetched) => return fetched,
                Err(error) if tried == TRIES => {
                    warn!(%error, "history cannot be read from disk; what was there is told as lost");
                    break;
                }
                Err(_) if self.shared.ends.load(Ordering::Acquire) => break,
                Err(_) => thread::sleep(AGAIN),
            }
        }
        (Fetched { from: wanted.seq, upto: wanted.seq, events: Vec::new() }, 0)
    }

    fn try_fetch(&self, Wanted { seq, previous, .. }: Wanted) -> Result<(Fetched, usize), Failed> {
        let database = self.shelf.get().ok_or("the file is not open")?;
        guarded(|| {
            let table = database.begin_read()?.open_table(EVENTS)?;
            let first = table.range(..=seq)?.next_back().transpose()?.map_or(seq, |(first, _)| first.value());
            let follows =
                table.range(previous + 1..)?.next().transpose()?.is_some_and(|(next, _)| next.value() == first);
            let most = if previous > 0 && follows { AHEAD } else { 1 };
            let (mut fetched, mut bytes) = (Fetched { from: first, upto: seq, events: Vec::new() }, 0);
            for row in table.range(first..)? {
                let (number, piece) = row?;
                if bytes >= most {
                    break;
                }
                bytes += piece.value().len();
                match record::events(piece.value(), self.epoch) {
                    Some(events) => fetched.events.extend(events),
                    None => warn!(first = number.value(), "a piece of history on disk is damaged; it is told as lost"),
                }
                fetched.upto = fetched.events.last().map_or(0, |event| event.id.seq).max(seq).max(number.value());
            }
            Ok((fetched, bytes))
        })
        .map_err(Trouble::why)
    }
}

/// What is handed over and not read yet.
#[derive(Default)]
struct Out(Vec<(Weak<Fetched>, usize)>);

impl Out {
    fn add(&mut self, fetched: &Arc<Fetched>, bytes: usize) {
        self.0.push((Arc::downgrade(fetched), bytes));
    }

    fn wait_for_room(&mut self) {
        let began = Instant::now();
        loop {
            self.0.retain(|(fetched, _)| fetched.strong_count() > 0);
            if self.0.iter().map(|(_, bytes)| bytes).sum::<usize>() < OUT || began.elapsed() >= PATIENCE {
                return;
            }
            thread::park_timeout(LOOK);
        }
    }
}
