//! The settings of a log on NATS, checked.

use std::{fs, io, path::PathBuf};

use sse_bus::{
    endpoint::expand_home,
    flags::{HistoryKind, NatsSettings},
};

/// Maximum bytes of a file with a secret.
const SECRET_MAX: u64 = 64 << 10;

/// How to connect to the servers, and which bus this daemon is a node of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(crate) struct NatsConfig {
    /// At least one.
    pub(crate) servers: Vec<String>,
    /// `[a-z0-9_-]{1,32}`.
    pub(crate) bus: String,
    /// `[a-z0-9-]{1,64}`.
    pub(crate) node: Option<String>,
    pub(crate) login: Login,
    /// Connects with TLS only.
    pub(crate) tls: bool,
    pub(crate) tls_ca: Option<PathBuf>,
    /// Creates the streams if they do not exist.
    pub(crate) create: bool,
    /// Copies of a stream that is created.
    pub(crate) replicas: usize,
    /// The servers sync each message.
    pub(crate) synced: bool,
    /// The node ends when its standard input is closed, and then removes the streams.
    pub(crate) temporary: bool,
}

/// What the servers ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    None,
    Credentials(PathBuf),
    Nkey(PathBuf),
    Password { user: String, file: PathBuf },
}

/// Returns the settings of flags and environment, and of the file where those have none.
pub(super) fn merge(flags: NatsSettings, file: NatsSettings) -> NatsSettings {
    let home = |path: Option<PathBuf>| path.map(expand_home);
    NatsSettings {
        servers: if flags.servers.is_empty() { file.servers } else { flags.servers },
        bus: flags.bus.or(file.bus),
        node: flags.node.or(file.node),
        credentials: home(flags.credentials.or(file.credentials)),
        nkey: home(flags.nkey.or(file.nkey)),
        user: flags.user.or(file.user),
        password_file: home(flags.password_file.or(file.password_file)),
        tls: flags.tls || file.tls,
        tls_ca: home(flags.tls_ca.or(file.tls_ca)),
        create: flags.create || file.create,
        replicas: flags.replicas.or(file.replicas),
        synced: flags.synced || file.synced,
        temporary: flags.temporary,
    }
}

/// Returns the settings for display, with the passwords of URLs hidden.
pub(super) fn shown(settings: NatsSettings) -> NatsSettings {
    let servers = settings.servers.iter().map(|server| without_password(server)).collect();
    NatsSettings { servers, ..settings }
}

/// Returns a URL with its user and password hidden.
pub(crate) fn without_password(server: &str) -> String {
    let (scheme, rest) = server.split_once("://").map_or(("", server), |(scheme, rest)| (scheme, rest));
    let host = rest.rsplit_once('@').map(|(_, host)| format!("…@{host}"));
    match (host, scheme) {
        (None, _) => server.to_owned(),
        (Some(host), "") => host,
        (Some(host), scheme) => format!("{scheme}://{host}"),
    }
}

impl NatsConfig {
    /// Checks the settings. Returns nothing if history is elsewhere.
    ///
    /// # Errors
    ///
    /// The key, and what is wrong with it.
    pub(super) fn check(
        settings: &NatsSettings,
        history: HistoryKind,
    ) -> Result<Option<NatsConfig>, (&'static str, String)> {
        if history != HistoryKind::Nats {
            let message = "servers of NATS are used with --history nats only; add it, or remove them";
            return if settings.servers.is_empty() { Ok(None) } else { Err(("nats.servers", message.into())) };
        }
        if cfg!(not(feature = "nats")) {
            let message = "this sse-busd was built without the feature nats; use another build, or --history disk";
            return Err(("history", message.into()));
        }
        if settings.servers.is_empty() {
            let message = "--history nats needs the address of a server: --nats nats://HOST:4222";
            return Err(("nats.servers", message.into()));
        }
        for server in &settings.servers {
            check_server(server).map_err(|what| ("nats.servers", what))?;
        }
        let Some(bus) = settings.bus.clone() else {
            let message =
                "--history nats needs the name of a bus: --nats-bus NAME; daemons with the same name share it";
            return Err(("nats.bus", message.into()));
        };
        check_name(&bus, 32, "_-").map_err(|what| ("nats.bus", what))?;
        if let Some(node) = &settings.node {
            check_name(node, 64, "-").map_err(|what| ("nats.node", what))?;
        }
        let replicas = settings.replicas.unwrap_or(1);
        if ![1, 3, 5].contains(&replicas) {
            return Err(("nats.replicas", format!("replicas can be 1, 3 or 5, not {replicas}")));
        }
        Ok(Some(NatsConfig {
            servers: settings.servers.clone(),
            bus,
            node: settings.node.clone(),
            login: Login::check(settings)?,
            tls: settings.tls,
            tls_ca: settings.tls_ca.clone(),
            create: settings.create,
            replicas,
            synced: settings.synced,
            temporary: settings.temporary,
        }))
    }

    /// Returns the servers for display.
    #[cfg_attr(not(feature = "nats"), expect(dead_code, reason = "for the feature nats"))]
    pub(crate) fn shown_servers(&self) -> String {
        self.servers.iter().map(|server| without_password(server)).collect::<Vec<_>>().join(", ")
    }
}

impl Login {
    fn check(settings: &NatsSettings) -> Result<Login, (&'static str, String)> {
        let NatsSettings { credentials, nkey, user, password_file, .. } = settings;
        match (credentials.clone(), nkey.clone(), user.clone(), password_file.clone()) {
            (None, None, None, None) => Ok(Login::None),
            (Some(file), None, None, None) => Ok(Login::Credentials(file)),
            (None, Some(file), None, None) => Ok(Login::Nkey(file)),
            (None, None, Some(user), Some(file)) => Ok(Login::Password { user, file }),
            (None, None, Some(_), None) => Err((
                "nats.user",
                "user needs its password; name a file that contains it with --nats-password-file".into(),
            )),
            (None, None, None, Some(_)) => {
                Err(("nats.password_file", "password_file needs the name of its user; add it with --nats-user".into()))
            }
            _ => Err(("nats.credentials", "use only one of credentials, nkey, and user with password_file".into())),
        }
    }
}

/// Reads a file with a secret.
#[cfg_attr(not(feature = "nats"), expect(dead_code, reason = "for the feature nats"))]
pub(crate) fn read_secret(path: &std::path::Path) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    fs::File::open(path)?.take(SECRET_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn check_server(server: &str) -> Result<(), String> {
    let shown = without_password(server);
    let (scheme, rest) = server.split_once("://").unwrap_or(("nats", server));
    let is_known = ["nats", "tls"].contains(&scheme);
    let has_host = !rest.rsplit_once('@').map_or(rest, |(_, host)| host).trim_matches('/').is_empty();
    if is_known && has_host && !rest.contains(char::is_whitespace) {
        return Ok(());
    }
    Err(format!("`{shown}` is not the address of a NATS server; write nats://HOST:4222, or tls://HOST:4222"))
}

fn check_name(name: &str, most: usize, others: &str) -> Result<(), String> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || others.contains(c);
    if (1..=most).contains(&name.len()) && name.chars().all(is_allowed) {
        return Ok(());
    }
    let others = others.chars().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(" and ");
    Err(format!("the name `{}` must have 1 to {most} characters: a to z, digits, {others}", name.escape_debug()))
}
