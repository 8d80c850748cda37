//! What the daemon is told: flags over environment over file over defaults, checked once.

mod file;
mod topics;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bytesize::ByteSize;
use clap::{CommandFactory, FromArgMatches, builder::Resettable};
use sse_bus::{
    Endpoint,
    endpoint::state_dir,
    limits::{Limits, Retention},
    tokens::TokenFile,
};

use self::{file::File, topics::TopicTable};
use crate::{
    cli::{Flags, HistoryKind, LogFormat, Settings},
    http::origin::{Authority, Origin},
    ipc::Guests,
    service::Held,
    shared::unix_now,
    tls::Tls,
};

/// Bytes of history that all topics keep together on disk. Of each event about 100 bytes stay in memory.
const DISK_BUDGET: usize = 256 << 20;
/// SSE on a telephone keypad.
const PORT: u16 = 7733;

/// The daemon's configuration, whole and checked.
#[derive(Debug)]
pub(crate) struct Config {
    /// The sockets that a service manager holds.
    pub(crate) held: Held,
    pub(crate) listen: SocketAddr,
    pub(crate) endpoint: Endpoint,
    pub(crate) history: HistoryKind,
    pub(crate) retention: Retention,
    pub(crate) limits: Limits,
    pub(crate) state_dir: PathBuf,
    pub(crate) allow_origin: Vec<Origin>,
    /// Names of the port, besides its own.
    pub(crate) allow_host: Vec<Authority>,
    /// Who else may use the local socket.
    pub(crate) guests: Guests,
    /// Whether the port speaks HTTPS, and as whom.
    pub(crate) tls: Option<Tls>,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
    /// Only check, then end.
    pub(crate) check: bool,
}

/// What is wrong with the configuration, where, and what to do.
#[derive(Debug)]
pub(crate) struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Config {
    /// Reads flags, environment and file. Ends the process after `--help`, `--version` and wrong flags.
    ///
    /// Where sockets are held for the daemon, those are its addresses.
    pub(crate) fn read(held: Held) -> Result<Config, ConfigError> {
        // An empty variable counts as unset.
        let command = Flags::command().mut_args(|arg| match arg.get_env().and_then(std::env::var_os) {
            Some(value) if value.is_empty() => arg.env(Resettable::Reset),
            _ => arg,
        });
        let flags = Flags::from_arg_matches(&command.get_matches()).unwrap_or_else(|e| e.exit());
        let file = match (flags.no_config, &flags.config) {
            (true, _) => File::default(),
            (false, Some(path)) => File::read(path)?,
            (false, None) => match directories::ProjectDirs::from("", "", "sse-bus") {
                Some(places) if places.config_dir().join("config.toml").exists() => {
                    File::read(&places.config_dir().join("config.toml"))?
                }
                _ => File::default(),
            },
        };
        Config::merge(flags.settings, file, held, flags.check)
    }

    fn merge(flags: Settings, file: File, held: Held, check: bool) -> Result<Config, ConfigError> {
        let File { settings: file, limits, topics } = file;
        let listen = held.http.or(flags.listen).or(file.listen).unwrap_or(([127, 0, 0, 1], PORT).into());
        let state_dir = match flags.state_dir.or(file.state_dir) {
            Some(directory) => directory,
            None => state_dir().map_err(|e| ConfigError(format!("no place for state: {e}; set --state-dir")))?,
        };
        let endpoint = match held.ipc.clone().or(flags.socket).or(file.socket) {
            Some(path) => Endpoint::at(path),
            None => Endpoint::find().map_err(|e| ConfigError(format!("no place for the local socket: {e}")))?,
        };
        let history = flags.history.or(file.history).unwrap_or(HistoryKind::Memory);
        let mut usual = Retention::default();
        if history == HistoryKind::Disk {
            usual.budget = DISK_BUDGET;
        }
        let bytes = |flag: Option<ByteSize>, file: Option<ByteSize>| flag.or(file).map(|size| size.0 as usize);
        let topic_bytes = bytes(flags.history_bytes, file.history_bytes).unwrap_or(usual.bytes);
        let retention = Retention {
            events: flags.history_events.or(file.history_events).unwrap_or(usual.events),
            bytes: topic_bytes,
            age: flags.history_age.or(file.history_age).unwrap_or(usual.age),
            budget: bytes(flags.history_budget, file.history_budget)
                .unwrap_or(usual.budget.max(topic_bytes.saturating_mul(4))),
            rules: topics.into_iter().map(TopicTable::rule).collect(),
        };
        let tls = match (flags.tls_cert.or(file.tls_cert), flags.tls_key.or(file.tls_key)) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(Tls::read(&cert, &key).map_err(ConfigError)?),
            (Some(cert), None) => return Err(lonely("tls_cert", &cert, "the certificate's private key", "tls-key")),
            (None, Some(key)) => return Err(lonely("tls_key", &key, "the key's certificate", "tls-cert")),
        };
        if !listen.ip().is_loopback() {
            let encrypted = tls.is_some() || flags.insecure || file.insecure;
            check_exposed(listen, &state_dir, encrypted)?;
        }
        let origins = either(flags.allow_origin, file.allow_origin);
        let hosts = either(flags.allow_host, file.allow_host);
        Ok(Config {
            held,
            listen,
            endpoint,
            history,
            retention,
            limits,
            state_dir,
            allow_origin: origins.iter().map(|text| origin(text)).collect::<Result<_, _>>()?,
            allow_host: hosts.iter().map(|text| host(text)).collect::<Result<_, _>>()?,
            guests: Guests {
                uids: either(flags.allow_uid, file.allow_uid),
                gids: either(flags.allow_gid, file.allow_gid),
            },
            tls,
            log: flags.log.or(file.log).unwrap_or_else(|| "info".into()),
            log_format: flags.log_format.or(file.log_format).unwrap_or(LogFormat::Text),
            check,
        })
    }
}

impl Config {
    /// This configuration for a daemon that runs with another one: what cannot change stays, and is named where it would
    /// have changed.
    pub(crate) fn for_running(self, running: &Config) -> (Config, Vec<&'static str>) {
        let kept = [
            ("listen", self.listen != running.listen),
            ("socket", self.endpoint != running.endpoint),
            ("state_dir", self.state_dir != running.state_dir),
            ("history", self.history != running.history),
            ("tls_cert", self.tls.is_some() != running.tls.is_some()),
            ("allow_uid", self.guests != running.guests),
            ("log_format", self.log_format != running.log_format),
        ];
        let kept = kept.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect();
        let Config { listen, endpoint, state_dir, history, log_format, guests, .. } = running;
        let tls = if self.tls.is_some() == running.tls.is_some() { self.tls } else { running.tls.clone() };
        let (endpoint, state_dir, guests) = (endpoint.clone(), state_dir.clone(), guests.clone());
        (
            Config {
                listen: *listen,
                endpoint,
                state_dir,
                guests,
                history: *history,
                log_format: *log_format,
                tls,
                ..self
            },
            kept,
        )
    }
}

/// One of the two files of TLS is there without the other.
fn lonely(key: &str, path: &Path, other: &str, flag: &str) -> ConfigError {
    ConfigError(format!("{key} = {} is of no use without {other}; name that with --{flag}", path.display()))
}

/// A list that flags or the environment give, else the file's.
fn either<T>(flags: Vec<T>, file: Vec<T>) -> Vec<T> {
    if flags.is_empty() { file } else { flags }
}

/// Other machines reach this address: they must need a token, and nobody may read it on the way.
fn check_exposed(listen: SocketAddr, state: &Path, encrypted: bool) -> Result<(), ConfigError> {
    let file = TokenFile::in_directory(state);
    let tokens = file.read().map_err(|e| ConfigError(e.to_string()))?;
    let exposed = format!("listen = {listen} is not a loopback address, so other machines reach it");
    let instead = format!("or listen on 127.0.0.1:{} and reach it from elsewhere through `ssh -L`", listen.port());
    if tokens.iter().all(|token| token.is_expired(unix_now())) {
        return Err(ConfigError(format!(
            "{exposed}, and there is no token in {} that could let anybody in; make one with `sse-busctl token --state-dir {} \
             create --name NAME`, {instead}",
            file.path().display(),
            state.display()
        )));
    }
    if !encrypted {
        return Err(ConfigError(format!(
            "{exposed}, and without TLS everybody on the way can read tokens and events; name a certificate with --tls-cert \
             and --tls-key, say --insecure if the network may be trusted, {instead}"
        )));
    }
    Ok(())
}

/// Another name of the port.
fn host(text: &str) -> Result<Authority, ConfigError> {
    Authority::parse(text).ok_or_else(|| {
        ConfigError(format!(
            "allow_host `{text}` is no host; write it as in a URL, such as bus.example or bus.example:443"
        ))
    })
}

/// The origin of other pages.
fn origin(text: &str) -> Result<Origin, ConfigError> {
    Origin::parse(text).ok_or_else(|| {
        ConfigError(format!(
            "allow_origin `{text}` is no origin: it is a scheme, a host and a port and no more; write it as the browser shows \
             it, such as http://localhost:3000"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sse_bus::tokens::Wanted;

    use super::*;

    fn file(text: &str) -> File {
        File::parse(text).unwrap()
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let flags = Settings { history_events: Some(7), ..Settings::default() };
        let config =
            file("history_events = 5\nhistory_age = \"10m\"\nhistory_bytes = \"1MiB\"\n[limits]\ntopics = 9\n");
        let config = Config::merge(flags, config, Held::default(), false).unwrap();
        assert_eq!(config.retention.events, 7);
        assert_eq!(config.retention.age, Duration::from_mins(10));
        assert_eq!(config.retention.bytes, 1 << 20);
        assert_eq!((config.limits.topics, config.limits.event_bytes), (9, 256 << 10));
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(File::parse("lissten = \"127.0.0.1:1\"").unwrap_err().to_string().contains("lissten"));
    }

    #[test]
    fn other_machines_are_served_only_with_tokens_and_encrypted() {
        let state = tempfile::tempdir().unwrap();
        let listen = |insecure| {
            let state_dir = Some(state.path().into());
            let flags =
                Settings { listen: Some(([0, 0, 0, 0], 80).into()), state_dir, insecure, ..Settings::default() };
            Config::merge(flags, File::default(), Held::default(), false).map_err(|e| e.to_string())
        };
        let error = listen(true).unwrap_err();
        assert!(error.contains("sse-busctl token") && error.contains("127.0.0.1:80"), "{error}");
        TokenFile::in_directory(state.path()).create(Wanted { expires: Some(1), ..Wanted::default() }, 0).unwrap();
        assert_eq!(listen(true).unwrap_err(), error, "it has expired");
        TokenFile::in_directory(state.path()).create(Wanted::default(), 1).unwrap();
        let error = listen(false).unwrap_err();
        assert!(error.contains("--insecure") && error.contains("--tls-cert"), "{error}");
        listen(true).unwrap();
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        assert_eq!(origin("http://LocalHost:80").unwrap().to_string(), "http://localhost");
        for wrong in ["localhost:3000", "http://a/", "http://a/b", "http://u@a", "null", "*"] {
            assert!(origin(wrong).unwrap_err().to_string().contains(wrong), "{wrong}");
        }
    }
}
