//! `sse-busctl token`: creates, lists and revokes tokens.
//!
//! The command edits the token file that the daemon reads, so that tokens can be created before the daemon runs. A
//! daemon that listens beyond loopback requires one. The file is in the state directory of the running daemon, or in
//! the default one.

use std::{io, path::PathBuf};

use serde::Serialize;
use sse_bus::{
    Client, Endpoint, Filter, client,
    endpoint::state_dir,
    time::{unix_now, whole_millis},
    tokens::{NewToken, Scope, Token, TokenFile},
};

use crate::{
    cli::{self, TokenAction, TokenCreate},
    exit::{Exit, Failure},
    output::Output,
    table::text,
    units::{ago, until},
    visible::visible,
};

pub(crate) async fn run(endpoint: &Endpoint, output: &Output, options: cli::Token) -> Result<(), Failure> {
    let directory = match options.state_dir {
        Some(directory) => directory,
        None => daemons_state_dir(endpoint).await?.map_or_else(state_dir, Ok).map_err(failed)?,
    };
    let file = TokenFile::in_directory(&directory);
    match options.action {
        TokenAction::Create(options) => create(&file, output, options),
        TokenAction::List => list(&file, output),
        TokenAction::Revoke { token } => revoke(&file, output, &token),
    }
}

/// Returns the state directory of the running daemon, or `None` if there is no daemon. A daemon that does not answer is
/// an error, because its state directory is unknown.
async fn daemons_state_dir(endpoint: &Endpoint) -> Result<Option<PathBuf>, Failure> {
    let status = async { Client::connect(endpoint).await?.status().await };
    match status.await {
        Ok(status) => Ok(Some(PathBuf::from(status.state_dir)).filter(|path| !path.as_os_str().is_empty())),
        Err(error @ client::Error::Unresponsive { .. }) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// A token as JSON; with its secret only when it is created.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    id: &'a str,
    name: Option<&'a str>,
    scopes: &'a [Scope],
    topics: &'a [Filter],
    created: u64,
    expires: Option<u64>,
}

impl<'a> Shown<'a> {
    fn new(token: &'a Token, secret: Option<&'a str>) -> Shown<'a> {
        let Token { id, name, scopes, topics, created, expires, .. } = token;
        Shown { token: secret, id, name: name.as_deref(), scopes, topics, created: *created, expires: *expires }
    }
}

fn create(file: &TokenFile, output: &Output, options: TokenCreate) -> Result<(), Failure> {
    let TokenCreate { scope, topic, expires, name } = options;
    let now = unix_now();
    let mut scopes: Vec<Scope> = scope.into_iter().map(Scope::from).collect();
    if scopes.is_empty() {
        scopes = vec![Scope::Publish, Scope::Subscribe];
    }
    scopes.sort_unstable();
    scopes.dedup();
    let expires = expires.map(|after| now.saturating_add(whole_millis(after)));
    let (token, secret) = file.create(NewToken { name, scopes, topics: topic, expires }, now).map_err(failed)?;
    // The token alone even without a terminal, for `$(…)` and files.
    output.line(secret.reveal(), &Shown::new(&token, Some(secret.reveal())))?;
    output.notice(|| {
        let file = file.path().display();
        let (title, allowed) = (title(&token), describe(&token));
        format!("{title} may {allowed}. It cannot be shown again: only a digest is stored, in {file}")
    });
    Ok(())
}

fn list(file: &TokenFile, output: &Output) -> Result<(), Failure> {
    let tokens = file.read().map_err(failed)?;
    let shown: Vec<_> = tokens.iter().map(|token| Shown::new(token, None)).collect();
    let columns = [
        text("ID"),
        text("NAME").shrinking(),
        text("SCOPES").dropped(2),
        text("TOPICS").shrinking(),
        text("CREATED").dropped(3),
        text("EXPIRES").dropped(1),
    ];
    let row = |token: &Shown| {
        let scopes: Vec<_> = token.scopes.iter().map(|scope| scope.as_str()).collect();
        let topics: Vec<_> = token.topics.iter().map(Filter::as_str).collect();
        [
            token.id.to_owned(),
            token.name.unwrap_or("-").to_owned(),
            scopes.join(" "),
            if topics.is_empty() { "all".into() } else { topics.join(" ") },
            ago(token.created),
            token.expires.map_or_else(|| "never".into(), until),
        ]
    };
    output.list(&shown, &columns, row, "no tokens; create one with `sse-busctl token create`")?;
    Ok(())
}

fn revoke(file: &TokenFile, output: &Output, address: &str) -> Result<(), Failure> {
    let token = file.revoke(address).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(Exit::Failed, format!("there is no token `{}`; see `sse-busctl token list`", visible(address)))
        }
        _ => failed(e),
    })?;
    output
        .print(|| format!("revoked {}; its streams end within a second", title(&token)), &Shown::new(&token, None))?;
    Ok(())
}

/// Returns the id and name of a token: `token t1a2b3c4 (phone)`.
fn title(token: &Token) -> String {
    let name = token.name.as_ref().map_or(String::new(), |name| format!(" ({})", visible(name)));
    format!("token {}{name}", token.id)
}

/// Returns what a token allows: `publish and subscribe on build/**, for 12h`.
fn describe(token: &Token) -> String {
    let verb = |scope: &Scope| if *scope == Scope::Admin { "administer" } else { scope.as_str() };
    let scopes: Vec<_> = token.scopes.iter().map(verb).collect();
    let topics: Vec<_> = token.topics.iter().map(Filter::as_str).collect();
    let topics = if topics.is_empty() { "all topics".into() } else { topics.join(", ") };
    let time = token.expires.map_or(String::new(), |expires| format!(", for {}", until(expires)));
    format!("{} on {topics}{time}", scopes.join(" and "))
}

#[expect(clippy::needless_pass_by_value, reason = "it is an argument of `map_err`")]
fn failed(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, error.to_string())
}
