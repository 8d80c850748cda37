//! Tokens, and a daemon that requires one.

use super::{Daemon, Place, Process};

impl Daemon {
    /// A daemon that listens for other machines, and a token of each kind.
    pub fn exposed(flags: &[&str]) -> (Daemon, Tokens) {
        let place = Place::new();
        let tokens = Tokens {
            all: token(&place, &["--name", "all", "--scope", "publish,subscribe,admin"]),
            publish: token(&place, &["--name", "publish", "--scope", "publish"]),
            subscribe: token(&place, &["--name", "subscribe", "--scope", "subscribe"]),
            builds: token(&place, &["--name", "builds", "--topic", "build/**", "--topic", "deploy"]),
        };
        let socket = place.socket().display().to_string();
        let usual = ["--no-config", "--listen", "0.0.0.0:0", "--insecure", "--socket", &socket];
        let flags = usual.iter().chain(flags).map(ToString::to_string).collect();
        (Daemon::of_command(place, flags, |_| {}), tokens)
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
pub fn token(place: &Place, options: &[&str]) -> String {
    let args = [&["token", "create"], options].concat();
    let made = Process::start(place.busctl(&args)).finish().ok();
    made.json()[0]["token"].as_str().unwrap().to_owned()
}
