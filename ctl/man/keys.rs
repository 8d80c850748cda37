//! `sse-bus.toml(5)`: the configuration file, generated from the commented default file.
//!
//! In that file `# ---- …` begins a section, as does a table such as `[limits]`, and the comments above a key describe
//! it. A key without a default is commented out, in the file and in the page.

use clap_mangen::roff::{Roff, bold, roman};

/// All keys with their descriptions and defaults.
const DEFAULT: &str = include_str!("../../daemon/default.toml");

pub(super) fn page() -> String {
    let mut page = Roff::new();
    page.control("TH", ["sse-bus.toml", "5", "", concat!("sse-bus ", env!("CARGO_PKG_VERSION")), "sse-bus"]);
    page.control("SH", ["NAME"]).text([roman("sse-bus.toml - configuration of the local event bus")]);
    page.control("SH", ["DESCRIPTION"]);
    let mut paragraphs = DEFAULT.split("\n\n").map(Paragraph::of);
    if let Some(first) = paragraphs.next() {
        page.text([roman(first.text)]);
    }
    for paragraph in paragraphs {
        let Paragraph { section, text, setting } = paragraph;
        if let Some(section) = section {
            page.control("SS", [section]);
        }
        match setting {
            Some(table) if table.ends_with(']') && !table.contains('=') => {
                page.control("PP", []).text([bold(table)]);
            }
            Some(setting) => {
                page.control("TP", []).text([bold(setting)]).text([roman(text)]);
            }
            None if !text.is_empty() => {
                page.control("PP", []).text([roman(text)]);
            }
            None => {}
        }
    }
    page.control("SH", ["EXAMPLES"]).control("nf", []);
    page.text([roman("listen = \"127.0.0.1:8000\"")]).text([roman("history = \"disk\"")]);
    page.text([roman("allow_origin = [\"http://localhost:3000\"]")]).control("fi", []);
    page.control("SH", ["FILES"]).control("TP", []).text([bold("~/.config/sse-bus/config.toml")]);
    page.text([roman("Read by the daemon of this user, at its start and after SIGHUP.")]);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("sse-busd"), roman("(1), "), bold("sse-busctl"), roman("(1)")]);
    page.to_roff()
}

/// The text between two empty lines.
#[derive(Debug, PartialEq)]
struct Paragraph {
    section: Option<&'static str>,
    text: String,
    setting: Option<&'static str>,
}

impl Paragraph {
    fn of(text: &'static str) -> Paragraph {
        let mut paragraph = Paragraph { section: None, text: String::new(), setting: None };
        for line in text.lines() {
            let words = line.strip_prefix("# ");
            match words.and_then(|words| words.strip_prefix("---- ")) {
                Some(section) => paragraph.section = Some(section),
                None if is_setting(words.unwrap_or(line)) => paragraph.setting = Some(line),
                None => {
                    let space = if paragraph.text.is_empty() { "" } else { " " };
                    paragraph.text.extend([space, words.unwrap_or_default()]);
                }
            }
        }
        paragraph
    }
}

/// Returns true if a line is a key with its value, or the header of a table.
fn is_setting(line: &str) -> bool {
    let key = line.split(" = ").next().unwrap_or_default();
    let is_key = key.len() < line.len() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    is_key || (line.starts_with('[') && line.ends_with(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_is_a_key_with_its_description() {
        let set = Paragraph::of("# ---- History\n\n");
        assert_eq!(set, Paragraph { section: Some("History"), text: String::new(), setting: None });
        let set = Paragraph::of("# How long\n# it is kept.\nhistory_age = \"24h\"");
        assert_eq!((set.text.as_str(), set.setting), ("How long it is kept.", Some("history_age = \"24h\"")));
        let unset = Paragraph::of("# Whether listen = is meant.\n# socket = \"/bus\"");
        assert_eq!((unset.text.as_str(), unset.setting), ("Whether listen = is meant.", Some("# socket = \"/bus\"")));
        assert_eq!(Paragraph::of("[limits]").setting, Some("[limits]"));
    }
}
