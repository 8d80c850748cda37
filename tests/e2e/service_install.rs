//! `sse-busctl service` without a service manager: which files it writes and keeps, and that systemd's own tools and
//! other parsers accept them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::harness::{Lines, PATIENCE, Process, Run, Sandbox, http, until};

const UNITS: [&str; 3] = ["sse-bus-http.socket", "sse-bus-ipc.socket", "sse-bus.service"];

/// `sse-busctl service` with the default socket, and without the service manager of the machine.
fn command(sandbox: &Sandbox, args: &[&str]) -> Command {
    let mut busctl = sandbox.busctl(&["service"]);
    for name in ["SSE_BUS_SOCKET", "SUDO_USER", "DBUS_SESSION_BUS_ADDRESS", "XDG_DATA_HOME"] {
        busctl.env_remove(name);
    }
    busctl.args(args);
    busctl
}

fn service(sandbox: &Sandbox, args: &[&str]) -> Run {
    Process::start(command(sandbox, args)).finish()
}

/// The change of each file.
fn changes(run: &Run) -> Vec<(String, String)> {
    let name = |line: &Value| Path::new(line["file"].as_str().unwrap()).file_name().unwrap().display().to_string();
    run.json().iter().map(|line| (name(line), line["change"].as_str().unwrap().to_owned())).collect()
}

/// The same change for all units.
fn all(change: &str) -> Vec<(String, String)> {
    UNITS.iter().map(|unit| ((*unit).to_owned(), change.to_owned())).collect()
}

/// Every file of the folder.
fn files(sandbox: &Sandbox) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), found);
            }
            found.push(entry.path());
        }
    }
    let mut found = Vec::new();
    walk(&sandbox.path(""), &mut found);
    found
}

fn packaging(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)).unwrap()
}

#[test]
fn packages_install_the_files_that_the_command_writes() {
    let sandbox = Sandbox::new();
    let units = sandbox.path("systemd/user");
    let printed = service(&sandbox, &["install", "--print", "--daemon", "/usr/bin/sse-busd"]).ok().stdout;
    let expected = UNITS.iter().fold(String::new(), |text, unit| {
        format!("{text}# {}\n{}\n", units.join(unit).display(), packaging(&format!("systemd/{unit}")))
    });
    let commands = "$ systemctl --user daemon-reload\n$ systemctl --user enable --now sse-bus-http.socket \
        sse-bus-ipc.socket sse-bus.service\n";
    assert_eq!(printed, format!("{expected}{commands}"));

    let home = sandbox.path("").display().to_string();
    let home = home.trim_end_matches('/');
    let launchd = ["--manager", "launchd", "install", "--print", "--daemon", "/usr/local/bin/sse-busd"];
    let agent = packaging("launchd/io.github.sse-bus.plist").replace("/Users/USER", home);
    let printed = service(&sandbox, &launchd).ok().stdout;
    assert!(printed.contains(&agent), "{printed}");

    let windows = ["--manager", "windows", "install", "--print", "--daemon", r"C:\Program Files\sse-bus\sse-busd.exe"];
    let mut busctl = command(&sandbox, &windows);
    busctl.env("USERDOMAIN", "DOMAIN").env("USERNAME", "USER").env("XDG_DATA_HOME", sandbox.path("data"));
    let log = sandbox.path("data/sse-bus/sse-bus.log").display().to_string();
    let task = packaging("windows/sse-bus.xml").replace(r"C:\Users\USER\AppData\Local\sse-bus\sse-bus.log", &log);
    let printed = Process::start(busctl).finish().ok().stdout;
    assert!(printed.contains(&task), "{printed}");
    assert!(files(&sandbox).is_empty(), "printing writes nothing");
}

#[test]
fn installing_twice_succeeds_and_uninstalling_leaves_nothing() {
    let sandbox = Sandbox::new();
    let first = service(&sandbox, &["install", "--no-start"]).ok();
    assert_eq!(changes(&first), all("written"));
    let again = service(&sandbox, &["install", "--no-start"]).ok();
    assert_eq!(changes(&again), all("unchanged"));
    // The daemon beside the command.
    let unit = fs::read_to_string(sandbox.path("systemd/user/sse-bus.service")).unwrap();
    assert!(unit.contains(concat!("\nExecStart=", env!("CARGO_BIN_EXE_sse-busd"), "\n")), "{unit}");

    let port = || fs::read_to_string(sandbox.path("systemd/user/sse-bus-http.socket")).unwrap();
    assert!(port().contains("\nListenStream=127.0.0.1:7733\nListenStream=[::1]:7733\n"), "{}", port());
    let other = service(&sandbox, &["install", "--no-start", "--listen", "127.0.0.1:7799"]).ok();
    assert_eq!(
        port().lines().filter(|line| line.starts_with("Listen")).collect::<Vec<_>>(),
        ["ListenStream=127.0.0.1:7799"]
    );
    let mut expected = all("unchanged");
    expected[0].1 = "updated".into();
    assert_eq!(changes(&other), expected);

    assert_eq!(changes(&service(&sandbox, &["uninstall"]).ok()), all("removed"));
    assert_eq!(files(&sandbox), Vec::<PathBuf>::new());
    service(&sandbox, &["uninstall"]).ok().says("not installed");
}

#[test]
fn files_of_the_user_are_kept() {
    let sandbox = Sandbox::new();
    let units = sandbox.path("systemd/user");
    fs::create_dir_all(units.join("sse-bus.service.d")).unwrap();
    let (mine, drop_in) = (units.join("sse-bus.service"), units.join("sse-bus.service.d/mine.conf"));
    fs::write(&mine, "[Service]\nExecStart=/bin/true\n").unwrap();
    fs::write(&drop_in, "[Service]\nNice=5\n").unwrap();

    service(&sandbox, &["install", "--no-start"])
        .ends_with(1)
        .says("sse-bus.service was not written by")
        .says("--force");
    assert!(!units.join(UNITS[0]).exists(), "all or nothing");
    let kept = service(&sandbox, &["uninstall"]).ok();
    assert_eq!(changes(&kept), [("sse-bus.service".to_owned(), "kept".to_owned())]);
    assert!(mine.exists());

    service(&sandbox, &["install", "--no-start", "--force"]).ok();
    assert!(fs::read_to_string(&mine).unwrap().contains("Type=notify"));
    service(&sandbox, &["uninstall"]).ok();
    assert_eq!(files(&sandbox).iter().filter(|path| path.is_file()).collect::<Vec<_>>(), [&drop_in]);
}

#[test]
fn history_and_tokens_are_kept_without_purge() {
    let sandbox = Sandbox::new();
    let state = sandbox.path("sse-bus");
    Process::start(sandbox.busctl(&["token", "create"])).finish().ok();
    fs::write(state.join("history.redb"), "history").unwrap();
    fs::write(state.join("history.tail"), "its end").unwrap();
    fs::write(state.join("mine"), "not the daemon's").unwrap();
    service(&sandbox, &["install", "--no-start"]).ok();
    service(&sandbox, &["uninstall"]).ok();
    assert!(state.join("tokens.json").exists() && state.join("history.redb").exists());

    let purged = service(&sandbox, &["uninstall", "--purge"]).ok().says("not installed");
    let names: Vec<_> = changes(&purged).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["history.redb", "history.tail", "tokens.json", "tokens.lock"]);
    assert_eq!(files(&sandbox).iter().filter(|path| path.is_file()).collect::<Vec<_>>(), [&state.join("mine")]);
}

#[test]
fn the_socket_units_listen_at_the_configured_addresses() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("sse-bus")).unwrap();
    let socket = sandbox.path("50% mine/bus.sock");
    let toml = format!("listen = \"[::1]:7801\"\nsocket = {:?}\n", socket.display().to_string());
    sandbox.file("sse-bus/config.toml", &toml);
    service(&sandbox, &["install", "--no-start"]).ok();
    let unit = |name: &str| fs::read_to_string(sandbox.path("systemd/user").join(name)).unwrap();
    assert!(unit(UNITS[0]).contains("\nListenStream=[::1]:7801\n"));
    let listen = format!("\nListenStream={}\n", socket.display().to_string().replace('%', "%%"));
    assert!(unit(UNITS[1]).contains(&listen), "{}", unit(UNITS[1]));
    // A configuration that the daemon would refuse is not installed.
    sandbox.file("sse-bus/config.toml", "lissten = 1");
    service(&sandbox, &["install", "--no-start"]).ends_with(1).says("the service would not start").says("lissten");
    service(&sandbox, &["install", "--no-start", "--daemon", "nowhere/sse-busd"]).ends_with(1).says("--daemon");
}

#[test]
fn a_relative_socket_path_is_made_absolute() {
    let sandbox = Sandbox::new();
    let install = |socket: &str| {
        let mut busctl = command(&sandbox, &["install", "--no-start"]);
        busctl.args(["--socket", socket]);
        Process::start(busctl).finish()
    };
    install("mine/bus.sock").ok();
    let here = sandbox.path("mine/bus.sock").display().to_string();
    assert_eq!(value(&sandbox, UNITS[1], "ListenStream"), here, "systemd has no working directory for it");
    // Such a line would continue on the next one, or lose its last character.
    for odd in [r"/tmp/bus\", "/tmp/bus "] {
        install(odd).ends_with(1).says("cannot be used in a service file");
    }
}

#[test]
fn an_unreachable_manager_is_explained_and_nothing_is_written() {
    let sandbox = Sandbox::new();
    service(&sandbox, &["install"]).ends_with(1).says("the service manager cannot be reached").says("--no-start");
    assert_eq!(files(&sandbox), Vec::<PathBuf>::new());
    let mut sudo = command(&sandbox, &["install"]);
    sudo.env("SUDO_USER", "me");
    let run = Process::start(sudo).finish();
    if rustix::process::geteuid().is_root() {
        run.ends_with(2).says("without sudo");
    } else {
        run.ends_with(1);
    }
    let foreign = if cfg!(target_os = "macos") { "systemd" } else { "launchd" };
    service(&sandbox, &["--manager", foreign, "install"]).ends_with(2).says("--print");
}

#[test]
#[ignore = "needs systemd: runs systemd-analyze"]
fn systemd_accepts_the_units_and_rates_their_exposure_low() {
    let sandbox = Sandbox::new();
    service(&sandbox, &["install", "--no-start"]).ok();
    let units = UNITS.map(|unit| sandbox.path("systemd/user").join(unit));
    let mut verify = sandbox.command("systemd-analyze");
    verify.args(["verify", "--user", "--man=no"]).args(&units);
    let verified = Process::start(verify).finish().ok();
    assert_eq!((verified.stdout.as_str(), verified.stderr.as_str()), ("", ""), "{verified}");

    // In tenths: the threshold is 40.
    let mut security = sandbox.command("systemd-analyze");
    security.args(["security", "--user", "--offline=true", "--threshold=40", "--no-pager"]).arg(&units[2]);
    let rated = Process::start(security).finish().ok();
    println!("{}", rated.stdout.lines().last().unwrap());
}

/// A value of a unit, with systemd's `%t` and `%%` expanded.
fn value(sandbox: &Sandbox, unit: &str, key: &str) -> String {
    let text = fs::read_to_string(sandbox.path("systemd/user").join(unit)).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap();
    value.replace("%t", sandbox.path("").to_str().unwrap().trim_end_matches('/')).replace("%%", "%")
}

#[test]
#[ignore = "needs systemd: runs systemd-socket-activate"]
fn the_daemon_inherits_both_sockets_by_the_names_in_the_units() {
    let sandbox = Sandbox::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    service(&sandbox, &["install", "--no-start", "--listen", &port.to_string()]).ok();
    let [http, ipc] = [0, 1].map(|unit| value(&sandbox, UNITS[unit], "ListenStream"));
    let names = [1, 0].map(|unit| value(&sandbox, UNITS[unit], "FileDescriptorName")).join(":");
    assert_eq!(names, "ipc:http");
    fs::create_dir_all(Path::new(&ipc).parent().unwrap()).unwrap();
    let mut activate = sandbox.command("systemd-socket-activate");
    for name in ["HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"] {
        activate.arg(format!("--setenv={name}={}", sandbox.path("").display()));
    }
    activate.args(["--listen", &ipc, "--listen", &http, "--fdname", &names]).arg(value(
        &sandbox,
        UNITS[2],
        "ExecStart",
    ));
    let _activated = Process::start(activate);
    let local = until("the local socket", || std::os::unix::net::UnixStream::connect(&ipc).ok());
    let status = Lines::new(local).ask(r#"{"status":{}}"#);
    assert_eq!(status["status"]["url"], format!("http://{port}"));
    assert_eq!(status["status"]["socket"], ipc);
    let tcp = std::net::TcpStream::connect(port).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(http::exchange(Box::new(tcp), &port.to_string(), "GET", "/healthz", &[], b"").status, 200);
}

#[test]
fn the_agent_of_macos_is_a_valid_property_list() {
    let sandbox = Sandbox::new();
    let daemon = "/Applications/a & <b>/sse-busd";
    let printed = service(&sandbox, &["--manager", "launchd", "install", "--print", "--daemon", daemon]).ok().stdout;
    let (begin, end) = (printed.find("<?xml").unwrap(), printed.find("</plist>").unwrap() + "</plist>".len());
    let mut python = sandbox.command("python3");
    python.args(["-c", "import json, plistlib, sys; print(json.dumps(plistlib.loads(sys.stdin.buffer.read())))"]);
    let mut python = Process::start(python);
    python.feed(&printed.as_bytes()[begin..end]);
    let agent = python.finish().ok().json().remove(0);
    assert_eq!(agent["ProgramArguments"], serde_json::json!([daemon]));
    assert_eq!((&agent["KeepAlive"], &agent["RunAtLoad"]), (&Value::Bool(true), &Value::Bool(true)));
    assert_eq!(agent["Sockets"]["http"]["SockServiceName"], "7733");
    assert_eq!(agent["Sockets"]["http"]["SockNodeName"], "127.0.0.1");
    let other = &agent["Sockets"]["http-2"];
    assert_eq!([&other["SockNodeName"], &other["SockServiceName"], &other["SockFamily"]], ["::1", "7733", "IPv6"]);
    assert_eq!(agent["Sockets"]["ipc"]["SockPathMode"], 0o600);
    assert_eq!(agent["Umask"], 0o077);
}

/// Read as UTF-16, as on Windows, by an independent parser.
#[test]
fn the_task_of_windows_is_valid_xml() {
    let sandbox = Sandbox::new();
    let daemon = r"C:\a & b\sse-busd.exe";
    let args = ["--manager", "windows", "install", "--print", "--daemon", daemon, "--listen", "127.0.0.1:7800"];
    let printed = service(&sandbox, &args).ok().stdout;
    let (begin, end) = (printed.find("<?xml").unwrap(), printed.find("</Task>").unwrap() + "</Task>".len());
    let mut python = sandbox.command("python3");
    let script = "import sys, xml.etree.ElementTree as tree
task = tree.fromstring(sys.stdin.buffer.read().decode().encode('utf-16'))
print(task.find('.//{*}Arguments').text)
print(task.find('.//{*}RunLevel').text)";
    python.args(["-c", script]);
    let mut python = Process::start(python);
    python.feed(&printed.as_bytes()[begin..end]);
    let read = python.finish().ok().stdout;
    let mut lines = read.lines();
    let arguments = lines.next().unwrap();
    let begins = format!("--headless cmd.exe /d /c \"\"{daemon}\" --listen 127.0.0.1:7800 2>\"");
    assert!(arguments.starts_with(&begins) && arguments.ends_with("sse-bus.log\"\""), "{arguments}");
    assert_eq!(lines.next(), Some("LeastPrivilege"));
}
