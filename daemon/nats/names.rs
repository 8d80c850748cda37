//! The names of streams and subjects.
//!
//! | name | what |
//! |---|---|
//! | `SSEBUS_<bus>` | the stream of the log |
//! | `SSEBUS_<bus>_RETAINED` | the stream of retained events: the last one of each topic |
//! | `SSEBUS_<bus>_DEAD` | the stream of dead letters |
//! | `ssebus.<bus>.ev.<topic>`, `.rt.<topic>` | an event; one that is retained |
//! | `ssebus.<bus>.sch.<id>` | a schedule |
//! | `ssebus.<bus>.job.<consumer>` | an event for one consumer |
//! | `ssebus.<bus>.dead.<consumer>.<number>` | a dead letter, by the number of its event |
//! | `ssebus.<bus>.ctl.…` | messages between nodes, which no stream has |
//!
//! In the subject of a topic, its levels are joined by `.`, and `%`, `.`, `*`, `>` and all bytes other than printable ASCII are
//! percent-encoded.

use std::fmt::Write as _;

use percent_encoding::percent_decode_str;
use sse_bus::Topic;

/// The names of one bus.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    bus: String,
}

impl Names {
    pub(crate) fn new(bus: &str) -> Names {
        Names { bus: bus.to_owned() }
    }

    /// Returns the name of the stream of the log.
    pub(crate) fn log(&self) -> String {
        format!("SSEBUS_{}", self.bus)
    }

    /// Returns the name of the stream of retained events.
    pub(crate) fn retained(&self) -> String {
        format!("SSEBUS_{}_RETAINED", self.bus)
    }

    /// Returns the subject filter of all events that are not retained.
    pub(crate) fn events(&self) -> String {
        format!("ssebus.{}.ev.>", self.bus)
    }

    /// Returns the subject filter of all retained events.
    pub(crate) fn retained_events(&self) -> String {
        format!("ssebus.{}.rt.>", self.bus)
    }

    /// Returns the subject filter of all schedules.
    pub(crate) fn schedules(&self) -> String {
        format!("ssebus.{}.sch.>", self.bus)
    }

    /// Returns the name of the stream of dead letters.
    pub(crate) fn dead_letters(&self) -> String {
        format!("SSEBUS_{}_DEAD", self.bus)
    }

    /// Returns the subject filter of the events for single consumers.
    pub(crate) fn jobs(&self) -> String {
        format!("ssebus.{}.job.>", self.bus)
    }

    /// Returns the subject of the events for one consumer.
    pub(crate) fn job(&self, consumer: &str) -> String {
        format!("ssebus.{}.job.{}", self.bus, level(consumer))
    }

    /// Returns the subject filter of the dead letters of all consumers.
    pub(crate) fn all_dead(&self) -> String {
        format!("ssebus.{}.dead.>", self.bus)
    }

    /// Returns the beginning of the subjects of the dead letters of a consumer, with the final point.
    pub(crate) fn dead(&self, consumer: &str) -> String {
        format!("ssebus.{}.dead.{}.", self.bus, level(consumer))
    }

    /// Returns the name of the consumer of a stream for a consumer of the bus.
    pub(crate) fn durable(consumer: &str) -> String {
        format!("consumer-{}", level(consumer))
    }

    /// Returns the subjects of the topics that a pattern of subjects matches: one for events, one for those that are retained.
    pub(crate) fn patterns(&self, pattern: &str) -> [String; 2] {
        ["ev", "rt"].map(|kind| format!("ssebus.{}.{kind}.{pattern}", self.bus))
    }

    /// Returns the subject of a schedule.
    pub(crate) fn schedule(&self, id: &str) -> String {
        format!("ssebus.{}.sch.{}", self.bus, level(id))
    }

    /// Returns the beginning of the subjects of messages between nodes.
    pub(crate) fn between_nodes(&self) -> String {
        format!("ssebus.{}.ctl", self.bus)
    }

    /// Returns the subject of an event.
    pub(crate) fn subject(&self, topic: &Topic, is_retained: bool) -> String {
        let kind = if is_retained { "rt" } else { "ev" };
        let levels: Vec<_> = topic.as_str().split('/').map(level).collect();
        format!("ssebus.{}.{kind}.{}", self.bus, levels.join("."))
    }

    /// Returns the topic of a subject, and whether its event is retained; None for other subjects, and for topics that nobody may
    /// publish to.
    pub(crate) fn topic(&self, subject: &str) -> Option<(Topic, bool)> {
        let rest = subject.strip_prefix("ssebus.")?.strip_prefix(&*self.bus)?;
        let (encoded, is_retained) = match (rest.strip_prefix(".ev."), rest.strip_prefix(".rt.")) {
            (Some(encoded), _) => (encoded, false),
            (_, Some(encoded)) => (encoded, true),
            _ => return None,
        };
        let text = percent_decode_str(&encoded.replace('.', "/")).decode_utf8().ok()?.into_owned();
        let topic = Topic::parse(&text).ok().filter(|topic| !topic.is_system())?;
        // Another spelling of the same topic would be another subject.
        (self.subject(&topic, is_retained) == subject).then_some((topic, is_retained))
    }
}

/// Returns one level of a topic, or another name, as a part of a subject.
pub(crate) fn level(text: &str) -> String {
    let mut level = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | b'.' | b'*' | b'>' => drop(write!(level, "%{byte:02X}")),
            byte if byte.is_ascii_graphic() => level.push(byte.into()),
            byte => drop(write!(level, "%{byte:02X}")),
        }
    }
    level
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn topics_are_encoded_as_documented() {
        let names = Names::new("team");
        for (topic, subject) in [
            ("build/web", "ssebus.team.ev.build.web"),
            ("a.b", "ssebus.team.ev.a%2Eb"),
            ("100%", "ssebus.team.ev.100%25"),
            ("é", "ssebus.team.ev.%C3%A9"),
        ] {
            assert_eq!(names.subject(&Topic::parse(topic).unwrap(), false), subject);
        }
        assert_eq!(names.subject(&Topic::parse("a").unwrap(), true), "ssebus.team.rt.a");
    }

    #[test]
    fn other_subjects_are_no_topics() {
        let names = Names::new("team");
        for subject in [
            "ssebus.team.ev",
            "ssebus.team.ev.",
            "ssebus.other.ev.a",
            "ssebus.team2.ev.a",
            "ssebus.team.ctl.a",
            "ssebus.team.ev.%",
            "ssebus.team.ev.%zz",
            "ssebus.team.ev.%61",
            "ssebus.team.ev.%FF",
            "ssebus.team.ev.$sys.x",
            "ssebus.team.ev.%2a",
        ] {
            assert_eq!(names.topic(subject), None, "{subject}");
        }
    }

    proptest! {
        #[test]
        fn a_topic_is_read_from_its_subject(text in "[ -~é…]{1,40}", is_retained: bool) {
            let Ok(topic) = Topic::parse(&text) else { return Ok(()) };
            prop_assume!(!topic.is_system());
            let names = Names::new("team");
            let subject = names.subject(&topic, is_retained);
            prop_assert!(subject.bytes().all(|b| b.is_ascii_graphic()));
            prop_assert_eq!(names.topic(&subject), Some((topic, is_retained)));
        }
    }
}
