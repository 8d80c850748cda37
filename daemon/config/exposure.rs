//! Refuses or warns about configurations that let others in.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use sse_bus::{
    private_fs::{self, Exposure, Forbidden},
    shell::quoted,
    time::unix_now,
    tokens::TokenFile,
};

/// Why other machines must not reach an address.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExposedAddress {
    #[error(transparent)]
    Tokens(#[from] io::Error),
    #[error(
        "listen = {listen} is not a loopback address, so other machines reach it, and there is no valid token in {}, so no client \
         could use it; create one with `sse-busctl token --state-dir {} create --name NAME`, or listen on 127.0.0.1:{} and reach \
         it from elsewhere through `ssh -L`",
        .tokens.display(), .state.display(), .listen.port()
    )]
    NoToken { listen: SocketAddr, tokens: PathBuf, state: PathBuf },
    #[error(
        "listen = {listen} is not a loopback address, so other machines reach it, and without TLS tokens and events can be read on \
         the way; name a certificate with --tls-cert and --tls-key, set --insecure if you trust the network, or listen on \
         127.0.0.1:{} and reach it from elsewhere through `ssh -L`",
        .listen.port()
    )]
    NoTls { listen: SocketAddr },
}

/// Refuses an address that other machines reach, unless they need a token and TLS protects it on the way.
pub(super) fn check_address(listen: SocketAddr, state: &Path, is_encrypted: bool) -> Result<(), ExposedAddress> {
    let file = TokenFile::in_directory(state);
    if file.read()?.iter().all(|token| token.is_expired(unix_now())) {
        return Err(ExposedAddress::NoToken { listen, tokens: file.path().into(), state: state.into() });
    }
    if is_encrypted { Ok(()) } else { Err(ExposedAddress::NoTls { listen }) }
}

/// Returns a warning if other users may change the pages that are served, whose scripts may do everything, or if there is no such
/// directory.
pub(super) fn pages_warning(directory: &Path) -> Option<String> {
    let shown = directory.display();
    match private_fs::check_tree(directory) {
        Ok(()) => None,
        Err(Exposure::Unknown(error)) => {
            let advice = match error.kind() {
                io::ErrorKind::NotFound => format!("create it with `mkdir -p {}`", quoted(&shown.to_string())),
                _ => "name a directory that you can read".into(),
            };
            Some(format!("pages = {shown} cannot be served: {error}; {advice}"))
        }
        Err(exposure) => Some(format!(
            "pages = {shown}: other users can change these pages, whose scripts may use the bus as you: {exposure}"
        )),
    }
}

/// Returns a warning if other users may change the configuration file, which decides who has access to the daemon. A path that is not
/// a file, such as a pipe, has been read already and is not checked.
pub(super) fn file_warning(path: &Path) -> Option<String> {
    let checked = private_fs::check_file(path, Forbidden::Write)
        .and_then(|()| private_fs::check_directory(path.parent().unwrap_or(Path::new("."))));
    match checked {
        Ok(()) | Err(Exposure::Unknown(_) | Exposure::NotAFile) => None,
        Err(exposure) => {
            Some(format!("other users can change {} and so control this daemon: {exposure}", path.display()))
        }
    }
}
