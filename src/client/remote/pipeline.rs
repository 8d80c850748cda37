//! Publishing many events to a daemon elsewhere: they are sent in batches, one at a time, so that they stay in order.
//!
//! A batch contains what was buffered when the one before it was answered, up to 64 KiB unless one event is larger. At
//! most three batches are in memory: one is filled, one waits, and one is in flight.

use std::{collections::VecDeque, fmt, pin::Pin};

use tokio::sync::mpsc;

use super::session::Session;
use crate::{
    client::error::{Error, Interrupted, PublishResult},
    limits::LINE_MAX,
    protocol::{Ack, ErrorCode, Publish, Published, Refused, Reply, json},
};

/// Bytes of a batch at which it is sent. With one more event it is not too large for the daemon.
const BATCH_FULL: usize = 64 << 10;

/// Events that are sent in one request.
#[derive(Debug, Default)]
pub(super) struct Batch {
    lines: Vec<u8>,
    /// The number of each event, and whether the caller wants its result.
    numbers: Vec<(u64, Ack)>,
}

impl Batch {
    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= BATCH_FULL
    }

    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Adds an event.
    ///
    /// # Errors
    ///
    /// Its data is not UTF-8, which JSON cannot contain, or it is too large.
    pub(super) fn push(&mut self, number: u64, publish: &Publish) -> Result<(), Error> {
        if let Err(error) = str::from_utf8(&publish.data.0) {
            return Err(Error::Refused(Refused::new(
                ErrorCode::DataInvalid,
                format!("the data is not UTF-8: {error}"),
            )));
        }
        let begin = self.lines.len();
        json::encode(publish, &mut self.lines);
        let bytes = self.lines.len() - begin;
        if bytes > LINE_MAX {
            self.lines.truncate(begin);
            return Err(Error::TooLarge { bytes });
        }
        self.numbers.push((number, publish.ack));
        Ok(())
    }

    /// Sends the batch and returns the results that the caller wants, in order.
    pub(super) async fn send(self, session: &mut Session) -> Result<Vec<(u64, PublishResult)>, Error> {
        let Batch { lines, numbers } = self;
        let is_durable = numbers.iter().any(|(_, ack)| *ack == Ack::Durable);
        let replies = session.publish_lines(lines.into(), is_durable).await?;
        if replies.len() != numbers.len() {
            let what = format!("{} results to {} events", replies.len(), numbers.len());
            return Err(Error::Protocol(what));
        }
        let mut results = Vec::with_capacity(numbers.len());
        for ((number, ack), reply) in numbers.into_iter().zip(replies) {
            match reply {
                Reply::Published(_) | Reply::Scheduled(_) if ack == Ack::None => {}
                // It has no id yet.
                Reply::Scheduled(_) => results.push((number, Ok(Published::new(None, 0)))),
                Reply::Published(published) => results.push((number, Ok(published))),
                Reply::Error(refused) => results.push((number, Err(refused))),
                other => return Err(Error::unexpected(&other)),
            }
        }
        Ok(results)
    }
}

/// Publishes events, and returns the results in order.
pub(crate) async fn publish_many(
    session: &mut Session,
    publishes: impl Iterator<Item = Publish>,
) -> Result<Vec<PublishResult>, Interrupted> {
    let mut publishes = publishes.fuse();
    let mut results: Vec<PublishResult> = Vec::new();
    loop {
        let mut batch = Batch::default();
        let begin = results.len();
        while !batch.is_full() {
            let Some(mut publish) = publishes.next() else { break };
            publish.ack = if publish.ack == Ack::None { Ack::Accepted } else { publish.ack };
            let outcome = batch.push(results.len() as u64, &publish);
            // Replaced by its result.
            results.push(Err(outcome.map_or_else(Error::into_refused, |()| Error::closed().into_refused())));
        }
        if results.len() == begin {
            return Ok(results);
        }
        if batch.is_empty() {
            continue;
        }
        match batch.send(session).await {
            Ok(answered) => answered.into_iter().for_each(|(number, result)| results[number as usize] = result),
            Err(error) => {
                results.truncate(begin);
                return Err(Interrupted { results, error });
            }
        }
    }
}

pub(crate) fn split(session: Session) -> (Publisher, Replies) {
    let (queue, batches) = mpsc::channel(1);
    let publisher = Publisher { queue, batch: Batch::default(), last: 0 };
    (publisher, Replies { work: Work::Idle(session.into()), batches, results: VecDeque::new() })
}

/// The half that publishes. See [`client::Publisher`](crate::client::Publisher).
#[derive(Debug)]
pub(crate) struct Publisher {
    queue: mpsc::Sender<Batch>,
    batch: Batch,
    /// The number of the last event.
    last: u64,
}

impl Publisher {
    pub(crate) async fn send(&mut self, publish: &Publish) -> Result<u64, Error> {
        if self.batch.is_full() {
            self.flush().await?;
        }
        self.batch.push(self.last + 1, publish)?;
        self.last += 1;
        Ok(self.last)
    }

    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        if !self.batch.is_empty() {
            // First the room, so that a call that is dropped loses nothing.
            let room = self.queue.reserve().await.map_err(|_| Error::closed())?;
            room.send(std::mem::take(&mut self.batch));
        }
        Ok(())
    }
}

/// A request in progress, which returns the session.
type Exchange = Pin<Box<dyn Future<Output = (Box<Session>, Result<Vec<(u64, PublishResult)>, Error>)> + Send>>;

enum Work {
    Idle(Box<Session>),
    Sending(Exchange),
    /// A request has failed.
    Ended,
}

/// The half that sends the batches and returns the results. See [`client::Replies`](crate::client::Replies).
pub(crate) struct Replies {
    work: Work,
    batches: mpsc::Receiver<Batch>,
    results: VecDeque<(u64, PublishResult)>,
}

impl Replies {
    pub(crate) async fn next(&mut self) -> Result<Option<(u64, PublishResult)>, Error> {
        loop {
            if let Some(result) = self.results.pop_front() {
                return Ok(Some(result));
            }
            match &mut self.work {
                Work::Idle(_) => {
                    let Some(batch) = self.batches.recv().await else { return Ok(None) };
                    if let Work::Idle(mut session) = std::mem::replace(&mut self.work, Work::Ended) {
                        self.work = Work::Sending(Box::pin(async move {
                            let results = batch.send(&mut session).await;
                            (session, results)
                        }));
                    }
                }
                Work::Sending(exchange) => {
                    let (session, results) = exchange.await;
                    self.work = Work::Ended;
                    self.results = results?.into();
                    self.work = Work::Idle(session);
                }
                Work::Ended => return Err(Error::closed()),
            }
        }
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").field("results", &self.results).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{net::TcpListener, time::timeout};

    use super::*;
    use crate::client::remote::url::Remote;

    #[tokio::test]
    async fn only_a_durable_event_waits_for_its_answer_without_a_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let remote = Remote::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let mut outcomes = Vec::new();
        for ack in [Ack::Accepted, Ack::None, Ack::Durable] {
            let mut session = Session::connect(&remote).await.unwrap();
            let publish = Publish { ack, ..Publish::default() };
            let mut batch = Batch::default();
            batch.push(0, &publish).unwrap();
            tokio::time::pause();
            let outcome = timeout(Duration::from_hours(1), batch.send(&mut session)).await;
            tokio::time::resume();
            outcomes.push(outcome.ok().map(|reply| matches!(reply, Err(Error::Unresponsive { .. }))));
        }
        assert_eq!(outcomes, [Some(true), Some(true), None]);
    }
}
