//! Runs every command of the README and of the pages below `docs` against a real daemon, and compares the output with
//! what the document shows.
//!
//! How a document is interpreted:
//!
//! - `sh`: what a terminal shows. Lines that begin with `$ ` are typed, the others are their output. A command must end
//!   with 0 unless the next one is `echo $?`. A block that ends with `^C` is a terminal that is left open: the next
//!   blocks run beside it, and it is ended, and its output compared, at the next heading (a daemon's when the document
//!   starts another one, and at its end; tabs close with it).
//! - `url`: opened in a browser, here by a [stand-in](browser); tests/browser has the real one.
//! - `bash`, `python`, `js`, `html`, `toml`, `go`, `nginx`, `caddyfile` with a file's name in the first line: the file, which a
//!   command must then use.
//! - `rust,no_run`: compiled as a documentation test of the library.
//! - `console`: not run; the list of these is fixed below. `text` is no command.
//!
//! `…` stands for any text in a line, alone on a line for any number of lines. Ids, times, ports and process numbers
//! may differ, but an id that a document shows twice must be the same twice, and may be used in later commands.
//!
//! Each document has a daemon and a folder of its own; a document that starts `sse-busd` itself gets no other.

#![cfg(target_os = "linux")]

mod browser;
mod compare;
mod document;
mod generated;
mod http;
mod links;
mod stage;
mod terminal;

use std::{
    collections::BTreeSet,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use document::{Block, Document};

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(15);

/// Commands that build, install or run everything, and those that need what a test does not have.
const NOT_RUN: &[&str] = &[
    "cargo run --release --bin sse-busd",
    "tests/run",
    "cargo install --locked --path .",
    "packaging/build deb && sudo apt install ./target/packaging/sse-bus_*.deb",
    "packaging/build rpm && sudo dnf install ./target/packaging/sse-bus-*.rpm",
    "brew tap-new --no-git local/sse-bus",
    "cp packaging/homebrew/sse-bus.rb \"$(brew --repository local/sse-bus)/Formula/\"",
    "brew install --HEAD local/sse-bus/sse-bus",
    "docker build --file packaging/docker/Dockerfile --tag sse-bus .",
    "source <(sse-busctl completions bash)",
    "source <(sse-busctl completions zsh)",
    "sse-busctl completions fish | source",
    "sse-busctl completions powershell | Out-String | Invoke-Expression",
    "cargo install --locked --path . --features tls",
    "mkcert -cert-file bus.pem -key-file bus.key 127.0.0.1 localhost",
    "sse-busd --tls-cert bus.pem --tls-key bus.key",
    "sse-busctl service install",
    "sse-busctl service status",
    "loginctl enable-linger",
    "crontab -l",
    "sse-busctl status",
    "podman run --userns=keep-id --volume \"$XDG_RUNTIME_DIR/sse-bus:/run/sse-bus\" --env SSE_BUS_SOCKET=/run/sse-bus/bus.sock IMAGE",
    r#"sse-busctl subscribe alerts --exec 'notify-send "$SSE_BUS_TOPIC" "$SSE_BUS_DATA"'"#,
    "sse-busctl service logs --follow",
    "sse-busctl service uninstall",
    "sse-busctl --url https://bus.example --token-file ci.token publish build/web ok",
    "export SSE_BUS_URL=https://example.com/bus SSE_BUS_TOKEN_FILE=ci.token",
    "tail -f app.log | sse-busctl publish log/app --lines",
    // tests/cluster runs nodes.
    "nats-server -js -sd nats -a 127.0.0.1 -p 4222",
    "sse-busd --history nats --nats nats://127.0.0.1:4222 --nats-bus team --nats-node left --nats-create",
    "sse-busd --listen 127.0.0.1:7734 --socket right/bus.sock --history nats --nats nats://127.0.0.1:4222 --nats-bus team --nats-node right",
    "sse-busctl --socket right/bus.sock subscribe build/web",
    "sse-busctl publish build/web ok --wait-for 1",
    "sse-busctl nodes",
];
/// Files that tests/browser uses, or that are not programs.
const NOT_USED_BY_A_COMMAND: &[&str] =
    &["stream.js", "tabs.js", "ticket.js", "vite.config.js", "webpack.config.mjs", "Cargo.toml", "network.toml"];
/// Documents whose commands need a program that is not on every machine. Each has a test of its own.
const NEEDS: &[&str] = &["docs/how-to/go.md", "docs/how-to/nginx.md", "docs/how-to/caddy.md"];

/// Documents run side by side, because most commands wait for processes.
#[test]
fn every_command_does_what_the_document_shows() {
    let mut documents = document::all();
    documents.retain(|document| !NEEDS.contains(&&*document.path));
    // The longest first: they are taken from the end.
    documents.sort_by_key(|document| document.steps().count());
    let (documents, failures) = (Mutex::new(documents), Mutex::new(Vec::new()));
    let next = || documents.lock().unwrap().pop();
    thread::scope(|scope| {
        for _ in 0..2 * thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(document) = next() {
                    let found = stage::run(&document);
                    failures.lock().unwrap().extend(found);
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "\n\n{}\n", failures.join("\n\n"));
}

#[test]
#[ignore = "needs go: runs the programs"]
fn the_programs_of_the_guide_for_go_run() {
    alone("docs/how-to/go.md");
}

#[test]
#[ignore = "needs nginx: runs it as a proxy"]
fn nginx_passes_streams_as_its_guide_says() {
    alone("docs/how-to/nginx.md");
}

#[test]
#[ignore = "needs caddy: runs it as a proxy"]
fn caddy_passes_streams_as_its_guide_says() {
    alone("docs/how-to/caddy.md");
}

fn alone(path: &str) {
    assert!(NEEDS.contains(&path), "{path} runs twice");
    let failures = stage::run(&Document::read(path.into()));
    assert!(failures.is_empty(), "\n\n{}\n", failures.join("\n\n"));
}

#[test]
fn every_block_is_run_or_listed_here() {
    let mut not_run = BTreeSet::new();
    for document in document::all() {
        let path = &document.path;
        let used: String =
            document.blocks().filter(|b| ["sh", "url"].contains(&&*b.language)).map(|b| &*b.text).collect();
        for block in document.blocks() {
            let Block { language, line, text } = block;
            match &**language {
                "sh" => assert!(text.starts_with("$ "), "{path}:{line}: a sh block begins with `$ ` and a command"),
                "console" => not_run.extend(text.lines().filter_map(|l| l.strip_prefix("$ ")).map(str::to_owned)),
                "bash" | "python" | "js" | "html" | "toml" | "go" | "nginx" | "caddyfile" => {
                    let name = block.file_name();
                    let name = name.unwrap_or_else(|| panic!("{path}:{line}: no file name in the first line"));
                    let name = name.rsplit('/').next().unwrap_or(name);
                    assert!(
                        used.contains(name) || NOT_USED_BY_A_COMMAND.contains(&name),
                        "{path}:{line}: no command uses {name}"
                    );
                }
                "text" => assert!(!text.contains("$ "), "{path}:{line}: a command in a text block is not run"),
                "rust,no_run" => {
                    assert_eq!(path, "docs/how-to/rust.md", "src/lib.rs compiles the programs of that page only");
                }
                "url" => {}
                other => panic!("{path}:{line}: `{other}` is not a language of the documents' blocks"),
            }
        }
    }
    let listed: BTreeSet<String> = NOT_RUN.iter().map(|command| (*command).to_owned()).collect();
    assert_eq!(not_run, listed);
}

#[test]
fn the_readme_is_short_and_begins_a_fresh_machine_with_two_commands() {
    let readme = Document::read("README.md".into());
    assert!(readme.text.lines().count() <= 250, "the README has {} lines", readme.text.lines().count());
    let first = readme.blocks().find(|block| block.language == "console").expect("commands");
    assert_eq!(first.text, "$ cargo run --release --bin sse-busd\n$ tests/run\n");
}

/// Polls until a value is found. After the deadline, returns the last error.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let end = Instant::now() + DEADLINE;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(seen) if Instant::now() > end => {
                return Err(format!("waited {DEADLINE:?} for {what}; at the end: {seen}"));
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}
