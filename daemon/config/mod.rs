//! The configuration: flags override the environment, which overrides the file, which overrides the defaults.
//!
//! [`Given`] and the [file](file) are raw: what was written. [`Config`] is checked once and holds only what is valid. Reading
//! it has no effect on the process, so that SIGHUP reads it in the same way.

mod effective;
mod error;
mod exposure;
mod file;
mod given;
mod inherited_sockets;
mod keys;
mod local_allow_list;
pub(crate) mod nats;
mod paths;
mod publishers;
pub(crate) mod report;
#[cfg(test)]
mod tests;
mod topics;

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytesize::ByteSize;
use sse_bus::{
    Endpoint,
    endpoint::{expand_home, state_dir},
    flags::{HistoryKind, LogFormat, NatsSettings, Settings},
    limits::{EVENT_MAX, Limits},
    listen::Listen,
    protocol::Setting,
    retention::Retention,
};

use self::{effective::Sources, file::File, nats::NatsConfig};
pub(crate) use self::{
    error::ConfigError,
    given::{Given, Mode},
    inherited_sockets::InheritedSockets,
    local_allow_list::LocalAllowList,
    publishers::Publisher,
    report::Report,
    topics::TopicTable,
};
use crate::{
    logging::LogFilter,
    origin::{Authority, Origin},
    tls::Tls,
};

/// A configuration file with every key, its purpose and its default, which `--print-config` prints.
pub(crate) const DEFAULT: &str = include_str!("../default.toml");

/// Default of `history_budget` for history on disk, in bytes. About 100 bytes of each event stay in memory.
const DISK_BUDGET: usize = 256 << 20;

/// The daemon's configuration, complete and valid.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) inherited: InheritedSockets,
    /// The TCP addresses, at least one.
    pub(crate) listen: Vec<Listen>,
    pub(crate) endpoint: Endpoint,
    pub(crate) history: HistoryKind,
    /// Present if history is on NATS.
    pub(crate) nats: Option<NatsConfig>,
    pub(crate) retention: Retention,
    pub(crate) limits: Limits,
    pub(crate) state_dir: PathBuf,
    /// The directory that is served at `/pages/`.
    pub(crate) pages: Option<PathBuf>,
    pub(crate) allow_origin: Vec<Origin>,
    /// Names of the daemon in URLs, besides its own.
    pub(crate) allow_host: Vec<Authority>,
    pub(crate) local_allow_list: LocalAllowList,
    /// Present if the TCP addresses serve HTTPS.
    pub(crate) tls: Option<Tls>,
    pub(crate) log: LogFilter,
    pub(crate) log_format: LogFormat,
    /// Settings for some topics. The first table that matches a topic applies.
    pub(crate) topics: Arc<[TopicTable]>,
    /// All settings with their sources, for display.
    pub(crate) settings: Vec<Setting>,
    /// Probable mistakes that do not keep the daemon from running.
    pub(crate) warnings: Vec<String>,
}

impl Config {
    /// Reads the configuration file and checks it together with what was given. Inherited sockets take the place of
    /// configured addresses.
    ///
    /// # Errors
    ///
    /// Returns every mistake in the file, or the first one of flags, environment and the values of the file.
    pub(crate) fn read(given: &Given, inherited: InheritedSockets) -> Result<Config, ConfigError> {
        let flags = &given.flags;
        let given_path = flags.config.clone().map(expand_home);
        let path = if flags.no_config { None } else { given_path.or_else(default_file) };
        let file = path.as_deref().map_or_else(|| Ok(File::default()), File::read)?;
        let command = Given::command();
        let sources = Sources::new(&command, &given.matches, path.as_deref(), &file, &inherited);
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let config = Config::check(flags.settings.clone(), flags.nats.clone(), file, inherited, &sources)?;
        let mut warnings = keys::mistaken_variables(&command, names);
        warnings.extend(config.warnings);
        warnings.extend(path.as_deref().and_then(exposure::file_warning));
        Ok(Config { warnings, ..config })
    }

    /// Checks raw settings, and sets defaults.
    fn check(
        flags: Settings,
        nats: NatsSettings,
        file: File,
        inherited: InheritedSockets,
        sources: &Sources,
    ) -> Result<Config, ConfigError> {
        let File { settings: file, limits, nats: file_nats, topics, .. } = file;
        let wrong = |key: &str, what: String| ConfigError::new(sources.before(key) + &what);
        let mut usual = Retention::default();
        let history = flags.history.or(file.history).unwrap_or(HistoryKind::Memory);
        if history == HistoryKind::Disk {
            usual.budget = DISK_BUDGET;
        }
        let nats = nats::merge(nats, file_nats);
        let nats_config = NatsConfig::check(&nats, history).map_err(|(key, what)| wrong(key, what))?;
        let (wanted_listen, wanted_socket) =
            (either(flags.listen, file.listen), flags.socket.or(file.socket).map(expand_home));
        let inherited_addresses = inherited.http.iter().copied().map(Listen::Address).collect();
        let listen = either(inherited_addresses, either(wanted_listen.clone(), vec![Listen::USUAL]));
        let state_dir = match flags.state_dir.or(file.state_dir).map(expand_home) {
            Some(directory) => absolute(directory),
            None => state_dir()
                .map_err(|e| ConfigError::new(format!("there is no state directory: {e}; set --state-dir")))?,
        };
        let endpoint = endpoint(inherited.ipc.clone().or_else(|| wanted_socket.clone()))
            .map_err(|e| wrong("socket", format!("there is no path for the local socket: {e}")))?;
        let pages = flags.pages.or(file.pages).map(expand_home).map(absolute);
        let topic_bytes = flags.history_bytes.or(file.history_bytes).unwrap_or(ByteSize(usual.bytes as u64));
        let budget = (usual.budget as u64).max(topic_bytes.0.saturating_mul(4));
        let settings = Settings {
            listen: listen.clone(),
            socket: Some(endpoint.path().into()),
            state_dir: Some(state_dir.clone()),
            pages: pages.clone(),
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
            tls_cert: flags.tls_cert.or(file.tls_cert).map(expand_home),
            tls_key: flags.tls_key.or(file.tls_key).map(expand_home),
            log: flags.log.or(file.log).or_else(|| Some("info".into())),
            log_format: flags.log_format.or(file.log_format).or(Some(LogFormat::Text)),
        };

        if limits.event_bytes > EVENT_MAX {
            let what =
                format!("event_bytes can be {EVENT_MAX} at most: a larger event does not fit a frame on the socket");
            return Err(wrong("limits.event_bytes", what));
        }
        let retention = Retention {
            events: settings.history_events.unwrap_or(usual.events),
            bytes: topic_bytes.0 as usize,
            age: settings.history_age.unwrap_or(usual.age),
            budget: settings.history_budget.map_or(usual.budget, |size| size.0 as usize),
            rules: topics.iter().map(TopicTable::rule).collect(),
        };
        let tls = tls(&settings).map_err(|(key, what)| wrong(key, what))?;
        for address in Listen::all(&listen).into_iter().filter(|address| !address.ip().is_loopback()) {
            exposure::check_address(address, &state_dir, tls.is_some() || settings.insecure)
                .map_err(|e| wrong("listen", e.to_string()))?;
        }
        let log =
            LogFilter::parse(settings.log.as_deref().unwrap_or_default()).map_err(|e| wrong("log", e.to_string()))?;
        let shown = |path: PathBuf| path.display().to_string();
        let shown_list = |list| Listen::all(list).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let overruled = [
            sources.overruled("listen", &shown_list(&wanted_listen), &shown_list(&listen)),
            wanted_socket.and_then(|it| sources.overruled("socket", &shown(it), &endpoint.to_string())),
        ];
        let (local_allow_list, unknown_ids) = LocalAllowList::new(&settings.allow_uid, &settings.allow_gid);
        let unknown_ids = unknown_ids.into_iter().map(|(key, what)| sources.before(key) + &what);
        let pages_warning = pages.as_deref().and_then(exposure::pages_warning);
        let pages_warning = pages_warning.map(|what| sources.before("pages") + &what);
        let warnings = overruled.into_iter().flatten().chain(unknown_ids).chain(pages_warning).collect();
        let origin = |text: &String| Origin::parse(text).ok_or_else(|| wrong("allow_origin", not_an_origin(text)));
        let host = |text: &String| Authority::parse(text).ok_or_else(|| wrong("allow_host", not_a_host(text)));
        Ok(Config {
            inherited,
            listen,
            endpoint,
            history,
            nats: nats_config,
            retention,
            state_dir,
            pages,
            allow_origin: settings.allow_origin.iter().map(origin).collect::<Result<_, _>>()?,
            allow_host: settings.allow_host.iter().map(host).collect::<Result<_, _>>()?,
            local_allow_list,
            tls,
            log,
            log_format: settings.log_format.unwrap_or(LogFormat::Text),
            settings: effective::settings(&settings, &limits, &nats::shown(nats), &topics, sources),
            topics: topics.into(),
            limits,
            warnings,
        })
    }

    /// Returns what the configuration amounts to.
    pub(crate) fn report(&self) -> Report {
        Report {
            listen: Listen::all(&self.listen).iter().map(ToString::to_string).collect(),
            socket: self.endpoint.to_string(),
            state_dir: self.state_dir.display().to_string(),
            warnings: self.warnings.clone(),
        }
    }

    /// Returns this configuration for a daemon that runs with another one: keys that cannot change keep their values, and
    /// those that would have changed are returned.
    pub(crate) fn for_running(self, running: &Config) -> (Config, Vec<&'static str>) {
        let kept = [
            ("listen", self.listen != running.listen),
            ("socket", self.endpoint != running.endpoint),
            ("state_dir", self.state_dir != running.state_dir),
            ("history", self.history != running.history),
            ("nats", self.nats != running.nats),
            ("tls_cert", self.tls.is_some() != running.tls.is_some()),
            ("allow_uid", self.local_allow_list != running.local_allow_list),
            ("log_format", self.log_format != running.log_format),
        ];
        let kept: Vec<_> = kept.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect();
        let Config { listen, endpoint, state_dir, history, log_format, local_allow_list, .. } = running;
        let tls = if self.tls.is_some() == running.tls.is_some() { self.tls } else { running.tls.clone() };
        let (listen, endpoint) = (listen.clone(), endpoint.clone());
        let nats = running.nats.clone();
        let (state_dir, local_allow_list) = (state_dir.clone(), local_allow_list.clone());
        let settings = effective::kept(self.settings, &running.settings, &kept);
        (
            Config {
                listen,
                endpoint,
                state_dir,
                local_allow_list,
                history: *history,
                nats,
                log_format: *log_format,
                tls,
                settings,
                ..self
            },
            kept,
        )
    }
}

/// Returns the configuration file in the user's configuration directory, if there is one.
fn default_file() -> Option<PathBuf> {
    let path = directories::ProjectDirs::from("", "", "sse-bus")?.config_dir().join("config.toml");
    // A file that cannot be inspected is there, and reading it reports why.
    let is_missing = |error: std::io::Error| error.kind() == ErrorKind::NotFound;
    Some(path).filter(|path| !path.symlink_metadata().is_err_and(is_missing))
}

/// Returns the absolute path of a directory: other programs have other working directories.
fn absolute(directory: PathBuf) -> PathBuf {
    std::path::absolute(&directory).unwrap_or(directory)
}

/// Returns the endpoint at a path, or the default one. A path that is too long for a socket is an error.
fn endpoint(path: Option<PathBuf>) -> std::io::Result<Endpoint> {
    let endpoint = path.map_or_else(Endpoint::find, |path| Ok(Endpoint::at(path)))?;
    endpoint.check_path()?;
    Ok(endpoint)
}

/// Reads the certificate and its key, if they are configured. An error contains the key of the configuration.
fn tls(settings: &Settings) -> Result<Option<Tls>, (&'static str, String)> {
    match (&settings.tls_cert, &settings.tls_key) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Tls::read(cert, key).map(Some).map_err(|e| ("tls_cert", e.to_string())),
        (Some(cert), None) => Err(("tls_cert", lonely("tls_cert", cert, "the certificate's private key", "tls-key"))),
        (None, Some(key)) => Err(("tls_key", lonely("tls_key", key, "the key's certificate", "tls-cert"))),
    }
}

/// Returns the mistake of naming one of the two files of TLS without the other.
fn lonely(key: &str, path: &Path, other: &str, flag: &str) -> String {
    format!("{key} = {} cannot be used without {other}; name that with --{flag}", path.display())
}

/// Returns the list of flags or environment, or else the one of the file.
fn either<T>(flags: Vec<T>, file: Vec<T>) -> Vec<T> {
    if flags.is_empty() { file } else { flags }
}

/// Returns the mistake in an entry of `allow_host`.
fn not_a_host(text: &str) -> String {
    format!("allow_host `{text}` is not a host; write it as in a URL, such as bus.example or bus.example:443")
}

/// Returns the mistake in an entry of `allow_origin`.
fn not_an_origin(text: &str) -> String {
    format!(
        "allow_origin `{text}` is not an origin; write a scheme, a host and a port as the browser shows them, such as \
         http://localhost:3000"
    )
}
