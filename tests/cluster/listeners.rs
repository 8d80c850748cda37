//! Clients as pages have them: npm's `eventsource`, and the browser module, in Node.

use std::{
    collections::BTreeMap,
    fs,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

use crate::harness::{Process, Sandbox};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/node");
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/daemon/web/client/client.js");

/// The folder of the script and of the packages that it imports, which are installed once.
static INSTALLED: LazyLock<PathBuf> = LazyLock::new(|| {
    let lock = fs::read(Path::new(SOURCE).join("package-lock.json")).unwrap();
    let script = fs::read(Path::new(SOURCE).join("listen.mjs")).unwrap();
    let version = BuildHasherDefault::<DefaultHasher>::default().hash_one((lock, script));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = target.join(format!("cluster-node-{version:016x}"));
    // Other runs may install it at the same time.
    let guard = fs::File::create(target.join("cluster-node.lock")).unwrap();
    guard.lock().unwrap();
    if !folder.exists() {
        let fresh = tempfile::tempdir_in(target).unwrap();
        for file in fs::read_dir(SOURCE).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), fresh.path().join(file.file_name())).unwrap();
        }
        let options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"];
        let npm = Command::new("npm").args(options).current_dir(fresh.path()).stdin(Stdio::null()).output().unwrap();
        assert!(npm.status.success(), "npm: {}", String::from_utf8_lossy(&npm.stderr));
        fs::rename(fresh.keep(), &folder).unwrap();
    }
    folder
});

/// An event as a client received it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Received {
    pub is_gap: bool,
    pub id: String,
    pub data: String,
}

/// Clients in one process.
pub(crate) struct Listeners {
    process: Process,
    clients: usize,
    _sandbox: Sandbox,
}

impl Listeners {
    /// Starts clients of a topic, and waits until all have connected.
    pub(crate) fn start(bus: SocketAddr, topic: &str, clients: usize) -> Listeners {
        let sandbox = Sandbox::new();
        let mut node = sandbox.command("node");
        node.arg(INSTALLED.join("listen.mjs")).args([&format!("http://{bus}"), topic, MODULE, &clients.to_string()]);
        node.env("NO_PROXY", "127.0.0.1");
        let mut process = Process::start(node);
        assert_eq!(process.line(), "open");
        Listeners { process, clients, _sandbox: sandbox }
    }

    /// What each has received, once all of them have received the event with the data `end`.
    pub(crate) fn at_the_end(self) -> Vec<Vec<Received>> {
        let Listeners { process, clients, _sandbox } = self;
        let run = process.finish().ok();
        let mut all = vec![Vec::new(); clients];
        for line in run.stdout.lines().filter(|line| !["open", "done"].contains(line)) {
            let mut fields = line.splitn(4, '\t');
            let mut field = || fields.next().unwrap_or_else(|| panic!("{line:?}")).to_owned();
            let client: usize = field().parse().unwrap();
            all[client].push(Received { is_gap: field() == "$gap", id: field(), data: field() });
        }
        all
    }
}

/// The sequence number of an id, with or without a check.
pub(crate) fn seq(id: &str) -> u64 {
    id.split('-').nth(1).and_then(|seq| seq.parse().ok()).unwrap_or_else(|| panic!("no id: {id:?}"))
}

/// Checks that a client received events in the order of the log, each once, and without a gap. Returns their data by id.
pub(crate) fn in_order(events: &[Received]) -> BTreeMap<String, String> {
    for pair in events.windows(2) {
        assert!(seq(&pair[0].id) < seq(&pair[1].id), "{pair:?}");
    }
    let gap = events.iter().find(|event| event.is_gap);
    assert_eq!(gap, None);
    events.iter().map(|event| (event.id.clone(), event.data.clone())).collect()
}
