//! Reading events before the window from the stream.
//!
//! Ranges are read by direct gets: any server that has the stream answers, with many messages for one request.

use std::{sync::Arc, time::Duration};

use async_nats::{
    HeaderMap,
    jetstream::{
        consumer::{AckPolicy, DeliverPolicy, pull},
        stream::{DirectGetErrorKind, RawMessageErrorKind},
    },
};
use futures_util::StreamExt as _;
use serde::Serialize;
use sse_bus::{
    Topic,
    bus::fetch::{Fetched, LostRange, Wanted},
    protocol::Refused,
};
use tokio::time::{sleep, timeout};

use super::{
    ahead::KEPT,
    ingest::millis,
    message::{self, Found, is_live},
    shared::Shared,
    stored::{self, Stored},
    streams,
    times::rfc3339,
};

/// Messages of one answer.
const READ_AT_ONCE: usize = 1024;
/// Bytes of one answer.
const READ_BYTES: usize = 1 << 20;
/// Bytes of the newest events of topics in one reply. Each reply has to begin with the first topic again.
const NEWEST_BYTES: usize = 4 << 20;
/// How long the servers have for a message of an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The statuses of the message after the last one.
const END_OF_BATCH: u16 = 204;
const NOT_FOUND: u16 = 404;

/// A request for many messages. See <https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-31.md>.
#[derive(Serialize)]
struct BatchRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<String>,
    batch: usize,
    max_bytes: usize,
    next_by_subj: &'static str,
}

impl Shared {
    /// Reads messages of a stream from a number on, or from a time in milliseconds since 1970 on. The answer may have fewer, and
    /// is empty at the end of the stream.
    ///
    /// # Errors
    ///
    /// The servers do not answer in time, or refuse the request.
    pub(super) async fn direct_get(
        &self,
        stream: &str,
        seq: u64,
        batch: usize,
        since: Option<u64>,
    ) -> Result<Vec<Stored>, Refused> {
        let failed = |error: &dyn std::fmt::Display| Shared::unavailable(&error.to_string());
        let client = self.nats.client();
        if !self.nats.is_connected() {
            return Err(failed(&"there is no connection"));
        }
        let start_time = since.map(rfc3339);
        let seq = start_time.is_none().then_some(seq.max(1));
        let request = BatchRequest { seq, start_time, batch, max_bytes: READ_BYTES, next_by_subj: ">" };
        let payload = serde_json::to_vec(&request).map_err(|e| failed(&e))?;
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.map_err(|e| failed(&e))?;
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        client.publish_with_reply(subject, inbox, payload.into()).await.map_err(|e| failed(&e))?;
        let mut stored = Vec::new();
        loop {
            let answer = timeout(PATIENCE, answers.next()).await.map_err(|_| failed(&"no answer in time"))?;
            let Some(answer) = answer else { return Err(failed(&"the connection has ended")) };
            match answer.status.map(|status| status.as_u16()) {
                None => stored.extend(stored::parse(answer)),
                Some(END_OF_BATCH | NOT_FOUND) => return Ok(stored),
                Some(status) => {
                    let why = answer.description.unwrap_or_else(|| status.to_string());
                    return Err(failed(&why));
                }
            }
        }
    }

    /// Reads messages of the log from a number on, and begins to read those that follow up to another number.
    ///
    /// # Errors
    ///
    /// As for [`direct_get`](Shared::direct_get).
    pub(super) async fn read_ahead(self: &Arc<Self>, seq: u64, upto: u64) -> Result<Vec<Stored>, Refused> {
        let log = self.nats.names().log();
        let batch = match self.ahead.take(seq) {
            Some(mut range) => match (&mut range.reading).await {
                Ok(batch) => batch?,
                Err(_) => self.direct_get(&log, seq, READ_AT_ONCE, None).await?,
            },
            None => self.direct_get(&log, seq, READ_AT_ONCE, None).await?,
        };
        let is_full = batch.len() >= READ_AT_ONCE || batch.iter().map(Stored::bytes).sum::<usize>() >= READ_BYTES / 2;
        if let Some(last) = batch.last().map(|message| message.seq)
            && is_full
            && last < upto
        {
            let shared = self.clone();
            let reading = tokio::spawn(async move { shared.direct_get(&log, last + 1, READ_AT_ONCE, None).await });
            self.ahead.add(last + 1, reading);
            let shared = self.clone();
            tokio::spawn(async move {
                sleep(KEPT).await;
                shared.ahead.expire();
            });
        }
        Ok(batch)
    }

    /// Reads a range of the log.
    pub(super) async fn read(self: &Arc<Self>, wanted: &Wanted) -> Result<Fetched, Refused> {
        let position = *self.position.borrow();
        let mut fetched = Fetched { from: wanted.seq, upto: wanted.upto, ..Fetched::default() };
        if let Some(check) = wanted.check
            && self.has_another_check(wanted.seq.saturating_sub(1), check).await?
        {
            fetched.rewritten = true;
            return Ok(fetched);
        }
        let since = wanted.since.filter(|_| wanted.previous == 0);
        let batch = match since {
            None => self.read_ahead(wanted.seq, wanted.upto).await?,
            since => self.direct_get(&self.nats.names().log(), wanted.seq, READ_AT_ONCE, since).await?,
        };
        let first = batch.iter().map(|message| message.seq).find(|seq| *seq >= wanted.seq);
        if let Some(last) = batch.last() {
            // What follows is read next.
            fetched.upto = last.seq.clamp(wanted.seq, wanted.upto);
        }
        if batch.is_empty() && self.has_message(wanted.seq, wanted.upto).await? {
            // A copy of the stream that lags behind has answered.
            return Err(Shared::unavailable("a server lags behind"));
        }
        // The stream may have evicted events between the last range and this one; or there were none with these numbers.
        if since.is_none() && first != Some(wanted.seq) {
            self.note_evicted(wanted, &mut fetched).await?;
        } else {
            fetched.losses_end = 1;
        }
        for message in batch {
            let seq = message.seq;
            if (wanted.seq..=wanted.upto).contains(&seq)
                && let Some((event, _)) = message.into_event(&self.nats, position.at(seq))
                && wanted.filters.matches(&event.event.topic)
                && is_live(&event)
            {
                fetched.events.push(event.event);
            }
        }
        Ok(fetched)
    }

    /// Returns true if the leader of the stream has a message in a range of numbers.
    async fn has_message(&self, seq: u64, upto: u64) -> Result<bool, Refused> {
        match self.stream.raw_message_builder().sequence(seq).next_by_subject(">").send().await {
            Ok(found) => Ok(found.sequence <= upto),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(false),
            Err(error) => Err(Shared::unavailable(&error.to_string())),
        }
    }

    /// Notes the events at the beginning of the range that the stream no longer has. For a new subscription they are no gap.
    async fn note_evicted(&self, wanted: &Wanted, fetched: &mut Fetched) -> Result<(), Refused> {
        let info = streams::info(&self.nats).await.map_err(|error| Shared::unavailable(&error.to_string()))?;
        let first = info.state.first_sequence;
        fetched.losses_end = first.max(1);
        if first > wanted.seq && wanted.losses_from != u64::MAX {
            let to = (first - 1).min(fetched.upto);
            fetched.lost.push(LostRange { from: wanted.seq, to, missed: None });
        }
        Ok(())
    }

    /// Returns true if the stream has another event with a number than the one with a check.
    async fn has_another_check(&self, seq: u64, check: sse_bus::Check) -> Result<bool, Refused> {
        match self.stream.direct_get(seq).await {
            Ok(found) => Ok(message::origin(&found.headers).map(|(check, _)| check) != Some(check)),
            // It was evicted, or has expired.
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(false),
            Err(error) => Err(Shared::unavailable(&error.to_string())),
        }
    }

    /// Reads the newest event of each topic, as far as it is in a range.
    pub(super) async fn newest(&self, wanted: &Wanted) -> Result<Fetched, Refused> {
        let failed = |error: &dyn std::fmt::Display| Shared::unavailable(&error.to_string());
        let names = self.nats.names();
        let config = pull::Config {
            deliver_policy: DeliverPolicy::LastPerSubject,
            ack_policy: AckPolicy::None,
            filter_subjects: vec![names.events(), names.retained_events()],
            inactive_threshold: Duration::from_secs(30),
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let consumer = self.stream.create_consumer(config).await.map_err(|e| failed(&e))?;
        let name = consumer.cached_info().name.clone();
        let result = self.read_newest(wanted, &consumer).await;
        // It would end by itself later.
        let _ = self.stream.delete_consumer(&name).await;
        result
    }

    async fn read_newest(
        &self,
        wanted: &Wanted,
        consumer: &async_nats::jetstream::consumer::Consumer<pull::Config>,
    ) -> Result<Fetched, Refused> {
        let failed = |error: &dyn std::fmt::Display| Shared::unavailable(&error.to_string());
        let position = *self.position.borrow();
        let mut fetched = Fetched { from: wanted.seq, upto: wanted.upto, ..Fetched::default() };
        let (mut left, mut bytes) = (consumer.cached_info().num_pending, 0);
        while left > 0 {
            let batch = consumer.batch().max_messages(READ_AT_ONCE.min(left as usize)).expires(PATIENCE);
            let mut messages = batch.messages().await.map_err(|e| failed(&e))?;
            let before = left;
            while let Some(message) = messages.next().await {
                let message = message.map_err(|e| failed(&e))?;
                left = left.saturating_sub(1);
                let (seq, time) = {
                    let info = message.info().map_err(|e| failed(&e))?;
                    (info.stream_sequence, millis(info.published.unix_timestamp_nanos()))
                };
                if seq < wanted.seq {
                    continue;
                }
                if seq > wanted.upto {
                    return Ok(fetched);
                }
                if bytes > NEWEST_BYTES {
                    fetched.upto = seq - 1;
                    return Ok(fetched);
                }
                let Some((topic, is_retained)) = self.nats.names().topic(&message.subject) else { continue };
                if !wanted.filters.matches(&topic) || self.has_newer(&topic, is_retained, seq).await? {
                    continue;
                }
                let empty = HeaderMap::new();
                let headers = message.headers.as_ref().unwrap_or(&empty);
                let found = Found { topic, is_retained, headers, payload: &message.payload, time };
                if let Some((event, _)) = found.into_event(position.at(seq)).filter(|(event, _)| is_live(event)) {
                    bytes += event.event.data.len();
                    fetched.events.push(event.event);
                }
            }
            if left == before {
                return Err(failed(&"the newest events do not arrive"));
            }
        }
        Ok(fetched)
    }

    /// Returns true if a topic has a newer event under its other subject.
    async fn has_newer(&self, topic: &Topic, is_retained: bool, seq: u64) -> Result<bool, Refused> {
        if !is_retained {
            return Ok(self.retained.is_newer(topic, seq));
        }
        let subject = self.nats.names().subject(topic, false);
        match self.stream.direct_get_last_for_subject(subject).await {
            Ok(other) => Ok(other.sequence > seq),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(false),
            Err(error) => Err(Shared::unavailable(&error.to_string())),
        }
    }
}
