//! The formats of a log line. Values are cut at [`VALUE_MAX`] bytes, since peers choose some of them.

use std::fmt::{self, Debug, Write as _};

use serde::{Serializer as _, ser::SerializeMap as _};
use serde_json::Value;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::{MakeVisitor, VisitFmt, VisitOutput},
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{DefaultVisitor, Writer},
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

/// Bytes of a value that are logged.
const VALUE_MAX: usize = 512;

/// Returns a value as it is logged.
pub(super) fn short(value: &dyn Debug) -> String {
    struct Cut(String);
    impl fmt::Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = VALUE_MAX - self.0.len();
            if text.len() <= room {
                self.0.push_str(text);
                return Ok(());
            }
            self.0.push_str(&text[..text.floor_char_boundary(room)]);
            // The error stops formatting the rest.
            Err(fmt::Error)
        }
    }
    let mut cut = Cut(String::new());
    if write!(cut, "{value:?}").is_err() {
        cut.0.push('…');
    }
    cut.0
}

/// The fields of a line of text, cut.
pub(super) struct ShortFields;

/// See [`ShortFields`].
pub(super) struct ShortVisitor<'a>(DefaultVisitor<'a>);

impl<'a> MakeVisitor<Writer<'a>> for ShortFields {
    type Visitor = ShortVisitor<'a>;

    fn make_visitor(&self, writer: Writer<'a>) -> ShortVisitor<'a> {
        ShortVisitor(DefaultVisitor::new(writer, true))
    }
}

impl Visit for ShortVisitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.record_debug(field, &format_args!("{}", short(value)));
    }
}

impl VisitOutput<fmt::Result> for ShortVisitor<'_> {
    fn finish(self) -> fmt::Result {
        self.0.finish()
    }
}

impl VisitFmt for ShortVisitor<'_> {
    fn writer(&mut self) -> &mut dyn fmt::Write {
        self.0.writer()
    }
}

/// A line as a JSON object.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = JsonFields(Vec::new());
        event.record(&mut fields);
        let mut line = Vec::new();
        let mut written = || {
            let mut serializer = serde_json::Serializer::new(&mut line);
            let mut object = serializer.serialize_map(None)?;
            object.serialize_entry("timestamp", &time)?;
            object.serialize_entry("level", event.metadata().level().as_str())?;
            for (name, value) in &fields.0 {
                object.serialize_entry(name, value)?;
            }
            object.serialize_entry("target", event.metadata().target())?;
            object.end()
        };
        written().map_err(|_: serde_json::Error| fmt::Error)?;
        writeln!(writer, "{}", String::from_utf8_lossy(&line))
    }
}

struct JsonFields(Vec<(&'static str, Value)>);

impl JsonFields {
    fn push(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        self.0.push((name.strip_prefix("r#").unwrap_or(name), value.into()));
    }
}

impl Visit for JsonFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.push(field, short(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        let text = "ä".repeat(1000);
        assert_eq!(short(&format_args!("{text}")), format!("{}…", "ä".repeat(VALUE_MAX / 2)));
        let filters = vec!["x".repeat(230); 64];
        assert_eq!(short(&filters).len(), VALUE_MAX + '…'.len_utf8());
        assert_eq!(short(&["a"]), r#"["a"]"#);
    }
}
