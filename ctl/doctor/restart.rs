//! The command that restarts a running daemon as it was started.

use sse_bus::shell::quoted;

/// Returns the command that ends the daemon and starts it again with the same arguments, variables and directory, as far as
/// they are known from `/proc` (proc(5)); otherwise with `start`.
pub(super) fn command(pid: u32, start: &str) -> String {
    let start = started(pid).unwrap_or_else(|| start.to_owned());
    format!("kill {pid} && {start}")
}

/// Returns the command that started the daemon.
fn started(pid: u32) -> Option<String> {
    let read = |file: &str| Some(texts(&std::fs::read(format!("/proc/{pid}/{file}")).ok()?));
    let arguments = read("cmdline").filter(|arguments| !arguments.is_empty())?;
    let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    let elsewhere = std::env::current_dir().map_or(true, |here| here != directory);
    let directory = elsewhere.then(|| format!("cd {} && ", quoted(&directory.to_string_lossy())));
    Some(directory.unwrap_or_default() + &line(&arguments, &read("environ")?))
}

/// Returns the command line for arguments, with those variables that configure the daemon.
fn line(arguments: &[String], environment: &[String]) -> String {
    let variables = environment.iter().filter_map(|variable| {
        let (name, value) = variable.strip_prefix("SSE_BUS_")?.split_once('=')?;
        Some(format!("SSE_BUS_{name}={}", quoted(value)))
    });
    let arguments = arguments.iter().map(|argument| quoted(argument).into_owned());
    variables.chain(arguments).collect::<Vec<_>>().join(" ")
}

/// Splits texts that end with a zero byte each.
fn texts(bytes: &[u8]) -> Vec<String> {
    let parts = bytes.strip_suffix(b"\0").unwrap_or(bytes).split(|byte| *byte == 0);
    parts.map(|part| String::from_utf8_lossy(part).into_owned()).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_restarted_with_its_arguments_and_variables() {
        let arguments = texts(b"/usr/bin/sse-busd\0--pages\0/home/a b\0");
        let environment = texts(b"HOME=/root\0SSE_BUS_LOG=debug;reboot\0SSE_BUS\0");
        assert_eq!(line(&arguments, &environment), "SSE_BUS_LOG='debug;reboot' /usr/bin/sse-busd --pages '/home/a b'");
    }

    #[test]
    fn an_unknown_daemon_is_started_without_arguments() {
        assert_eq!(command(u32::MAX, "sse-busd"), format!("kill {} && sse-busd", u32::MAX));
    }
}
