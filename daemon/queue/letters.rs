//! Dead letters: a stream of their own, with one message for each.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_nats::jetstream::stream::{Config, DirectGetErrorKind, DiscardPolicy, StorageType, Stream};
use async_nats::{HeaderMap, jetstream::publish::PublishAck};
use futures_util::{StreamExt as _, TryStreamExt as _};
use sse_bus::{
    Event, EventId, FilterSet,
    bus::consumers::{ConsumerName, DeadOperation},
    limits::DEAD_MAX,
    protocol::{DeadLetter, ErrorCode, Refused},
};

use super::{
    job::{Death, Job},
    state::Queue,
};

/// Dead letters that are read at once.
const READ_AT_ONCE: usize = 16;
/// Dead letters in one answer of [`Queue::dead_letters`].
const STEP: usize = 64;
/// The time in which a repeated message is recognized.
const DUPLICATES: Duration = Duration::from_mins(2);

impl Queue {
    /// Creates the stream of dead letters, unless there is one.
    pub(super) async fn open_letters(&self) -> Result<Stream, Refused> {
        let names = self.0.nats.names();
        let config = Config {
            name: names.dead_letters(),
            subjects: vec![names.all_dead()],
            max_bytes: -1,
            max_messages: -1,
            max_messages_per_subject: 1,
            discard: DiscardPolicy::Old,
            storage: StorageType::File,
            num_replicas: self.0.nats.config().replicas,
            duplicate_window: DUPLICATES,
            allow_direct: true,
            description: Some("The dead letters of sse-bus".into()),
            ..Config::default()
        };
        self.0.nats.jetstream().get_or_create_stream(config).await.map_err(|error| self.unavailable(&error))
    }

    async fn letters(&self) -> Result<Stream<()>, Refused> {
        self.check_connected()?;
        let name = self.0.nats.names().dead_letters();
        self.0.nats.jetstream().get_stream_no_info(name).await.map_err(|error| self.unavailable(&error))
    }

    fn letter_subject(&self, consumer: &ConsumerName, seq: u64) -> String {
        format!("{}{seq}", self.0.nats.names().dead(consumer.as_str()))
    }

    /// Stores a dead letter. Storing it again changes nothing but its death.
    pub(super) async fn store_letter(
        &self,
        consumer: &ConsumerName,
        event: &Arc<Event>,
        death: Death,
    ) -> Result<(), Refused> {
        let subject = self.letter_subject(consumer, event.id.seq);
        self.store(subject, Job::new(event, Some(death)), &event.data).await
    }

    async fn store(&self, subject: String, job: Job, data: &str) -> Result<(), Refused> {
        self.publish(subject, job.into_headers(), data).await.map(drop)
    }

    /// Publishes a message, and waits until the servers have stored it.
    pub(super) async fn publish(&self, subject: String, headers: HeaderMap, data: &str) -> Result<PublishAck, Refused> {
        self.check_connected()?;
        let sent = self.0.nats.jetstream().publish_with_headers(subject, headers, data.to_owned().into()).await;
        let stored = match sent {
            Ok(ack) => ack.await,
            Err(error) => Err(error),
        };
        stored.map_err(|error| self.unavailable(&error))
    }

    /// Returns the numbers of the events of dead letters, in order.
    async fn numbers(&self, consumer: &ConsumerName) -> Result<Vec<u64>, Refused> {
        let prefix = self.0.nats.names().dead(consumer.as_str());
        let failed = |error: &dyn std::fmt::Display| self.unavailable(&error);
        let info = self.letters().await?.info_with_subjects(format!("{prefix}>")).await.map_err(|e| failed(&e))?;
        let subjects: Vec<_> = info.try_collect().await.map_err(|e| failed(&e))?;
        let number = |(subject, _): &(String, usize)| subject.strip_prefix(&prefix)?.parse::<u64>().ok();
        let mut numbers: Vec<_> = subjects.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Returns how many dead letters each consumer has, by the beginnings of their subjects.
    pub(super) async fn count_letters(&self) -> Result<HashMap<String, u64>, Refused> {
        let failed = |error: &dyn std::fmt::Display| self.unavailable(&error);
        let filter = self.0.nats.names().all_dead();
        let info = self.letters().await?.info_with_subjects(filter).await.map_err(|e| failed(&e))?;
        let subjects: Vec<(String, usize)> = info.try_collect().await.map_err(|e| failed(&e))?;
        let mut counts = HashMap::new();
        for (subject, _) in subjects {
            if let Some((consumer, _)) = subject.rsplit_once('.') {
                *counts.entry(format!("{consumer}.")).or_default() += 1;
            }
        }
        Ok(counts)
    }

    async fn read_letter(&self, consumer: &ConsumerName, seq: u64) -> Result<Option<(Arc<Event>, Death)>, Refused> {
        let subject = self.letter_subject(consumer, seq);
        match self.letters().await?.direct_get_last_for_subject(subject).await {
            Ok(message) => {
                let read = Job::read(&message.headers, &message.payload, None);
                Ok(read.and_then(|(event, death)| Some((event, death?))))
            }
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unavailable(&error)),
        }
    }

    /// Returns dead letters after the event with a number, by id. There are no more if there is none.
    ///
    /// # Errors
    ///
    /// The servers do not answer.
    pub(crate) async fn dead_letters(&self, consumer: &ConsumerName, after: u64) -> Result<Vec<DeadLetter>, Refused> {
        let numbers = self.numbers(consumer).await?;
        let mut letters = Vec::new();
        // Letters that are not readable, or have gone meanwhile, must not look like the end.
        let mut left = numbers.into_iter().filter(|number| *number > after).peekable();
        while letters.is_empty() && left.peek().is_some() {
            let some: Vec<_> = left.by_ref().take(STEP).collect();
            let reads = futures_util::stream::iter(some).map(|number| self.read_letter(consumer, number));
            let read: Vec<_> = reads.buffered(READ_AT_ONCE).try_collect().await?;
            letters.extend(read.into_iter().flatten().map(|(event, death)| letter(&event, death)));
        }
        Ok(letters)
    }

    /// Retries or drops the dead letter of an event.
    ///
    /// # Errors
    ///
    /// There is no such dead letter, or the servers do not answer.
    pub(crate) async fn change_dead(
        &self,
        consumer: &ConsumerName,
        id: EventId,
        operation: DeadOperation,
    ) -> Result<(), Refused> {
        if self.change_one(consumer, id.seq, None, operation).await? {
            return Ok(());
        }
        let message =
            format!("the consumer `{consumer}` has no dead letter `{id}`; list them with `dead list {consumer}`");
        Err(Refused::new(ErrorCode::DeadUnknown, message))
    }

    /// Retries or drops the dead letters of some topics, or all, and returns their number.
    ///
    /// # Errors
    ///
    /// The servers do not answer. Some may have been changed.
    pub(crate) async fn change_all_dead(
        &self,
        consumer: &ConsumerName,
        filters: Option<&FilterSet>,
        operation: DeadOperation,
    ) -> Result<u64, Refused> {
        let mut changed = 0;
        for number in self.numbers(consumer).await? {
            changed += u64::from(self.change_one(consumer, number, filters, operation).await?);
        }
        Ok(changed)
    }

    async fn change_one(
        &self,
        consumer: &ConsumerName,
        seq: u64,
        filters: Option<&FilterSet>,
        operation: DeadOperation,
    ) -> Result<bool, Refused> {
        let Some((event, _)) = self.read_letter(consumer, seq).await? else { return Ok(false) };
        if filters.is_some_and(|filters| !filters.matches(&event.topic)) {
            return Ok(false);
        }
        if operation == DeadOperation::Retry {
            // First, so that it cannot be lost. If the node dies now, it is delivered again, and a dead letter as well.
            let subject = self.0.nats.names().job(consumer.as_str());
            self.store(subject, Job::new(&event, None), &event.data).await?;
        }
        self.purge(self.letter_subject(consumer, seq)).await?;
        Ok(true)
    }

    /// Removes all dead letters of a consumer.
    pub(super) async fn drop_letters(&self, consumer: &ConsumerName) -> Result<(), Refused> {
        self.purge(format!("{}>", self.0.nats.names().dead(consumer.as_str()))).await
    }

    async fn purge(&self, subject: String) -> Result<(), Refused> {
        let stream = self.letters().await?;
        stream.purge().filter(subject).await.map(drop).map_err(|error| self.unavailable(&error))
    }

    /// Returns true if a consumer has as many dead letters as it may.
    pub(super) async fn is_full_of_letters(&self, consumer: &ConsumerName) -> bool {
        self.numbers(consumer).await.is_ok_and(|numbers| numbers.len() >= DEAD_MAX)
    }
}

fn letter(event: &Event, death: Death) -> DeadLetter {
    let Death { reason, text, attempts, worker, since } = death;
    let mut letter = DeadLetter::new(event.id, reason, attempts, since);
    (letter.text, letter.worker) = (text, worker);
    (letter.topic, letter.data) = (Some(event.topic.as_str().into()), Some(event.data.clone()));
    letter
}
