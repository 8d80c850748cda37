//! The parts of pages that come from the code. Each stands between two comments, of which the first has its name.
//!
//! `SSE_BUS_DOCS_UPDATE=1 cargo test --test docs generated` writes them again.

mod codes;
mod limits;
mod programs;

use std::{fs, path::Path};

use regex::Regex;

use crate::document::ROOT;

/// Writes the parts instead of comparing them.
const UPDATE: &str = "SSE_BUS_DOCS_UPDATE";

type Generate = fn(&str) -> String;

/// The page, the name of the part, and the function that returns its text. The function receives the present text, of
/// which some keep the descriptions.
const PARTS: [(&str, &str, Generate); 8] = [
    ("docs/reference/cli.md", "sse-busctl", |_| programs::command_line("sse-busctl")),
    ("docs/reference/cli.md", "sse-busd", |_| programs::command_line("sse-busd")),
    ("docs/reference/configuration.md", "keys", |_| programs::configuration()),
    ("docs/reference/metrics.md", "metrics", |_| programs::metrics()),
    ("docs/reference/exit-codes.md", "exit codes", |_| programs::exit_codes()),
    ("docs/reference/error-codes.md", "error codes", |_| codes::table()),
    ("docs/reference/limits.md", "settable limits", limits::settable),
    ("docs/reference/limits.md", "fixed limits", limits::fixed),
];

#[test]
fn generated_parts_are_those_of_the_code() {
    let update = std::env::var_os(UPDATE).is_some_and(|value| !value.is_empty());
    let mut outdated = Vec::new();
    for (page, name, generate) in PARTS {
        let path = Path::new(ROOT).join(page);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{page}: {e}"));
        let begin = format!("<!-- generated: {name} -->\n");
        let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{page} has no {begin}"));
        let (old, after) = rest.split_once("<!-- end -->\n").unwrap_or_else(|| panic!("{page}: {name} has no end"));
        let new = format!("\n{}\n\n", generate(old).trim());
        if new == old {
            continue;
        }
        if update {
            fs::write(&path, format!("{before}{begin}{new}<!-- end -->\n{after}")).unwrap();
        } else {
            outdated.push(format!("{page}, {name}:\n{}", difference(old, &new)));
        }
    }
    assert!(
        outdated.is_empty(),
        "\n{}\nThese parts differ from the code. To write them again: {UPDATE}=1 cargo test --test docs generated\n",
        outdated.join("\n")
    );
}

/// The lines that are in one text only.
fn difference(old: &str, new: &str) -> String {
    let only = |sign: char, text: &str, other: &str| -> String {
        let is_new = |line: &&str| !other.lines().any(|other| other == *line);
        text.lines().filter(is_new).fold(String::new(), |text, line| text + &format!("  {sign} {line}\n"))
    };
    only('-', old, new) + &only('+', new, old)
}

/// A Markdown table.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    line(&head) + &rule + &rows.into_iter().map(|cells| line(&cells)).collect::<String>()
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}
