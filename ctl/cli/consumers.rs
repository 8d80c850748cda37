//! The command lines of `sse-busctl consumer` and `sse-busctl dead`.

use std::time::Duration;

use clap::{Args, Subcommand, builder::BoolishValueParser};
use sse_bus::{
    EventId,
    limits::{BACKOFF_MAX, IN_FLIGHT_MAX},
    protocol::{ConsumerConfig, DeadSelection, OnFull},
    time::format_duration,
};

use super::{completers, patterns::parse_pattern, since::parse_position, values::parse_duration};
use crate::exit;

#[derive(Debug, Args)]
pub(crate) struct Consumer {
    #[command(subcommand)]
    pub(crate) action: ConsumerAction,
}

/// The command of `sse-busctl consumer`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConsumerAction {
    /// Create a consumer; nothing happens if there is one with the same settings
    Create(ConsumerCreate),
    /// List the consumers
    List,
    /// Show the settings and the state of a consumer
    Show(ConsumerName),
    /// Deliver nothing until the consumer is resumed; deliveries in flight continue
    Pause(ConsumerName),
    /// Deliver again
    Resume(ConsumerName),
    /// Continue at another position; deliveries in flight are no longer current
    Seek {
        #[command(flatten)]
        consumer: ConsumerName,
        /// `now`, `all`, `latest` (the newest event), an event id, a duration such as `10m`, or a time such as `14:00`
        #[arg(value_name = "TO", value_parser = parse_position)]
        to: String,
    },
    /// Delete a consumer and its dead letters
    Delete(ConsumerName),
}

#[derive(Debug, Args)]
pub(crate) struct ConsumerName {
    /// The name of the consumer
    #[arg(value_name = "NAME", add = completers::consumers())]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl consumer create thumbs photos/new
  sse-busctl consumer create mail 'mail/**' --max-attempts 3 --backoff 10s,5m
  sse-busctl consumer create audit '**' --from all --ack-wait 5m"))]
pub(crate) struct ConsumerCreate {
    /// The name of the consumer
    pub(crate) name: String,
    /// Topics or patterns of its events: `*` matches one level, a final `**` any number of levels
    #[arg(value_name = "FILTER", required = true, value_parser = parse_pattern, add = completers::topics())]
    pub(crate) filters: Vec<String>,
    /// Where it begins: `now`, `all`, `latest` (the newest event), an event id, a duration such as `10m`, or a time such as
    /// `14:00`
    #[arg(long, default_value = "now", value_name = "START", value_parser = parse_position,
        env = "SSE_BUS_CONSUMER_CREATE_FROM")]
    pub(crate) from: String,
    /// Time until a delivery must be acknowledged or extended [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, env = "SSE_BUS_CONSUMER_CREATE_ACK_WAIT")]
    pub(crate) ack_wait: Option<Duration>,
    /// Number of attempts after which an event becomes a dead letter [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..),
        env = "SSE_BUS_CONSUMER_CREATE_MAX_ATTEMPTS")]
    pub(crate) max_attempts: Option<u32>,
    /// Time until the next attempt, after the first failure, the second, and so on; the last value applies to all later ones
    /// [default: 1s,10s,1m]
    #[arg(long, value_name = "DURATION", value_delimiter = ',', num_args = 1..=BACKOFF_MAX, value_parser = parse_duration,
        env = "SSE_BUS_CONSUMER_CREATE_BACKOFF")]
    pub(crate) backoff: Vec<Duration>,
    /// Maximum number of events that are in flight or wait for another attempt, of all workers together [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=IN_FLIGHT_MAX as u64),
        env = "SSE_BUS_CONSUMER_CREATE_MAX_IN_FLIGHT")]
    pub(crate) max_in_flight: Option<u64>,
    /// What happens when history has no room for another event: `refuse` refuses publishes to its topics, `drop` evicts its
    /// oldest event [default: refuse]
    #[arg(long, value_name = "ACTION", env = "SSE_BUS_CONSUMER_CREATE_ON_FULL")]
    pub(crate) on_full: Option<OnFull>,
    /// How long history keeps its events while it has no worker [default: 7d]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, env = "SSE_BUS_CONSUMER_CREATE_INACTIVE_AFTER")]
    pub(crate) inactive_after: Option<Duration>,
}

impl ConsumerCreate {
    /// Returns the settings of the consumer.
    pub(crate) fn config(&self) -> ConsumerConfig {
        let mut config = ConsumerConfig::new(&self.filters);
        config.from = Some(self.from.clone());
        config.ack_wait = self.ack_wait.map(format_duration);
        config.max_attempts = self.max_attempts;
        config.backoff =
            (!self.backoff.is_empty()).then(|| self.backoff.iter().copied().map(format_duration).collect());
        config.max_in_flight = self.max_in_flight;
        config.on_full = self.on_full;
        config.inactive_after = self.inactive_after.map(format_duration);
        config
    }
}

#[derive(Debug, Args)]
pub(crate) struct Dead {
    #[command(subcommand)]
    pub(crate) action: DeadAction,
}

/// The command of `sse-busctl dead`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadAction {
    /// List the dead letters of a consumer
    List(ConsumerName),
    /// Deliver dead letters again, with new attempts
    Retry(DeadRetry),
    /// Remove dead letters
    Drop(DeadDrop),
}

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl dead retry thumbs k3f9x0ab-17
  sse-busctl dead retry thumbs --all
  sse-busctl dead retry mail --filter 'mail/internal/**'"))]
#[group(id = "which", args = ["id", "all", "filter"], required = true, multiple = false)]
pub(crate) struct DeadRetry {
    #[command(flatten)]
    pub(crate) consumer: ConsumerName,
    /// The id of the event, as `dead list` prints it
    #[arg(value_name = "ID")]
    id: Option<EventId>,
    /// All dead letters of the consumer
    #[arg(long, env = "SSE_BUS_DEAD_RETRY_ALL", value_parser = BoolishValueParser::new())]
    all: bool,
    /// The dead letters whose topics match
    #[arg(long, value_name = "FILTER", value_parser = parse_pattern, add = completers::topics(),
        env = "SSE_BUS_DEAD_RETRY_FILTER")]
    filter: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl dead drop thumbs k3f9x0ab-17
  sse-busctl dead drop thumbs --all
  sse-busctl dead drop mail --filter 'mail/internal/**'"))]
#[group(id = "which", args = ["id", "all", "filter"], required = true, multiple = false)]
pub(crate) struct DeadDrop {
    #[command(flatten)]
    pub(crate) consumer: ConsumerName,
    /// The id of the event, as `dead list` prints it
    #[arg(value_name = "ID")]
    id: Option<EventId>,
    /// All dead letters of the consumer
    #[arg(long, env = "SSE_BUS_DEAD_DROP_ALL", value_parser = BoolishValueParser::new())]
    all: bool,
    /// The dead letters whose topics match
    #[arg(long, value_name = "FILTER", value_parser = parse_pattern, add = completers::topics(),
        env = "SSE_BUS_DEAD_DROP_FILTER")]
    filter: Option<String>,
}

impl DeadRetry {
    pub(crate) fn selection(&self) -> DeadSelection {
        selection(self.id, self.all, self.filter.as_deref())
    }
}

impl DeadDrop {
    pub(crate) fn selection(&self) -> DeadSelection {
        selection(self.id, self.all, self.filter.as_deref())
    }
}

fn selection(id: Option<EventId>, all: bool, filter: Option<&str>) -> DeadSelection {
    let mut selection = DeadSelection::default();
    (selection.id, selection.all, selection.filter) = (id, all, filter.map(Into::into));
    selection
}
