//! Tokens, and a daemon that requires one.

use super::{Daemon, Process, Sandbox};

impl Daemon {
    /// A daemon that listens for other machines, and a token of each kind.
    pub fn exposed(flags: &[&str]) -> (Daemon, Tokens) {
        let sandbox = Sandbox::new();
        let tokens = Tokens {
            all: token(&sandbox, &["--name", "all", "--scope", "publish,subscribe,admin"]),
            publish: token(&sandbox, &["--name", "publish", "--scope", "publish"]),
            subscribe: token(&sandbox, &["--name", "subscribe", "--scope", "subscribe"]),
            builds: token(&sandbox, &["--name", "builds", "--topic", "build/**", "--topic", "deploy"]),
        };
        let socket = sandbox.socket().display().to_string();
        let usual = ["--no-config", "--listen", "0.0.0.0:0", "--insecure", "--socket", &socket];
        let flags = usual.iter().chain(flags).map(ToString::to_string).collect();
        (Daemon::of_command(sandbox, flags, |_| {}), tokens)
    }

    /// The status of the response to a request with a token.
    pub fn with_token(&self, method: &str, path: &str, token: &str) -> u16 {
        self.request(method, path, &[("Authorization", &bearer(token))], "x").status
    }
}

pub struct Tokens {
    pub all: String,
    pub publish: String,
    pub subscribe: String,
    pub builds: String,
}

pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Creates a token; no daemon needs to run.
pub fn token(sandbox: &Sandbox, options: &[&str]) -> String {
    let args = [&["token", "create"], options].concat();
    let made = Process::start(sandbox.busctl(&args)).finish().ok();
    made.stdout.trim_end().to_owned()
}
