//! The keys of the configuration file: their names, the values that they accept, and suggestions for unknown keys.

use clap::Command;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, Visitor, value::Error},
};
use sse_bus::{
    flags::{NatsSettings, Settings},
    limits::Limits,
};

use super::topics::Keys;
use crate::nearest::nearest;

/// The kinds of tables, each with its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// The keys above the first table.
    Top,
    /// `[limits]`.
    Limits,
    /// `[nats]`.
    Nats,
    /// Each of `[[topics]]`.
    Topics,
}

/// The keys at the top that are not settings.
const TABLES: [&str; 3] = ["limits", "nats", "topics"];

impl Table {
    pub(super) const ALL: [Table; 4] = [Table::Top, Table::Limits, Table::Nats, Table::Topics];

    pub(super) fn keys(self) -> Vec<&'static str> {
        match self {
            Table::Top => [fields::<Settings>(), &TABLES].concat(),
            Table::Limits => fields::<Limits>().to_vec(),
            Table::Nats => fields::<NatsSettings>().to_vec(),
            Table::Topics => fields::<Keys>().to_vec(),
        }
    }

    /// Returns its position in the file, for people.
    fn place(self) -> &'static str {
        match self {
            Table::Top => "above the first table",
            Table::Limits => "under [limits]",
            Table::Nats => "under [nats]",
            Table::Topics => "under [[topics]]",
        }
    }

    /// Returns the error for a key that this table does not have.
    pub(super) fn unknown(self, key: &str) -> String {
        let shown = key.escape_debug();
        if let Some(meant) = nearest(&key.to_lowercase().replace('-', "_"), &self.keys()) {
            return format!("unknown key `{shown}`, did you mean `{meant}`?");
        }
        match Table::ALL.into_iter().find(|table| table.keys().contains(&key)) {
            Some(table) => format!("the key `{shown}` belongs {}", table.place()),
            None => format!("unknown key `{shown}`; `sse-busd --print-config` shows all keys"),
        }
    }
}

/// Returns a description of the values that a key accepts.
pub(super) fn takes(key: &str) -> &'static str {
    match key {
        "listen" => {
            "an address and a port such as \"127.0.0.1:7733\", \"localhost:7733\" for both loopback addresses, or a list"
        }
        "socket" | "state_dir" | "pages" | "tls_cert" | "tls_key" | "credentials" | "nkey" | "password_file"
        | "tls_ca" => "a path in quotes",
        "history" => "\"memory\", \"disk\" or \"nats\"",
        "servers" => "a list of addresses such as [\"nats://10.0.0.1:4222\"]",
        "bus" | "node" | "user" => "a name in quotes",
        "history_bytes" | "history_budget" => "a size such as \"16MiB\"",
        "history_age" | "ttl" => "a duration such as \"24h\"",
        "allow_origin" => "a list of origins such as [\"http://localhost:3000\"]",
        "allow_host" => "a list of names such as [\"bus.example\"]",
        "allow_uid" => "a list of the numbers of users such as [1001]",
        "allow_gid" => "a list of the numbers of groups such as [100]",
        "insecure" | "tls" | "create" | "synced" => "true or false",
        "log" => "a level in quotes such as \"info\"",
        "log_format" => "\"text\" or \"json\"",
        "match" => "a filter such as \"build/**\", or a list of filters",
        "publishers" => "a list such as [\"user\", \"uid:1001\", \"token:ci\", \"origin:http://localhost:3000\"]",
        // The other keys are numbers.
        _ => "a whole number, 0 or more",
    }
}

/// A variable that `sse-busctl subscribe --exec` sets, and that looks like one of the daemon.
const OF_CHILDREN: &str = "SSE_BUS_DATA";

/// Returns a warning for each environment variable with a name similar to that of a flag's variable.
pub(super) fn mistaken_variables(command: &Command, names: impl Iterator<Item = String>) -> Vec<String> {
    let known: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_env()?.to_str()).collect();
    let mistaken =
        names.filter(|name| name.starts_with("SSE_BUS_") && !known.contains(&name.as_str()) && name != OF_CHILDREN);
    let warnings = mistaken.filter_map(|name| {
        let meant = nearest(&name, &known)?;
        Some(format!("the variable `{}` is unknown and ignored, did you mean `{meant}`?", name.escape_debug()))
    });
    warnings.collect()
}

/// Returns the names of a struct's fields, as serde requests them.
fn fields<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    struct Asked<'a>(&'a mut &'static [&'static str]);
    impl<'de> Deserializer<'de> for Asked<'_> {
        type Error = Error;

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Error> {
            *self.0 = fields;
            Err(Error::custom("only the names were asked for"))
        }

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(Error::custom("it is not a struct"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut names: &'static [&'static str] = &[];
    let _ = T::deserialize(Asked(&mut names));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_says_what_was_meant() {
        for (table, key, said) in [
            (Table::Top, "lissten", "did you mean `listen`?"),
            (Table::Top, "history-age", "did you mean `history_age`?"),
            (Table::Top, "limit", "did you mean `limits`?"),
            (Table::Limits, "topicks", "did you mean `topics`?"),
            (Table::Topics, "publisher", "did you mean `publishers`?"),
            (Table::Topics, "Match", "did you mean `match`?"),
            (Table::Top, "event_bytes", "belongs under [limits]"),
            (Table::Limits, "history_age", "belongs above the first table"),
            (Table::Limits, "ttl", "belongs under [[topics]]"),
            (Table::Top, "colour", "`sse-busd --print-config` shows"),
        ] {
            let message = table.unknown(key);
            assert!(message.contains(said) && message.contains(key), "{message}");
        }
    }
}
