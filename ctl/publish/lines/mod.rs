//! `sse-busctl publish --lines` and `--jsonl`: every line of stdin is an event.
//!
//! Reading, sending and taking answers go on at the same time, in the order of the lines and in constant memory: a
//! line that could never be sent is skipped as it is read. When the connection breaks it is restored, and what was not
//! answered is sent again, from the first such line on: nothing is lost, but what the daemon had taken without saying so
//! is there twice. The end says how many were accepted.

mod json;
mod split;
mod summary;
mod unacked;

use std::{
    cell::{Cell, RefCell, RefMut},
    fmt::Write,
    io::IsTerminal,
    time::Duration,
};

use sse_bus::{
    Client, Endpoint,
    client::{Backoff, Error, Finished, Publisher, Replies},
    limits::FRAME_MAX,
    protocol::{Ack, ErrorCode, Publish},
};
use tokio::{
    io::{AsyncReadExt, Stdin},
    sync::Notify,
    time::{Instant, sleep},
};

use crate::{
    exit::{Exit, Failure, of_code},
    output::{Output, count},
    publish,
    signals::{self, Signals},
};
use split::{Line, Splitter};
use summary::Tally;
use unacked::Kept;

/// Bytes that one read asks for.
const READ_SIZE: usize = 64 << 10;
/// How long the daemon may be away before the rest is given up.
const AWAY: Duration = Duration::from_secs(30);
/// Between two attempts to connect again.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(1) };

/// What to publish.
pub(crate) struct Lines {
    template: Publish,
    /// Lines are JSON objects.
    json: bool,
    /// Whether to go on when the connection breaks.
    reconnect: bool,
    /// It was warned of the type of a line, once.
    has_warned: Cell<bool>,
}

/// What became of the lines so far.
struct Progress {
    tally: Tally,
    kept: Kept,
}

/// Why a connection did not come to the end of the input.
enum End {
    Connection(Error),
    Input(std::io::Error),
    /// A signal came, and then no answers.
    Stopped,
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Connection(error)
    }
}

impl From<End> for Failure {
    fn from(end: End) -> Failure {
        match end {
            End::Connection(error) => error.into(),
            End::Input(error) => Failure::new(Exit::Failed, format!("cannot read stdin: {error}")),
            End::Stopped => Failure::new(Exit::Failed, "stopped before everything was answered"),
        }
    }
}

impl Lines {
    /// Lines are events like `template`, or JSON objects with what differs from it.
    pub(crate) fn new(template: Publish, json: bool, reconnect: bool) -> Lines {
        Lines { template, json, reconnect, has_warned: Cell::new(false) }
    }

    pub(crate) async fn run(self, endpoint: &Endpoint, mut client: Client, output: &Output) -> Result<(), Failure> {
        if std::io::stdin().is_terminal() {
            eprintln!("one event a line, and then Ctrl-D:");
        }
        let tally = Tally::new();
        let progress = RefCell::new(Progress { tally, kept: Kept::default() });
        let mut input = Input { stdin: tokio::io::stdin(), lines: Splitter::new(FRAME_MAX), is_over: false };
        // A signal is the end of the input: what was sent is still answered.
        let mut signals = Signals::watch(true);
        let mut outage = Outage::new();
        let outcome = loop {
            let began = Instant::now();
            let first = progress.borrow().kept.first();
            let connection = Connection { lines: &self, progress: &progress, room: Notify::new(), base: first - 1 };
            let error = match connection.serve(client, &mut input, &mut signals).await {
                Err(End::Connection(error)) if self.reconnect && error.is_transient() => error,
                outcome => break outcome,
            };
            // A line that ends every daemon is not sent for ever.
            if progress.borrow().kept.is_empty_or_behind(first) || began.elapsed() > AWAY {
                outage = Outage::new();
            }
            match outage.end(endpoint, error, &mut signals).await {
                Ok(connected) => client = connected,
                Err(end) => break Err(end),
            }
            progress.borrow_mut().again();
        };
        finish(&progress.into_inner(), output, outcome.map_err(Failure::from))
    }
}

impl Progress {
    /// There is another connection.
    fn again(&mut self) {
        self.kept.again();
        self.tally.broken(self.kept.first());
        match self.kept.len() {
            0 => eprintln!("sse-busctl: connected again"),
            open => eprintln!("sse-busctl: connected again; sending again {}", self.without_answer(open)),
        }
    }

    /// So many lines without an answer, and which is the first that could be sent again.
    fn without_answer(&self, open: u64) -> String {
        let first = Some(self.kept.first()).filter(|_| self.kept.len() > 0).and_then(|first| self.tally.line(first));
        let from = first.map_or(String::new(), |line| format!(", from line {line} on"));
        format!("{} without an answer{from}", count(open, "line"))
    }
}

/// Says how many were accepted, and how it ended.
fn finish(progress: &Progress, output: &Output, outcome: Result<(), Failure>) -> Result<(), Failure> {
    let tally = &progress.tally;
    let (accepted, open) = (tally.accepted(outcome.is_ok()), tally.open(outcome.is_ok()));
    let mut summary = format!("{} accepted", count(accepted, "event"));
    // Writing to a String does not fail.
    if tally.refused > 0 {
        let _ = write!(summary, ", {} refused", tally.refused);
    }
    if tally.nobody > 0 {
        let _ = write!(summary, ", {} of them taken by no client", tally.nobody);
    }
    if open > 0 {
        let _ = write!(summary, ", {}", progress.without_answer(open));
    }
    eprintln!("{summary}");
    if !output.people() {
        output.say(String::new, &serde_json::json!({ "accepted": accepted, "refused": tally.refused }))?;
    }
    outcome?;
    match tally.worst {
        Some(exit) => Err(Failure::silent(exit)),
        None => Ok(()),
    }
}

/// The daemon is away.
struct Outage {
    until: Instant,
    attempt: u32,
}

impl Outage {
    fn new() -> Outage {
        Outage { until: Instant::now() + AWAY, attempt: 0 }
    }

    /// Waits until there is a daemon again that answers.
    async fn end(&mut self, endpoint: &Endpoint, error: Error, signals: &mut Signals) -> Result<Client, End> {
        let mut error = error;
        // Once for each outage.
        if self.attempt == 0 {
            eprintln!("sse-busctl: {error}; reconnecting");
        }
        while error.is_transient() && Instant::now() < self.until {
            let connected = async {
                sleep(BACKOFF.wait(self.attempt)).await;
                self.attempt += 1;
                let mut client = Client::connect(endpoint).await?;
                client.status().await?;
                Ok(client)
            };
            tokio::select! {
                outcome = connected => match outcome {
                    Ok(client) => return Ok(client),
                    Err(again) => error = again,
                },
                () = signals.stop() => break,
            }
        }
        Err(End::Connection(error))
    }
}

/// Stdin, as it is read over all connections.
struct Input {
    stdin: Stdin,
    lines: Splitter,
    is_over: bool,
}

/// What one connection does.
struct Connection<'a> {
    lines: &'a Lines,
    progress: &'a RefCell<Progress>,
    /// Told when answers make room for more lines.
    room: Notify,
    /// The number of the line before the first that is sent.
    base: u64,
}

impl Connection<'_> {
    fn progress(&self) -> RefMut<'_, Progress> {
        self.progress.borrow_mut()
    }

    /// Sends what was kept and then what comes, until everything is answered.
    async fn serve(&self, client: Client, input: &mut Input, signals: &mut Signals) -> Result<(), End> {
        let (publisher, mut replies) = client.into_split();
        let mut stop = signals.clone();
        let work = async {
            let answers = self.take_answers(&mut replies);
            let feed = self.feed(publisher, input, signals);
            tokio::pin!(answers, feed);
            tokio::select! {
                // The daemon is gone, however much there is still to read.
                outcome = &mut answers => Ok(outcome?),
                end = &mut feed => match end {
                    Ok(_finished) => Ok(answers.await?),
                    // Reading tells more about the end of a connection than writing.
                    Err(End::Connection(error)) => Ok(answers.await.and(Err(error))?),
                    Err(end) => Err(end),
                },
            }
        };
        let stopped = async {
            stop.stop().await;
            // Before the process is ended.
            sleep(signals::PATIENCE * 3 / 4).await;
        };
        tokio::select! {
            outcome = work => outcome,
            () = stopped => Err(End::Stopped),
        }
    }

    async fn feed(&self, mut publisher: Publisher, input: &mut Input, signals: &mut Signals) -> Result<Finished, End> {
        let mut event = self.lines.template.clone();
        let mut next = self.base + 1;
        loop {
            let Some(line) = self.progress().kept.get(next).map(<[u8]>::to_vec) else { break };
            // It was sound before.
            if self.lines.set(&mut event, &line).is_ok() {
                self.send(&mut publisher, &event, next).await?;
            }
            next += 1;
        }
        loop {
            // First what an earlier connection did not come to.
            self.send_lines(&mut publisher, input, &mut event).await?;
            publisher.flush().await?;
            if input.is_over {
                break;
            }
            let space = input.lines.space(READ_SIZE);
            let read = tokio::select! {
                read = input.stdin.read_buf(space) => read.map_err(End::Input)?,
                () = signals.stop() => break,
            };
            input.is_over = read == 0;
        }
        Ok(publisher.finish().await?)
    }

    /// Sends the lines that were read.
    async fn send_lines(&self, publisher: &mut Publisher, input: &mut Input, event: &mut Publish) -> Result<(), End> {
        while let Some(line) = if input.is_over { input.lines.end() } else { input.lines.next() } {
            let line = match line {
                Line::Whole(line) => line,
                Line::TooLong(bytes) => {
                    let why = format!("{bytes} bytes are more than fit one event ({})", ErrorCode::LimitFrame.as_str());
                    self.progress().tally.skip(Exit::Limit, &why);
                    continue;
                }
            };
            if let Err(why) = self.lines.set(event, line) {
                self.progress().tally.skip(Exit::Failed, &why);
                continue;
            }
            let number = self.progress().kept.push(line, event.to.is_some());
            match self.send(publisher, event, number).await {
                Err(error @ Error::TooLarge { .. }) => {
                    let Progress { tally, kept } = &mut *self.progress();
                    kept.take_back();
                    tally.skip(Exit::Limit, &error.to_string());
                }
                outcome => outcome?,
            }
            while self.progress().kept.is_full() {
                publisher.flush().await?;
                self.room.notified().await;
            }
        }
        Ok(())
    }

    async fn send(&self, publisher: &mut Publisher, event: &Publish, number: u64) -> Result<(), Error> {
        publisher.send(event).await?;
        let Progress { tally, kept } = &mut *self.progress();
        tally.sent(number);
        if event.ack == Ack::None {
            kept.done(number);
        }
        Ok(())
    }

    async fn take_answers(&self, replies: &mut Replies) -> Result<(), Error> {
        while let Some((number, answer)) = replies.next().await? {
            let number = self.base + number;
            let Progress { tally, kept } = &mut *self.progress();
            match answer {
                Ok(published) => tally.accept(number, published.subscribers == 0 && kept.is_unicast(number)),
                // The next daemon will take it.
                Err(refused) if refused.code == ErrorCode::Stopping && kept.get(number).is_some() => {
                    return Err(Error::Refused(refused));
                }
                Err(refused) => tally.refuse(number, of_code(refused.code), &refused.to_string()),
            }
            kept.done(number);
            self.room.notify_one();
        }
        Ok(())
    }
}

impl Lines {
    /// Makes the event that a line stands for.
    fn set(&self, event: &mut Publish, line: &[u8]) -> Result<(), String> {
        if self.json {
            *event = json::parse(line, &self.template)?;
            if !self.has_warned.get() && event.kind != self.template.kind {
                self.has_warned.set(publish::warn_of_type(event.kind.as_deref()));
            }
        } else {
            event.data.0.clear();
            event.data.0.extend_from_slice(line);
        }
        Ok(())
    }
}
