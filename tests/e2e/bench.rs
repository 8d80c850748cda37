//! `sse-busctl bench`: plausible figures, and no clients or events left behind.

use serde_json::Value;

use crate::harness::{Daemon, until};

#[test]
fn the_benchmark_prints_plausible_figures_and_cleans_up() {
    let daemon = Daemon::start(&[]);
    let run = daemon.ctl(&["bench", "--subscribers", "20", "--seconds", "1"]).ok();
    let figures: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&figures["subscribers"], &figures["size"], &figures["seconds"]), (&20.into(), &200.into(), &1.into()));
    for latency in ["latency_alone", "latency"] {
        let [median, high] = ["p50_us", "p99_us"].map(|name| figures[latency][name].as_f64().unwrap());
        assert!(0.0 < median && median <= high, "{figures}");
    }
    assert!(figures["deliveries_per_second"].as_u64().unwrap() > 0, "{figures}");
    assert_eq!(figures["cpu_us_per_delivery"].is_f64(), cfg!(target_os = "linux"), "{figures}");
    assert_eq!(run.stderr, "", "no progress without a terminal");

    until("the connections are closed", || {
        let status = daemon.status();
        (status["subscribers"] == 0 && status["publishers"] == 0).then_some(())
    });
}

#[test]
fn the_benchmark_explains_why_it_cannot_run() {
    let daemon = Daemon::start(&[]);
    let too_large = ["bench", "--subscribers", "1", "--seconds", "1", "--size", "300000"];
    daemon.ctl(&too_large).ends_with(7).says("event_bytes");
    let full = Daemon::configured("[limits]\nsubscribers = 3\n");
    full.ctl(&["bench", "--subscribers", "5", "--seconds", "1"]).ends_with(7).says("limit of subscribers");
    for wrong in [["--subscribers", "0"], ["--seconds", "0"], ["--size", "0"], ["--subscribers", "60000"]] {
        daemon.ctl(&["bench", wrong[0], wrong[1]]).ends_with(2);
    }
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
    let mut bench = daemon.sandbox.busctl(&["bench", "--subscribers", "5", "--seconds", "1"]);
    bench.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(terminal);
    let mut bench = bench.spawn().unwrap();
    let ended = until("the benchmark ends", || bench.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
    let mut figures = String::new();
    bench.stdout.take().unwrap().read_to_string(&mut figures).unwrap();
    assert!(figures.contains("deliveries_per_second"), "{figures}");
}
