//! Compares a command's output with what a document shows.

use std::{collections::HashMap, sync::LazyLock};

use regex::Regex;

/// An event's id in the current format.
static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b[0-9a-z]{8}-[0-9]+\b").unwrap());

/// Patterns of values that differ between runs, and their replacements for the comparison.
static DIFFERS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let rules = [
        (r"\b[0-9a-z]{8}-[0-9]+\b", "<id>"),
        (r"\b1[0-9]{12}\b", "<milliseconds>"),
        (r"retry: [0-9]+", "retry: <milliseconds>"),
        (r#"(pid |process |"pid":)[0-9]+"#, "$1<pid>"),
        (r#"(\b|")c[0-9]+\b"#, "$1<client>"),
        (r"127\.0\.0\.1:[0-9]{5}\b", "127.0.0.1:<port>"),
        (r"\b(now|[0-9]+s ago)$|\b(now|[0-9]+s ago)( )", "<ago>$3"),
        (r"up [0-9]+s", "up <time>"),
        (r"^[0-9]{2}:[0-9]{2}:[0-9]{2}Z? ", "<time> "),
        (r"[0-9.]+ ?(B|KiB|MiB)\b", "<size>"),
        (r#""bytes":[0-9]+"#, "\"bytes\":<size>"),
        (r" +", " "),
    ];
    rules.map(|(pattern, name)| (Regex::new(pattern).unwrap(), name)).into()
});

/// A document's ids, and the ids of this run that correspond to them.
#[derive(Default)]
pub(crate) struct Ids(HashMap<String, String>);

impl Ids {
    /// The document's command with the ids of this run.
    pub(crate) fn in_command(&self, command: &str) -> String {
        ID.replace_all(command, |id: &regex::Captures| self.0.get(&id[0]).unwrap_or(&id[0].to_owned()).clone()).into()
    }

    /// Compares lines, and records which id corresponds to which.
    pub(crate) fn compare(&mut self, shown: &[String], written: &str) -> Result<(), String> {
        let written: Vec<&str> = if written.is_empty() { Vec::new() } else { written.split('\n').collect() };
        let mut pairs = Vec::new();
        if !lines_match(shown, &written, &mut pairs) {
            return Err(format!("shown:\n{}\nwritten:\n{}", indent(shown.iter()), indent(written.iter())));
        }
        for (shown, written) in pairs {
            let known = self.0.entry(shown.clone()).or_insert_with(|| written.clone());
            if *known != written {
                return Err(format!("the document's {shown} was {known} before and is {written} now"));
            }
        }
        Ok(())
    }
}

fn indent<T: std::fmt::Display>(lines: impl Iterator<Item = T>) -> String {
    lines.fold(String::new(), |text, line| text + &format!("    {line}\n"))
}

/// Returns the ids at corresponding positions if the lines match.
fn lines_match(shown: &[String], written: &[&str], ids: &mut Vec<(String, String)>) -> bool {
    match shown {
        [] => written.is_empty(),
        [any, rest @ ..] if any == "…" => (0..=written.len()).any(|skipped| {
            let before = ids.len();
            let found = lines_match(rest, &written[skipped..], ids);
            if !found {
                ids.truncate(before);
            }
            found
        }),
        [line, rest @ ..] => {
            let [first, others @ ..] = written else { return false };
            if !line_matches(&normal(line), &normal(first)) {
                return false;
            }
            let of = |text: &str| ID.find_iter(text).map(|id| id.as_str().to_owned()).collect::<Vec<_>>();
            let (here, there) = (of(line), of(first));
            if here.len() == there.len() {
                ids.extend(here.into_iter().zip(there));
            }
            lines_match(rest, others, ids)
        }
    }
}

fn line_matches(shown: &str, written: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = written.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

fn normal(line: &str) -> String {
    DIFFERS.iter().fold(line.trim_end().to_owned(), |line, (differs, name)| differs.replace_all(&line, *name).into())
}

#[test]
fn lines_are_compared_except_for_values_that_differ_between_runs() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let mut ids = Ids::default();
    assert!(ids.compare(&lines("k3f9x0ab-2 to 1 subscriber"), "0nmzibno-7 to 1 subscriber").is_ok());
    assert!(ids.compare(&lines("k3f9x0ab-2 to 1 subscriber"), "0nmzibno-7 to 2 subscribers").is_err());
    assert!(ids.compare(&lines("id: k3f9x0ab-2"), "id: 0nmzibno-8").is_err(), "it differs from before");
    assert_eq!(ids.in_command("--since k3f9x0ab-2 --after unknown1-3"), "--since 0nmzibno-7 --after unknown1-3");
    assert!(ids.compare(&lines("a\n…\nd"), "a\nb\nc\nd").is_ok());
    assert!(ids.compare(&lines("a\n…"), "a").is_ok());
    assert!(ids.compare(&lines("a\n…\nd"), "a\nb").is_err());
    assert!(ids.compare(&lines("a … c … e"), "a b c d e").is_ok());
    assert!(ids.compare(&lines("a … c"), "a b").is_err());
    assert!(ids.compare(&[], "").is_ok());
    assert!(ids.compare(&[], "something").is_err());
}
