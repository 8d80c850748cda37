//! The two halves of a pipelined connection to the local socket. See [`client::Publisher`](super::Publisher).
//!
//! If the replies are not read, the publisher blocks once the buffers of the socket are full.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    connection::{Reader, Writer},
    error::{Error, PublishResult},
    session::Session,
};
use crate::protocol::{Ack, Publish, Published, Reply, Request};

/// The publishes that wait for a reply. The lock is held for a few instructions, never across an await.
#[derive(Debug, Default)]
struct Awaited {
    /// Numbers of publishes in order, as runs: the first number and the count.
    runs: VecDeque<(u64, u64)>,
    /// The number of the final request, once it is sent.
    last: Option<u64>,
}

impl Awaited {
    fn push(&mut self, number: u64) {
        match self.runs.back_mut() {
            Some((first, count)) if *first + *count == number => *count += 1,
            _ => self.runs.push_back((number, 1)),
        }
    }

    fn pop(&mut self) -> Option<u64> {
        let (first, count) = self.runs.front_mut()?;
        let number = *first;
        (*first, *count) = (*first + 1, *count - 1);
        if *count == 0 {
            self.runs.pop_front();
        }
        Some(number)
    }

    fn next(&self) -> Option<u64> {
        self.runs.front().map(|run| run.0)
    }
}

fn lock(awaited: &Mutex<Awaited>) -> MutexGuard<'_, Awaited> {
    // Nothing in the critical sections can panic.
    awaited.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn split(session: Session) -> (Publisher, Replies) {
    let Session { reader, mut writer, replied, .. } = session;
    writer.half_closes = true;
    let awaited = Arc::new(Mutex::new(Awaited::default()));
    let before = writer.requests();
    // Skip the replies to requests that timed out before the split.
    let skip = before - replied;
    (
        Publisher { writer, before, awaited: Arc::clone(&awaited) },
        Replies { reader, before, awaited, skip, done: false },
    )
}

/// The half that publishes.
#[derive(Debug)]
pub(super) struct Publisher {
    writer: Writer,
    /// Requests of the connection before the split.
    before: u64,
    awaited: Arc<Mutex<Awaited>>,
}

impl Publisher {
    pub(super) async fn send(&mut self, publish: &Publish) -> Result<u64, Error> {
        while self.writer.is_full() {
            self.writer.write().await?;
        }
        let number = self.writer.push_publish(publish)? - self.before;
        if publish.ack != Ack::None {
            lock(&self.awaited).push(number);
        }
        Ok(number)
    }

    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        self.writer.flush().await
    }

    /// Writes everything that is buffered and a final request.
    pub(super) async fn finish(mut self) -> Result<Finished, Error> {
        // Replies come in order, so the reply to a final request means that all requests before it were processed.
        // This also works on named pipes, which cannot be closed in one direction.
        let number = self.writer.push(&Request::Status {})? - self.before;
        lock(&self.awaited).last = Some(number);
        self.writer.flush().await?;
        Ok(Finished { _writer: self.writer })
    }
}

/// A publisher that has sent everything. Keeps the connection open.
#[derive(Debug)]
pub(super) struct Finished {
    _writer: Writer,
}

/// The half that returns the replies.
#[derive(Debug)]
pub(super) struct Replies {
    reader: Reader,
    /// See [`Publisher`].
    before: u64,
    awaited: Arc<Mutex<Awaited>>,
    skip: u64,
    done: bool,
}

impl Replies {
    pub(super) async fn next(&mut self) -> Result<Option<(u64, PublishResult)>, Error> {
        loop {
            if self.done {
                return Ok(None);
            }
            let reply = self.reader.reply().await?;
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            let mut awaited = lock(&self.awaited);
            match reply {
                Reply::Published(_) | Reply::Scheduled(_) => match awaited.pop() {
                    Some(number) => return Ok(Some((number, Ok(published(reply))))),
                    None => return Err(Error::Protocol("one reply too many".into())),
                },
                Reply::Error(refused) if refused.request == 0 => return Err(Error::refused(refused)),
                Reply::Error(refused) => {
                    let number = refused.request.saturating_sub(self.before);
                    if awaited.next() == Some(number) {
                        awaited.pop();
                    }
                    return Ok(Some((number, Err(refused))));
                }
                Reply::Status(_) if awaited.last.is_some() && awaited.runs.is_empty() => self.done = true,
                other => return Err(Error::unexpected(&other)),
            }
        }
    }
}

/// Returns the reply to a publish. An event that is scheduled has no id yet.
fn published(reply: Reply) -> Published {
    match reply {
        Reply::Published(published) => published,
        _ => Published::new(None, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_returned_in_order_across_runs() {
        let mut awaited = Awaited::default();
        for number in [1, 2, 3, 5, 6, 9] {
            awaited.push(number);
        }
        assert_eq!(awaited.runs.len(), 3);
        let popped: Vec<u64> = std::iter::from_fn(|| awaited.pop()).collect();
        assert_eq!(popped, [1, 2, 3, 5, 6, 9]);
    }
}
