//! Creating, describing, pausing, moving and deleting consumers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_nats::jetstream::{
    consumer::{AckPolicy, Consumer, DeliverPolicy, Info, pull},
    context::ConsumerInfoErrorKind,
    stream::{ConsumerCreateStrictErrorKind, ConsumerErrorKind},
};
use futures_util::TryStreamExt as _;
use sse_bus::{
    bus::consumers::{ConsumerName, ConsumerSettings, SeekTo},
    protocol::{ConsumerConfig, ConsumerInfo, ErrorCode, OnFull, Refused},
    time::{format_duration, unix_now},
};

use super::{
    state::Queue,
    subjects::{Subjects, subjects},
};
use crate::{log::rfc3339, nats::Names};

/// The keys of the metadata of a consumer: the settings as JSON, the name, and that its subjects match other topics too.
const SETTINGS: &str = "sse-bus-settings";
const NAME: &str = "sse-bus-consumer";
const WIDER: &str = "sse-bus-wider";
/// How much later than the node the servers assume that a delivery has failed.
const GRACE: Duration = Duration::from_secs(5);
/// Requests of workers that may wait at the servers.
const WAITING_MAX: i64 = 20_000;
/// How long a pause lasts.
const PAUSED_FOR: Duration = Duration::from_hours(24 * 365 * 100);
/// The code of the error for a consumer that does not exist.
const NOT_FOUND: u64 = 10014;

/// A consumer of the stream.
pub(super) struct Found {
    pub(super) name: ConsumerName,
    pub(super) settings: Arc<ConsumerSettings>,
    pub(super) consumer: Consumer<pull::Config>,
}

impl Queue {
    /// Returns a consumer.
    ///
    /// # Errors
    ///
    /// There is none with this name, or the servers do not answer.
    pub(super) async fn find(&self, name: &ConsumerName) -> Result<Found, Refused> {
        self.find_any(name).await?.ok_or_else(|| {
            let message = format!("there is no consumer `{name}`; list them with `consumer list`, or create it");
            Refused::new(ErrorCode::ConsumerUnknown, message)
        })
    }

    async fn find_any(&self, name: &ConsumerName) -> Result<Option<Found>, Refused> {
        self.check_connected()?;
        let stream = self.log_stream().await?;
        let durable = Names::durable(name.as_str());
        let info = match stream.consumer_info(&durable).await {
            Ok(info) => info,
            Err(error) => {
                return match error.kind() {
                    ConsumerInfoErrorKind::NotFound => Ok(None),
                    ConsumerInfoErrorKind::JetStream(error) if error.error_code().0 == NOT_FOUND => Ok(None),
                    _ => Err(self.unavailable(&error)),
                };
            }
        };
        let settings = settings_of(&info).ok_or_else(|| foreign(name))?;
        let consumer = stream.get_consumer(&durable).await.map_err(|error| self.unavailable(&error))?;
        Ok(Some(Found { name: name.clone(), settings: Arc::new(settings), consumer }))
    }

    /// Returns the settings of a consumer.
    ///
    /// # Errors
    ///
    /// There is none with this name, or the servers do not answer.
    pub(crate) async fn settings(&self, name: &ConsumerName) -> Result<Arc<ConsumerSettings>, Refused> {
        Ok(self.find(name).await?.settings)
    }

    /// Creates a consumer. Returns false if it exists with the same settings.
    ///
    /// # Errors
    ///
    /// It exists with other settings, the settings or the position cannot be had, or the servers refuse it.
    pub(crate) async fn create(&self, name: &ConsumerName, config: &ConsumerConfig) -> Result<bool, Refused> {
        let (mut settings, from) = ConsumerSettings::parse(config)?;
        if config.on_full == Some(OnFull::Refuse) {
            let message = "the log on NATS keeps events within its own bounds, so a consumer cannot make it refuse publishes; \
                           use `on_full` `drop`";
            return Err(Refused::new(ErrorCode::ConsumerInvalid, message));
        }
        settings.on_full = OnFull::Drop;
        if let Some(found) = self.find_any(name).await? {
            if *found.settings == settings {
                return Ok(false);
            }
            let difference = found.settings.difference(&settings);
            let message = format!("the consumer `{name}` has other settings: {difference}; delete it to change them");
            return Err(Refused::new(ErrorCode::ConsumerExists, message));
        }
        self.open_letters().await?;
        let policy = self.policy(from)?;
        self.create_at(name, &settings, policy).await?;
        Ok(true)
    }

    /// Creates the consumer of the stream.
    async fn create_at(
        &self,
        name: &ConsumerName,
        settings: &ConsumerSettings,
        deliver_policy: DeliverPolicy,
    ) -> Result<(), Refused> {
        let names = self.0.nats.names();
        let Subjects { mut subjects, is_wider } = subjects(names, &settings.filters);
        subjects.push(names.job(name.as_str()));
        let mut metadata = HashMap::from([
            (NAME.to_owned(), name.to_string()),
            (SETTINGS.to_owned(), serde_json::to_string(&config_of(settings)).unwrap_or_default()),
        ]);
        if is_wider {
            metadata.insert(WIDER.to_owned(), "true".to_owned());
        }
        let config = pull::Config {
            durable_name: Some(Names::durable(name.as_str())),
            description: Some(format!("the consumer {name} of sse-bus")),
            deliver_policy,
            ack_policy: AckPolicy::Explicit,
            ack_wait: settings.ack_wait + GRACE,
            // The nodes count.
            max_deliver: -1,
            filter_subjects: subjects,
            max_ack_pending: i64::try_from(settings.max_in_flight).unwrap_or(i64::MAX),
            max_waiting: WAITING_MAX,
            metadata,
            ..pull::Config::default()
        };
        let created = self.log_stream().await?.create_consumer_strict(config).await;
        created.map(drop).map_err(|error| match error.kind() {
            ConsumerCreateStrictErrorKind::JetStream(answer) => {
                let message = format!("the NATS servers refuse the consumer `{name}`: {answer}");
                Refused::new(ErrorCode::ConsumerInvalid, message)
            }
            _ => self.unavailable(&error),
        })
    }

    fn policy(&self, from: SeekTo) -> Result<DeliverPolicy, Refused> {
        let since = |millis: u64| {
            let start_time = async_nats::datetime::parse_rfc3339(&rfc3339(millis));
            let start_time = start_time.map_err(|error| Refused::new(ErrorCode::SinceInvalid, error.to_string()))?;
            Ok(DeliverPolicy::ByStartTime { start_time })
        };
        match from {
            SeekTo::Now => Ok(DeliverPolicy::New),
            SeekTo::All => Ok(DeliverPolicy::All),
            SeekTo::Latest => Ok(DeliverPolicy::Last),
            SeekTo::Last(period) => since(unix_now().saturating_sub(sse_bus::time::whole_millis(period))),
            SeekTo::Since(time) => since(time),
            SeekTo::After(id) if id.epoch == self.0.log.position().epoch => {
                Ok(DeliverPolicy::ByStartSequence { start_sequence: id.seq + 1 })
            }
            SeekTo::After(id) => {
                let message = format!(
                    "the id `{id}` is of another history, which has ended; begin with `all`, `now`, or an id of this one"
                );
                Err(Refused::new(ErrorCode::SinceInvalid, message))
            }
        }
    }

    /// Pauses a consumer, or resumes it. Returns false if it was so already.
    ///
    /// # Errors
    ///
    /// There is no such consumer, or the servers do not answer.
    pub(crate) async fn pause(&self, name: &ConsumerName, is_paused: bool) -> Result<bool, Refused> {
        let found = self.find(name).await?;
        let info = found.consumer.cached_info();
        if info.paused == is_paused {
            return Ok(false);
        }
        let (stream, durable) = (self.log_stream().await?, &info.name);
        let changed = if is_paused {
            stream.pause_consumer(durable, info.created + PAUSED_FOR).await
        } else {
            stream.resume_consumer(durable).await
        };
        changed.map(|_| true).map_err(|error| self.unavailable(&error))
    }

    /// Moves a consumer. Its deliveries are no longer current. A paused one is resumed.
    ///
    /// # Errors
    ///
    /// There is no such consumer, the position cannot be had, or the servers do not answer.
    pub(crate) async fn seek(&self, name: &ConsumerName, to: SeekTo) -> Result<(), Refused> {
        let settings = self.settings(name).await?;
        let policy = self.policy(to)?;
        self.remove(name).await?;
        self.create_at(name, &settings, policy).await?;
        self.forget(name.as_str());
        Ok(())
    }

    /// Deletes a consumer, with its dead letters.
    ///
    /// # Errors
    ///
    /// There is no such consumer, or the servers do not answer.
    pub(crate) async fn delete(&self, name: &ConsumerName) -> Result<(), Refused> {
        self.find(name).await?;
        self.remove(name).await?;
        self.forget(name.as_str());
        self.drop_letters(name).await
    }

    async fn remove(&self, name: &ConsumerName) -> Result<(), Refused> {
        let durable = Names::durable(name.as_str());
        let removed = self.log_stream().await?.delete_consumer(&durable).await;
        removed.map(drop).map_err(|error| match error.kind() {
            ConsumerErrorKind::JetStream(answer) if answer.error_code().0 == NOT_FOUND => {
                Refused::new(ErrorCode::ConsumerUnknown, format!("the consumer `{name}` was deleted meanwhile"))
            }
            _ => self.unavailable(&error),
        })
    }

    /// Describes a consumer.
    ///
    /// # Errors
    ///
    /// There is no such consumer, or the servers do not answer.
    pub(crate) async fn describe(&self, name: &ConsumerName) -> Result<ConsumerInfo, Refused> {
        let found = self.find(name).await?;
        let letters = self.count_letters().await?;
        self.info(found.consumer.cached_info(), &letters).ok_or_else(|| foreign(name))
    }

    /// Describes all consumers, by name.
    ///
    /// # Errors
    ///
    /// The servers do not answer.
    pub(crate) async fn list(&self) -> Result<Vec<ConsumerInfo>, Refused> {
        self.check_connected()?;
        let stream = self.log_stream().await?;
        let infos: Vec<Info> = stream.consumers().try_collect().await.map_err(|error| self.unavailable(&error))?;
        if !infos.iter().any(|info| info.config.metadata.contains_key(NAME)) {
            return Ok(Vec::new());
        }
        let letters = self.count_letters().await?;
        let mut consumers: Vec<_> = infos.iter().filter_map(|info| self.info(info, &letters)).collect();
        consumers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(consumers)
    }

    /// Describes a consumer of the stream; None if it is not one of the bus.
    fn info(&self, info: &Info, letters: &HashMap<String, u64>) -> Option<ConsumerInfo> {
        let settings = settings_of(info)?;
        let name = info.config.metadata.get(NAME)?;
        let config = config_of(&settings);
        let mut described = ConsumerInfo::default();
        described.name.clone_from(name);
        described.filters = config.filters;
        described.ack_wait = format_duration(settings.ack_wait);
        described.max_attempts = settings.max_attempts;
        described.backoff = config.backoff.unwrap_or_default();
        described.max_in_flight = settings.max_in_flight as u64;
        described.on_full = settings.on_full;
        described.inactive_after = format_duration(settings.inactive_after);
        described.position = self.0.log.position().at(info.delivered.stream_sequence).to_string();
        described.pending = info.num_pending;
        described.pending_exact = !info.config.metadata.contains_key(WIDER);
        described.in_flight = info.num_ack_pending as u64;
        described.dead = letters.get(&self.0.nats.names().dead(name)).copied().unwrap_or_default();
        described.workers = self.workers().get(name).copied().unwrap_or_default();
        described.paused = info.paused;
        // By the stream, within its bounds.
        described.holding = true;
        described.delivered = info.delivered.consumer_sequence;
        described.created = u64::try_from(info.created.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
        Some(described)
    }
}

fn foreign(name: &ConsumerName) -> Refused {
    let message = format!("the consumer `{name}` of the stream was not made by sse-bus; use another name");
    Refused::new(ErrorCode::ConsumerInvalid, message)
}

/// Returns the settings of a consumer of the stream; None if it is not one of the bus.
fn settings_of(info: &Info) -> Option<ConsumerSettings> {
    let config: ConsumerConfig = serde_json::from_str(info.config.metadata.get(SETTINGS)?).ok()?;
    ConsumerSettings::parse(&config).ok().map(|(settings, _)| settings)
}

/// Returns settings as a request would have them.
fn config_of(settings: &ConsumerSettings) -> ConsumerConfig {
    let mut config = ConsumerConfig::new(settings.filters.to_strings());
    config.ack_wait = Some(format_duration(settings.ack_wait));
    config.max_attempts = Some(settings.max_attempts);
    config.backoff = Some(settings.backoff.iter().copied().map(format_duration).collect());
    config.max_in_flight = Some(settings.max_in_flight as u64);
    config.on_full = Some(settings.on_full);
    config.inactive_after = Some(format_duration(settings.inactive_after));
    config
}
