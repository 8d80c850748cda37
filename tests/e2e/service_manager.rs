//! `sse-busctl service` with a real `systemd --user`, in namespaces of its own.
//!
//! It needs root: for a `/run` of its own, in which a user manager takes systemd for booted, for a control group that
//! it may divide, and for a journal. The manager itself, the daemon and `sse-busctl` run as an ordinary user. All
//! processes end with the namespace.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::chown,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::harness::{Process, Run, Sandbox, until};

/// A uid that the system does not know.
const USER: u32 = 54_321;

/// Prepares the namespace and starts a manager. Ends when its stdin does.
const SETUP: &str = r#"set -e
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs /usr/local/lib
# As if the journal had moved to the disk after booting: there each user has a part of it.
mkdir -p /run/systemd/system /run/systemd/journal /run/bin /var/log/journal /usr/local/lib/systemd/user
touch /run/systemd/journal/flushed
mount --bind "$BINARIES" /run/bin
/lib/systemd/systemd-journald &
# Named as on a real system, where the journal knows by the name whose unit it is; the namespace's own is that of its first process.
GROUP=$GROUP.slice/user@$USER.service
(
    for groups in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
        [ -e $groups/cgroup.procs ] || continue
        mkdir -p $groups/$GROUP
        echo $BASHPID >$groups/$GROUP/cgroup.procs
        chown -R $USER $groups/$GROUP
    done
    exec setpriv --reuid $USER --regid $USER --clear-groups env -i PATH="$PATH" HOME="$PLACE" \
        XDG_RUNTIME_DIR="$PLACE/run" /lib/systemd/systemd --user --log-target=null
) &
read -r _ || true
"#;

/// A user manager. Ends when it is dropped.
struct Manager {
    sandbox: Sandbox,
    group: String,
    namespaces: Process,
    /// The pid of the first process in the namespaces, as seen from outside.
    inside: u32,
}

impl Manager {
    fn start() -> Manager {
        let sandbox = Sandbox::new();
        fs::create_dir(sandbox.path("run")).unwrap();
        for path in [sandbox.path(""), sandbox.path("run")] {
            chown(path, Some(USER), Some(USER)).unwrap();
        }
        let group = sandbox.path("").file_name().unwrap().display().to_string();
        let binaries = Path::new(env!("CARGO_BIN_EXE_sse-busd")).parent().unwrap();
        let mut unshare = sandbox.command("unshare");
        unshare.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", SETUP]);
        unshare.env("BINARIES", binaries).env("GROUP", &group).env("USER", USER.to_string());
        unshare.env("PLACE", sandbox.path("").parent().unwrap().join(&group));
        let namespaces = Process::start(unshare);
        let pid = namespaces.pid();
        let inside = until("the first process of the namespaces", || {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
            children.split_whitespace().next()?.parse().ok()
        });
        let manager = Manager { sandbox, group, namespaces, inside };
        until("the user manager runs", || {
            let state = manager.run("systemctl", &["--user", "is-system-running"]).stdout;
            ["running", "degraded"].contains(&state.trim()).then_some(())
        });
        manager
    }

    /// A command of the user, beside the manager.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = self.sandbox.command("nsenter");
        command.args(["--target", &self.inside.to_string(), "--mount", "--pid", "--"]);
        let user = USER.to_string();
        command.args(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "env", "-i"]);
        let home = self.sandbox.path("").display().to_string();
        let home = home.trim_end_matches('/');
        command.arg(format!("HOME={home}")).arg(format!("XDG_RUNTIME_DIR={home}/run"));
        command.args(["PATH=/run/bin:/usr/bin:/bin", program]).args(args);
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> Run {
        Process::start(self.command(program, args)).finish()
    }

    fn ctl(&self, args: &[&str]) -> Run {
        self.run("sse-busctl", args)
    }

    fn service(&self, args: &[&str]) -> Run {
        self.ctl(&[&["service"], args].concat())
    }

    /// The daemon's pid inside the namespace.
    fn pid(&self) -> u64 {
        self.ctl(&["status"]).ok().json()[0]["pid"].as_u64().unwrap()
    }

    /// A property of a unit.
    fn property(&self, unit: &str, name: &str) -> String {
        self.run("systemctl", &["--user", "show", "--value", "--property", name, unit]).ok().stdout.trim().to_owned()
    }

    /// Writes a file below the user's home.
    fn write(&self, name: &str, content: &str) {
        let path = self.sandbox.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        for folder in path.ancestors().take_while(|folder| *folder != self.sandbox.path("")) {
            let _ = chown(folder, Some(USER), Some(USER));
        }
    }

    fn configure(&self, listen: SocketAddr) {
        self.write(".config/sse-bus/config.toml", &format!("listen = \"{listen}\"\n"));
    }

    /// The bus's files below the folder of units.
    fn units(&self) -> Vec<String> {
        let folder = self.sandbox.path(".config/systemd/user");
        let mut find = Command::new("find");
        let found = find.arg(&folder).args(["-name", "*sse-bus*", "-printf", "%P\\n"]).output().unwrap().stdout;
        let mut found: Vec<_> = String::from_utf8(found).unwrap().lines().map(str::to_owned).collect();
        found.sort_unstable();
        found
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.namespaces.signal(rustix::process::Signal::KILL);
        // A control group can be removed once it is empty; if that fails, it does no harm.
        let folders = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"];
        for folder in folders
            .map(|folder| Path::new(folder).join(format!("{}.slice", self.group)))
            .iter()
            .filter(|folder| folder.exists())
        {
            eventually(|| {
                let _ = Command::new("find")
                    .arg(folder)
                    .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"])
                    .output();
                !folder.exists()
            });
        }
    }
}

/// Returns true if a condition becomes true within ten seconds.
fn eventually(mut look: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if look() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The change of each file, as `install` reports it.
fn changes(run: &Run) -> Vec<String> {
    run.json().iter().filter_map(|line| Some(line["change"].as_str()?.to_owned())).collect()
}

#[test]
#[ignore = "needs manager: systemd as a user manager, in namespaces that only root can create"]
fn a_service_is_installed_used_restarted_and_uninstalled() {
    let manager = Manager::start();
    let listen = free_port();
    manager.configure(listen);
    manager.write(".config/systemd/user/sse-bus.service.d/mine.conf", "[Service]\nNice=5\n");

    let installed = manager.service(&["install"]).ok();
    assert_eq!(changes(&installed), ["written"; 3]);
    assert_eq!(installed.json()[3]["url"], format!("http://{listen}"), "{installed}");
    manager.service(&["status"]).ok();
    let first = manager.pid();
    assert_eq!(changes(&manager.service(&["install"]).ok()), ["unchanged"; 3]);
    assert_eq!(manager.pid(), first, "an unchanged service is left running");

    // The sandbox of the unit is in effect, the daemon has its descriptors, and the kernel reports its own user to it.
    let status = manager.run("cat", &[&format!("/proc/{first}/status")]).ok().stdout;
    for line in ["CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "no {line:?} in\n{status}");
    }
    let limits = manager.run("cat", &[&format!("/proc/{first}/limits")]).ok().stdout;
    let files: Vec<_> = limits.lines().find(|l| l.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert_eq!(files[3], files[4], "the limit of descriptors could not be raised");
    let url = format!("http://{listen}/events/t");
    manager.run("curl", &["-sSf", "-d", "by curl", &url]).ok();

    // A restart with an open stream: no connection is refused, no event missed.
    let mut stream = Process::start(manager.command("sse-busctl", &["subscribe", "t", "--format", "data"]));
    until("the subscriber", || (manager.ctl(&["clients"]).stdout.contains("subscriber")).then_some(()));
    manager.ctl(&["publish", "t", "before"]).ok();
    assert_eq!(stream.line(), "before");
    manager.service(&["restart"]).ok();
    until("the subscriber has reconnected", || (manager.ctl(&["clients"]).stdout.contains("subscriber")).then_some(()));
    manager.ctl(&["publish", "t", "after"]).ok();
    assert_eq!(stream.line(), "after");
    assert_ne!(manager.pid(), first);
    drop(stream);

    // A crash, and another configuration.
    let second = manager.pid();
    manager.run("kill", &["-KILL", &second.to_string()]).ok();
    let third = manager.pid();
    assert_ne!(third, second, "the next client is served by the next daemon");
    manager.run("systemctl", &["--user", "reload", "sse-bus"]).ok();
    assert_eq!(manager.pid(), third);
    until("its logs", || manager.service(&["logs"]).stdout.contains("listening").then_some(()));

    // Installing again applies the configured port.
    let other = free_port();
    manager.configure(other);
    let again = manager.service(&["install"]).ok();
    assert_eq!(changes(&again), ["updated", "unchanged", "unchanged"]);
    assert_eq!(again.json()[3]["url"], format!("http://{other}"));

    manager.service(&["stop"]).ok();
    manager.service(&["status"]).ends_with(3);
    manager.ctl(&["publish", "t", "x"]).ends_with(3);
    manager.service(&["start"]).ok();
    manager.ctl(&["publish", "t", "x"]).ok();

    manager.ctl(&["token", "create"]).ok();
    manager.service(&["uninstall"]).ok();
    assert_eq!(manager.units(), ["sse-bus.service.d"], "the user's drop-in stays, and nothing else");
    assert_eq!(manager.property("sse-bus-ipc.socket", "LoadState"), "not-found");
    assert!(!manager.sandbox.path("run/sse-bus").exists());
    let tokens = manager.sandbox.path(".local/state/sse-bus/tokens.json");
    assert!(tokens.exists());
    manager.service(&["uninstall", "--purge"]).ok();
    assert!(!tokens.parent().unwrap().exists());
}

#[test]
#[ignore = "needs manager: systemd as a user manager, in namespaces that only root can create"]
fn a_package_and_a_running_daemon_are_respected() {
    let manager = Manager::start();
    let listen = free_port();
    manager.configure(listen);

    let daemon = Process::start(manager.command("sse-busd", &[]));
    until("it answers", || (manager.ctl(&["status"]).code == Some(0)).then_some(()));
    manager.service(&["install"]).ends_with(1).says("is already running").says("stop it first");
    assert_eq!(manager.units(), Vec::<String>::new(), "and nothing was written");
    let pid = manager.pid().to_string();
    manager.run("kill", &[&pid]).ok();
    daemon.stdout.wait("its end", |_, over| over.then_some(()));
    drop(daemon);

    // As if a package had installed the units.
    manager.service(&["install", "--no-start"]).ok();
    let folder = manager.sandbox.path(".config/systemd/user");
    let copy = format!("cp {}/sse-bus* /usr/local/lib/systemd/user/", folder.display());
    let mut root = manager.sandbox.command("nsenter");
    root.args(["--target", &manager.inside.to_string(), "--mount", "--pid", "sh", "-c", &copy]);
    Process::start(root).finish().ok();
    let installed = manager.service(&["install"]).ok();
    assert_eq!(changes(&installed), ["removed"; 3], "copies would only hide what the package updates");
    assert_eq!(manager.property("sse-bus.service", "FragmentPath"), "/usr/local/lib/systemd/user/sse-bus.service");
    manager.ctl(&["publish", "t", "x"]).ok();
    assert_eq!(changes(&manager.service(&["install"]).ok()), ["packaged"; 3]);

    manager.service(&["uninstall"]).ok();
    assert_eq!(manager.property("sse-bus.service", "UnitFileState"), "disabled");
    assert_eq!(manager.property("sse-bus.service", "ActiveState"), "inactive");
    assert_eq!(manager.units(), Vec::<String>::new());
}

/// The README's way from a page to a service.
#[test]
#[ignore = "needs manager: systemd as a user manager, in namespaces that only root can create"]
fn a_page_is_served_by_the_service_and_changed_meanwhile() {
    let manager = Manager::start();
    let listen = free_port();
    manager.write("bus-pages/hello.html", "first");
    manager.write(".config/sse-bus/config.toml", &format!("listen = \"{listen}\"\npages = \"~/bus-pages\"\n"));
    manager.service(&["install"]).ok();
    let page = |name: &str| manager.run("curl", &["-sS", &format!("http://{listen}/pages/{name}.html")]).ok().stdout;
    assert_eq!(page("hello"), "first");
    manager.write("bus-pages/hello.html", "second");
    assert_eq!(page("hello"), "second");
    manager.ctl(&["init-page", "more"]).ok();
    assert!(page("more").contains("/client.js"));
    manager.service(&["restart"]).ok();
    assert_eq!(page("hello"), "second");
    // The page uses the bus's own module, and a job publishes what it shows.
    let event = manager.ctl(&["publish", "chat", "from a job"]).ok();
    let id = event.json()[0]["id"].as_str().unwrap().to_owned();
    let past = format!("http://{listen}/events/chat?since=all&past_only=true");
    assert!(manager.run("curl", &["-sS", &past]).ok().stdout.contains(&id));
    let doctor = manager.ctl(&["doctor"]).ok();
    let service = doctor.json().into_iter().find(|finding| finding["check"] == "service").unwrap();
    assert_eq!(service["state"], "ok", "{doctor}");
}
