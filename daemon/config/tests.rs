//! How flags, file and defaults become a configuration.

use std::time::Duration;

use sse_bus::tokens::{NewToken, TokenFile};

use super::*;

fn file(text: &str) -> File {
    File::parse("config.toml".as_ref(), text).unwrap()
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let flags = Settings { history_events: Some(7), ..Settings::default() };
    let config = file("history_events = 5\nhistory_age = \"10m\"\nhistory_bytes = \"1MiB\"\n[limits]\ntopics = 9\n");
    let config =
        Config::check(flags, NatsSettings::default(), config, InheritedSockets::default(), &Sources::default())
            .unwrap();
    assert_eq!(config.retention.events, 7);
    assert_eq!(config.retention.age, Duration::from_mins(10));
    assert_eq!(config.retention.bytes, 1 << 20);
    assert_eq!((config.limits.topics, config.limits.event_bytes), (9, 256 << 10));
}

fn settings(file: File) -> Vec<Setting> {
    Config::check(Settings::default(), NatsSettings::default(), file, InheritedSockets::default(), &Sources::default())
        .unwrap()
        .settings
}

#[test]
fn the_default_file_changes_nothing() {
    assert_eq!(settings(file(DEFAULT)), settings(File::default()));
}

/// A value is shown in the syntax of the file.
#[test]
fn shown_settings_can_be_written_into_a_file() {
    let written = "history_bytes = 1000\nhistory_age = \"90m\"\nallow_uid = [7]\nlimits.topics = 5\n\
                   [[topics]]\nmatch = \"a\"\nttl = \"1s\"\npublishers = [\"user\", \"origin:http://a:80\"]\n";
    let shown = settings(file(written));
    let (mut top, mut tables) = (String::new(), String::new());
    for Setting { key, value, .. } in shown.iter().filter(|setting| !setting.value.is_null()) {
        match value.as_object() {
            Some(table) => {
                tables.push_str("[[topics]]\n");
                tables.extend(table.iter().map(|(key, value)| format!("{key} = {value}\n")));
            }
            None => top.extend([key, " = ", &value.to_string(), "\n"]),
        }
    }
    assert_eq!(settings(file(&(top + &tables))), shown);
    for (key, value) in [("history_bytes", "1000B"), ("history_age", "1h 30m"), ("history_budget", "64MiB")] {
        assert!(shown.iter().any(|setting| setting.key == key && setting.value == value), "{shown:?}");
    }
}

#[test]
fn other_machines_are_served_only_with_tokens_and_encrypted() {
    let state = tempfile::tempdir().unwrap();
    let listen = |insecure| {
        let state_dir = Some(state.path().into());
        let flags =
            Settings { listen: vec!["0.0.0.0:80".parse().unwrap()], state_dir, insecure, ..Settings::default() };
        Config::check(flags, NatsSettings::default(), File::default(), InheritedSockets::default(), &Sources::default())
            .map_err(|e| e.to_string())
    };
    let error = listen(true).unwrap_err();
    assert!(error.contains("sse-busctl token") && error.contains("127.0.0.1:80"), "{error}");
    TokenFile::in_directory(state.path()).create(NewToken { expires: Some(1), ..NewToken::default() }, 0).unwrap();
    assert_eq!(listen(true).unwrap_err(), error, "it has expired");
    TokenFile::in_directory(state.path()).create(NewToken::default(), 1).unwrap();
    let error = listen(false).unwrap_err();
    assert!(error.contains("--insecure") && error.contains("--tls-cert"), "{error}");
    listen(true).unwrap();
}

#[test]
fn an_origin_is_a_scheme_a_host_and_a_port() {
    let allowed = |origin: &str| {
        let flags = Settings { allow_origin: vec![origin.into()], ..Settings::default() };
        Config::check(flags, NatsSettings::default(), File::default(), InheritedSockets::default(), &Sources::default())
    };
    let config = allowed("http://LocalHost:80").unwrap();
    assert_eq!(config.allow_origin.iter().map(ToString::to_string).collect::<Vec<_>>(), ["http://localhost"]);
    for wrong in ["localhost:3000", "http://a/", "http://a/b", "http://u@a", "null", "*"] {
        assert!(allowed(wrong).unwrap_err().to_string().contains(wrong), "{wrong}");
    }
}
