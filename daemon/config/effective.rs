//! The configuration in effect, and the source of each value.

use std::{collections::BTreeMap, path::Path};

use clap::{ArgMatches, Command, parser::ValueSource};
use serde::Serialize;
use serde_json::Value;
use sse_bus::{
    flags::{NatsSettings, Settings},
    limits::Limits,
    protocol::Setting,
};

use super::{file::File, inherited_sockets::InheritedSockets, keys::Table, topics::TopicTable};

/// The source of each value: a flag, a variable, a line of the file, or the service manager. A value without a source is a
/// default.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// The path of the configuration file that was read.
    file: Option<String>,
    by_key: BTreeMap<String, String>,
    /// The sources of `listen` and `socket` if they are ignored, because the service manager holds the socket.
    overruled: BTreeMap<&'static str, String>,
}

impl Sources {
    pub(super) fn new(
        command: &Command,
        matches: &ArgMatches,
        path: Option<&Path>,
        file: &File,
        inherited: &InheritedSockets,
    ) -> Sources {
        let mut by_key = file.places.clone();
        for arg in command.get_arguments() {
            let source = match (matches.value_source(arg.get_id().as_str()), arg.get_env(), arg.get_long()) {
                (Some(ValueSource::CommandLine), _, Some(flag)) => format!("--{flag}"),
                (Some(ValueSource::EnvVariable), Some(name), _) => name.to_string_lossy().into_owned(),
                _ => continue,
            };
            by_key.insert(arg.get_id().to_string(), source);
        }
        let mut overruled = BTreeMap::new();
        for (key, is_inherited) in [("listen", !inherited.http.is_empty()), ("socket", inherited.ipc.is_some())] {
            if is_inherited && let Some(source) = by_key.insert(key.into(), "the service manager".into()) {
                overruled.insert(key, source);
            }
        }
        let file = path.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.into()));
        Sources { file: file.map(|path| path.display().to_string()), by_key, overruled }
    }

    /// Returns a warning if a configured socket is not the one that the service manager holds.
    pub(super) fn overruled(&self, key: &'static str, wanted: &str, held: &str) -> Option<String> {
        let source = self.overruled.get(key).filter(|_| wanted != held)?;
        Some(format!(
            "{source}: {key} = {wanted} is ignored: the service manager holds {held}; `sse-busctl service install` makes it hold \
             what the configuration file says"
        ))
    }

    fn of(&self, key: &str) -> String {
        self.by_key.get(key).cloned().unwrap_or_else(|| "default".into())
    }

    /// Returns the prefix of an error about a value: its source and a colon, or nothing for a default.
    pub(super) fn before(&self, key: &str) -> String {
        self.by_key.get(key).map_or(String::new(), |source| format!("{source}: "))
    }
}

/// Returns all settings: first the path of the configuration file, then the values in the order of `--help`, then `[limits]`,
/// `[nats]` and `[[topics]]`.
pub(super) fn settings(
    settings: &Settings,
    limits: &Limits,
    nats: &NatsSettings,
    topics: &[TopicTable],
    from: &Sources,
) -> Vec<Setting> {
    let file = Setting::new("config", from.file.clone().into(), from.of("config"));
    let top = keyed(Table::Top, settings).map(|(key, value)| (key.to_owned(), value));
    let limits = keyed(Table::Limits, limits).map(|(key, value)| (format!("limits.{key}"), value));
    let nats = keyed(Table::Nats, nats).map(|(key, value)| (format!("nats.{key}"), value));
    let topics = topics.iter().enumerate();
    let topics = topics.map(|(number, table)| (format!("topics[{number}]"), json(table.keys())));
    let rest = top.chain(limits).chain(nats).chain(topics);
    let rest = rest.map(|(key, value)| {
        let source = from.of(&key);
        Setting::new(key, value, source)
    });
    std::iter::once(file).chain(rest).collect()
}

/// Returns the settings after the configuration was read again. `kept` names the keys that change only with a restart; they
/// have the values with which the daemon is running.
pub(super) fn kept(read: Vec<Setting>, running: &[Setting], kept: &[&str]) -> Vec<Setting> {
    let is_kept = |key: &str| match key {
        // `kept` has one name for settings that change together.
        "allow_gid" => kept.contains(&"allow_uid"),
        "tls_key" => kept.contains(&"tls_cert"),
        key if key.starts_with("nats.") => kept.contains(&"nats"),
        key => kept.contains(&key),
    };
    let before = |key: &str| running.iter().find(|setting| setting.key == key).cloned();
    read.into_iter().map(|new| if is_kept(&new.key) { before(&new.key).unwrap_or(new) } else { new }).collect()
}

/// Returns the keys and values of a struct, in the order of its fields.
fn keyed(table: Table, fields: &impl Serialize) -> impl Iterator<Item = (&'static str, Value)> {
    let mut values = json(fields);
    table.keys().into_iter().filter_map(move |key| Some((key, values.get_mut(key)?.take())))
}

/// Returns a value as JSON. Serializing cannot fail for the types of the configuration.
fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
