//! Runs every command of the README against a real daemon and compares the output with what the README shows.
//!
//! How the README is interpreted:
//!
//! - `sh`: what a terminal shows. Lines that begin with `$ ` are typed, the others are their output. A command must end
//!   with 0 unless the next one is `echo $?`. A block that ends with `^C` is a terminal that is left open: the next
//!   blocks run beside it, and it is ended, and its output compared, at the next heading (a daemon's at the next `##`).
//! - `url`: opened in a browser, here by a [stand-in](browser); tests/browser has the real one.
//! - `python`, `js`, `html`, `toml` with a file's name in the first line: the file, which a command must then use.
//! - `rust,no_run`: compiled as a documentation test of the library.
//! - `console`: not run; the list of these is fixed below. `text` is no command.
//!
//! `…` stands for any text in a line, alone on a line for any number of lines. Ids, times, ports and process numbers
//! may differ, but an id that the README shows twice must be the same twice, and may be used in later commands.
//!
//! Each `##` section has a daemon and a folder of its own; sections that start `sse-busd` themselves get no other.

#![cfg(target_os = "linux")]

mod browser;
mod compare;
mod document;
mod section;
mod terminal;

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use document::Block;
use sse_bus::limits::{
    DRAIN, FILTERS_MAX, FIRST_BYTE, FRAME_MAX, HEADERS_BYTES, HEADERS_MAX, HEARTBEAT, HTTP2_STREAMS, LINE_MAX, Limits,
    NAME_MAX, REQUEST, TICKET, TICKETS_MAX, TOKENS_MAX, TOPIC_MAX, TYPE_MAX, WRITE_STALL,
};

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(15);

/// Commands that build or run everything, which a test cannot repeat.
const NOT_RUN: &[&str] = &[
    "cargo run --release --bin sse-busd",
    "tests/run",
    "cargo install --path .",
    "packaging/build deb && sudo apt install ./target/packaging/sse-bus_*.deb",
    "packaging/build rpm && sudo dnf install ./target/packaging/sse-bus-*.rpm",
    "brew install --HEAD ./packaging/homebrew/sse-bus.rb",
    "docker build --file packaging/docker/Dockerfile --tag sse-bus .",
    "source <(sse-busctl completions bash)",
    "source <(sse-busctl completions zsh)",
    "sse-busctl completions fish | source",
    "sse-busctl completions powershell | Out-String | Invoke-Expression",
    "cargo install --path . --features tls",
    "mkcert -cert-file bus.pem -key-file bus.key 127.0.0.1 localhost",
    "sse-busd --tls-cert bus.pem --tls-key bus.key",
    "sse-busctl service install --print",
    "sse-busctl service install",
    "sse-busctl service logs --follow",
    "sse-busctl service uninstall",
];
/// Blocks that tests/browser runs, or that are not programs.
const NOT_USED_BY_A_COMMAND: &[&str] = &["stream.js", "tabs.js", "ticket.js", "Cargo.toml"];

#[test]
fn every_command_does_what_the_readme_shows() {
    let document = document::read();
    let mut failures = Vec::new();
    for section in document.sections() {
        failures.extend(section::run(&section));
    }
    assert!(failures.is_empty(), "\n\n{}\n", failures.join("\n\n"));
}

#[test]
fn every_block_is_run_or_listed_here() {
    let document = document::read();
    let mut not_run = Vec::new();
    for section in document.sections() {
        let used: String =
            section.blocks().filter(|b| ["sh", "url"].contains(&&*b.language)).map(|b| &*b.text).collect();
        for block in section.blocks() {
            let Block { language, line, text } = block;
            match &**language {
                "sh" => assert!(text.starts_with("$ "), "line {line}: a sh block begins with `$ ` and a command"),
                "console" => not_run.extend(text.lines().map(|l| l.trim_start_matches("$ ").to_owned())),
                "python" | "js" | "html" | "toml" => {
                    let name =
                        block.file_name().unwrap_or_else(|| panic!("line {line}: no file name in the first line"));
                    assert!(
                        used.contains(name) || NOT_USED_BY_A_COMMAND.contains(&name),
                        "line {line}: no command uses {name}"
                    );
                }
                "text" => assert!(!text.contains("$ "), "line {line}: a command in a text block is not run"),
                "rust,no_run" | "url" => {}
                other => panic!("line {line}: `{other}` is not a language of the README's blocks"),
            }
        }
    }
    assert_eq!(not_run, NOT_RUN);
}

#[test]
fn every_option_is_in_the_readme() {
    // What a flag of the daemon does is also described at its configuration key, which the README shows how to print.
    let text = document::read().text + include_str!("../../daemon/default.toml");
    let busd = env!("CARGO_BIN_EXE_sse-busd");
    let ctl = env!("CARGO_BIN_EXE_sse-busctl");
    let mut missing = BTreeSet::new();
    let commands =
        ["publish", "subscribe", "send", "clients", "topics", "status", "kick", "history", "url", "bench", "doctor"];
    let helps = commands.map(|command| help(ctl, &[command]));
    let others = [
        help(busd, &[]),
        help(ctl, &[]),
        help(ctl, &["token"]),
        help(ctl, &["token", "create"]),
        help(ctl, &["service", "install"]),
    ];
    for help in others.iter().chain(&helps) {
        let words = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
        missing.extend(
            words
                .filter(|word| word.starts_with("--") && !text.contains(word) && !in_file(word, &text))
                .map(str::to_owned),
        );
    }
    // Described by clap itself.
    missing.remove("--version");
    assert!(missing.is_empty(), "the README does not mention {missing:?}");
    assert!(commands.iter().all(|command| text.contains(&format!("sse-busctl {command}"))));
}

/// Returns true if a flag of the daemon is described as a configuration key.
fn in_file(flag: &str, text: &str) -> bool {
    text.contains(&format!("\n{} = ", flag.trim_start_matches('-').replace('-', "_")))
        || text.contains(&format!("\n# {} = ", flag.trim_start_matches('-').replace('-', "_")))
}

fn help(binary: &str, arguments: &[&str]) -> String {
    let output = Command::new(binary).args(arguments).arg("--help").stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn documented_limits_are_those_of_the_code() {
    let text = document::read().text;
    let Limits {
        event_bytes,
        topics,
        subscribers,
        filters_bytes,
        publishers,
        retained_bytes,
        feed_buffer,
        feeds_buffer,
        unicast_buffer,
    } = Limits::default();
    let seconds = |duration: Duration| format!("{} s", duration.as_secs());
    assert_eq!((FRAME_MAX, TOPIC_MAX), (LINE_MAX, TYPE_MAX), "the README names them together");
    let rows = [
        ("`event_bytes`", size(event_bytes)),
        ("`topics`", thousands(topics)),
        ("`subscribers`", thousands(subscribers)),
        ("`filters_bytes`", size(filters_bytes)),
        ("`publishers`", thousands(publishers)),
        ("`retained_bytes`", size(retained_bytes)),
        ("`feed_buffer`", size(feed_buffer)),
        ("`feeds_buffer`", size(feeds_buffer)),
        ("`unicast_buffer`", size(unicast_buffer)),
        ("a topic, a filter, a type", format!("{TOPIC_MAX} bytes each")),
        ("headers of an event", format!("{HEADERS_MAX}; names and values together {}", size(HEADERS_BYTES))),
        ("a client's name", format!("{NAME_MAX} bytes")),
        ("filters of one subscription", FILTERS_MAX.to_string()),
        ("a JSON line, a binary frame", size(LINE_MAX)),
        ("streams of one HTTP/2 connection", HTTP2_STREAMS.to_string()),
        ("tokens; tickets of one token", format!("{TOKENS_MAX}; {}", thousands(TICKETS_MAX))),
        ("a ticket, until it is used and after its last stream", seconds(TICKET)),
        ("until a new connection sends its first request", seconds(FIRST_BYTE)),
        ("until a request must be complete", seconds(REQUEST)),
        ("until a subscriber that reads nothing is disconnected", seconds(WRITE_STALL)),
        ("between two heartbeats of an idle stream", seconds(HEARTBEAT)),
        ("from the signal to stop until connections are closed", seconds(DRAIN)),
    ];
    for (name, value) in rows {
        assert!(text.contains(&format!("\n| {name} | {value} |")), "`{name}` is {value}, the README says otherwise");
    }
}

fn size(bytes: usize) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

fn thousands(n: usize) -> String {
    format!("{},{:03}", n / 1000, n % 1000)
}

/// Polls until a value is found. After the deadline, panics with the last error.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let end = Instant::now() + DEADLINE;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(seen) if Instant::now() > end => {
                return Err(format!("waited {DEADLINE:?} for {what}; at the end: {seen}"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}
