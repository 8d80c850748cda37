//! `sse-busctl man`: the man pages of both programs, each command, and the configuration file.
//!
//! They are made of what `--help` is made of, and of the commented default of the configuration, so that nothing is said
//! twice. What clap has no place for comes behind: examples, exit codes, environment, files, and what else to read.

mod keys;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Arg, Command, CommandFactory as _};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use crate::{
    cli::{self, Cli},
    exit::{Exit, Failure},
};

/// The daemon's command line, which is in every build that has the daemon.
#[cfg(feature = "daemon")]
#[allow(dead_code, reason = "only what it says is of interest here")]
#[path = "../../daemon/cli.rs"]
mod daemon;

/// What the daemon's `--help` has no place for.
const DAEMON_EXAMPLES: &str = "Examples:
  sse-busd
  sse-busd --listen 127.0.0.1:8000 --allow-origin http://localhost:3000
  sse-busd --history disk --history-age 7d
  sse-busd --check";

/// What the bus keeps in files, and where.
const FILES: [(&str, &str); 5] = [
    (
        "$XDG_RUNTIME_DIR/sse-bus/bus.sock",
        "The local socket. Without a runtime directory it is in the state directory.",
    ),
    ("~/.config/sse-bus/config.toml", "The daemon's configuration, see sse-bus.toml(5)."),
    ("~/.local/state/sse-bus/tokens.json", "The tokens, of each secret only the digest."),
    ("~/.local/state/sse-bus/history.redb", "History, where it is kept on disk."),
    ("~/.local/state/sse-bus/history.tail", "What is on disk of history and not yet in history.redb."),
];

pub(crate) fn run(options: &cli::Man) -> Result<(), Failure> {
    write_all(&options.directory).map_err(|(path, error)| {
        let what = format!("{} cannot be written: {error}; name another directory", path.display());
        Failure::new(Exit::Failed, what)
    })
}

/// Writes all pages; or gives the one that could not be, and why.
fn write_all(directory: &Path) -> Result<(), (PathBuf, io::Error)> {
    let mut programs = programs();
    let mut pages = Vec::new();
    for program in &mut programs {
        program.build();
        commands(program, &mut pages);
    }
    let names: Vec<String> = pages.iter().map(|command| name(command).to_owned()).collect();
    let write = |file: String, page: &[u8]| {
        let path = directory.join(file);
        fs::write(&path, page).map_err(|error| (path, error))
    };
    fs::create_dir_all(directory).map_err(|error| (directory.to_owned(), error))?;
    for command in pages {
        let page = page(command, &names).map_err(|error| (directory.to_owned(), error))?;
        write(format!("{}.1", name(command)), &page)?;
    }
    write("sse-bus.toml.5".into(), keys::page().as_bytes())
}

/// Their command lines.
fn programs() -> Vec<Command> {
    vec![
        Cli::command(),
        #[cfg(feature = "daemon")]
        daemon::Flags::command(),
    ]
}

/// A command and those below it.
fn commands<'a>(command: &'a Command, pages: &mut Vec<&'a Command>) {
    pages.push(command);
    for below in command.get_subcommands() {
        commands(below, pages);
    }
}

/// `sse-busctl-publish`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command, names: &[String]) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone()).source(concat!("sse-bus ", env!("CARGO_PKG_VERSION"))).manual("sse-bus");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    let help = command.get_after_long_help().or_else(|| command.get_after_help()).map(ToString::to_string);
    let help = help.unwrap_or_else(|| crate::exit::HELP.to_owned());
    if name(command) == "sse-busd" {
        behind(DAEMON_EXAMPLES, &mut rest);
    }
    behind(&help, &mut rest);
    environment(command, &mut rest);
    list(&mut rest, "FILES", FILES.map(|(path, what)| (path.to_owned(), what.to_owned())));
    see_also(name(command), names, &mut rest);
    page.extend_from_slice(rest.to_roff().as_bytes());
    Ok(page)
}

/// What stands behind the options in `--help`: examples, exit codes, and more.
fn behind(help: &str, page: &mut Roff) {
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
    // The last of them is about variables, which have a list of their own here.
    notes.retain(|note| !note.starts_with("Each option of a command"));
    if !notes.is_empty() {
        page.control("SH", ["NOTES"]);
        for line in notes.iter().flat_map(|note| note.lines()) {
            page.text([roman(line)]);
        }
    }
}

/// The variables that say what options say.
fn environment(command: &Command, page: &mut Roff) {
    let variable = |arg: &Arg| {
        let variable = arg.get_env()?.to_string_lossy().into_owned();
        Some((variable, format!("The same as --{}.", arg.get_long()?)))
    };
    let usual = [
        ("XDG_RUNTIME_DIR", "Where the local socket is, unless it is named."),
        ("NO_COLOR", "Set to anything: no colours."),
    ];
    let usual = usual.map(|(variable, what)| (variable.to_owned(), what.to_owned()));
    list(page, "ENVIRONMENT", command.get_arguments().filter_map(variable).chain(usual));
}

/// Terms and what they mean, under a heading.
fn list(page: &mut Roff, heading: &str, items: impl IntoIterator<Item = (String, String)>) {
    page.control("SH", [heading]);
    for (term, what) in items {
        page.control("TP", []).text([bold(term)]).text([roman(what)]);
    }
}

/// The pages nearest to this one: those above and below it, the programs, the configuration.
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
