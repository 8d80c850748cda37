//! The command line of `sse-busd`, and the environment variables with the same meaning.
//!
//! They are here and not in the daemon, so that `sse-busctl man` can generate the daemon's man page from them.

use std::{path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::{Args, Parser, ValueEnum, builder::BoolishValueParser};
use serde::{Deserialize, Serialize};

use crate::{
    listen::Listen,
    values::{number, parse_duration, parse_size},
};

/// The local event bus: accepts events on a local socket, delivers them to browsers, curl and scripts.
#[derive(Debug, Parser)]
#[command(name = "sse-busd", version = env!("SSE_BUS_VERSION"), max_term_width = 100)]
#[command(after_help = "Exit codes: 0 stopped as asked, 1 failed, 2 wrong usage or configuration.\n\
    Logs go to stderr. SIGTERM and SIGINT end all streams cleanly, then the daemon.\n\
    SIGHUP makes it read its configuration again; no stream ends for it.")]
pub struct Flags {
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub nats: NatsSettings,
    /// Configuration file [default: config.toml in the user's configuration directory]
    #[arg(long, value_name = "FILE", env = "SSE_BUS_CONFIG", conflicts_with = "no_config")]
    pub config: Option<PathBuf>,
    /// Read no configuration file
    #[arg(long, env = "SSE_BUS_NO_CONFIG", value_parser = BoolishValueParser::new())]
    pub no_config: bool,
    /// Check flags and configuration, report what is wrong, and exit; --check=json reports for programs
    #[arg(long, value_name = "FORMAT", env = "SSE_BUS_CHECK", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "text", hide_possible_values = true)]
    pub check: Option<Check>,
    /// Print a configuration file with every key, its purpose and its default, and exit
    #[arg(long)]
    pub print_config: bool,
}

/// Settings of flags, environment and file; the file's keys are the flags' names with `_`.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    #[arg(
        long,
        help = "Address and port for browsers, or localhost:PORT for both loopback addresses; beyond loopback only with \
                tokens, and with TLS or --insecure; may be repeated [default: localhost:7733]",
        value_name = "ADDR",
        env = "SSE_BUS_LISTEN",
        value_delimiter = ','
    )]
    #[serde(with = "crate::listen")]
    pub listen: Vec<Listen>,
    /// The local socket, or the pipe on Windows [default: in the user's runtime directory]
    #[arg(long, value_name = "PATH", env = "SSE_BUS_SOCKET")]
    #[serde(serialize_with = "path")]
    pub socket: Option<PathBuf>,
    /// Directory for files that outlive the daemon: tokens, history on disk [default: in the user's state directory]
    #[arg(long, value_name = "DIR", env = "SSE_BUS_STATE_DIR")]
    #[serde(serialize_with = "path")]
    pub state_dir: Option<PathBuf>,
    /// Directory of web pages of your own, served at /pages/ with the origin of the bus [default: none]
    #[arg(long, value_name = "DIR", env = "SSE_BUS_PAGES")]
    #[serde(serialize_with = "path")]
    pub pages: Option<PathBuf>,
    /// Where history is kept [default: memory]
    #[arg(long, value_name = "WHERE", env = "SSE_BUS_HISTORY")]
    pub history: Option<HistoryKind>,
    /// Events of history that each topic keeps [default: 10000]
    #[arg(long, value_name = "N", env = "SSE_BUS_HISTORY_EVENTS", value_parser = number::<usize>(0..=u64::MAX))]
    pub history_events: Option<usize>,
    /// Bytes of history that each topic keeps, such as 16MiB [default: 16MiB]
    #[arg(long, value_name = "SIZE", env = "SSE_BUS_HISTORY_BYTES", value_parser = parse_size)]
    #[serde(serialize_with = "size")]
    pub history_bytes: Option<ByteSize>,
    /// How long history is kept, such as 24h [default: 24h]
    #[arg(long, value_name = "DURATION", env = "SSE_BUS_HISTORY_AGE", value_parser = parse_duration)]
    #[serde(with = "duration")]
    pub history_age: Option<Duration>,
    /// Bytes of history that all topics keep together [default: 64MiB in memory, 256MiB on
    /// disk, or four topics full]
    #[arg(long, value_name = "SIZE", env = "SSE_BUS_HISTORY_BUDGET", value_parser = parse_size)]
    #[serde(serialize_with = "size")]
    pub history_budget: Option<ByteSize>,
    #[arg(
        long,
        help = "Also serve pages of this origin, such as http://localhost:3000; may be repeated",
        value_name = "ORIGIN",
        env = "SSE_BUS_ALLOW_ORIGIN",
        value_delimiter = ','
    )]
    pub allow_origin: Vec<String>,
    #[arg(
        long,
        help = "Another name by which clients reach this port, such as bus.example or bus.example:443; may be repeated",
        value_name = "HOST",
        env = "SSE_BUS_ALLOW_HOST",
        value_delimiter = ','
    )]
    pub allow_host: Vec<String>,
    #[arg(
        long,
        help = "Also allow processes of the user with this ID on the local socket; may be repeated",
        value_name = "UID",
        env = "SSE_BUS_ALLOW_UID",
        value_delimiter = ',',
        value_parser = number::<u32>(0..=u32::MAX.into())
    )]
    pub allow_uid: Vec<u32>,
    #[arg(
        long,
        help = "Also allow processes whose effective group has this ID on the local socket; may be repeated",
        value_name = "GID",
        env = "SSE_BUS_ALLOW_GID",
        value_delimiter = ',',
        value_parser = number::<u32>(0..=u32::MAX.into())
    )]
    pub allow_gid: Vec<u32>,
    /// Serve other machines without TLS: tokens and events can be read on the way
    #[arg(long, env = "SSE_BUS_INSECURE", value_parser = BoolishValueParser::new())]
    pub insecure: bool,
    /// Serve HTTPS: PEM file with the certificate and its chain; needs --tls-key
    #[arg(long, value_name = "FILE", env = "SSE_BUS_TLS_CERT")]
    #[serde(serialize_with = "path")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key
    #[arg(long, value_name = "FILE", env = "SSE_BUS_TLS_KEY")]
    #[serde(serialize_with = "path")]
    pub tls_key: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, trace, or a filter by module [default: info]
    #[arg(long, value_name = "LEVEL", env = "SSE_BUS_LOG")]
    pub log: Option<String>,
    /// Format of the log [default: text]
    #[arg(long, value_name = "FORMAT", env = "SSE_BUS_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// Settings of a log on NATS, which several daemons share. The keys of the table `[nats]` are the flags' names without `nats-`.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[command(next_help_heading = "A log on NATS, for several daemons (--history nats)")]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct NatsSettings {
    #[arg(
        id = "nats.servers",
        long = "nats",
        help = "Server, such as nats://10.0.0.1:4222 or tls://nats.example; may be repeated",
        value_name = "URL",
        env = "SSE_BUS_NATS",
        value_delimiter = ','
    )]
    pub servers: Vec<String>,
    /// Name of the bus: daemons with the same name share one log
    #[arg(id = "nats.bus", long = "nats-bus", value_name = "NAME", env = "SSE_BUS_NATS_BUS")]
    pub bus: Option<String>,
    /// Name of this daemon among them [default: the name of the host and four random characters]
    #[arg(id = "nats.node", long = "nats-node", value_name = "NAME", env = "SSE_BUS_NATS_NODE")]
    pub node: Option<String>,
    /// File with credentials (.creds)
    #[arg(id = "nats.credentials", long = "nats-credentials", value_name = "FILE", env = "SSE_BUS_NATS_CREDENTIALS")]
    #[serde(serialize_with = "path")]
    pub credentials: Option<PathBuf>,
    /// File with the seed of an nkey
    #[arg(id = "nats.nkey", long = "nats-nkey", value_name = "FILE", env = "SSE_BUS_NATS_NKEY")]
    #[serde(serialize_with = "path")]
    pub nkey: Option<PathBuf>,
    /// User name; needs --nats-password-file
    #[arg(id = "nats.user", long = "nats-user", value_name = "NAME", env = "SSE_BUS_NATS_USER")]
    pub user: Option<String>,
    /// File with the user's password
    #[arg(
        id = "nats.password_file",
        long = "nats-password-file",
        value_name = "FILE",
        env = "SSE_BUS_NATS_PASSWORD_FILE"
    )]
    #[serde(serialize_with = "path")]
    pub password_file: Option<PathBuf>,
    /// Connect with TLS only
    #[arg(id = "nats.tls", long = "nats-tls", env = "SSE_BUS_NATS_TLS", value_parser = BoolishValueParser::new())]
    pub tls: bool,
    /// PEM file with the authority that has signed the servers' certificates [default: those of the system]
    #[arg(id = "nats.tls_ca", long = "nats-tls-ca", value_name = "FILE", env = "SSE_BUS_NATS_TLS_CA")]
    #[serde(serialize_with = "path")]
    pub tls_ca: Option<PathBuf>,
    /// Create the streams if they do not exist
    #[arg(id = "nats.create", long = "nats-create", env = "SSE_BUS_NATS_CREATE", value_parser = BoolishValueParser::new())]
    pub create: bool,
    /// Copies of a stream that is created: 1, 3 or 5 [default: 1]
    #[arg(id = "nats.replicas", long = "nats-replicas", value_name = "N", env = "SSE_BUS_NATS_REPLICAS")]
    #[arg(value_parser = number::<usize>(1..=5))]
    pub replicas: Option<usize>,
    /// The servers sync each message to disk (their sync interval is `always`), so that events can be durable
    #[arg(id = "nats.synced", long = "nats-synced", env = "SSE_BUS_NATS_SYNCED", value_parser = BoolishValueParser::new())]
    pub synced: bool,
    /// End when standard input is closed, and then remove the streams: for benchmarks
    #[arg(id = "nats.temporary", long = "nats-temporary", hide = true)]
    #[serde(skip)]
    pub temporary: bool,
}

/// The format of the result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Check {
    /// Text for people. The environment variable accepts a truth value, too.
    #[value(aliases = ["1", "true", "yes", "on", "y", "t"])]
    Text,
    /// A JSON object on stdout.
    Json,
    #[value(hide = true, aliases = ["0", "false", "off", "n", "f"])]
    No,
}

/// Where history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HistoryKind {
    Memory,
    Disk,
    /// On NATS, shared with other daemons
    Nats,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// Durations in text, such as `24h`.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(crate::time::format_duration).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = String::deserialize(deserializer)?;
        crate::values::parse_duration(&text).map(Some).map_err(de::Error::custom)
    }
}

/// Serializes a size exactly, in the largest unit that divides it.
pub fn size<S: serde::Serializer>(value: &Option<ByteSize>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = value.map(|ByteSize(bytes)| match bytes {
        0 => "0".to_owned(),
        _ if bytes % (1 << 20) == 0 => format!("{}MiB", bytes >> 20),
        _ if bytes % (1 << 10) == 0 => format!("{}KiB", bytes >> 10),
        _ => format!("{bytes}B"),
    });
    text.serialize(serializer)
}

/// Serializes a path, even if it is not UTF-8.
#[expect(clippy::ref_option, reason = "serde requires this signature")]
fn path<S: serde::Serializer>(value: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(|path| path.to_string_lossy()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_written_exactly_in_the_largest_unit_that_divides_it() {
        for (bytes, text) in [
            (0, "0"),
            (1, "1B"),
            (1023, "1023B"),
            (1536, "1536B"),
            (2048, "2KiB"),
            (1 << 20, "1MiB"),
            ((3 << 20) + 1024, "3073KiB"),
        ] {
            let written = size(&Some(ByteSize(bytes)), serde_json::value::Serializer).unwrap();
            assert_eq!(written, text);
            assert_eq!(text.parse::<ByteSize>().unwrap(), ByteSize(bytes));
        }
    }
}
