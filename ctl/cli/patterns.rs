//! Topic filters on the command line. Patterns of MQTT and NATS are refused with the filter that was meant.

use sse_bus::Filter;

use super::values::ValueError;

/// Parses a filter for the daemon, which checks everything else.
pub(super) fn parse_pattern(text: &str) -> Result<String, ValueError> {
    match meant(text) {
        Some(meant) => Err(ValueError::ForeignPattern(meant)),
        None => Ok(text.to_owned()),
    }
}

/// Parses a filter.
pub(super) fn parse_filter(text: &str) -> Result<Filter, ValueError> {
    Ok(Filter::parse(&parse_pattern(text)?)?)
}

/// Returns the filter that a pattern of MQTT or NATS stands for, or `None` for a text that is no such pattern.
fn meant(text: &str) -> Option<String> {
    let levels: Vec<&str> = text.split('/').collect();
    let translated = |levels: &[&str], one: &str, rest: &str| -> Option<String> {
        let last = levels.len() - 1;
        let is_pattern = levels.contains(&one) || levels[last] == rest;
        let level = |(index, level): (usize, &&str)| match *level {
            level if level == one => "*".to_owned(),
            level if level == rest && index == last => "**".to_owned(),
            level => level.to_owned(),
        };
        let meant = is_pattern.then(|| levels.iter().enumerate().map(level).collect::<Vec<_>>().join("/"))?;
        Filter::parse(&meant).ok().map(|filter| filter.as_str().to_owned())
    };
    // MQTT: `build/+/x`, `build/#`.
    if let Some(meant) = translated(&levels, "+", "#") {
        return Some(meant);
    }
    // NATS: `build.*.x`, `build.>`, `>`.
    let tokens: Vec<&str> = text.split('.').collect();
    if levels.len() > 1 || (tokens.len() == 1 && text != ">") {
        return None;
    }
    translated(&tokens, "*", ">")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_other_systems_are_translated() {
        for (text, wanted) in [
            ("build/+/x", "build/*/x"),
            ("+/+", "*/*"),
            ("build/#", "build/**"),
            ("build/+/#", "build/*/**"),
            ("#", "**"),
            ("+", "*"),
            ("build.>", "build/**"),
            ("build.*", "build/*"),
            ("build.*.x", "build/*/x"),
            (">", "**"),
        ] {
            assert_eq!(meant(text).as_deref(), Some(wanted), "{text}");
            assert!(parse_filter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn filters_and_other_texts_are_left_alone() {
        for text in
            ["build/web", "build/*/x", "**", "*", "a.b", "a+b/c", "c++/x", "v1.2/*", "a/>/b", "", "a//+", "x/#/y"]
        {
            assert_eq!(meant(text), None, "{text}");
        }
    }
}
