//! `/pages/`: files of the directory that the user configured, with the origin of the bus.
//!
//! Its pages are trusted like the dashboard, and so are the scripts that they load. The [guards](super::guards) come first, as for
//! every route. Only regular files below the directory are served: no name that begins with a dot, no way out of the directory
//! through `..` or links, and no lists of files; a directory is its `index.html`. A link that replaces a part of the path
//! between its check and its use is not followed, see [`OpenFile`].

use std::{
    fs::Metadata,
    io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

#[cfg(target_os = "linux")]
use std::os::fd::{AsRawFd as _, OwnedFd};

use axum::{
    body::Body,
    extract::{self, Request, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Redirect, Response},
};
#[cfg(target_os = "linux")]
use rustix::fs::{FileType, Mode, OFlags, fstat, open, openat};
use sse_bus::protocol::ErrorCode;
use tokio::task::spawn_blocking;
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

use super::error::Refusal;
use crate::context::Daemon;

/// The pages may load scripts from anywhere, but no page of another origin may show them in a frame.
const POLICY: HeaderValue = HeaderValue::from_static("frame-ancestors 'self'");

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// A regular file, by its path below the directory, without links.
    File(PathBuf),
    /// A directory, whose URL ends with a slash.
    Directory,
}

/// `GET /pages/`.
pub(super) async fn index(State(daemon): State<Arc<Daemon>>, request: Request) -> Result<Response, Refusal> {
    // `/pages` does not end with a slash, which relative links in the page need.
    let path = if request.uri().path().ends_with('/') { "/" } else { "" };
    serve(&daemon, path.into(), request).await
}

/// `GET /pages/{path}`.
pub(super) async fn file(
    State(daemon): State<Arc<Daemon>>,
    path: Result<extract::Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let extract::Path(path) = path?;
    serve(&daemon, path, request).await
}

async fn serve(daemon: &Daemon, path: String, request: Request) -> Result<Response, Refusal> {
    let Some(directory) = daemon.config().pages.clone() else {
        let message = "no pages are served; name their directory with: sse-busd --pages DIR";
        return Err(Refusal::new(StatusCode::NOT_FOUND, ErrorCode::RequestInvalid, message));
    };
    let find = move || {
        let root = directory.canonicalize()?;
        match find(&root, &path)? {
            Found::Directory => Ok(None),
            Found::File(file) => Ok(Some(OpenFile::open(&root, &file)?)),
        }
    };
    let found = spawn_blocking(find).await.map_err(io::Error::other);
    match found.flatten() {
        Ok(None) => Ok(Redirect::temporary(&with_slash(request.uri())).into_response()),
        Ok(Some(file)) => {
            let Ok(response) = file.service().oneshot(request).await;
            Ok(with_headers(response.map(Body::new)))
        }
        Err(error) => {
            tracing::debug!(%error, "a page is not served");
            let path: String = request.uri().path().chars().take(60).collect();
            let message = format!("there is no page at {path}");
            Err(Refusal::new(StatusCode::NOT_FOUND, ErrorCode::RequestInvalid, message))
        }
    }
}

/// Returns the URL of a directory, relative to its URL without the final slash: a proxy may serve the bus below a path.
fn with_slash(uri: &Uri) -> String {
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    // Without the dot, a name with a colon would begin with a scheme.
    let path = format!("./{name}/");
    uri.query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"))
}

/// Adds what the file itself does not determine. Text is UTF-8, like the events.
fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    // A change is visible at once, also the second one within a second.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    if let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok())
        && kind.starts_with("text/")
        && !kind.contains("charset")
        && let Ok(kind) = HeaderValue::try_from(format!("{kind}; charset=utf-8"))
    {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    response
}

/// Finds what a decoded path leads to below a directory, whose own path has no links.
fn find(root: &Path, path: &str) -> io::Result<Found> {
    let hidden = || io::Error::new(io::ErrorKind::NotFound, "the path is not one of a page");
    // On Windows a colon names a drive, or another stream of a file.
    let is_stream = |part: &str| cfg!(windows) && part.contains(':');
    let is_plain = |part: &str| !(part.starts_with('.') || part.contains(['\\', '\0']) || is_stream(part));
    let is_directory = path.ends_with('/');
    let path = path.trim_start_matches('/');
    if !path.split('/').all(is_plain) {
        return Err(hidden());
    }
    // The links of the directory's owner may lead elsewhere within the directory.
    let resolve = |path: PathBuf| -> io::Result<(Metadata, PathBuf)> {
        let found = path.canonicalize()?;
        let inner = found.strip_prefix(root).ok().filter(|inner| inner.components().all(|part| !is_hidden(part)));
        Ok((found.metadata()?, inner.ok_or_else(hidden)?.to_owned()))
    };
    let (mut metadata, mut found) = resolve(root.join(path))?;
    if metadata.is_dir() {
        if !is_directory {
            return Ok(Found::Directory);
        }
        (metadata, found) = resolve(root.join(found).join("index.html"))?;
    } else if is_directory {
        return Err(hidden());
    }
    // Opening a pipe would block.
    if metadata.is_file() { Ok(Found::File(found)) } else { Err(hidden()) }
}

/// A regular file below the directory.
struct OpenFile {
    path: PathBuf,
    /// Keeps the file open until the service has opened it again.
    #[cfg(target_os = "linux")]
    file: OwnedFd,
}

impl OpenFile {
    /// Opens a file, by its path below a directory. Links are not followed: if one has replaced a part of the path since it was
    /// found, this fails.
    #[cfg(target_os = "linux")]
    fn open(root: &Path, path: &Path) -> io::Result<OpenFile> {
        // Opening a pipe must not block.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = open(root, flags | OFlags::DIRECTORY, Mode::empty())?;
        for part in path {
            file = openat(&file, part, flags, Mode::empty())?;
        }
        match FileType::from_raw_mode(fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(OpenFile { path: path.to_owned(), file }),
            _ => Err(io::Error::new(io::ErrorKind::NotFound, "it is no longer a regular file")),
        }
    }

    /// The file is opened only when it is served: a user who can change the directory can replace it by a link until then.
    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unnecessary_wraps, reason = "the same interface as on Linux")]
    fn open(root: &Path, path: &Path) -> io::Result<OpenFile> {
        Ok(OpenFile { path: root.join(path) })
    }

    /// Returns the service for the file, with the type that its name says.
    fn service(&self) -> ServeFile {
        #[cfg(target_os = "linux")]
        {
            let mime = mime_guess::from_path(&self.path).first_or_octet_stream();
            ServeFile::new_with_mime(format!("/proc/self/fd/{}", self.file.as_raw_fd()), &mime)
        }
        #[cfg(not(target_os = "linux"))]
        ServeFile::new(&self.path)
    }
}

fn is_hidden(part: Component<'_>) -> bool {
    part.as_os_str().as_encoded_bytes().starts_with(b".")
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, os::unix::fs::symlink, process::Command};

    use super::*;

    #[test]
    fn only_regular_files_below_the_directory_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let pages = top.join("pages");
        fs::create_dir_all(pages.join("sub")).unwrap();
        fs::create_dir_all(pages.join(".git")).unwrap();
        for file in
            ["secret", "pages/a.html", "pages/é x.html", "pages/sub/index.html", "pages/.env", "pages/.git/config"]
        {
            fs::write(top.join(file), "").unwrap();
        }
        for (to, link) in
            [("a.html", "link"), ("../secret", "out"), ("..", "up"), (".env", "dot"), ("/etc", "etc"), ("loop", "loop")]
        {
            symlink(to, pages.join(link)).unwrap();
        }
        assert!(Command::new("mkfifo").arg(pages.join("pipe")).status().unwrap().success());
        // The directory itself may be a link.
        symlink(&pages, top.join("way")).unwrap();
        for directory in [&pages, &top.join("way")] {
            let file = |path: &str| find(&directory.canonicalize().unwrap(), path).ok();
            for (path, at) in [
                ("a.html", "a.html"),
                ("é x.html", "é x.html"),
                ("link", "a.html"),
                ("sub/", "sub/index.html"),
                ("sub/index.html", "sub/index.html"),
            ] {
                assert_eq!(file(path), Some(Found::File(at.into())), "{path}");
            }
            assert_eq!(file("sub"), Some(Found::Directory));
            for path in [
                "/",
                ".env",
                "dot",
                ".git/config",
                "sub/../.env",
                "../secret",
                "..",
                "out",
                "up/secret",
                "up",
                "etc/passwd",
                "etc",
                "loop",
                "pipe",
                "a.html/",
                "a.html/x",
                "nothing",
                "sub/.",
                "sub\\..\\..\\secret",
                "a\0",
                "/etc/passwd",
                "./a.html",
            ] {
                assert_eq!(file(path), None, "{path}");
            }
        }
        fs::write(pages.join("index.html"), "").unwrap();
        assert_eq!(find(&pages, "/").unwrap(), Found::File("index.html".into()));
    }

    /// The links come between the check of the path and its use.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_link_that_replaces_a_part_of_the_path_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let pages = top.join("pages");
        for file in ["secret/page.html", "pages/page.html", "pages/sub/page.html", "pages/pipe.html"] {
            fs::create_dir_all(top.join(file).parent().unwrap()).unwrap();
            fs::write(top.join(file), "").unwrap();
        }
        let find = |path: &str| match find(&pages, path).unwrap() {
            Found::File(file) => file,
            Found::Directory => panic!("{path} is a directory"),
        };
        let found = ["page.html", "sub/page.html", "pipe.html"].map(find);
        for file in &found {
            assert!(OpenFile::open(&pages, file).is_ok(), "{}", file.display());
        }
        fs::remove_file(pages.join("page.html")).unwrap();
        symlink("../secret/page.html", pages.join("page.html")).unwrap();
        fs::rename(pages.join("sub"), pages.join("moved")).unwrap();
        symlink("../secret", pages.join("sub")).unwrap();
        fs::remove_file(pages.join("pipe.html")).unwrap();
        assert!(Command::new("mkfifo").arg(pages.join("pipe.html")).status().unwrap().success());
        for file in &found {
            assert!(OpenFile::open(&pages, file).is_err(), "{}", file.display());
        }
        // The directory itself.
        fs::rename(&pages, top.join("moved")).unwrap();
        symlink("secret", &pages).unwrap();
        assert!(OpenFile::open(&pages, "page.html".as_ref()).is_err());
    }
}
