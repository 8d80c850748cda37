//! One document: its own daemon and folder, with terminals and tabs beside each other.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Shutdown, TcpListener},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
};

use tempfile::TempDir;

use crate::{
    DEADLINE,
    browser::Tab,
    compare::Ids,
    document::{Block, Document, Item, Step},
    eventually,
    terminal::Terminal,
};

/// An address in the documents, and the address of this run.
const BUS: &str = "127.0.0.1:7733";
/// The same for its other address.
const BUS_OVER_IPV6: &str = "[::1]:7733";
/// The ports of other servers in the documents, such as those of pages and proxies. In a run each is a free one.
const OTHER_PORTS: [&str; 3] = ["3000", "8080", "8443"];
const RUNTIME: &str = "/run/user/1000";
/// The home directory in the documents. In a run it is the folder of the stage.
const HOME: &str = "/home/me";

/// Printed between the output of a command and its exit code.
const MARK: char = '\u{1}';

/// Runs a document. Returns the differences from what it shows.
pub(crate) fn run(document: &Document) -> Vec<String> {
    let mut stage = Stage::set(document);
    for item in &document.items {
        match item {
            Item::Heading => stage.end_terminals(false),
            Item::Block(block) => stage.block(block),
        }
    }
    stage.end_terminals(true);
    stage.failures
}

struct Stage {
    path: String,
    failures: Vec<String>,
    ids: Ids,
    tabs: Vec<Tab>,
    open: Vec<Open>,
    /// The daemon of a document that does not start one itself.
    daemon: Option<Terminal>,
    /// The port of the daemon, and those that stand for [`OTHER_PORTS`].
    bus_port: Option<String>,
    other_ports: [String; OTHER_PORTS.len()],
    /// The files of the document so far, as it shows them.
    files: Vec<(String, String)>,
    folder: TempDir,
}

/// A terminal that is left open, with the command that runs in it.
struct Open {
    step: Step,
    terminal: Terminal,
    subscribes: bool,
}

impl Open {
    fn is_daemon(&self) -> bool {
        starts_a_daemon(&self.step.command)
    }
}

fn starts_a_daemon(command: &str) -> bool {
    let ends_at_once = ["--check", "--print-config", "--help", "--version"].iter().any(|flag| command.contains(flag));
    command.starts_with("sse-busd") && !ends_at_once
}

impl Stage {
    fn set(document: &Document) -> Stage {
        let folder = tempfile::Builder::new().prefix("sse-bus-docs-").tempdir().expect("a temporary folder");
        let mut stage = Stage {
            path: document.path.clone(),
            failures: Vec::new(),
            ids: Ids::default(),
            tabs: Vec::new(),
            open: Vec::new(),
            daemon: None,
            bus_port: None,
            other_ports: OTHER_PORTS.map(|_| free_port().to_string()),
            files: Vec::new(),
            folder,
        };
        let mut commands = document.steps().map(|step| step.command).peekable();
        if commands.peek().is_some() && !commands.any(|command| starts_a_daemon(&command)) {
            stage.daemon = Some(stage.terminal("exec sse-busd"));
            stage.expect_daemon();
        }
        stage
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run/sse-bus/bus.sock")
    }

    fn terminal(&self, script: &str) -> Terminal {
        let binaries = Path::new(env!("CARGO_BIN_EXE_sse-busd")).parent().expect("a binary is in a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        let pyenv =
            std::env::var("PYENV_ROOT").unwrap_or_else(|_| std::env::var("HOME").unwrap_or_default() + "/.pyenv");
        let in_folder = |name: &str| self.folder.path().join(name).display().to_string();
        let environment = [
            ("PATH", format!("{}:{path}", binaries.display())),
            ("HOME", self.folder.path().display().to_string()),
            // A Python that pyenv installed is found by it.
            ("PYENV_ROOT", pyenv),
            ("XDG_RUNTIME_DIR", in_folder("run")),
            ("XDG_CONFIG_HOME", in_folder("config")),
            ("XDG_STATE_HOME", in_folder("state")),
            ("SSE_BUS_LISTEN", "localhost:0".into()),
            ("NO_COLOR", "1".into()),
            ("LC_ALL", "C.UTF-8".into()),
            ("TERM", "xterm".into()),
            ("no_proxy", "*".into()),
            ("NO_PROXY", "*".into()),
        ];
        Terminal::run(script, self.folder.path(), &environment)
    }

    /// The document's text with the values of this run.
    fn here(&self, text: &str) -> String {
        let mut text = match &self.bus_port {
            Some(port) => text.replace(BUS, &format!("127.0.0.1:{port}")),
            None => text.into(),
        };
        for (there, here) in OTHER_PORTS.iter().zip(&self.other_ports) {
            text = text.replace(there, here);
        }
        self.ids.in_command(&text)
    }

    /// This run's text with the values of the document.
    fn there(&self, text: &str) -> String {
        let runtime = self.folder.path().join("run").display().to_string();
        let home = self.folder.path().display().to_string();
        let mut text = text.replace(&runtime, RUNTIME).replace(&home, HOME);
        for (there, here) in OTHER_PORTS.iter().zip(&self.other_ports) {
            text = text.replace(here, there);
        }
        match &self.bus_port {
            Some(port) => {
                text.replace(&format!("127.0.0.1:{port}"), BUS).replace(&format!("[::1]:{port}"), BUS_OVER_IPV6)
            }
            None => text,
        }
    }

    fn fail(&mut self, line: usize, why: &str) {
        self.failures.push(format!("{}:{line}: {why}", self.path));
    }

    fn block(&mut self, block: &Block) {
        match &*block.language {
            "sh" if block.stays_open() => self.leave_open(block),
            "sh" => self.commands(block),
            "url" => self.open_tabs(block),
            _ => {
                if let Some(name) = block.file_name() {
                    self.files.push((name.into(), block.text.clone()));
                    self.write_files();
                }
            }
        }
    }

    /// Writes the document's files; again once the daemon's port is known.
    fn write_files(&self) {
        for (name, text) in &self.files {
            let path = self.folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("our folder")).expect("a folder in ours");
            std::fs::write(path, self.here(text)).expect("a file in our folder");
        }
    }

    fn open_tabs(&mut self, block: &Block) {
        for (number, line) in block.text.lines().enumerate() {
            let (url, rest) = line.split_once(' ').unwrap_or((line, ""));
            let name = rest.rsplit_once("I am ").map_or_else(|| format!("tab{number}"), |(_, name)| name.trim().into());
            match Tab::open(&self.here(url), &name, self.folder.path()) {
                Ok(tab) => self.tabs.push(tab),
                Err(why) => self.fail(block.line + 1 + number, &why),
            }
        }
    }

    /// Runs the commands of a block in turn.
    fn commands(&mut self, block: &Block) {
        let steps = block.steps();
        let mut exit = "0".to_owned();
        for (number, step) in steps.iter().enumerate() {
            if let Err(why) = self.settle() {
                self.fail(step.line, &why);
            }
            let script = format!("(exit {exit})\n{}\nprintf '{MARK}%d' $?", self.here(&step.command));
            let screen = match self.terminal(&script).wait() {
                Ok(screen) => self.there(&screen),
                Err(why) => return self.fail(step.line, &format!("`{}`: {why}", step.command)),
            };
            let Some((written, ended)) = screen.rsplit_once(MARK) else {
                return self.fail(step.line, &format!("the shell ended in `{}`:\n{screen}", step.command));
            };
            ended.trim().clone_into(&mut exit);
            let is_shown = steps.get(number + 1).is_some_and(|next| next.command == "echo $?");
            if exit != "0" && !is_shown {
                self.fail(step.line, &format!("`{}` ended with {exit}:\n{written}", step.command));
            }
            if !written.is_empty() && !written.ends_with('\n') {
                self.fail(
                    step.line,
                    &format!("`{}`: a prompt would stand behind what it wrote:\n{written}", step.command),
                );
            }
            if let Err(why) = self.ids.compare(&step.shown, written.trim_end_matches('\n')) {
                self.fail(step.line, &format!("`{}`\n{why}", step.command));
            }
        }
    }

    /// Waits until the daemon has noticed disconnects, as it would before a person types the next command.
    fn settle(&self) -> Result<(), String> {
        let here = self.tabs.len() + self.open.iter().filter(|open| open.subscribes).count();
        eventually("the daemon to notice disconnects", || match self.subscribers().len() {
            there if there <= here => Ok(()),
            there => Err(format!("{there} subscribers")),
        })
    }

    /// Starts a command that keeps running beside the next ones, and waits until it has started.
    fn leave_open(&mut self, block: &Block) {
        let mut steps = block.steps();
        let (Some(step), None) = (steps.pop(), steps.pop()) else {
            return self.fail(block.line, "a terminal that is left open runs one command");
        };
        if starts_a_daemon(&step.command) {
            self.end_terminals(true);
        }
        let before = self.subscribers();
        let is_new = |id: &String| !before.contains(id);
        let terminal = self.terminal(&self.here(&step.command));
        let started = if starts_a_daemon(&step.command) {
            Ok(())
        } else {
            // A subscribing program prints nothing before there is an event; any other prints something.
            eventually("the command to subscribe or to write something", || {
                let screen = terminal.screen();
                if self.subscribers().iter().any(is_new) || screen.contains('\n') { Ok(()) } else { Err(screen) }
            })
        };
        let subscribes = self.subscribers().iter().any(is_new);
        self.open.push(Open { step, terminal, subscribes });
        match started {
            Ok(()) if self.open.last().is_some_and(Open::is_daemon) => self.expect_daemon(),
            Ok(()) => {}
            Err(why) => self.fail(block.line + 1, &why),
        }
    }

    /// Ends the open terminals, the last one first, and compares their output.
    fn end_terminals(&mut self, with_daemon: bool) {
        while let Some(at) = self.open.iter().rposition(|open| with_daemon || !open.is_daemon()) {
            let Open { step, mut terminal, .. } = self.open.remove(at);
            let mut compared = Ok(());
            // Output may still be in transit.
            let shown = eventually(&format!("`{}` to show what the document shows", step.command), || {
                compared = self.ids.compare(&step.shown, self.there(&terminal.screen()).trim_end_matches('\n'));
                compared.clone()
            });
            terminal.interrupt();
            let ended = terminal.wait();
            for why in [shown.err(), ended.err()].into_iter().flatten() {
                self.fail(step.line, &why);
            }
        }
        if with_daemon {
            self.tabs.clear();
        }
    }

    /// Waits for the daemon and reads its port.
    fn expect_daemon(&mut self) {
        let status = eventually("the daemon to answer", || self.ask("status"));
        match status.map(|status| status["status"]["url"].as_str().and_then(|url| url.rsplit(':').next()?.parse().ok()))
        {
            Ok(Some(port)) => {
                self.bus_port = Some(u16::to_string(&port));
                self.write_files();
            }
            Ok(None) => self.fail(0, "the daemon has no URL"),
            Err(why) => self.fail(0, &why),
        }
    }

    /// The ids of the current subscribers.
    fn subscribers(&self) -> Vec<String> {
        let Ok(reply) = self.ask("clients") else { return Vec::new() };
        let clients = reply["clients"].as_array().into_iter().flatten();
        let subscribers = clients.filter(|client| client["role"] == "subscriber");
        subscribers.filter_map(|client| client["id"].as_str().map(str::to_owned)).collect()
    }

    /// Sends a JSON line to the daemon and returns the reply.
    fn ask(&self, what: &str) -> Result<serde_json::Value, String> {
        let ask = || {
            let mut bus = UnixStream::connect(self.socket())?;
            bus.set_read_timeout(Some(DEADLINE))?;
            writeln!(bus, "{{\"{what}\":{{}}}}")?;
            bus.shutdown(Shutdown::Write)?;
            let mut reply = String::new();
            BufReader::new(bus).read_line(&mut reply)?;
            Ok(serde_json::from_str(&reply)?)
        };
        ask().map_err(|error: std::io::Error| error.to_string())
    }
}

/// A port for a server that cannot choose a free one itself. Below the ephemeral range, so that no other program gets
/// it meanwhile, and not one that another document has.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 20_000 + (std::process::id() % 10_000) as u16;
    let mut ports = std::iter::repeat_with(|| start + NEXT.fetch_add(1, Ordering::Relaxed) % 2000);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}
