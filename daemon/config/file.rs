//! The configuration file: everything that flags can say, `[limits]`, and `[[topics]]`.

use std::path::Path;

use serde::Deserialize;
use sse_bus::limits::Limits;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer, Error, ValueDeserializer},
};

use super::{ConfigError, topics::TopicTable};
use crate::cli::Settings;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct File {
    /// What flags and environment can say, too.
    pub(super) settings: Settings,
    /// Bounds that protect the daemon.
    pub(super) limits: Limits,
    /// What is different for some topics.
    pub(super) topics: Vec<TopicTable>,
}

impl File {
    pub(super) fn read(path: &Path) -> Result<File, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| ConfigError(format!("{}: {e}; check the path, or use --no-config", path.display())))?;
        File::parse(&text).map_err(|mut e| {
            e.set_input(Some(&text));
            ConfigError(format!("{}: {}", path.display(), e.to_string().trim_end()))
        })
    }

    pub(super) fn parse(text: &str) -> Result<File, Error> {
        fn part<'i, T: Default + Deserialize<'i>>(value: Option<Spanned<DeValue<'i>>>) -> Result<T, Error> {
            value.map_or(Ok(T::default()), |value| T::deserialize(ValueDeserializer::from(value)))
        }
        let mut table = DeTable::parse(text)?;
        let limits = part(table.get_mut().remove("limits"))?;
        let topics = part(table.get_mut().remove("topics"))?;
        Ok(File { settings: Settings::deserialize(Deserializer::from(table))?, limits, topics })
    }
}
