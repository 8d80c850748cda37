//! The streams of a bus: creating them, or checking that they are as the log needs them.

use std::{collections::HashMap, time::Duration};

use async_nats::jetstream::{
    self,
    context::{CreateStreamErrorKind, GetStreamErrorKind},
    stream::{Config, DiscardPolicy, Info, RetentionPolicy, Source, StorageType, Stream},
};
use sse_bus::{Epoch, retention::Retention};
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::nats::Nats;

/// The key of a stream's metadata that has the epoch of its ids.
const EPOCH: &str = "sse-bus-epoch";
/// The time in which a repeated publish is recognized.
const DUPLICATES: Duration = Duration::from_mins(2);
/// The code of the error for a stream that does not exist.
const NOT_FOUND: u64 = 10059;
/// The codes of errors of servers that have no leader at this time.
const NO_LEADER: [u64; 2] = [10008, 10009];
/// How long a node that starts waits for servers that elect a leader, and the pause between two requests.
const ELECTED_WITHIN: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(250);

/// Why the streams cannot be used. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("the stream {0} does not exist; start once with --nats-create, or check --nats-bus")]
    Missing(String),
    #[error(
        "the stream {stream} was not made for this bus: {differences}; use another --nats-bus, or change the stream"
    )]
    Foreign { stream: String, differences: String },
    #[error("cannot {doing} the stream {stream}: {error}")]
    Refused { doing: &'static str, stream: String, error: String },
    #[error(
        "the NATS servers do not permit this user to use the stream {stream}: {error}; permission for $JS.API.> is required"
    )]
    NotPermitted { stream: String, error: String },
}

/// Returns the stream of the log, and creates both streams if that is allowed.
///
/// # Errors
///
/// A stream does not exist, is not as it must be, or the servers refuse it.
pub(super) async fn open(nats: &Nats, retention: &Retention) -> Result<Stream, StreamError> {
    let log = open_one(nats, log_config(nats, retention)).await?;
    open_one(nats, retained_config(nats)).await?;
    Ok(log)
}

async fn open_one(nats: &Nats, wanted: Config) -> Result<Stream, StreamError> {
    let (context, name) = (nats.jetstream(), wanted.name.clone());
    match context.get_stream(&name).await {
        Ok(stream) => {
            check(&stream.cached_info().config, &wanted)?;
            Ok(stream)
        }
        Err(error) if !is_missing(error.kind()) => Err(refused("read", name, &error, nats)),
        Err(_) if !nats.config().create => Err(StreamError::Missing(name)),
        Err(_) => match context.create_stream(wanted.clone()).await {
            Ok(stream) => Ok(stream),
            // Another node has created it meanwhile, with another epoch.
            Err(error) if matches!(error.kind(), CreateStreamErrorKind::JetStream(_)) => {
                let stream = context.get_stream(&name).await.map_err(|_| refused("create", name, &error, nats))?;
                check(&stream.cached_info().config, &wanted)?;
                Ok(stream)
            }
            Err(error) => Err(refused("create", name, &error, nats)),
        },
    }
}

/// Waits until the servers answer requests about both streams. Servers that elect a leader, for example after their start, answer
/// with an error or not at all.
pub(super) async fn wait_until_answered(nats: &Nats) {
    let until = Instant::now() + ELECTED_WITHIN;
    for stream in [nats.names().log(), nats.names().retained()] {
        while let Err(error) = nats.jetstream().get_stream(&stream).await
            && may_change(error.kind())
            && permission_error(nats).is_none()
            && Instant::now() < until
        {
            warn!(stream, error = with_causes(&error), "the NATS servers do not answer; trying again");
            sleep(PAUSE).await;
        }
    }
}

fn may_change(kind: GetStreamErrorKind) -> bool {
    match kind {
        GetStreamErrorKind::Request => true,
        GetStreamErrorKind::JetStream(error) => NO_LEADER.contains(&error.error_code().0),
        _ => false,
    }
}

fn is_missing(kind: GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code().0 == NOT_FOUND)
}

fn refused(doing: &'static str, stream: String, error: &dyn std::error::Error, nats: &Nats) -> StreamError {
    match permission_error(nats) {
        Some(error) => StreamError::NotPermitted { stream, error },
        None => StreamError::Refused { doing, stream, error: with_causes(error) },
    }
}

/// Returns the reason why the servers answer nothing, if the user has no permission: it arrives as an error of the connection.
fn permission_error(nats: &Nats) -> Option<String> {
    nats.error().filter(|error| error.to_lowercase().contains("permission"))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let (mut text, mut source) = (error.to_string(), error.source());
    while let Some(cause) = source {
        if !text.contains(&cause.to_string()) {
            text = format!("{text}: {cause}");
        }
        source = cause.source();
    }
    text
}

/// Bounds by age and bytes only: a bound of messages per subject would let one old retained event pin the beginning of the log.
fn log_config(nats: &Nats, retention: &Retention) -> Config {
    let names = nats.names();
    let epoch = Epoch::from_seed(fastrand::u64(..));
    Config {
        name: names.log(),
        subjects: vec![names.events(), names.retained_events(), names.schedules(), names.jobs()],
        max_bytes: i64::try_from(retention.budget).unwrap_or(i64::MAX),
        max_age: retention.age,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        discard: DiscardPolicy::Old,
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: nats.config().replicas,
        duplicate_window: DUPLICATES.min(retention.age),
        allow_direct: true,
        allow_message_ttl: true,
        allow_message_schedules: has_schedules(nats),
        // Schedules replace each other by their subject.
        allow_rollup: true,
        metadata: HashMap::from([(EPOCH.to_owned(), epoch.to_string())]),
        description: Some("The log of sse-bus".into()),
        ..Config::default()
    }
}

/// Returns true if the servers can publish later.
pub(super) fn has_schedules(nats: &Nats) -> bool {
    nats.client().is_server_compatible(2, 12, 0)
}

fn retained_config(nats: &Nats) -> Config {
    let names = nats.names();
    let source = Source { name: names.log(), filter_subject: Some(names.retained_events()), ..Source::default() };
    Config {
        name: names.retained(),
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: 1,
        max_consumers: -1,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        num_replicas: nats.config().replicas,
        allow_direct: true,
        allow_message_ttl: true,
        sources: Some(vec![source]),
        description: Some("The last retained event of each topic of sse-bus".into()),
        ..Config::default()
    }
}

/// Compares what the log relies on. Bounds and copies are for the operator to choose.
fn check(have: &Config, wanted: &Config) -> Result<(), StreamError> {
    let mut differences = Vec::new();
    let mut compare = |what: &str, have: String, wanted: String| {
        if have != wanted {
            differences.push(format!("{what} is {have} instead of {wanted}"));
        }
    };
    let sorted = |subjects: &[String]| {
        let mut subjects = subjects.to_vec();
        subjects.sort_unstable();
        subjects.join(" ")
    };
    let sources = |config: &Config| {
        let sources = config.sources.iter().flatten();
        let described =
            |source: &Source| format!("{} {}", source.name, source.filter_subject.as_deref().unwrap_or_default());
        sources.map(described).collect::<Vec<_>>().join(", ")
    };
    compare("subjects", sorted(&have.subjects), sorted(&wanted.subjects));
    compare("sources", sources(have), sources(wanted));
    compare(
        "max_msgs_per_subject",
        have.max_messages_per_subject.to_string(),
        wanted.max_messages_per_subject.to_string(),
    );
    compare("retention", format!("{:?}", have.retention), format!("{:?}", wanted.retention));
    compare("discard", format!("{:?}", have.discard), format!("{:?}", wanted.discard));
    compare("storage", format!("{:?}", have.storage), format!("{:?}", wanted.storage));
    compare("no_ack", have.no_ack.to_string(), "false".into());
    compare("subject_transform", format!("{:?}", have.subject_transform), "None".into());
    if have.duplicate_window < wanted.duplicate_window {
        compare("duplicate_window", format!("{:?}", have.duplicate_window), format!("{:?}", wanted.duplicate_window));
    }
    compare("allow_direct", have.allow_direct.to_string(), "true".into());
    compare("allow_msg_ttl", have.allow_message_ttl.to_string(), "true".into());
    if differences.is_empty() {
        return Ok(());
    }
    Err(StreamError::Foreign { stream: wanted.name.clone(), differences: differences.join(", ") })
}

/// Returns the epoch of a stream's ids: what its creator has noted, or else the time of its creation.
pub(super) fn epoch(info: &Info) -> Epoch {
    let noted = info.config.metadata.get(EPOCH).and_then(|text| Epoch::parse(text));
    noted.unwrap_or_else(|| Epoch::from_seed(info.created.unix_timestamp_nanos().unsigned_abs() as u64))
}

/// Reads the stream of the log again.
pub(super) async fn info(nats: &Nats) -> Result<Info, jetstream::context::GetStreamError> {
    let stream = nats.jetstream().get_stream(nats.names().log()).await?;
    Ok(stream.cached_info().clone())
}
