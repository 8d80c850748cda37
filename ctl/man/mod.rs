//! `sse-busctl man`: the man pages of both programs, of each command, and of the configuration file.
//!
//! The pages are generated from the same sources as `--help` and from the commented default configuration. Sections
//! that clap does not generate follow: examples, exit codes, environment, files and references.

mod keys;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, Command};
use clap_mangen::{
    Man,
    roff::{Roff, bold, italic, roman},
};

use crate::{
    cli,
    exit::{self, Exit, Failure},
};

/// Examples, which the `--help` of the daemon does not have.
const DAEMON_EXAMPLES: &str = "Examples:
  sse-busd
  sse-busd --listen 127.0.0.1:8000 --allow-origin http://localhost:3000
  sse-busd --history disk --history-age 7d
  sse-busd --check";

/// The files of the bus.
const FILES: [(&str, &str); 5] = [
    (
        "$XDG_RUNTIME_DIR/sse-bus/bus.sock",
        "The local socket; without the variable in /run/user/UID, or in the state directory if that does not exist.",
    ),
    ("~/.config/sse-bus/config.toml", "The daemon's configuration, see sse-bus.toml(5)."),
    ("~/.local/state/sse-bus/tokens.json", "The tokens, with digests instead of the secrets."),
    ("~/.local/state/sse-bus/history.redb", "History, if it is on disk."),
    ("~/.local/state/sse-bus/history.tail", "The newest part of history, which is not yet in history.redb."),
];

pub(crate) fn run(options: &cli::Man) -> Result<(), Failure> {
    write_all(&options.directory).map_err(|e| Failure::new(Exit::Failed, e.to_string()))
}

/// A page or the directory cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {error}; choose another directory", .path.display())]
struct WriteError {
    path: PathBuf,
    error: io::Error,
}

/// Writes all pages.
fn write_all(directory: &Path) -> Result<(), WriteError> {
    let mut programs = programs();
    let mut pages = Vec::new();
    for program in &mut programs {
        program.build();
        commands(program, &mut pages);
    }
    let names: Vec<String> = pages.iter().map(|command| name(command).to_owned()).collect();
    let write = |file: String, page: &[u8]| {
        let path = directory.join(file);
        fs::write(&path, page).map_err(|error| WriteError { path, error })
    };
    let failed = |error| WriteError { path: directory.to_owned(), error };
    fs::create_dir_all(directory).map_err(failed)?;
    for command in pages {
        let page = page(command, &names).map_err(failed)?;
        write(format!("{}.1", name(command)), &page)?;
    }
    write("sse-bus.toml.5".into(), keys::page().as_bytes())
}

/// Returns the command lines of the programs; that of the daemon in builds that include it.
fn programs() -> Vec<Command> {
    vec![
        cli::command(),
        #[cfg(feature = "daemon")]
        <sse_bus::flags::Flags as clap::CommandFactory>::command().mut_args(|arg| arg.hide_env_values(true)),
    ]
}

/// Adds a command and its subcommands.
fn commands<'a>(command: &'a Command, pages: &mut Vec<&'a Command>) {
    pages.push(command);
    for subcommand in command.get_subcommands() {
        commands(subcommand, pages);
    }
}

/// Returns the name of a page, such as `sse-busctl-publish`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command, names: &[String]) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone()).source(concat!("sse-bus ", env!("CARGO_PKG_VERSION"))).manual("sse-bus");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    page.extend_from_slice(synopsis(command).to_roff().as_bytes());
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    let help = command.get_after_long_help().or_else(|| command.get_after_help()).map(ToString::to_string);
    let help = help.unwrap_or_else(|| exit::HELP.to_owned());
    if name(command) == "sse-busd" {
        after_options(DAEMON_EXAMPLES, &mut rest);
    }
    after_options(&help, &mut rest);
    environment(command, &mut rest);
    list(&mut rest, "FILES", FILES.map(|(path, what)| (path.to_owned(), what.to_owned())));
    see_also(name(command), names, &mut rest);
    page.extend_from_slice(rest.to_roff().as_bytes());
    Ok(page)
}

/// Returns the synopsis, with the values of options: `[--type TYPE]`.
fn synopsis(command: &Command) -> Roff {
    let mut line = vec![bold(command.get_bin_name().unwrap_or_else(|| command.get_name()))];
    let options = command.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set());
    for arg in options.chain(command.get_positionals()) {
        let (open, close) = if arg.is_required_set() { (" ", "") } else { (" [", "]") };
        line.push(roman(open));
        match (arg.get_short(), arg.get_long()) {
            (Some(short), Some(long)) => {
                line.extend([bold(format!("-{short}")), roman("|"), bold(format!("--{long}"))]);
            }
            (None, Some(long)) => line.push(bold(format!("--{long}"))),
            _ => {}
        }
        let takes_values = arg.get_num_args().is_some_and(|number| number.takes_values());
        if takes_values || arg.is_positional() {
            let names = arg.get_value_names().unwrap_or_default().join(" ");
            line.extend([roman(if arg.is_positional() { "" } else { " " }), italic(names)]);
        }
        let is_repeated = matches!(arg.get_action(), ArgAction::Append);
        line.push(roman(format!("{close}{}", if is_repeated { "..." } else { "" })));
    }
    if command.has_subcommands() {
        line.extend([roman(" "), italic("command")]);
    }
    let mut synopsis = Roff::new();
    synopsis.control("SH", ["SYNOPSIS"]).text(line);
    synopsis
}

/// Adds the text after the options in `--help`: examples, exit codes and notes.
fn after_options(help: &str, page: &mut Roff) {
    let mut notes = Vec::new();
    for paragraph in help.split("\n\n") {
        let (first, lines) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
        if first == "Examples:" {
            page.control("SH", ["EXAMPLES"]).control("nf", []);
            for line in lines.lines() {
                page.text([roman(line.trim_start())]);
            }
            page.control("fi", []);
        } else if first == "Exit codes:" {
            let codes = lines.lines().filter_map(|line| line.trim().split_once("  "));
            list(page, "EXIT STATUS", codes.map(|(code, what)| (code.to_owned(), what.to_owned())));
        } else if let Some(codes) = first.strip_prefix("Exit codes: ") {
            page.control("SH", ["EXIT STATUS"]).text([roman(codes)]);
            notes.push(lines);
        } else {
            notes.push(paragraph);
        }
    }
    // Variables have their own section.
    notes.retain(|note| !note.starts_with("Each option of a command"));
    if !notes.is_empty() {
        page.control("SH", ["NOTES"]);
        for line in notes.iter().flat_map(|note| note.lines()) {
            page.text([roman(line)]);
        }
    }
}

/// Adds the environment variables of options, and others.
fn environment(command: &Command, page: &mut Roff) {
    let variable = |arg: &Arg| {
        let variable = arg.get_env()?.to_string_lossy().into_owned();
        Some((variable, format!("Sets --{}.", arg.get_long()?)))
    };
    let common = [
        (
            "XDG_RUNTIME_DIR",
            "The directory of the local socket, unless its path is given; without it, /run/user/UID if it is yours.",
        ),
        ("NO_COLOR", "If set to any value, output has no colours."),
    ];
    let common = common.map(|(variable, what)| (variable.to_owned(), what.to_owned()));
    list(page, "ENVIRONMENT", command.get_arguments().filter_map(variable).chain(common));
}

/// Adds a section with terms and their descriptions.
fn list(page: &mut Roff, heading: &str, items: impl IntoIterator<Item = (String, String)>) {
    page.control("SH", [heading]);
    for (term, what) in items {
        page.control("TP", []).text([bold(term)]).text([roman(what)]);
    }
}

/// Adds references to the parent and child pages, the programs and the configuration file.
fn see_also(name: &str, names: &[String], page: &mut Roff) {
    let is_near = |other: &&String| {
        let related = other.strip_prefix(name).or_else(|| name.strip_prefix(other.as_str()));
        *other != name
            && (related.is_some_and(|rest| rest.starts_with('-'))
                || ["sse-busctl", "sse-busd"].contains(&other.as_str()))
    };
    let mut text = Vec::new();
    for near in names.iter().filter(is_near) {
        text.extend([bold(near), roman("(1), ")]);
    }
    text.extend([bold("sse-bus.toml"), roman("(5)")]);
    page.control("SH", ["SEE ALSO"]).text(text);
}
