//! The command line of `sse-busctl token`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use sse_bus::{Filter, tokens};

use super::{
    completers,
    patterns::parse_filter,
    values::{parse_interval, parse_name},
};
use crate::exit;

#[derive(Debug, Args)]
pub(crate) struct Token {
    /// The state directory with the tokens [default: that of the running daemon, otherwise the default directory]
    #[arg(long, global = true, value_name = "DIR", env = "SSE_BUS_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) action: TokenAction,
}

/// The command of `sse-busctl token`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenAction {
    /// Create a token and print it; it cannot be shown again
    Create(TokenCreate),
    /// List the tokens, without their secrets
    List,
    /// Revoke a token and end its streams
    Revoke {
        /// The id or name of the token
        #[arg(add = completers::tokens())]
        token: String,
    },
}

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl token create --name phone --scope subscribe --topic 'build/**' --expires 30d
  sse-busctl token create --name ci --scope publish
  sse-busctl token create --name worker --scope work --topic 'jobs/**'"))]
pub(crate) struct TokenCreate {
    /// An operation that the token allows; can be repeated [default: publish and subscribe]
    #[arg(long, value_enum, value_name = "SCOPE", value_delimiter = ',', env = "SSE_BUS_TOKEN_CREATE_SCOPE")]
    pub(crate) scope: Vec<Scope>,
    /// A topic or pattern that the token allows; can be repeated [default: all]
    #[arg(long, value_name = "FILTER", value_parser = parse_filter,
        env = "SSE_BUS_TOKEN_CREATE_TOPIC")]
    pub(crate) topic: Vec<Filter>,
    /// Expire after this time, such as `30d` [default: never]
    #[arg(long, value_name = "DURATION", value_parser = parse_interval, env = "SSE_BUS_TOKEN_CREATE_EXPIRES")]
    pub(crate) expires: Option<Duration>,
    /// A name for the token, with which it can be revoked
    #[arg(long, value_name = "NAME", value_parser = parse_name, env = "SSE_BUS_TOKEN_CREATE_NAME")]
    pub(crate) name: Option<String>,
}

/// An operation that a token allows.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Scope {
    /// Publish events
    Publish,
    /// Receive events
    Subscribe,
    /// See topics, clients, status and metrics; disconnect clients; manage consumers
    Admin,
    /// Work for consumers whose topics the token allows, and manage them
    Work,
}

impl From<Scope> for tokens::Scope {
    fn from(scope: Scope) -> tokens::Scope {
        match scope {
            Scope::Publish => tokens::Scope::Publish,
            Scope::Subscribe => tokens::Scope::Subscribe,
            Scope::Admin => tokens::Scope::Admin,
            Scope::Work => tokens::Scope::Work,
        }
    }
}
