//! `sse-busctl bench`: plausible figures, and no trace in the bus of the user.

use std::{fs, process::Command};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Daemon, Process, Sandbox, until};

/// Runs the benchmark with a directory for temporary files of its own.
fn bench(sandbox: &Sandbox, args: &[&str]) -> Command {
    let temporary = sandbox.path("tmp");
    fs::create_dir_all(&temporary).unwrap();
    let mut bench = sandbox.busctl(&[&["bench"], args].concat());
    bench.env("TMPDIR", temporary);
    bench
}

/// Checks that a benchmark left no files and no processes.
fn is_clean(sandbox: &Sandbox) {
    let left: Vec<_> = fs::read_dir(sandbox.path("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    // The daemon has the path of its socket among its arguments.
    let path = sandbox.path("tmp").display().to_string();
    let runs = |pid: &str| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.windows(path.len()).any(|w| w == path.as_bytes()))
    };
    let running: Vec<_> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|pid| runs(pid))
        .collect();
    assert!(running.is_empty(), "still running: {running:?}");
}

#[test]
fn the_benchmark_prints_plausible_figures_and_leaves_no_trace() {
    let daemon = Daemon::start(&[]);
    let mut all = daemon.stream("/events/**");
    let (before, topics) = (daemon.status(), daemon.get("/topics").json());
    let run = Process::start(bench(&daemon.sandbox, &["--subscribers", "20", "--duration", "1s"])).finish().ok();
    let figures: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&figures["subscribers"], &figures["size"], &figures["seconds"]), (&20.into(), &200.into(), &1.into()));
    for latency in ["latency_alone", "latency"] {
        let [median, high] = ["p50_us", "p99_us"].map(|name| figures[latency][name].as_f64().unwrap());
        assert!(0.0 < median && median <= high, "{figures}");
    }
    assert!(figures["deliveries_per_second"].as_u64().unwrap() > 0, "{figures}");
    assert_eq!(figures["cpu_us_per_delivery"].is_f64(), cfg!(target_os = "linux"), "{figures}");
    assert_eq!(run.stderr, "", "no progress without a terminal");

    // The user's bus is unchanged.
    is_clean(&daemon.sandbox);
    for key in ["position", "published", "delivered", "topics", "history_events"] {
        assert_eq!(daemon.status()[key], before[key], "{key}");
    }
    assert_eq!(daemon.get("/topics").json(), topics);
    daemon.publish("t", "after");
    assert_eq!(all.data(1), ["after"]);
}

#[test]
fn a_benchmark_that_is_interrupted_cleans_up_as_well() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let sandbox = Sandbox::new();
        let bench = Process::start(bench(&sandbox, &["--subscribers", "5", "--duration", "1m"]));
        until("its daemon has a socket", || {
            let directories = fs::read_dir(sandbox.path("tmp")).unwrap();
            directories.map(|directory| directory.unwrap().path().join("bus.sock")).find(|socket| socket.exists())
        });
        bench.signal(signal);
        bench.finish().ends_with(1);
        is_clean(&sandbox);
    }
}

#[test]
fn the_benchmark_explains_why_it_cannot_run() {
    let sandbox = Sandbox::new();
    let run = |args: &[&str]| Process::start(bench(&sandbox, args)).finish();
    run(&["--subscribers", "1", "--duration", "1s", "--size", "300000"]).ends_with(7).says("event_bytes");
    for wrong in [
        ["--subscribers", "0"],
        ["--duration", "0s"],
        ["--duration", "1500ms"],
        ["--size", "0"],
        ["--size", "2MiB"],
        ["--subscribers", "60000"],
    ] {
        run(&wrong).ends_with(2);
    }
    is_clean(&sandbox);
}

/// The measurement does not wait for the progress line to be written.
#[cfg(target_os = "linux")]
#[test]
fn a_stopped_terminal_does_not_stop_the_benchmark() {
    use std::{
        io::{Read, Write},
        process::Stdio,
    };
    let daemon = Daemon::start(&[]);
    let (mut keyboard, path) = crate::logs::terminal();
    let terminal = std::fs::File::options().read(true).write(true).open(path).unwrap();
    keyboard.write_all(b"\x13").unwrap();
    let mut bench = daemon.sandbox.busctl(&["bench", "--subscribers", "5", "--duration", "1s"]);
    bench.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(terminal);
    let mut bench = bench.spawn().unwrap();
    let ended = until("the benchmark ends", || bench.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
    let mut figures = String::new();
    bench.stdout.take().unwrap().read_to_string(&mut figures).unwrap();
    assert!(figures.contains("deliveries_per_second"), "{figures}");
}
