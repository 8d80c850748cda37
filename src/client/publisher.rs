//! The two halves of a connection that pipelines: [`Publisher`] sends, [`Replies`] gives the answers, each with the
//! number of the publish that it answers.
//!
//! Use both at the same time: a publisher whose answers nobody reads comes to a halt when the socket's buffers are
//! full. What one holds in memory is bounded by that, too.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Answer, Client, Error, Reader, Writer};
use crate::protocol::{Ack, Publish, Reply, Request};

/// What has been sent and is to be answered. The lock is held for a few instructions, never across a wait.
#[derive(Debug, Default)]
struct Awaited {
    /// Numbers of publishes, in order, as runs of a first number and a count.
    runs: VecDeque<(u64, u64)>,
    /// The request that ends it all, once it is on its way.
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

pub(super) fn split(client: Client) -> (Publisher, Replies) {
    let Client { reader, mut writer, answered, .. } = client;
    writer.half_closes = true;
    let awaited = Arc::new(Mutex::new(Awaited::default()));
    let before = writer.requests();
    // Answers to requests that were given up before the split are skipped.
    let skip = before - answered;
    (
        Publisher { writer, before, awaited: Arc::clone(&awaited) },
        Replies { reader, before, awaited, skip, done: false },
    )
}

/// The half that publishes. Dropping it without [`finish`](Publisher::finish) closes this direction of the connection;
/// what was buffered is then lost.
#[derive(Debug)]
pub struct Publisher {
    writer: Writer,
    /// Requests of the connection before the split.
    before: u64,
    awaited: Arc<Mutex<Awaited>>,
}

impl Publisher {
    /// Buffers an event and gives its number, which [`Replies`] repeats; the first has 1. Writes only when 64 KiB are waiting; call
    /// [`flush`](Publisher::flush) when there is nothing more to send for now.
    ///
    /// If the call is dropped while it waits, the event is not sent.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] for this event only. After [`Error::Disconnected`] read the remaining [`Replies`]: they
    /// tell what was accepted, and why the daemon closed.
    pub async fn send(&mut self, publish: &Publish) -> Result<u64, Error> {
        while self.writer.is_full() {
            self.writer.write().await?;
        }
        let number = self.writer.push_publish(publish)? - self.before;
        if publish.ack != Ack::None {
            lock(&self.awaited).push(number);
        }
        Ok(number)
    }

    /// Writes all that is buffered.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.writer.flush().await
    }

    /// Writes all that is buffered and asks the daemon to say when it has dealt with it, so that [`Replies::next`] ends
    /// when all answers and refusals have come.
    ///
    /// The connection stays open until the value returned is dropped; drop it after the replies have ended.
    pub async fn finish(mut self) -> Result<Finished, Error> {
        // Answers come in order, so the answer to any last request says that all before it were dealt with. That also
        // works on named pipes, which cannot be closed in one direction.
        let number = self.writer.push(&Request::Status {})? - self.before;
        lock(&self.awaited).last = Some(number);
        self.writer.flush().await?;
        Ok(Finished { _writer: self.writer })
    }
}

/// A publisher that has sent all it had. Keeps the connection open.
#[derive(Debug)]
#[must_use = "dropping it closes the sending direction before the replies have come"]
pub struct Finished {
    _writer: Writer,
}

/// The half that gives the answers.
#[derive(Debug)]
pub struct Replies {
    reader: Reader,
    /// See [`Publisher`].
    before: u64,
    awaited: Arc<Mutex<Awaited>>,
    skip: u64,
    done: bool,
}

impl Replies {
    /// The next answer: the number of the publish, and whether it was accepted. Publishes with [`Ack::None`] are
    /// answered only if they are refused. `None` after the last answer, once the publisher has
    /// [finished](Publisher::finish). Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`Error::Disconnected`] when the connection ends before that; a refusal of the connection as a whole.
    pub async fn next(&mut self) -> Result<Option<(u64, Answer)>, Error> {
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
                Reply::Published(published) => match awaited.pop() {
                    Some(number) => return Ok(Some((number, Ok(published)))),
                    None => return Err(Error::Protocol("an answer too many".into())),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn awaited_numbers_come_back_in_order_across_runs() {
        let mut awaited = Awaited::default();
        for number in [1, 2, 3, 5, 6, 9] {
            awaited.push(number);
        }
        assert_eq!(awaited.runs.len(), 3);
        let popped: Vec<u64> = std::iter::from_fn(|| awaited.pop()).collect();
        assert_eq!(popped, [1, 2, 3, 5, 6, 9]);
    }
}
