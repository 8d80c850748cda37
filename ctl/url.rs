//! `sse-busctl url`: the URL of an event stream.

use std::fmt::Write;

use sse_bus::{Client, Filter};

use crate::{
    cli::Url,
    exit::{Exit, Failure},
    output::Output,
};

pub(crate) async fn run(client: &mut Client, output: &Output, options: Url) -> Result<(), Failure> {
    let filter = match &options.filter {
        Some(text) => Some(Filter::parse(text).map_err(|e| {
            Failure::new(Exit::Usage, format!("`{}` is not a topic or pattern: {e}", text.escape_debug()))
        })?),
        None => None,
    };
    let Some(base) = client.status().await?.url else {
        let message = "the daemon serves only its local socket; start `sse-busd` with --listen to get a URL";
        return Err(Failure::new(Exit::Failed, message));
    };
    let base = base.trim_end_matches('/');
    let url = match filter {
        Some(filter) => format!("{base}/events/{}", encode(filter.as_str())),
        None => base.to_owned(),
    };
    // Plain text even without a terminal, for `$(…)`.
    output.line(&url, &url)?;
    Ok(())
}

/// Percent-encodes the characters that are not allowed in the path of a URL.
fn encode(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => encoded.push(byte.into()),
            b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b'@' | b'!' | b'$' | b'(' | b')' | b'*' | b'+' | b',' | b';'
            | b'=' => {
                encoded.push(byte.into());
            }
            // Writing to a String cannot fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_characters_that_are_not_allowed_are_encoded() {
        assert_eq!(encode("build/*/**"), "build/*/**");
        assert_eq!(encode("$sys/clients"), "$sys/clients");
        assert_eq!(encode("a%b&c/é\"'"), "a%25b%26c/%C3%A9%22%27");
    }
}
