//! `sse-bus.toml(5)`: the configuration file, made of its commented default.
//!
//! There a line `# ---- …` begins a part, a table such as `[limits]` one of its own, and comments say what the key below
//! them is for. A key that has no default is commented out, there and here.

use clap_mangen::roff::{Roff, bold, roman};

/// Every key, what it is for, and its default.
const DEFAULT: &str = include_str!("../../daemon/default.toml");

pub(super) fn page() -> String {
    let mut page = Roff::new();
    page.control("TH", ["sse-bus.toml", "5", "", concat!("sse-bus ", env!("CARGO_PKG_VERSION")), "sse-bus"]);
    page.control("SH", ["NAME"]).text([roman("sse-bus.toml - configuration of the local event bus")]);
    page.control("SH", ["DESCRIPTION"]);
    let mut paragraphs = DEFAULT.split("\n\n").map(Paragraph::of);
    if let Some(first) = paragraphs.next() {
        page.text([roman(first.words)]);
    }
    for paragraph in paragraphs {
        let Paragraph { part, words, setting } = paragraph;
        if let Some(part) = part {
            page.control("SS", [part]);
        }
        match setting {
            Some(table) if table.ends_with(']') && !table.contains('=') => {
                page.control("PP", []).text([bold(table)]);
            }
            Some(setting) => {
                page.control("TP", []).text([bold(setting)]).text([roman(words)]);
            }
            None if !words.is_empty() => {
                page.control("PP", []).text([roman(words)]);
            }
            None => {}
        }
    }
    page.control("SH", ["EXAMPLES"]).control("nf", []);
    page.text([roman("listen = \"127.0.0.1:8000\"")]).text([roman("history = \"disk\"")]);
    page.text([roman("allow_origin = [\"http://localhost:3000\"]")]).control("fi", []);
    page.control("SH", ["FILES"]).control("TP", []).text([bold("~/.config/sse-bus/config.toml")]);
    page.text([roman("Read by the daemon of this user, when it starts and at SIGHUP.")]);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("sse-busd"), roman("(1), "), bold("sse-busctl"), roman("(1)")]);
    page.to_roff()
}

/// What stands between two empty lines.
#[derive(Debug, PartialEq)]
struct Paragraph {
    part: Option<&'static str>,
    words: String,
    setting: Option<&'static str>,
}

impl Paragraph {
    fn of(text: &'static str) -> Paragraph {
        let mut paragraph = Paragraph { part: None, words: String::new(), setting: None };
        for line in text.lines() {
            let words = line.strip_prefix("# ");
            match words.and_then(|words| words.strip_prefix("---- ")) {
                Some(part) => paragraph.part = Some(part),
                None if is_setting(words.unwrap_or(line)) => paragraph.setting = Some(line),
                None => {
                    let space = if paragraph.words.is_empty() { "" } else { " " };
                    paragraph.words.extend([space, words.unwrap_or_default()]);
                }
            }
        }
        paragraph
    }
}

/// Whether a line is a key with its value, or the head of a table.
fn is_setting(line: &str) -> bool {
    let key = line.split(" = ").next().unwrap_or_default();
    let is_key = key.len() < line.len() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    is_key || (line.starts_with('[') && line.ends_with(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_is_a_key_with_what_it_is_for() {
        let set = Paragraph::of("# ---- History\n\n");
        assert_eq!(set, Paragraph { part: Some("History"), words: String::new(), setting: None });
        let set = Paragraph::of("# How long\n# it is kept.\nhistory_age = \"24h\"");
        assert_eq!((set.words.as_str(), set.setting), ("How long it is kept.", Some("history_age = \"24h\"")));
        let unset = Paragraph::of("# Whether listen = is meant.\n# socket = \"/bus\"");
        assert_eq!((unset.words.as_str(), unset.setting), ("Whether listen = is meant.", Some("# socket = \"/bus\"")));
        assert_eq!(Paragraph::of("[limits]").setting, Some("[limits]"));
    }
}
