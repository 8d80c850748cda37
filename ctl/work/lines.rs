//! `work` without a command: prints deliveries as JSON lines, and reads from stdin how they are settled.

use std::{collections::HashMap, io, time::Duration};

use serde::Deserialize;
use sse_bus::{
    client::{Address, Delivery, Settling, Work},
    limits::{FRAME_MAX, REPLY},
    protocol::ErrorCode,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Stdin},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::connection::{Outage, connect, stopped};
use crate::{
    cli,
    exit::{Exit, Failure},
    format::warn_of_gap,
    output::{self, Output},
    signals::Signals,
    visible::visible,
};

/// One or several tokens.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
enum Tokens {
    One(String),
    Several(Vec<String>),
}

impl Tokens {
    fn into_list(self) -> Vec<String> {
        match self {
            Tokens::One(token) => vec![token],
            Tokens::Several(tokens) => tokens,
        }
    }
}

/// A line of stdin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    ack: Option<Tokens>,
    nak: Option<Tokens>,
    extend: Option<Tokens>,
    reject: Option<Tokens>,
    release: Option<Tokens>,
    /// With `nak`: time until the next attempt.
    delay_ms: Option<u64>,
    /// With `reject`.
    reason: Option<String>,
}

/// How deliveries are settled.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verb {
    Ack,
    Nak(Option<Duration>),
    Extend,
    Reject(String),
    Release,
}

/// Why a line has no effect.
#[derive(Debug, thiserror::Error)]
enum LineError {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("it needs one of `ack`, `nak`, `extend`, `reject` and `release`, with a token or a list of tokens")]
    Verb,
    #[error("`{0}` has no effect here")]
    Unused(&'static str),
}

/// Parses a line of stdin.
fn parse(line: &[u8]) -> Result<(Verb, Vec<String>), LineError> {
    let Line { ack, nak, extend, reject, release, delay_ms, reason } = serde_json::from_slice(line)?;
    if delay_ms.is_some() && nak.is_none() {
        return Err(LineError::Unused("delay_ms"));
    }
    if reason.is_some() && reject.is_none() {
        return Err(LineError::Unused("reason"));
    }
    let verbs = [
        (Verb::Ack, ack),
        (Verb::Nak(delay_ms.map(Duration::from_millis)), nak),
        (Verb::Extend, extend),
        (Verb::Reject(reason.unwrap_or_default()), reject),
        (Verb::Release, release),
    ];
    let mut given = verbs.into_iter().filter_map(|(verb, tokens)| Some((verb, tokens?.into_list())));
    match (given.next(), given.next()) {
        (Some(given), None) => Ok(given),
        _ => Err(LineError::Verb),
    }
}

pub(super) async fn run(address: &Address, output: &Output, options: cli::Work) -> Result<(), Failure> {
    let mut signals = Signals::watch(true);
    let (mut worker, ack_wait) = connect(address, &options, options.jobs).await?;
    output
        .notice(|| format!("working for {}; answer each delivery with a line such as {{\"ack\":TOKEN}}", options.name));
    let mut desk = Desk { held: HashMap::new(), slots: options.jobs, ack_wait, answered: 0, settling: JoinSet::new() };
    let mut input = Input { stdin: BufReader::new(tokio::io::stdin()), line: Vec::new() };
    let mut outage = Outage::default();
    let unread = output::unread();
    tokio::pin!(unread);
    let end = loop {
        if options.count.is_some_and(|count| desk.answered >= count) {
            break Ok(());
        }
        let item = tokio::select! {
            biased;
            () = signals.stop() => break stopped(options.count, desk.answered),
            Some(_) = desk.settling.join_next() => continue,
            line = input.next() => match line {
                Ok(Some(line)) => {
                    desk.settle(&line);
                    continue;
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(Failure::new(Exit::Failed, format!("cannot read stdin: {error}"))),
            },
            item = worker.next() => item,
            () = &mut unread => break Ok(()),
        };
        match item {
            Some(Ok(Work::Delivery(delivery))) => {
                let mut line = Vec::new();
                output.encode(&*delivery, &mut line);
                if let Err(error) = output.write(&line) {
                    break Err(error.into());
                }
                desk.add(delivery);
            }
            Some(Ok(Work::Gap { gap, .. })) => warn_of_gap(&gap),
            Some(Ok(Work::Reconnecting { error, .. })) => {
                if let Some(notice) = outage.begin(&error) {
                    output.warn(&notice);
                }
            }
            Some(Ok(Work::Resumed { .. })) => output.warn(outage.end()),
            // A notice of a later version.
            Some(Ok(_)) => {}
            Some(Err(error)) => break Err(error.into()),
            None => break Ok(()),
        }
    };
    // Releases what has no answer.
    desk.held.clear();
    let finish = async {
        worker.finish().await;
        while desk.settling.join_next().await.is_some() {}
    };
    let _ = timeout(REPLY, finish).await;
    end
}

/// The deliveries without an answer, by token.
struct Desk {
    /// Each with its deadline.
    held: HashMap<String, (Delivery, Instant)>,
    /// Maximum number of them that are current.
    slots: u64,
    ack_wait: Duration,
    answered: u64,
    settling: JoinSet<()>,
}

impl Desk {
    fn add(&mut self, delivery: Delivery) {
        let now = Instant::now();
        if self.held.len() as u64 >= self.slots {
            // They are no longer current, or there would not be another one.
            self.held.retain(|_, (_, deadline)| *deadline > now);
        }
        self.held.insert(delivery.token().to_owned(), (delivery, now + self.ack_wait));
    }

    /// Settles the deliveries of a line. Reports tokens and lines that are invalid.
    fn settle(&mut self, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return;
        }
        let (verb, tokens) = match parse(line) {
            Ok(parsed) => parsed,
            Err(error) => return output::report(&format!("a line of stdin is ignored: {error}")),
        };
        for token in tokens {
            if verb == Verb::Extend {
                match self.held.get_mut(&token) {
                    Some((delivery, deadline)) => {
                        *deadline = Instant::now() + self.ack_wait;
                        let settling = delivery.extend();
                        self.confirm(token, settling);
                    }
                    None => unknown(&token),
                }
                continue;
            }
            let Some((delivery, _)) = self.held.remove(&token) else {
                unknown(&token);
                continue;
            };
            self.answered += 1;
            let settling = match &verb {
                Verb::Ack => delivery.ack(),
                Verb::Nak(delay) => delivery.nak(*delay),
                Verb::Reject(reason) => delivery.reject(reason),
                Verb::Release | Verb::Extend => delivery.release(),
            };
            self.confirm(token, settling);
        }
    }

    /// Reports if the daemon does not confirm it.
    fn confirm(&mut self, token: String, settling: Settling) {
        self.settling.spawn(async move {
            match settling.await {
                Ok(()) => {}
                // The message names the delivery.
                Err(error) if error.code() == Some(ErrorCode::StaleDelivery) => output::report(&error.to_string()),
                Err(error) => output::report(&format!("delivery {token}: not settled: {error}")),
            }
        });
    }
}

fn unknown(token: &str) {
    let token: String = token.chars().take(60).collect();
    output::report(&format!("there is no delivery `{}` without an answer", visible(&token)));
}

/// Stdin, by lines.
struct Input {
    stdin: BufReader<Stdin>,
    /// The part of a line that was read so far.
    line: Vec<u8>,
}

impl Input {
    /// Returns the next line, or None at the end. Cancel-safe.
    ///
    /// # Errors
    ///
    /// Stdin cannot be read, or a line is longer than a frame of the daemon.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let room = (FRAME_MAX + 1).saturating_sub(self.line.len()) as u64;
        (&mut self.stdin).take(room).read_until(b'\n', &mut self.line).await?;
        let line = std::mem::take(&mut self.line);
        match line.len() {
            0 => Ok(None),
            length if length > FRAME_MAX => Err(io::Error::other("a line is too long")),
            _ => Ok(Some(line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_a_verb_and_tokens() {
        let parsed = |line: &str| parse(line.as_bytes()).map_err(|e| e.to_string());
        assert_eq!(parsed(r#"{"ack":"a"}"#), Ok((Verb::Ack, vec!["a".into()])));
        assert_eq!(parsed(r#"{"release":["a","b"]}"#), Ok((Verb::Release, vec!["a".into(), "b".into()])));
        assert_eq!(
            parsed(r#"{"nak":"a","delay_ms":5}"#),
            Ok((Verb::Nak(Some(Duration::from_millis(5))), vec!["a".into()]))
        );
        assert_eq!(parsed(r#"{"reject":"a","reason":"x"}"#), Ok((Verb::Reject("x".into()), vec!["a".into()])));
        assert_eq!(parsed(r#"{"extend":"a"}"#), Ok((Verb::Extend, vec!["a".into()])));
        for line in
            ["{}", r#"{"ack":"a","nak":"b"}"#, r#"{"ack":1}"#, r#"{"done":"a"}"#, "a", r#"{"ack":"a","reason":"x"}"#]
        {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
