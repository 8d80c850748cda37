//! `sse-busctl init-page`: writes a page to begin with into the directory that the daemon serves at `/pages/`.
//!
//! An existing file is never changed.

use std::{
    io::{ErrorKind, Write as _},
    path::PathBuf,
};

use serde::Serialize;
use sse_bus::{Client, private_fs};

use crate::{
    cli::InitPage,
    exit::{Exit, Failure},
    output::Output,
};

/// The page: publishes and shows events with `/client.js`.
const PAGE: &str = include_str!("page.html");

/// The page that was written.
#[derive(Serialize)]
struct Written {
    file: PathBuf,
    url: Option<String>,
}

pub(crate) async fn run(client: &mut Client, output: &Output, options: &InitPage) -> Result<(), Failure> {
    let name = file_name(&options.name)?;
    let settings = client.config().await?;
    let pages = settings.iter().find(|setting| setting.key == "pages").and_then(|setting| setting.value.as_str());
    let Some(pages) = pages.map(PathBuf::from) else {
        let message = "the daemon serves no pages; start it with `sse-busd --pages DIR`, or name the directory in its \
                       configuration file";
        return Err(Failure::new(Exit::Failed, message));
    };
    let file = pages.join(&name);
    let written = private_fs::create_directory(&pages)
        .and_then(|()| private_fs::create_file(&file, true)?.write_all(PAGE.as_bytes()));
    written.map_err(|error| {
        let advice = match error.kind() {
            ErrorKind::AlreadyExists => "choose another name",
            _ => "check the directory of pages",
        };
        Failure::new(Exit::Failed, format!("cannot write {}: {error}; {advice}", file.display()))
    })?;
    let base = client.status().await?.url;
    let url = base.map(|base| format!("{}/pages/{name}", base.trim_end_matches('/')));
    let sentence = || match &url {
        Some(url) => format!("wrote {}; open {url}", file.display()),
        None => format!("wrote {}", file.display()),
    };
    output.print(sentence, &Written { url: url.clone(), file: file.clone() })?;
    Ok(())
}

/// Returns the name of the file. It needs no encoding in a URL.
fn file_name(name: &str) -> Result<String, Failure> {
    let stem = name.strip_suffix(".html").unwrap_or(name);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if stem.is_empty() || stem.starts_with('.') || stem.len() > 100 || !stem.chars().all(is_plain) {
        let message =
            format!("`{}` cannot be the name of a page; use letters, digits, `-` and `_`", name.escape_debug());
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(format!("{stem}.html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_page_is_one_file_in_the_directory() {
        for (name, file) in [("hello", "hello.html"), ("a-1.b_c", "a-1.b_c.html"), ("x.html", "x.html")] {
            assert_eq!(file_name(name).unwrap(), file);
        }
        for name in ["", ".html", ".x", "../x", "a/b", "a b", "é", "a\\b", &"x".repeat(101)] {
            assert_eq!(file_name(name).unwrap_err().exit, Exit::Usage, "{name}");
        }
    }
}
