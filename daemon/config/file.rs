//! The configuration file: the settings of flags, `[limits]`, and `[[topics]]`.
//!
//! It is read key by key, so that all mistakes are reported at once: each in one line, with its position and what was probably
//! meant.

use std::{collections::BTreeMap, fmt, fs, io::Read as _, path::Path};

use serde::de::DeserializeOwned;
use sse_bus::{
    flags::{NatsSettings, Settings},
    limits::{CONFIG_BYTES, Limits},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer},
};

use super::{
    error::ConfigError,
    keys::{self, Table},
    paths,
    topics::{Keys, TopicTable},
};

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Settings that flags and environment have, too.
    pub(super) settings: Settings,
    /// Limits that protect the daemon.
    pub(super) limits: Limits,
    /// Settings of a log on NATS, which flags and environment have, too.
    pub(super) nats: NatsSettings,
    /// Settings for some topics.
    pub(super) topics: Vec<TopicTable>,
    /// The position of each key, such as `/path/config.toml:3:1`. Keys of a table are prefixed with its name.
    pub(super) places: BTreeMap<String, String>,
}

impl File {
    pub(super) fn read(path: &Path) -> Result<File, ConfigError> {
        // Absolute, because readers of a position may be in another directory.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let failed = |why: &dyn fmt::Display| ConfigError::new(format!("{}: {why}", path.display()));
        if is_named_pipe(&path) {
            return Err(failed(&"it is not a regular file but a named pipe; check the path, or use --no-config"));
        }
        let mut content = Vec::new();
        fs::File::open(&path)
            .and_then(|file| file.take(CONFIG_BYTES as u64 + 1).read_to_end(&mut content))
            .map_err(|e| failed(&format_args!("{e}; check the path, or use --no-config")))?;
        if content.len() > CONFIG_BYTES {
            return Err(failed(&"a configuration file has 1 MiB at most; check the path, or use --no-config"));
        }
        let text = String::from_utf8(content).map_err(|e| {
            let line = e.as_bytes()[..e.utf8_error().valid_up_to()].split(|byte| *byte == b'\n').count();
            failed(&format_args!("line {line} is not UTF-8"))
        })?;
        File::parse(&path, &text)
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
        let mut reader = Reader { path, text, mistakes: Vec::new(), places: BTreeMap::new() };
        let mut top = DeTable::parse(text).map_or_else(
            |error| {
                reader.mistake(error.span().map_or(text.len(), |span| span.start), error.message());
                DeTable::new()
            },
            Spanned::into_inner,
        );
        let (limits, nats, topics) = (top.remove("limits"), top.remove("nats"), top.remove("topics"));
        let settings = reader.table(Table::Top, "", top);
        let limits = limits.map_or_else(Limits::default, |table| reader.named_table(Table::Limits, "limits", table));
        let nats = nats.map_or_else(NatsSettings::default, |table| reader.named_table(Table::Nats, "nats", table));
        let topics = topics.map_or_else(Vec::new, |tables| reader.topics(tables));
        let Reader { mut mistakes, places, .. } = reader;
        if mistakes.is_empty() {
            return Ok(File { settings, limits, nats, topics, places });
        }
        mistakes.sort_by_key(|(at, _)| *at);
        Err(ConfigError::all(mistakes.into_iter().map(|(_, mistake)| mistake).collect()))
    }
}

/// Returns true if opening the file blocks until another process writes to it. The pipes of `<(command)` and `command |` in a
/// shell are not of that kind: this process has inherited them.
fn is_named_pipe(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        let is_inherited = path.starts_with("/dev") || path.starts_with("/proc");
        !is_inherited && path.metadata().is_ok_and(|found| found.file_type().is_fifo())
    }
    #[cfg(windows)]
    {
        let _ = path;
        false
    }
}

/// A file that is being read.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    /// The mistakes, each with its offset.
    mistakes: Vec<(usize, String)>,
    places: BTreeMap<String, String>,
}

impl Reader<'_> {
    fn named_table<T: Default + DeserializeOwned>(
        &mut self,
        kind: Table,
        name: &str,
        value: Spanned<DeValue<'_>>,
    ) -> T {
        let at = value.span().start;
        if let DeValue::Table(table) = value.into_inner() {
            return self.table(kind, &format!("{name}."), table);
        }
        self.mistake(at, format!("{name}: expected a table that begins with [{name}]"));
        T::default()
    }

    fn topics(&mut self, value: Spanned<DeValue<'_>>) -> Vec<TopicTable> {
        let at = value.span().start;
        let DeValue::Array(tables) = value.into_inner() else {
            self.mistake(at, "topics: expected tables that begin with [[topics]] each, not with [topics]");
            return Vec::new();
        };
        let mut read = Vec::new();
        for (number, value) in tables.into_iter().enumerate() {
            let (at, before) = (value.span().start, self.mistakes.len());
            let DeValue::Table(table) = value.into_inner() else {
                self.mistake(at, "topics: expected a table that begins with [[topics]]");
                continue;
            };
            let name = format!("topics[{number}]");
            self.places.insert(name.clone(), self.place(at));
            let keys: Keys = self.table(Table::Topics, &format!("{name}."), table);
            match TopicTable::new(keys, self.place(at)) {
                Ok(table) => read.push(table),
                // The missing key may be one with a mistake.
                Err(_) if self.mistakes.len() > before => {}
                Err(why) => self.mistake(at, why),
            }
        }
        read
    }

    /// Reads a table. Keys with mistakes are left out.
    fn table<T: Default + DeserializeOwned>(&mut self, kind: Table, prefix: &str, table: DeTable<'_>) -> T {
        let mut valid = DeTable::new();
        for (key, value) in table {
            let (name, span) = (key.get_ref().clone(), value.span());
            if !kind.keys().contains(&&*name) {
                self.mistake(key.span().start, kind.unknown(&name));
                continue;
            }
            if matches!(kind, Table::Top | Table::Nats)
                && paths::KEYS.contains(&&*name)
                && let Some(what) = value.get_ref().as_str().and_then(paths::mistake)
            {
                let given = shortened(&self.text[span.clone()]);
                self.mistake(span.start, format!("{name} = {given}: {what}"));
                continue;
            }
            let alone = DeTable::from_iter([(key.clone(), value.clone())]);
            match T::deserialize(Deserializer::from(Spanned::new(span.clone(), alone))) {
                Ok(_) => {
                    self.places.insert(format!("{prefix}{name}"), self.place(key.span().start));
                    valid.insert(key, value);
                }
                Err(error) => {
                    let given = shortened(&self.text[span.clone()]);
                    // Filters and publishers have error messages of their own.
                    let is_described =
                        matches!(&*name, "match" | "publishers") && !error.message().starts_with("invalid");
                    let meant =
                        if is_described { error.message() } else { &format!("expected {}", keys::takes(&name)) };
                    self.mistake(span.start, format!("{name} = {given}: {meant}"));
                }
            }
        }
        // Each key has been read successfully before.
        T::deserialize(Deserializer::from(Spanned::new(0..0, valid))).unwrap_or_default()
    }

    fn mistake(&mut self, at: usize, what: impl AsRef<str>) {
        self.mistakes.push((at, format!("{}: {}", self.place(at), what.as_ref())));
    }

    /// `/path/config.toml:3:1`, with the column in characters.
    fn place(&self, at: usize) -> String {
        let before = &self.text[..at.min(self.text.len())];
        let line = before.rfind('\n').map_or(0, |end| end + 1);
        let (row, column) = (before.matches('\n').count() + 1, before[line..].chars().count() + 1);
        format!("{}:{row}:{column}", self.path.display())
    }
}

/// Returns the beginning of a value in the file, for an error.
fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    let more = if line.len() < text.len() || line.chars().nth(MOST).is_some() { "…" } else { "" };
    let shown: String = line.chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    shown + more
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT;

    /// The name of a table, or the key of a line that sets it. Prose has no `=`, and names no key before it.
    fn key(line: &str) -> Option<&str> {
        let line = line.trim_start_matches("# ");
        let is_key = |key: &&str| !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        line.strip_prefix('[').or_else(|| line.split_once(" = ").map(|(key, _)| key).filter(is_key))
    }

    #[test]
    fn the_default_file_names_every_key_and_says_in_a_few_lines_what_it_is_for() {
        let (mut table, mut comments, mut found) = (Table::Top, 0, Vec::new());
        for line in DEFAULT.lines() {
            match key(line) {
                Some("limits]") => table = Table::Limits,
                Some("nats]") => table = Table::Nats,
                Some("[topics]]") => table = Table::Topics,
                Some(key) => {
                    assert!((1..=3).contains(&comments), "{key} has {comments} lines of comment");
                    found.push((table, key));
                }
                None if line.starts_with("# ") => {
                    comments += 1;
                    continue;
                }
                None => assert!(line.is_empty(), "{line}"),
            }
            comments = 0;
        }
        for table in Table::ALL {
            let found: Vec<_> = found.iter().filter(|(of, _)| *of == table).map(|(_, key)| *key).collect();
            let known = table
                .keys()
                .into_iter()
                .filter(|key| table != Table::Top || !["limits", "nats", "topics"].contains(key));
            let mut known: Vec<_> = known.collect();
            for key in &known {
                assert_eq!(found.iter().filter(|found| found == &key).count(), 1, "{key} in {table:?}");
            }
            known.retain(|key| !found.contains(key));
            assert_eq!((known, found.iter().find(|key| !table.keys().contains(key))), (vec![], None));
        }
    }

    #[test]
    fn the_default_file_parses_with_every_key_uncommented_too() {
        let whole: String = DEFAULT
            .lines()
            .map(|line| if key(line).is_some() { line.trim_start_matches("# ") } else { line })
            .flat_map(|line| [line, "\n"])
            .collect();
        let file = File::parse("config.toml".as_ref(), &whole).unwrap();
        assert_eq!(file.topics.len(), 1);
        let keys = Table::ALL.map(|table| table.keys().len()).iter().sum::<usize>();
        // `topics` has a place for each table, `limits` and `nats` have none of their own.
        assert_eq!(file.places.len(), keys - 2, "{:?}", file.places.keys());
    }

    #[test]
    fn all_mistakes_are_reported_with_their_positions() {
        let text =
            "log = \"é\"\nlissten = 1\n\n  history_age = 5\n[limits]\ntopics = \"many\"\n[[topics]]\nmatch = 7\n";
        let error = File::parse("/etc/c.toml".as_ref(), text).unwrap_err();
        let expected = [
            "/etc/c.toml:2:1: unknown key `lissten`, did you mean `listen`?",
            "/etc/c.toml:4:17: history_age = 5: expected a duration such as \"24h\"",
            "/etc/c.toml:6:10: topics = \"many\": expected a whole number, 0 or more",
            "/etc/c.toml:8:9: match = 7: expected a filter such as \"build/**\", or a list of filters",
        ];
        assert_eq!(error.lines(), expected);
    }

    #[test]
    fn every_key_says_what_it_takes_when_it_is_given_something_else() {
        for (table, head) in Table::ALL.into_iter().zip(["", "[limits]\n", "[nats]\n", "[[topics]]\n"]) {
            for key in table.keys() {
                let text = format!("{head}{key} = 1979-05-27\n");
                let error = File::parse("c".as_ref(), &text).unwrap_err();
                let at = format!("c:{}:{}: ", text.lines().count(), key.len() + 4);
                assert!(error.lines()[0].starts_with(&at) && error.lines()[0].contains("expected"), "{error}");
                assert_eq!(error.lines().len(), 1, "{error}");
            }
        }
    }
}
