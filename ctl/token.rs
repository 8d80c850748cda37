//! `sse-busctl token`: make, list and revoke tokens.
//!
//! Tokens stand in a file that the daemon reads, so they can be made before the daemon runs, and a daemon that listens
//! beyond loopback can be started at all. The file is where the daemon says, or where it would be.

use std::{
    io,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use sse_bus::{
    Client, Endpoint, Filter, client,
    endpoint::state_dir,
    tokens::{NewToken, Scope, Token, TokenFile},
};

use crate::{
    cli::{self, TokenCreate, TokenDo},
    exit::{Exit, Failure},
    output::{Output, ago, duration, text, visible},
};

pub(crate) async fn run(endpoint: &Endpoint, output: &Output, options: cli::Token) -> Result<(), Failure> {
    let directory = match options.state_dir {
        Some(directory) => directory,
        None => daemons_state_dir(endpoint).await?.map_or_else(state_dir, Ok).map_err(failed)?,
    };
    let file = TokenFile::in_directory(&directory);
    match options.command {
        TokenDo::Create(options) => create(&file, output, options),
        TokenDo::List => list(&file, output),
        TokenDo::Revoke { token } => revoke(&file, output, &token),
    }
}

/// Where the daemon keeps its tokens, if one runs. One that does not answer may keep them anywhere.
async fn daemons_state_dir(endpoint: &Endpoint) -> Result<Option<PathBuf>, Failure> {
    let asked = async { Client::connect(endpoint).await?.status().await };
    match asked.await {
        Ok(status) => Ok(Some(PathBuf::from(status.state_dir)).filter(|path| !path.as_os_str().is_empty())),
        Err(error @ client::Error::NoAnswer { .. }) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// A token as programs see it; its secret when it is new.
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
    let expires = expires.map(|after| now.saturating_add(after.as_millis().try_into().unwrap_or(u64::MAX)));
    let (token, secret) = file.create(NewToken { name, scopes, topics: topic, expires }, now).map_err(failed)?;
    output.say(|| secret.reveal().to_owned(), &Shown::new(&token, Some(secret.reveal())))?;
    if output.people() {
        eprintln!(
            "{} may {}. It is not shown again: only a digest is kept, in {}",
            called(&token),
            describe(&token),
            visible(&file.path().display().to_string())
        );
    }
    Ok(())
}

fn list(file: &TokenFile, output: &Output) -> Result<(), Failure> {
    let tokens = file.read().map_err(failed)?;
    let shown: Vec<_> = tokens.iter().map(|token| Shown::new(token, None)).collect();
    let columns = [text("ID"), text("NAME"), text("SCOPES"), text("TOPICS"), text("CREATED"), text("EXPIRES")];
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
    output.list(&shown, &columns, row, "no tokens; make one with `sse-busctl token create`")?;
    Ok(())
}

fn revoke(file: &TokenFile, output: &Output, address: &str) -> Result<(), Failure> {
    let token = file.revoke(address).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(Exit::Failed, format!("no token `{}`; see `sse-busctl token list`", visible(address)))
        }
        _ => failed(e),
    })?;
    output.say(|| format!("revoked {}; its streams end within a second", called(&token)), &Shown::new(&token, None))?;
    Ok(())
}

/// `token t1a2b3c4 (phone)`.
fn called(token: &Token) -> String {
    let name = token.name.as_ref().map_or(String::new(), |name| format!(" ({})", visible(name)));
    format!("token {}{name}", token.id)
}

/// `publish and subscribe on build/**, for 12h`.
fn describe(token: &Token) -> String {
    let verb = |scope: &Scope| if *scope == Scope::Admin { "administer" } else { scope.as_str() };
    let scopes: Vec<_> = token.scopes.iter().map(verb).collect();
    let topics: Vec<_> = token.topics.iter().map(Filter::as_str).collect();
    let topics = if topics.is_empty() { "all topics".into() } else { topics.join(", ") };
    let time = token.expires.map_or(String::new(), |expires| format!(", for {}", until(expires)));
    format!("{} on {topics}{time}", scopes.join(" and "))
}

/// How long until a time (in milliseconds since 1970).
fn until(time: u64) -> String {
    match time.saturating_sub(unix_now()) {
        0 => "expired".into(),
        // Up to the next second: what was just made for a day has a day.
        left => duration(Duration::from_secs(left.div_ceil(1000))),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
fn failed(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, error.to_string())
}

fn unix_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_millis().try_into().unwrap_or(u64::MAX)
}
