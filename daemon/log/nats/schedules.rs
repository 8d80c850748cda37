//! Events that the servers publish later: one message of the stream each, on a subject of its own, which names the subject and the
//! time of the event. See <https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-51.md>.

use std::collections::BTreeMap;

use async_nats::{HeaderMap, HeaderName, HeaderValue, jetstream::stream::DirectGetErrorKind};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use percent_encoding::percent_decode_str;
use sse_bus::{
    Check, Topic,
    bus::{
        Publication,
        schedules::{ScheduleId, Timing, When},
    },
    limits::{SCHEDULE_MAX, SCHEDULES_MAX},
    protocol::{ErrorCode, Refused, ScheduleInfo, Scheduled},
    time::{unix_now, whole_millis},
};

use super::{
    NatsLog,
    message::{self, Origin},
    shared::Shared,
    streams,
    times::rfc3339,
};
use crate::nats::level;

const SCHEDULE: &str = "Nats-Schedule";
const TARGET: &str = "Nats-Schedule-Target";
const EVENT_TTL: &str = "Nats-Schedule-TTL";
const TTL: &str = "Nats-TTL";
/// Schedules that are read at once.
const READ_AT_ONCE: usize = 16;

impl NatsLog {
    /// Schedules an event, in place of one with the same id.
    ///
    /// # Errors
    ///
    /// The time is too far away, there are too many schedules, or the servers cannot publish later or do not answer.
    pub(crate) async fn schedule(&self, publication: &Publication, timing: Timing) -> Result<Scheduled, Refused> {
        let shared = &self.0;
        let refuse = |message: &str| Err(Refused::new(ErrorCode::ScheduleInvalid, message));
        if !streams::has_schedules(&shared.nats) {
            return refuse("the NATS servers cannot publish later; schedules need nats-server 2.12 or later");
        }
        let now = unix_now();
        let at = match timing.when {
            When::In(time) => now.saturating_add(whole_millis(time)),
            When::At(time) => time.max(now),
        };
        if at - now > whole_millis(SCHEDULE_MAX) {
            return refuse("an event can be scheduled for at most a year ahead; choose an earlier time");
        }
        if publication.sequence.is_some() {
            return refuse("numbered publishes cannot be scheduled on NATS; leave out the number or the time");
        }
        let have = self.schedules().await?;
        let is_replaced = |id: &ScheduleId| have.contains_key(id.as_str());
        if have.len() >= SCHEDULES_MAX && !timing.id.as_ref().is_some_and(is_replaced) {
            let message = format!("{SCHEDULES_MAX} events are scheduled, and no more are allowed; cancel some");
            return Err(Refused::new(ErrorCode::LimitSchedules, message));
        }
        let id = timing.id.map_or_else(|| format!("s{now:x}{:x}", fastrand::u16(..)), |id| id.as_str().to_owned());
        // No publisher waits for the event.
        let origin = Origin { run: 0, mark: 0 };
        let mut headers = message::headers(publication, Check::from_seed(fastrand::u32(..)), origin);
        if let Some(ttl) = headers.get(HeaderName::from_static(TTL)).cloned() {
            headers.insert(EVENT_TTL, ttl);
        }
        // The age of the stream's messages does not apply to what is still to come.
        headers.insert(TTL, "never");
        headers.insert(SCHEDULE, format!("@at {}", rfc3339(at)));
        headers.insert(TARGET, shared.nats.names().subject(&publication.topic, publication.retain));
        let subject = shared.nats.names().schedule(&id);
        let payload = publication.data.clone().into();
        if !shared.nats.is_connected() {
            return Err(Shared::unavailable("there is no connection"));
        }
        let sent = shared.nats.jetstream().publish_with_headers(subject, headers, payload).await;
        let stored = match sent {
            Ok(ack) => ack.await,
            Err(error) => Err(error),
        };
        stored.map_err(|error| Shared::unavailable(&error.to_string()))?;
        Ok(Scheduled::new(id, at, true))
    }

    /// Returns the numbers of the messages of all schedules, by id.
    async fn schedules(&self) -> Result<BTreeMap<String, String>, Refused> {
        let shared = &self.0;
        if !shared.nats.is_connected() {
            return Err(Shared::unavailable("there is no connection"));
        }
        let failed = |error: &dyn std::fmt::Display| Shared::unavailable(&error.to_string());
        let filter = shared.nats.names().schedules();
        let prefix = filter.trim_end_matches('>').to_owned();
        let info = shared.stream.info_with_subjects(filter).await.map_err(|e| failed(&e))?;
        let subjects: Vec<(String, usize)> = info.try_collect().await.map_err(|e| failed(&e))?;
        let id = |subject: &str| {
            let encoded = subject.strip_prefix(&prefix)?;
            let id = percent_decode_str(encoded).decode_utf8().ok()?.into_owned();
            // Others may publish to these subjects.
            (ScheduleId::parse(&id).is_ok() && level(&id) == encoded).then_some(id)
        };
        Ok(subjects.into_iter().filter_map(|(subject, _)| Some((id(&subject)?, subject))).collect())
    }

    /// Describes all schedules, by id.
    ///
    /// # Errors
    ///
    /// The servers do not answer.
    pub(crate) async fn list_schedules(&self) -> Result<Vec<ScheduleInfo>, Refused> {
        let schedules = stream::iter(self.schedules().await?);
        let read = schedules.map(|(id, subject)| async move { self.read_schedule(id, subject).await });
        let read: Vec<_> = read.buffered(READ_AT_ONCE).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    async fn read_schedule(&self, id: String, subject: String) -> Result<Option<ScheduleInfo>, Refused> {
        let message = match self.0.stream.direct_get_last_for_subject(subject).await {
            Ok(message) => message,
            // It was published meanwhile.
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Shared::unavailable(&error.to_string())),
        };
        let described = || {
            let at = text(&message.headers, SCHEDULE)?.strip_prefix("@at ")?;
            let (topic, _) = self.0.nats.names().topic(text(&message.headers, TARGET)?)?;
            let mut info = ScheduleInfo::new(id, super::times::parse_rfc3339(at)?, topic.as_str());
            info.event_type = message::event_type(&message.headers);
            info.bytes = message.payload.len() as u64;
            info.created = super::ingest::millis(message.time.unix_timestamp_nanos());
            Some(info)
        };
        Ok(described())
    }

    /// Returns the topic of the event of a schedule.
    ///
    /// # Errors
    ///
    /// There is no such schedule, or the servers do not answer.
    pub(crate) async fn schedule_topic(&self, id: &str) -> Result<Topic, Refused> {
        let found = match ScheduleId::parse(id) {
            Ok(_) => self.read_schedule(id.into(), self.0.nats.names().schedule(id)).await?,
            Err(_) => None,
        };
        found.and_then(|info| Topic::parse(&info.topic).ok()).ok_or_else(|| {
            let shown: String = id.chars().take(60).flat_map(char::escape_debug).collect();
            let message =
                format!("there is no schedule `{shown}`; its event may have been published, see `schedule list`");
            Refused::new(ErrorCode::ScheduleUnknown, message)
        })
    }

    /// Cancels a schedule.
    ///
    /// # Errors
    ///
    /// The servers do not answer.
    pub(crate) async fn cancel_schedule(&self, id: &str) -> Result<(), Refused> {
        let purged = self.0.stream.purge().filter(self.0.nats.names().schedule(id)).await;
        purged.map(drop).map_err(|error| Shared::unavailable(&error.to_string()))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    headers.get(HeaderName::from_static(name)).map(HeaderValue::as_str)
}
