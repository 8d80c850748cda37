//! `sse-busctl completions`: commands, options, topics, clients and tokens, completed in a shell.
//!
//! What is printed makes the shell run `sse-busctl` itself, with [`VARIABLE`] set and the words typed so far, and so it
//! knows every option that this very program has. Topics and clients come from the running daemon. Without one, or with
//! one that does not answer within [`PATIENCE`], there are none, and nothing is said: a key was pressed, nothing was run.
//!
//! Others choose the names of topics and clients, and some shells put a completed word into the line as it is. Only what
//! no shell takes for anything but letters is therefore offered.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::CommandFactory as _;
use clap_complete::{
    CompleteEnv,
    engine::{ArgValueCompleter, CompletionCandidate},
    env::{Bash, EnvCompleter, Fish, Powershell, Zsh},
};
use sse_bus::{Client, Endpoint, client, endpoint::state_dir, tokens::TokenFile};
use tokio::time::timeout;

use crate::{
    cli::{self, Cli, Shell},
    exit::Failure,
    output::Output,
};

/// Set by the shell where it wants words and no command.
const VARIABLE: &str = "SSE_BUS_COMPLETE";
/// How long a daemon has to answer. More than a shell may be held up for is not worth any word.
const PATIENCE: Duration = Duration::from_millis(300);
/// Where more topics fit, their next levels are offered instead.
const MANY: usize = 100;

/// Completes, and ends the process, if a shell asks for that.
pub(crate) fn answer() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

pub(crate) fn run(output: &Output, options: &cli::Completions) -> Result<(), Failure> {
    let shell: &dyn EnvCompleter = match options.shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
        Shell::Powershell => &Powershell,
    };
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, "sse-busctl", "sse-busctl", "sse-busctl", &mut script)?;
    if matches!(options.shell, Shell::Zsh) {
        // As a file of `$fpath` it is run for the first word to complete, and must complete that one, too.
        script.extend_from_slice(b"[[ $funcstack[1] != _sse-busctl ]] || _clap_dynamic_completer_sse_busctl \"$@\"\n");
    }
    output.write(&script)?;
    Ok(())
}

/// Completes topics.
pub(crate) fn topics() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let topics = ask(async |mut client| client.topics().await).unwrap_or_default();
        by_levels(fitting(typed, topics.into_iter().map(|topic| topic.topic)), typed)
    })
}

/// Completes clients: their names, and the ids of those without.
pub(crate) fn clients() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let clients = ask(async |mut client| client.clients().await).unwrap_or_default();
        let subscribers = clients.into_iter().filter(|client| client.role == "subscriber");
        candidates(fitting(typed, subscribers.map(|client| client.name.unwrap_or(client.id))))
    })
}

/// Completes tokens: their names, and the ids of those without.
pub(crate) fn tokens() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let said = option("--state-dir").or_else(|| std::env::var_os("SSE_BUS_STATE_DIR").map(PathBuf::from));
        let directory = said.filter(|directory| !directory.as_os_str().is_empty()).or_else(|| {
            let status = ask(async |mut client| client.status().await);
            status.map_or_else(|| state_dir().ok(), |status| Some(status.state_dir.into()))
        });
        let tokens = directory.and_then(|directory| TokenFile::in_directory(&directory).read().ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let live = tokens.into_iter().flatten().filter(|token| !token.is_expired(now));
        candidates(fitting(typed, live.map(|token| token.name.unwrap_or(token.id))))
    })
}

/// What a daemon says, if one is there and says it in time.
fn ask<T>(request: impl AsyncFnOnce(Client) -> Result<T, client::Error>) -> Option<T> {
    let endpoint = match option("--socket") {
        Some(path) => Endpoint::at(path),
        None => Endpoint::find().ok()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let answer = async { request(Client::connect(&endpoint).await.ok()?).await.ok() };
    runtime.block_on(async { timeout(PATIENCE, answer).await.ok().flatten() })
}

/// The value of an option in the line that is being typed.
fn option(name: &str) -> Option<PathBuf> {
    let words: Vec<_> = std::env::args_os().skip_while(|word| word != "--").collect();
    words.iter().enumerate().find_map(|(index, word)| {
        let rest = word.to_str()?.strip_prefix(name)?;
        match rest.strip_prefix('=') {
            Some(value) => Some(value.into()),
            None => rest.is_empty().then(|| words.get(index + 1).map(PathBuf::from))?,
        }
    })
}

/// The words that begin with what was typed, each once.
fn fitting(typed: &OsStr, words: impl Iterator<Item = String>) -> BTreeSet<String> {
    let typed = typed.to_string_lossy();
    words.filter(|word| word.starts_with(&*typed) && is_plain(word)).collect()
}

/// Whether a word is nothing but itself in every shell, at every place of it. Bash also takes `:`, `=` and `@` for the ends
/// of words.
fn is_plain(word: &str) -> bool {
    word.chars().all(|c| c.is_alphanumeric() || "/-_.+,%".contains(c)) && !word.starts_with('-')
}

/// The words, or only how they go on up to the next `/` where there are too many.
fn by_levels(words: BTreeSet<String>, typed: &OsStr) -> Vec<CompletionCandidate> {
    if words.len() <= MANY {
        return candidates(words);
    }
    let typed = typed.to_string_lossy().len();
    let level = |word: &str| match word[typed..].find('/') {
        Some(end) => word[..=typed + end].to_owned(),
        None => word.to_owned(),
    };
    candidates(words.iter().map(|word| level(word)).collect())
}

fn candidates(words: BTreeSet<String>) -> Vec<CompletionCandidate> {
    words.into_iter().map(CompletionCandidate::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_shell_would_take_for_more_than_a_word_is_not_offered() {
        let topics = ["build/web", "a;reboot", "$(reboot)", "`x`", "a&b", "x|y", "a b", "~root", "-rf", "a:b", "été"];
        let offered = fitting(OsStr::new(""), topics.iter().map(ToString::to_string));
        assert_eq!(offered, words(&["build/web", "été"]));
    }

    #[test]
    fn of_very_many_topics_the_next_level_is_offered() {
        let topics: BTreeSet<_> =
            (0..=MANY).map(|n| format!("build/{}/{n}", if n < 3 { "web" } else { "app" })).collect();
        let shown = |typed: &str| {
            let candidates = by_levels(fitting(OsStr::new(typed), topics.iter().cloned()), OsStr::new(typed));
            candidates.iter().map(|c| c.get_value().to_string_lossy().into_owned()).collect::<BTreeSet<_>>()
        };
        assert_eq!(shown("b"), words(&["build/"]));
        assert_eq!(shown("build/"), words(&["build/app/", "build/web/"]));
        assert_eq!(shown("build/web/"), words(&["build/web/0", "build/web/1", "build/web/2"]));
    }
}
