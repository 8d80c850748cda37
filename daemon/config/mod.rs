//! What the daemon is told: flags over environment over file over defaults, checked once.

mod effective;
mod file;
mod keys;
mod topics;
pub(crate) mod user_namespace;

use std::{
    fmt,
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::exit,
    sync::Arc,
};

use bytesize::ByteSize;
use clap::{CommandFactory, FromArgMatches, builder::Resettable};
use sse_bus::{
    Endpoint,
    endpoint::state_dir,
    limits::{EVENT_MAX, Limits, Retention},
    private_fs::{self, Exposure, Forbidden},
    protocol::Setting,
    tokens::TokenFile,
};

pub(crate) use self::topics::TopicTable;
use self::{effective::Sources, file::File};
use crate::{
    cli::{Flags, HistoryKind, LogFormat, Settings},
    ipc::Guests,
    listen::Listen,
    logging::Log,
    origin::{Authority, Origin},
    service_manager::Held,
    shared_bus::unix_now,
    tls::Tls,
};

/// A file that names every key, what it is for and its default: what `--print-config` prints.
const DEFAULT: &str = include_str!("../default.toml");

/// Bytes of history that all topics keep together on disk. Of each event about 100 bytes stay in memory.
const DISK_BUDGET: usize = 256 << 20;

/// The daemon's configuration, whole and checked.
#[derive(Debug)]
pub(crate) struct Config {
    /// The sockets that a service manager holds.
    pub(crate) held: Held,
    /// Where to listen for browsers, at least once.
    pub(crate) listen: Vec<Listen>,
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
    /// What is different for some topics; of those that match one the first counts.
    pub(crate) topics: Arc<[TopicTable]>,
    /// All of it, for whoever asks.
    pub(crate) settings: Vec<Setting>,
    /// What looks like a mistake and keeps nothing from running.
    pub(crate) warnings: Vec<String>,
    /// Only check, then end.
    pub(crate) check: bool,
}

/// What is wrong with the configuration, where, and what to do: a line for each mistake.
#[derive(Debug)]
pub(crate) struct ConfigError(Vec<String>);

impl ConfigError {
    fn new(mistake: impl Into<String>) -> ConfigError {
        ConfigError(vec![mistake.into()])
    }

    /// Each mistake on its own.
    pub(crate) fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl Config {
    /// Reads flags, environment and file. Ends the process after `--help`, `--version`, `--print-config` and wrong flags.
    ///
    /// Where sockets are held for the daemon, those are its addresses.
    pub(crate) fn read(held: Held) -> Result<Config, ConfigError> {
        // An empty variable counts as unset.
        let command = Flags::command().mut_args(|arg| match arg.get_env().and_then(std::env::var_os) {
            Some(value) if value.is_empty() => arg.env(Resettable::Reset),
            _ => arg,
        });
        let matches = command.get_matches();
        let flags = Flags::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
        if flags.print_config {
            crate::print(DEFAULT).map_err(ConfigError::new)?;
            exit(0);
        }
        let usual = || {
            let places = directories::ProjectDirs::from("", "", "sse-bus")?;
            let path = places.config_dir().join("config.toml");
            // One that cannot be looked at is there, and reading it tells why not.
            let is_missing = |error: std::io::Error| error.kind() == ErrorKind::NotFound;
            Some(path).filter(|path| !path.symlink_metadata().is_err_and(is_missing))
        };
        let path = if flags.no_config { None } else { flags.config.or_else(usual) };
        let file = path.as_deref().map_or_else(|| Ok(File::default()), File::read)?;
        let sources = Sources::new(&Flags::command(), &matches, path.as_deref(), &file, &held);
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let config = Config::merge(flags.settings, file, held, &sources)?;
        let mut warnings = keys::mistaken_variables(&Flags::command(), names);
        warnings.extend(config.warnings);
        warnings.extend(path.as_deref().and_then(exposed_file));
        Ok(Config { warnings, check: flags.check, ..config })
    }

    fn merge(flags: Settings, file: File, held: Held, sources: &Sources) -> Result<Config, ConfigError> {
        let File { settings: file, limits, topics, .. } = file;
        let wrong = |key: &str, what: String| ConfigError::new(sources.before(key) + &what);
        let mut usual = Retention::default();
        let history = flags.history.or(file.history).unwrap_or(HistoryKind::Memory);
        if history == HistoryKind::Disk {
            usual.budget = DISK_BUDGET;
        }
        let (wanted_listen, wanted_socket) = (either(flags.listen, file.listen), flags.socket.or(file.socket));
        let held_addresses = held.http.iter().copied().map(Listen::Address).collect();
        let listen = either(held_addresses, either(wanted_listen.clone(), vec![Listen::USUAL]));
        let state_dir = match flags.state_dir.or(file.state_dir) {
            Some(directory) => absolute(directory),
            None => state_dir().map_err(|e| ConfigError::new(format!("no place for state: {e}; set --state-dir")))?,
        };
        let endpoint = match held.ipc.clone().or_else(|| wanted_socket.clone()) {
            Some(path) => Endpoint::at(path),
            None => Endpoint::find().map_err(|e| ConfigError::new(format!("no place for the local socket: {e}")))?,
        };
        let topic_bytes = flags.history_bytes.or(file.history_bytes).unwrap_or(ByteSize(usual.bytes as u64));
        let budget = (usual.budget as u64).max(topic_bytes.0.saturating_mul(4));
        let settings = Settings {
            listen: listen.clone(),
            socket: Some(endpoint.path().into()),
            state_dir: Some(state_dir.clone()),
            history: Some(history),
            history_events: flags.history_events.or(file.history_events).or(Some(usual.events)),
            history_bytes: Some(topic_bytes),
            history_age: flags.history_age.or(file.history_age).or(Some(usual.age)),
            history_budget: flags.history_budget.or(file.history_budget).or(Some(ByteSize(budget))),
            allow_origin: either(flags.allow_origin, file.allow_origin),
            allow_host: either(flags.allow_host, file.allow_host),
            allow_uid: either(flags.allow_uid, file.allow_uid),
            allow_gid: either(flags.allow_gid, file.allow_gid),
            insecure: flags.insecure || file.insecure,
            tls_cert: flags.tls_cert.or(file.tls_cert),
            tls_key: flags.tls_key.or(file.tls_key),
            log: flags.log.or(file.log).or_else(|| Some("info".into())),
            log_format: flags.log_format.or(file.log_format).or(Some(LogFormat::Text)),
        };

        if limits.event_bytes > EVENT_MAX {
            let what = format!("event_bytes is {EVENT_MAX} at most: a larger event does not fit a frame on the socket");
            return Err(wrong("limits.event_bytes", what));
        }
        let retention = Retention {
            events: settings.history_events.unwrap_or(usual.events),
            bytes: topic_bytes.0 as usize,
            age: settings.history_age.unwrap_or(usual.age),
            budget: settings.history_budget.map_or(usual.budget, |size| size.0 as usize),
            rules: topics.iter().map(TopicTable::rule).collect(),
        };
        let tls = match (&settings.tls_cert, &settings.tls_key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(Tls::read(cert, key).map_err(|e| wrong("tls_cert", e))?),
            (Some(cert), None) => {
                return Err(wrong("tls_cert", lonely("tls_cert", cert, "the certificate's private key", "tls-key")));
            }
            (None, Some(key)) => {
                return Err(wrong("tls_key", lonely("tls_key", key, "the key's certificate", "tls-cert")));
            }
        };
        for address in Listen::all(&listen).into_iter().filter(|address| !address.ip().is_loopback()) {
            check_exposed(address, &state_dir, tls.is_some() || settings.insecure).map_err(|e| wrong("listen", e))?;
        }
        let log = settings.log.clone().unwrap_or_default();
        Log::parse(&log).map_err(|e| wrong("log", e))?;
        let shown = |path: PathBuf| path.display().to_string();
        let shown_list = |list| Listen::all(list).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let overruled = [
            sources.overruled("listen", &shown_list(&wanted_listen), &shown_list(&listen)),
            wanted_socket.and_then(|it| sources.overruled("socket", &shown(it), &endpoint.to_string())),
        ];
        let (guests, strangers) = Guests::new(&settings.allow_uid, &settings.allow_gid);
        let strangers = strangers.into_iter().map(|(key, what)| sources.before(key) + &what);
        let warnings = overruled.into_iter().flatten().chain(strangers).collect();
        let origins = settings.allow_origin.iter().map(|text| origin(text).map_err(|e| wrong("allow_origin", e)));
        let hosts = settings.allow_host.iter().map(|text| host(text).map_err(|e| wrong("allow_host", e)));
        Ok(Config {
            held,
            listen,
            endpoint,
            history,
            retention,
            state_dir,
            allow_origin: origins.collect::<Result<_, _>>()?,
            allow_host: hosts.collect::<Result<_, _>>()?,
            guests,
            tls,
            log,
            log_format: settings.log_format.unwrap_or(LogFormat::Text),
            settings: effective::settings(&settings, &limits, &topics, sources),
            topics: topics.into(),
            limits,
            warnings,
            check: false,
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
        let kept: Vec<_> = kept.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect();
        let Config { listen, endpoint, state_dir, history, log_format, guests, .. } = running;
        let tls = if self.tls.is_some() == running.tls.is_some() { self.tls } else { running.tls.clone() };
        let (listen, endpoint) = (listen.clone(), endpoint.clone());
        let (state_dir, guests) = (state_dir.clone(), guests.clone());
        let settings = effective::kept(self.settings, &running.settings, &kept);
        (
            Config {
                listen,
                endpoint,
                state_dir,
                guests,
                history: *history,
                log_format: *log_format,
                tls,
                settings,
                ..self
            },
            kept,
        )
    }
}

/// Warns if other users may change the file, and so whom the daemon lets in. What is no file, such as a pipe, has been read
/// already.
fn exposed_file(path: &Path) -> Option<String> {
    let checked = private_fs::check_file(path, Forbidden::Write)
        .and_then(|()| private_fs::check_directory(path.parent().unwrap_or(Path::new("."))));
    match checked {
        Ok(()) | Err(Exposure::Unknown(_) | Exposure::NotAFile) => None,
        Err(exposure) => Some(format!("whoever can change {} controls this daemon: {exposure}", path.display())),
    }
}

/// A directory as others find it, who work elsewhere.
fn absolute(directory: PathBuf) -> PathBuf {
    std::path::absolute(&directory).unwrap_or(directory)
}

/// One of the two files of TLS is there without the other.
fn lonely(key: &str, path: &Path, other: &str, flag: &str) -> String {
    format!("{key} = {} is of no use without {other}; name that with --{flag}", path.display())
}

/// A list that flags or the environment give, else the file's.
fn either<T>(flags: Vec<T>, file: Vec<T>) -> Vec<T> {
    if flags.is_empty() { file } else { flags }
}

/// Other machines reach this address: they must need a token, and nobody may read it on the way.
fn check_exposed(listen: SocketAddr, state: &Path, encrypted: bool) -> Result<(), String> {
    let file = TokenFile::in_directory(state);
    let tokens = file.read().map_err(|e| e.to_string())?;
    let exposed = format!("listen = {listen} is not a loopback address, so other machines reach it");
    let instead = format!("or listen on 127.0.0.1:{} and reach it from elsewhere through `ssh -L`", listen.port());
    if tokens.iter().all(|token| token.is_expired(unix_now())) {
        return Err(format!(
            "{exposed}, and there is no token in {} that could let anybody in; make one with `sse-busctl token --state-dir {} \
             create --name NAME`, {instead}",
            file.path().display(),
            state.display()
        ));
    }
    if !encrypted {
        return Err(format!(
            "{exposed}, and without TLS everybody on the way can read tokens and events; name a certificate with --tls-cert \
             and --tls-key, say --insecure if the network may be trusted, {instead}"
        ));
    }
    Ok(())
}

/// Another name of the port.
fn host(text: &str) -> Result<Authority, String> {
    Authority::parse(text).ok_or_else(|| {
        format!("allow_host `{text}` is no host; write it as in a URL, such as bus.example or bus.example:443")
    })
}

/// The origin of other pages.
fn origin(text: &str) -> Result<Origin, String> {
    Origin::parse(text).ok_or_else(|| {
        format!(
            "allow_origin `{text}` is no origin: it is a scheme, a host and a port and no more; write it as the browser shows \
             it, such as http://localhost:3000"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sse_bus::tokens::Wanted;

    use super::*;

    fn file(text: &str) -> File {
        File::parse("config.toml".as_ref(), text).unwrap()
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let flags = Settings { history_events: Some(7), ..Settings::default() };
        let config =
            file("history_events = 5\nhistory_age = \"10m\"\nhistory_bytes = \"1MiB\"\n[limits]\ntopics = 9\n");
        let config = Config::merge(flags, config, Held::default(), &Sources::default()).unwrap();
        assert_eq!(config.retention.events, 7);
        assert_eq!(config.retention.age, Duration::from_mins(10));
        assert_eq!(config.retention.bytes, 1 << 20);
        assert_eq!((config.limits.topics, config.limits.event_bytes), (9, 256 << 10));
    }

    fn settings(file: File) -> Vec<Setting> {
        Config::merge(Settings::default(), file, Held::default(), &Sources::default()).unwrap().settings
    }

    #[test]
    fn the_default_file_changes_nothing() {
        assert_eq!(settings(file(DEFAULT)), settings(File::default()));
    }

    /// A value is told as the file would have it.
    #[test]
    fn what_is_told_can_be_written_into_a_file() {
        let written = "history_bytes = 1000\nhistory_age = \"90m\"\nallow_uid = [7]\nlimits.topics = 5\n\
                       [[topics]]\nmatch = \"a\"\nttl = \"1s\"\npublishers = [\"user\", \"origin:http://a:80\"]\n";
        let told = settings(file(written));
        let (mut top, mut tables) = (String::new(), String::new());
        for Setting { key, value, .. } in told.iter().filter(|setting| !setting.value.is_null()) {
            match value.as_object() {
                Some(table) => {
                    tables.push_str("[[topics]]\n");
                    tables.extend(table.iter().map(|(key, value)| format!("{key} = {value}\n")));
                }
                None => top.extend([key, " = ", &value.to_string(), "\n"]),
            }
        }
        assert_eq!(settings(file(&(top + &tables))), told);
        for (key, value) in [("history_bytes", "1000B"), ("history_age", "1h 30m"), ("history_budget", "64MiB")] {
            assert!(told.iter().any(|setting| setting.key == key && setting.value == value), "{told:?}");
        }
    }

    #[test]
    fn other_machines_are_served_only_with_tokens_and_encrypted() {
        let state = tempfile::tempdir().unwrap();
        let listen = |insecure| {
            let state_dir = Some(state.path().into());
            let flags =
                Settings { listen: vec!["0.0.0.0:80".parse().unwrap()], state_dir, insecure, ..Settings::default() };
            Config::merge(flags, File::default(), Held::default(), &Sources::default()).map_err(|e| e.to_string())
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
            assert!(origin(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
    }
}
