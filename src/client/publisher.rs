//! The two halves of a pipelined connection: [`Publisher`] sends, [`Replies`] returns the replies, each with the number
//! of its publish.
//!
//! Both must be used concurrently: if the replies are not read, the publisher blocks once the buffers are full. This also
//! bounds the memory of both.

#[cfg(feature = "remote")]
use super::remote;
use super::{
    error::{Error, PublishResult},
    local_publisher as local,
    transport::Transport,
};
use crate::protocol::Publish;

pub(super) fn split(transport: Transport) -> (Publisher, Replies) {
    match transport {
        Transport::Local(session) => {
            let (publisher, replies) = local::split(session);
            (Publisher(Sender::Local(publisher)), Replies(Receiver::Local(replies)))
        }
        #[cfg(feature = "remote")]
        Transport::Remote(session) => {
            let (publisher, replies) = remote::split(*session);
            (Publisher(Sender::Remote(publisher)), Replies(Receiver::Remote(replies)))
        }
    }
}

/// The half that publishes. Dropping it without [`finish`](Publisher::finish) closes this direction of the connection
/// and discards what is buffered.
#[derive(Debug)]
pub struct Publisher(Sender);

#[derive(Debug)]
enum Sender {
    Local(local::Publisher),
    #[cfg(feature = "remote")]
    Remote(remote::Publisher),
}

impl Publisher {
    /// Buffers an event and returns its number, counted from 1, which [`Replies`] refer to. Writes only once 64 KiB are
    /// buffered; call [`flush`](Publisher::flush) if there is nothing more to send for now.
    ///
    /// If the call is dropped while it waits, the event is not sent.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] and [`Error::Refused`] affect this event only. After [`Error::Disconnected`] the remaining
    /// [`Replies`] contain the events that were accepted, and the reason why the daemon closed the connection.
    pub async fn send(&mut self, publish: &Publish) -> Result<u64, Error> {
        match &mut self.0 {
            Sender::Local(publisher) => publisher.send(publish).await,
            #[cfg(feature = "remote")]
            Sender::Remote(publisher) => publisher.send(publish).await,
        }
    }

    /// Writes everything that is buffered.
    pub async fn flush(&mut self) -> Result<(), Error> {
        match &mut self.0 {
            Sender::Local(publisher) => publisher.flush().await,
            #[cfg(feature = "remote")]
            Sender::Remote(publisher) => publisher.flush().await,
        }
    }

    /// Writes everything that is buffered, so that [`Replies::next`] returns `None` after all replies and refusals.
    ///
    /// The connection stays open until the returned value is dropped; drop it after the replies have ended.
    pub async fn finish(self) -> Result<Finished, Error> {
        match self.0 {
            Sender::Local(publisher) => Ok(Finished(Some(publisher.finish().await?))),
            #[cfg(feature = "remote")]
            Sender::Remote(mut publisher) => {
                publisher.flush().await?;
                Ok(Finished(None))
            }
        }
    }
}

/// A publisher that has sent everything. Keeps the connection open.
#[derive(Debug)]
#[must_use = "dropping it closes the sending direction before the replies have arrived"]
pub struct Finished(#[expect(dead_code, reason = "keeps the local connection open")] Option<local::Finished>);

/// The half that returns the replies.
#[derive(Debug)]
pub struct Replies(Receiver);

#[derive(Debug)]
enum Receiver {
    Local(local::Replies),
    #[cfg(feature = "remote")]
    Remote(remote::Replies),
}

impl Replies {
    /// Returns the next reply and the number of its publish. Publishes with [`Ack::None`](crate::protocol::Ack::None)
    /// are answered only if they are refused. Returns `None` after the last reply, once the publisher has
    /// [finished](Publisher::finish). Cancel-safe.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Disconnected`] if the connection ends before that, or a refusal of the whole connection.
    pub async fn next(&mut self) -> Result<Option<(u64, PublishResult)>, Error> {
        match &mut self.0 {
            Receiver::Local(replies) => replies.next().await,
            #[cfg(feature = "remote")]
            Receiver::Remote(replies) => replies.next().await,
        }
    }
}
