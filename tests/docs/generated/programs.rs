//! What the programs print about themselves: help, the commented configuration, metrics.

use std::{
    fmt::Write as _,
    process::{Command, Stdio},
};

use sse_bus_support::harness::Daemon;

use super::{regex, table};

/// The help of a program and of all its commands, each below a heading of its own.
pub(super) fn command_line(program: &str) -> String {
    let mut text = String::new();
    add_command(program, &[], &mut text);
    text
}

fn add_command(program: &str, command: &[&str], text: &mut String) {
    let help = help(program, command);
    let name = [&[program], command].concat().join(" ");
    // What every command has in common is shown for the program only.
    let shown = if command.is_empty() { help.clone() } else { without_common(&help) };
    let (about, rest) = shown.split_once("\n\n").unwrap_or((&shown, ""));
    let (about, rest) = (about.replace('\n', " "), rest.trim());
    let _ = write!(text, "## {name}\n\n{about}.\n\n```text\n{rest}\n```\n\n");
    for subcommand in subcommands(&help) {
        add_command(program, &[command, &[subcommand]].concat(), text);
    }
}

fn help(program: &str, command: &[&str]) -> String {
    let text = output(program, &[command, &["--help"]].concat());
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The help without the options and the codes that all commands share.
fn without_common(help: &str) -> String {
    let help = regex(r"(?ms)^Global options:\n(?:(?:  .*)?\n)+").replace(help, "");
    help.split("\nExit codes:").next().unwrap_or_default().trim_end().to_owned()
}

fn subcommands(help: &str) -> Vec<&str> {
    let (_, rest) = help.split_once("\nCommands:\n").unwrap_or_default();
    let listed = rest.lines().take_while(|line| !line.is_empty());
    listed.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next()).collect()
}

/// The exit codes of the command line.
pub(super) fn exit_codes() -> String {
    let help = help("sse-busctl", &[]);
    let (_, codes) = help.split_once("\nExit codes:\n").expect("exit codes");
    let codes = codes.lines().map_while(|line| line.strip_prefix("  ")?.split_once("  "));
    table(&["code", "meaning"], codes.map(|(code, meaning)| vec![code.to_owned(), meaning.to_owned()]))
}

/// All keys of the configuration, a table for each section of the file that `--print-config` prints.
pub(super) fn configuration() -> String {
    let (mut text, mut rows) = (String::new(), Vec::new());
    let printed = output("sse-busd", &["--print-config"]);
    let paragraphs = printed.split("\n\n").map(|paragraph| paragraph.lines().collect::<Vec<_>>());
    // The first paragraph is about the file.
    for paragraph in paragraphs.skip(1) {
        let words = |line: &&str| line.strip_prefix("# ").map(str::to_owned);
        let last = paragraph.last().copied().unwrap_or_default();
        let setting = last.strip_prefix("# ").unwrap_or(last);
        if let Some(heading) = last.strip_prefix("# ---- ") {
            text.push_str(&rows_of(&mut rows));
            let _ = write!(text, "## {heading}\n\n");
        } else if setting.starts_with('[') {
            let _ = write!(text, "In the table `{setting}`:\n\n");
        } else if let Some((key, value)) = setting.split_once(" = ") {
            let meaning: Vec<String> = paragraph[..paragraph.len() - 1].iter().filter_map(words).collect();
            let default = if last.starts_with('#') { format!("none; such as `{value}`") } else { format!("`{value}`") };
            rows.push(vec![format!("`{key}`"), default, meaning.join(" ")]);
        }
    }
    text + &rows_of(&mut rows)
}

fn rows_of(rows: &mut Vec<Vec<String>>) -> String {
    if rows.is_empty() { String::new() } else { table(&["key", "default", "meaning"], rows.drain(..)) + "\n" }
}

/// The metrics of a daemon with history on disk and a consumer, which has refused a request.
pub(super) fn metrics() -> String {
    let sandbox = sse_bus_support::harness::Sandbox::new();
    let state = sandbox.path("state").display().to_string();
    let daemon = Daemon::start_at(sandbox, &["--no-config", "--history", "disk", "--state-dir", &state]);
    let curl = |path: &str| {
        let socket = daemon.sandbox.socket().display().to_string();
        output("curl", &["--silent", "--unix-socket", &socket, &format!("http://bus{path}")])
    };
    curl("/events/a?unknown=1");
    daemon.request("PUT", "/consumers/jobs?filter=jobs/**", &[], "");
    let scraped = curl("/metrics");
    let (about, kind) = (regex(r"(?m)^# HELP (\S+) (.+)$"), regex(r"(?m)^# TYPE (\S+) (\S+)$"));
    let label = regex(r#"\{([a-z]+)=""#);
    let rows = about.captures_iter(&scraped).map(|help| {
        let name = &help[1];
        let kind = kind.captures_iter(&scraped).find(|kind| &kind[1] == name).expect("each metric has a type");
        let suffix = if &kind[2] == "counter" { "_total" } else { "" };
        let samples = scraped.lines().filter(|line| line.starts_with(&format!("{name}{suffix}{{")));
        let labels: Vec<String> =
            samples.filter_map(|line| Some(format!("`{}`", label.captures(line)?[1].to_owned()))).take(1).collect();
        vec![
            format!("`{name}{suffix}`"),
            kind[2].to_owned(),
            labels.join(", "),
            help[2].trim_end_matches('.').to_owned(),
        ]
    });
    table(&["metric", "type", "label", "meaning"], rows)
}

fn output(program: &str, arguments: &[&str]) -> String {
    let path = match program {
        "sse-busd" => env!("CARGO_BIN_EXE_sse-busd"),
        "sse-busctl" => env!("CARGO_BIN_EXE_sse-busctl"),
        other => other,
    };
    let variables =
        std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("SSE_BUS_"));
    let mut command = Command::new(path);
    variables.for_each(|name| {
        command.env_remove(name);
    });
    let output = command.args(arguments).env("COLUMNS", "100").stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}
