//! Completion of topics, clients, consumers and tokens, with values from the running daemon.
//!
//! With `--url`, that daemon is queried. Without a daemon, or if it does not answer within [`PATIENCE`], there are no completions and no error message,
//! because the user has only pressed a key.
//!
//! The names of topics and clients come from other users, and some shells insert a completion unquoted. Only words
//! without special characters of any shell are therefore offered.

use std::{collections::BTreeSet, ffi::OsStr, path::PathBuf, time::Duration};

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use sse_bus::{
    Client, Endpoint,
    client::{self, Address},
    endpoint::{expand_home, state_dir},
    protocol::ClientRole,
    time::unix_now,
    tokens::TokenFile,
};
use tokio::time::timeout;

use crate::remote::{Remote, daemon};

/// How long to wait for the daemon, which delays the shell.
const PATIENCE: Duration = Duration::from_millis(300);
/// Above this number of matching topics, only their next levels are offered.
const TOPICS_MAX: usize = 100;

/// Completes topics.
pub(super) fn topics() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let topics = query(async |mut client| client.topics().await).unwrap_or_default();
        by_levels(matching(typed, topics.into_iter().map(|topic| topic.topic)), typed)
    })
}

/// Completes subscribers, by their names, or by their ids if they have none.
pub(super) fn clients() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let clients = query(async |mut client| client.clients().await).unwrap_or_default();
        let subscribers = clients.into_iter().filter(|client| client.role == ClientRole::Subscriber);
        candidates(matching(typed, subscribers.map(|client| client.name.unwrap_or(client.id))))
    })
}

/// Completes clients and consumers, which an event can be sent to.
pub(super) fn receivers() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let clients = query(async |mut client| client.clients().await).unwrap_or_default();
        let subscribers = clients.into_iter().filter(|client| client.role == ClientRole::Subscriber);
        let consumers = query(async |mut client| client.consumers().await).unwrap_or_default();
        let names = subscribers.map(|client| client.name.unwrap_or(client.id));
        candidates(matching(typed, names.chain(consumers.into_iter().map(|consumer| consumer.name))))
    })
}

/// Completes the ids of schedules.
pub(super) fn schedules() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let schedules = query(async |mut client| client.schedules().await).unwrap_or_default();
        candidates(matching(typed, schedules.into_iter().map(|schedule| schedule.schedule)))
    })
}

/// Completes consumers, by their names.
pub(super) fn consumers() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let consumers = query(async |mut client| client.consumers().await).unwrap_or_default();
        candidates(matching(typed, consumers.into_iter().map(|consumer| consumer.name)))
    })
}

/// Completes tokens, by their names, or by their ids if they have none.
pub(super) fn tokens() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let given = option("--state-dir").or_else(|| variable("SSE_BUS_STATE_DIR"));
        let directory = given.or_else(|| {
            let status = reply_of(&local()?, async |mut client| client.status().await);
            status.map_or_else(|| state_dir().ok(), |status| Some(status.state_dir.into()))
        });
        let tokens = directory.and_then(|directory| TokenFile::in_directory(&directory).read().ok());
        let now = unix_now();
        let valid = tokens.into_iter().flatten().filter(|token| !token.is_expired(now));
        candidates(matching(typed, valid.map(|token| token.name.unwrap_or(token.id))))
    })
}

/// Returns the reply of the daemon that the command line names, if there is one in time.
fn query<T>(request: impl AsyncFnOnce(Client) -> Result<T, client::Error>) -> Option<T> {
    let url = option("--url").or_else(|| variable("SSE_BUS_URL").filter(|_| option("--socket").is_none()));
    match url {
        Some(url) => reply_of(&remote(url.to_str()?)?, request),
        None => reply_of(&local()?, request),
    }
}

/// Returns the daemon of this machine.
fn local() -> Option<Address> {
    let endpoint = match option("--socket") {
        Some(path) => Endpoint::at(expand_home(path)),
        None => Endpoint::find().ok()?,
    };
    Some(endpoint.into())
}

/// Returns the daemon at a URL.
fn remote(url: &str) -> Option<Address> {
    let options = Remote {
        token_file: option("--token-file").or_else(|| variable("SSE_BUS_TOKEN_FILE")).map(expand_home),
        ca_file: option("--ca-file").or_else(|| variable("SSE_BUS_CA_FILE")).map(expand_home),
        plaintext_token: std::env::args_os().any(|word| word == "--plaintext-token"),
        ..Remote::default()
    };
    Some(daemon(url, &options).ok()?.into())
}

/// Returns a daemon's reply to a request, if there is one in time.
fn reply_of<T>(address: &Address, request: impl AsyncFnOnce(Client) -> Result<T, client::Error>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let reply = async { request(Client::connect(address).await.ok()?).await.ok() };
    runtime.block_on(async { timeout(PATIENCE, reply).await.ok().flatten() })
}

/// Returns the value of an environment variable, unless it is empty.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Returns the value of an option in the command line that is being completed.
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

/// Returns the words that begin with the typed text, without duplicates.
fn matching(typed: &OsStr, words: impl Iterator<Item = String>) -> BTreeSet<String> {
    let typed = typed.to_string_lossy();
    words.filter(|word| word.starts_with(&*typed) && is_plain(word)).collect()
}

/// Returns true if a word has no special characters in any shell. In Bash `:`, `=` and `@` also separate words.
fn is_plain(word: &str) -> bool {
    word.chars().all(|c| c.is_alphanumeric() || "/-_.+,%".contains(c)) && !word.starts_with('-')
}

/// Returns the words, or only their prefixes up to the next `/` if there are too many.
fn by_levels(words: BTreeSet<String>, typed: &OsStr) -> Vec<CompletionCandidate> {
    if words.len() <= TOPICS_MAX {
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
    fn words_with_special_characters_are_not_offered() {
        let topics = ["build/web", "a;reboot", "$(reboot)", "`x`", "a&b", "x|y", "a b", "~root", "-rf", "a:b", "été"];
        let offered = matching(OsStr::new(""), topics.iter().map(ToString::to_string));
        assert_eq!(offered, words(&["build/web", "été"]));
    }

    #[test]
    fn of_many_topics_only_the_next_level_is_offered() {
        let topics: BTreeSet<_> =
            (0..=TOPICS_MAX).map(|n| format!("build/{}/{n}", if n < 3 { "web" } else { "app" })).collect();
        let offered = |typed: &str| {
            let candidates = by_levels(matching(OsStr::new(typed), topics.iter().cloned()), OsStr::new(typed));
            candidates.iter().map(|c| c.get_value().to_string_lossy().into_owned()).collect::<BTreeSet<_>>()
        };
        assert_eq!(offered("b"), words(&["build/"]));
        assert_eq!(offered("build/"), words(&["build/app/", "build/web/"]));
        assert_eq!(offered("build/web/"), words(&["build/web/0", "build/web/1", "build/web/2"]));
    }
}
