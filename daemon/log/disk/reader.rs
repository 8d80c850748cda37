//! The thread that reads old events from disk, so that neither the bus nor other subscribers wait for the disk.
//!
//! A subscriber that reads the history in order receives several blocks at once. The bytes handed over but not yet read
//! are bounded: at the limit the thread waits until subscribers have read some of them, and drops what has not been
//! read for a while. Subscribers request dropped events again when they continue.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use redb::ReadableDatabase as _;
use sse_bus::{Epoch, bus::fetch::Fetched};
use tracing::warn;

use super::{
    database::{SharedDatabase, guarded},
    encoding,
    error::StoreError,
    rows::StoredBlocks,
    shared::{Lookup, RETRY_DELAY, Shared},
};
use crate::shared_bus::SharedBus;

/// Bytes read at once for a subscriber that reads the history in order.
const READ_AHEAD: usize = 256 << 10;
/// Maximum bytes that are handed over and not read yet.
const MAX_UNREAD_BYTES: usize = 16 << 20;
/// How long recent reads are cached while there are no requests.
const CACHE_LIFETIME: Duration = Duration::from_secs(1);
/// How long events stay available after they are handed over.
const MIN_HOLD: Duration = Duration::from_millis(100);
/// How often the thread checks for events that were read.
const READ_POLL: Duration = Duration::from_millis(2);
/// How often the thread checks whether a closed file is open again.
const REOPEN_POLL: Duration = Duration::from_millis(50);
/// Number of recent reads that are cached for other subscribers, while there are requests.
const CACHED_READS: usize = 4;
/// Number of attempts before events are reported as lost.
const READ_ATTEMPTS: usize = 3;

/// The thread that reads.
pub(super) struct Reader {
    pub(super) bus: SharedBus,
    pub(super) database: SharedDatabase,
    pub(super) epoch: Epoch,
    pub(super) shared: Arc<Shared>,
}

impl Reader {
    pub(super) fn run(self) {
        let mut recent = RecentReads::default();
        while !self.shared.is_stopping.load(Ordering::Acquire) {
            let (wanted, of_consumers) = self.bus.with(|bus, _| (bus.take_wanted(), bus.take_wanted_events()));
            let lookups = std::mem::take(&mut *self.shared.lookups.lock());
            if wanted.is_empty() && of_consumers.is_empty() && lookups.is_empty() {
                match recent.last.take() {
                    // Read ahead: a subscriber that reads the history in order will need these events next.
                    Some(last) if !recent.has(last + 1) => {
                        if let Ok(Some((fetched, bytes))) = self.read(ReadPosition::After(last)) {
                            recent.add(&Arc::new(fetched), bytes);
                        }
                    }
                    Some(_) => {}
                    None => recent.wait(),
                }
            }
            for wanted in wanted {
                let fetched = self.find(wanted.seq, wanted.previous, &mut recent);
                self.bus.with(|bus, _| bus.hand_over(wanted.client, Arc::downgrade(&fetched)));
            }
            for wanted in of_consumers {
                let fetched = self.find(wanted.seq, wanted.previous, &mut recent);
                self.bus.with(|bus, now| bus.hand_over_events(&wanted, Arc::downgrade(&fetched), now));
            }
            for Lookup { seqs, found } in lookups {
                let one = |seq| {
                    let fetched = self.find(seq, 0, &mut recent);
                    let at = fetched.events.binary_search_by_key(&seq, |event| event.id.seq).ok()?;
                    Some(fetched.events[at].clone())
                };
                // Nobody may wait any more.
                let _ = found.send(seqs.into_iter().filter_map(one).collect());
            }
        }
    }

    /// Returns the events around `seq`, from the cache or from disk. `previous` is the end of the range that was read last for
    /// the same client or consumer.
    fn find(&self, seq: u64, previous: u64, recent: &mut RecentReads) -> Arc<Fetched> {
        recent.drop_read();
        let fetched = recent.find(seq).unwrap_or_else(|| {
            recent.wait_for_room();
            let (fetched, bytes) = self.fetch(seq, previous);
            let fetched = Arc::new(fetched);
            recent.add(&fetched, bytes);
            fetched
        });
        recent.last = (previous > 0).then_some(fetched.upto);
        fetched
    }

    /// Reads the requested events. Returns them with their size in bytes.
    fn fetch(&self, seq: u64, previous: u64) -> (Fetched, usize) {
        let none = || (Fetched { from: seq, upto: seq, ..Fetched::default() }, 0);
        let ends = || self.shared.is_stopping.load(Ordering::Acquire);
        let mut attempts = 0;
        loop {
            // While the disk fails the file is closed, but its events are not lost.
            while self.database.get().is_none() && !ends() {
                thread::sleep(REOPEN_POLL);
            }
            attempts += 1;
            match self.read(ReadPosition::Containing { seq, previous }) {
                Ok(fetched) => return fetched.unwrap_or_else(none),
                Err(error) if attempts == READ_ATTEMPTS => {
                    warn!(%error, "history cannot be read from disk; its events are reported as lost");
                    break;
                }
                Err(_) if ends() => break,
                Err(_) => thread::sleep(RETRY_DELAY),
            }
        }
        none()
    }

    /// Reads blocks. Returns them with their size in bytes, or `None` if there is no such block.
    fn read(&self, position: ReadPosition) -> Result<Option<(Fetched, usize)>, StoreError> {
        let database = self.database.get().ok_or(StoreError::NotOpen)?;
        guarded(|| {
            let blocks = StoredBlocks::open(&database.begin_read()?)?;
            let after = |last: u64| blocks.first(last + 1..);
            let (first, upto, most) = match position {
                ReadPosition::Containing { seq, previous } => {
                    let first = blocks.containing(seq)?;
                    let has_more = previous > 0 && after(previous)? == first;
                    (first, seq, if has_more { READ_AHEAD } else { 1 })
                }
                ReadPosition::After(last) => (after(last)?, 0, READ_AHEAD),
            };
            let Some(first) = first else { return Ok(None) };
            let (mut fetched, mut bytes) = (Fetched { from: first, upto, ..Fetched::default() }, 0);
            for found in blocks.iter_from(first)? {
                let (number, block) = found?;
                if bytes >= most {
                    break;
                }
                bytes += block.len();
                if encoding::events(&block, self.epoch, &mut fetched.events).is_none() {
                    warn!(first = number, "a block of history on disk is damaged; its events are reported as lost");
                }
                let last = fetched.events.last().map_or(0, |event| event.id.seq);
                fetched.upto = fetched.upto.max(last).max(number);
            }
            Ok(Some((fetched, bytes)))
        })
    }
}

/// Where to read.
#[derive(Clone, Copy)]
enum ReadPosition {
    /// The block with the requested event. `previous` is the end of the range that was read last for the subscriber.
    Containing { seq: u64, previous: u64 },
    /// The blocks after an event.
    After(u64),
}

/// The events that were read last.
#[derive(Default)]
struct RecentReads {
    /// Cached for other subscribers, with their size in bytes.
    cached: VecDeque<(Arc<Fetched>, usize)>,
    /// Handed over and not read yet, oldest first: since when, and the size in bytes.
    unread: VecDeque<(Arc<Fetched>, Instant, usize)>,
    /// The last event read for a subscriber that reads the history in order.
    last: Option<u64>,
}

impl RecentReads {
    fn has(&self, seq: u64) -> bool {
        self.cached.iter().any(|(cached, _)| (cached.from..=cached.upto).contains(&seq))
    }

    /// Returns the cached events that contain `seq`, and counts them as handed over.
    fn find(&mut self, seq: u64) -> Option<Arc<Fetched>> {
        let (cached, bytes) =
            self.cached.iter().find(|(cached, _)| (cached.from..=cached.upto).contains(&seq)).cloned()?;
        if !self.unread.iter().any(|(unread, ..)| Arc::ptr_eq(unread, &cached)) {
            self.unread.push_back((cached.clone(), Instant::now(), bytes));
        }
        Some(cached)
    }

    fn add(&mut self, fetched: &Arc<Fetched>, bytes: usize) {
        self.unread.push_back((fetched.clone(), Instant::now(), bytes));
        self.cached.truncate(CACHED_READS - 1);
        self.cached.push_front((fetched.clone(), bytes));
    }

    /// Waits for the next request, and clears everything after [`CACHE_LIFETIME`] without one. May return early; the
    /// caller checks for requests before it waits again.
    fn wait(&mut self) {
        if self.cached.is_empty() && self.unread.is_empty() {
            return thread::park();
        }
        let began = Instant::now();
        thread::park_timeout(CACHE_LIFETIME);
        if began.elapsed() >= CACHE_LIFETIME {
            self.cached.clear();
            self.unread.clear();
        }
    }

    /// Drops events that no subscriber waits to read.
    fn drop_read(&mut self) {
        self.unread.retain(|(fetched, ..)| Arc::weak_count(fetched) > 0);
    }

    /// Waits until more bytes may be handed over: drops what was read, then, oldest first, what is older than
    /// [`MIN_HOLD`].
    fn wait_for_room(&mut self) {
        loop {
            self.drop_read();
            let bytes = |unread: &VecDeque<(_, _, usize)>| unread.iter().map(|(.., bytes)| bytes).sum::<usize>();
            while bytes(&self.unread) >= MAX_UNREAD_BYTES
                && self.unread.pop_front_if(|(_, since, _)| since.elapsed() >= MIN_HOLD).is_some()
            {}
            if bytes(&self.unread) < MAX_UNREAD_BYTES {
                return;
            }
            thread::park_timeout(READ_POLL);
        }
    }
}
