//! The command line of `sse-busctl token`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use sse_bus::{Filter, limits::NAME_MAX, tokens};

use super::parse_interval;
use crate::{completions, exit};

#[derive(Debug, Args)]
pub(crate) struct Token {
    /// The daemon's state directory, where tokens are kept [default: as the daemon says, else its default]
    #[arg(long, global = true, value_name = "DIR", env = "SSE_BUS_STATE_DIR", hide_env = true)]
    pub(crate) state_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: TokenDo,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenDo {
    /// Make a token and print it; it is not shown again
    Create(TokenCreate),
    /// List the tokens, without their secrets
    List,
    /// Revoke a token; the streams that it opened end
    Revoke {
        /// The token's id or name
        #[arg(add = completions::tokens())]
        token: String,
    },
}

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl token create --name phone --scope subscribe --topic 'build/**' --expires 30d
  sse-busctl token create --name ci --scope publish"))]
pub(crate) struct TokenCreate {
    /// What the token allows; may be repeated [default: publish and subscribe]
    #[arg(
        long,
        value_enum,
        value_name = "SCOPE",
        value_delimiter = ',',
        env = "SSE_BUS_TOKEN_CREATE_SCOPE",
        hide_env = true
    )]
    pub(crate) scope: Vec<Scope>,
    /// A topic or pattern that it may publish and subscribe to; may be repeated [default: all]
    #[arg(long, value_name = "FILTER", value_parser = parse_filter,
        env = "SSE_BUS_TOKEN_CREATE_TOPIC", hide_env = true)]
    pub(crate) topic: Vec<Filter>,
    /// End it after so long, such as `30d` [default: never]
    #[arg(long, value_name = "DURATION", value_parser = parse_interval, env = "SSE_BUS_TOKEN_CREATE_EXPIRES",
        hide_env = true)]
    pub(crate) expires: Option<Duration>,
    /// A name for it, to revoke it by
    #[arg(long, value_name = "NAME", value_parser = parse_name, env = "SSE_BUS_TOKEN_CREATE_NAME", hide_env = true)]
    pub(crate) name: Option<String>,
}

/// What a token allows.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Scope {
    /// Publish events
    Publish,
    /// Receive events
    Subscribe,
    /// See topics, clients, status and metrics; disconnect clients
    Admin,
}

impl From<Scope> for tokens::Scope {
    fn from(scope: Scope) -> tokens::Scope {
        match scope {
            Scope::Publish => tokens::Scope::Publish,
            Scope::Subscribe => tokens::Scope::Subscribe,
            Scope::Admin => tokens::Scope::Admin,
        }
    }
}

fn parse_filter(text: &str) -> Result<Filter, String> {
    Filter::parse(text).map_err(|e| e.to_string())
}

/// A token's name is shown in tables and in the descriptions of clients.
fn parse_name(text: &str) -> Result<String, String> {
    match text {
        "" => Err("it is empty; leave it out instead".into()),
        _ if text.len() > NAME_MAX => Err(format!("it has {} bytes; at most {NAME_MAX} are allowed", text.len())),
        _ if text.contains(char::is_control) => Err("it holds control characters; remove them".into()),
        _ => Ok(text.into()),
    }
}
