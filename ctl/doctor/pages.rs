//! Checks that only this user can change the pages that the daemon serves, because their scripts have all rights.

use std::{io, path::Path};

use sse_bus::{
    private_fs::{self, Exposure},
    shell::quoted,
};
use tokio::time::timeout;

use super::{finding::Finding, program::PATIENCE, target::Target};

/// Checks the directory of pages that the running daemon serves, if it serves one.
pub(super) async fn check(target: &Target) -> Option<Finding> {
    let config = async { target.connect().await?.config().await.ok() };
    let settings = timeout(PATIENCE, config).await.ok().flatten()?;
    let pages = settings.iter().find(|setting| setting.key == "pages")?.value.as_str()?.to_owned();
    Some(match private_fs::check_tree(Path::new(&pages)) {
        Ok(()) => Finding::ok("pages", format!("only this user and root can change the pages in {pages}")),
        Err(Exposure::Unknown(error)) => {
            let fix = if error.kind() == io::ErrorKind::NotFound { "mkdir -p" } else { "ls -ld" };
            let fix = format!("{fix} {}", quoted(&pages));
            Finding::warning("pages", format!("{pages} cannot be served: {error}"), fix)
        }
        Err(exposure) => {
            let fix = exposure.fix().unwrap_or_else(|| format!("ls -la {}", quoted(&pages)));
            let message =
                format!("other users can change the pages in {pages}, whose scripts have all rights: {exposure}");
            Finding::warning("pages", message, fix)
        }
    })
}
