//! Publishes lines over one connection: reads input, sends events and receives replies concurrently.

use std::{
    cell::{RefCell, RefMut},
    io,
};

use sse_bus::{
    Client,
    client::{Error, Finished, Publisher, Replies},
    limits::FRAME_MAX,
    protocol::{Ack, ErrorCode, Publish},
};
use tokio::{
    io::{AsyncReadExt, Stdin},
    sync::Notify,
    time::sleep,
};

use super::{
    json::LineError,
    progress::Progress,
    split::{Line, Splitter},
    template::Template,
};
use crate::{
    exit::{Exit, Failure, of_code},
    publish::text::EncodingError,
    signals::{self, Signals},
};

/// Bytes requested by one read.
const READ_SIZE: usize = 64 << 10;

/// Why a connection ended before the end of the input.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error(transparent)]
    Connection(#[from] Error),
    #[error("cannot read stdin: {0}")]
    Input(io::Error),
    /// The input begins with it, so every line would be refused.
    #[error("stdin cannot be published: {0}")]
    Utf16(EncodingError),
    /// After a signal the replies did not arrive in time.
    #[error("stopped before all lines were answered")]
    Stopped,
}

impl From<End> for Failure {
    fn from(end: End) -> Failure {
        match end {
            End::Connection(error) => error.into(),
            end => Failure::new(Exit::Failed, end.to_string()),
        }
    }
}

/// Stdin, which is read across all connections.
pub(super) struct Input {
    stdin: Stdin,
    lines: Splitter,
    has_ended: bool,
}

impl Input {
    pub(super) fn new() -> Input {
        Input { stdin: tokio::io::stdin(), lines: Splitter::new(FRAME_MAX), has_ended: false }
    }
}

/// The work on one connection.
pub(super) struct Connection<'a> {
    template: &'a Template,
    progress: &'a RefCell<Progress>,
    /// Notified when replies make room for more lines.
    room: Notify,
    /// The number of the line before the first line of this connection.
    base: u64,
    /// There are further connections.
    retries: bool,
}

impl<'a> Connection<'a> {
    /// Prepares to send the lines from number `first` on.
    pub(super) fn new(
        template: &'a Template,
        progress: &'a RefCell<Progress>,
        first: u64,
        retries: bool,
    ) -> Connection<'a> {
        Connection { template, progress, room: Notify::new(), base: first - 1, retries }
    }

    /// Returns true if a line that is refused for this reason is sent again on the next connection.
    fn will_resend(&self, code: ErrorCode) -> bool {
        code == ErrorCode::Stopping
            || (self.retries && matches!(code, ErrorCode::Unavailable | ErrorCode::UnknownOutcome))
    }

    fn progress(&self) -> RefMut<'_, Progress> {
        self.progress.borrow_mut()
    }

    /// Resends the stored lines, then sends the input, until everything is answered.
    pub(super) async fn serve(&self, client: Client, input: &mut Input, signals: &mut Signals) -> Result<(), End> {
        let (publisher, mut replies) = client.into_split();
        let mut stop = signals.clone();
        let work = async {
            let receiving = self.receive_replies(&mut replies);
            let feed = self.feed(publisher, input, signals);
            tokio::pin!(receiving, feed);
            tokio::select! {
                // The connection is closed, even if there is more input.
                outcome = &mut receiving => Ok(outcome?),
                end = &mut feed => match end {
                    Ok(_finished) => Ok(receiving.await?),
                    // The error of a read is more specific than that of a write.
                    Err(End::Connection(error)) => Ok(receiving.await.and(Err(error))?),
                    Err(end) => Err(end),
                },
            }
        };
        let stopped = async {
            stop.stop().await;
            // Before the signal thread ends the process.
            sleep(signals::PATIENCE * 3 / 4).await;
        };
        tokio::select! {
            outcome = work => outcome,
            () = stopped => Err(End::Stopped),
        }
    }

    async fn feed(&self, mut publisher: Publisher, input: &mut Input, signals: &mut Signals) -> Result<Finished, End> {
        let mut event = self.template.event();
        let mut next = self.base + 1;
        loop {
            let Some(line) = self.progress().unacked.get(next).map(<[u8]>::to_vec) else { break };
            // The line was valid when it was stored.
            if self.template.fill(&mut event, &line).is_ok() {
                self.send(&mut publisher, &mut event, next).await?;
            }
            next += 1;
        }
        loop {
            // First the lines that were read on an earlier connection.
            self.send_lines(&mut publisher, input, &mut event).await?;
            publisher.flush().await?;
            if input.has_ended {
                break;
            }
            let space = input.lines.space(READ_SIZE);
            let read = tokio::select! {
                read = input.stdin.read_buf(space) => read.map_err(End::Input)?,
                () = signals.stop() => break,
            };
            input.has_ended = read == 0;
        }
        Ok(publisher.finish().await?)
    }

    /// Sends the lines that were read.
    async fn send_lines(&self, publisher: &mut Publisher, input: &mut Input, event: &mut Publish) -> Result<(), End> {
        while let Some(line) = if input.has_ended { input.lines.end() } else { input.lines.next() } {
            let line = match line {
                Line::Whole(line) => line,
                Line::TooLong(bytes) => {
                    let code = ErrorCode::LimitFrame.as_str();
                    let reason = format!("{bytes} bytes exceed the maximum for one event ({code})");
                    self.progress().summary.skip(Exit::Limit, &reason);
                    continue;
                }
            };
            if let Err(error) = self.template.fill(event, line) {
                if matches!(error, LineError::Encoding(EncodingError::Utf16)) && self.progress().is_empty() {
                    return Err(End::Utf16(EncodingError::Utf16));
                }
                self.progress().summary.skip(Exit::Failed, &error);
                continue;
            }
            let number = self.progress().unacked.push(line, event.to.is_some());
            match self.send(publisher, event, number).await {
                Err(error @ Error::TooLarge { .. }) => {
                    let Progress { summary, unacked } = &mut *self.progress();
                    unacked.remove_last();
                    summary.skip(Exit::Limit, &error);
                }
                outcome => outcome?,
            }
            while self.progress().unacked.is_full() {
                publisher.flush().await?;
                self.room.notified().await;
            }
        }
        Ok(())
    }

    async fn send(&self, publisher: &mut Publisher, event: &mut Publish, number: u64) -> Result<(), Error> {
        event.sequence = self.template.sequence(event.ack, number);
        publisher.send(event).await?;
        let Progress { summary, unacked } = &mut *self.progress();
        summary.sent(number);
        if event.ack == Ack::None {
            unacked.done(number);
        }
        Ok(())
    }

    async fn receive_replies(&self, replies: &mut Replies) -> Result<(), Error> {
        while let Some((number, result)) = replies.next().await? {
            let number = self.base + number;
            let Progress { summary, unacked } = &mut *self.progress();
            match result {
                Ok(published) => {
                    // An event for a consumer has an id.
                    let is_nowhere = published.subscribers == 0 && published.id.is_none() && !published.duplicate;
                    summary.accept(number, is_nowhere && unacked.is_unicast(number));
                }
                // The next daemon will accept the line, or the log will. Later lines must not overtake it.
                Err(refused) if self.will_resend(refused.code) && unacked.get(number).is_some() => {
                    return Err(Error::Refused(refused));
                }
                Err(refused) => summary.refuse(number, of_code(refused.code), &refused),
            }
            unacked.done(number);
            self.room.notify_one();
        }
        Ok(())
    }
}
