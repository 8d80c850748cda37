//! The screenshots of the documents: the page with real traffic, in light and dark, its map, and a queue.

use std::{
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use sse_bus_browser_tests::{Browser, Bus};

use super::says;

/// Programs as people run them in a shell.
const PROGRAMS: &[&str] = &[
    "$CTL publish door/front '{\"open\":false,\"battery\":87}' --retain; $CTL publish config/theme calm --retain; sleep 999",
    "$CTL publish clock --every 1s --exec date",
    "$CTL publish machine/load --every 400ms --exec \"cut -d' ' -f1-3 /proc/loadavg\"",
    "$CTL publish machine/memory --every 900ms --type sample --exec \"awk '/MemAvail/ { print \\$2, \\$3 }' /proc/meminfo\"",
    "$CTL subscribe 'build/**' --client watcher",
    "$CTL subscribe 'machine/**' --client recorder",
    "n=0; while sleep 0.$((RANDOM % 6)); do n=$((n + 1 + RANDOM % 4)); echo \"{\\\"topic\\\":\\\"log/web\\\",\\\"type\\\":\\\"info\\\",\
     \\\"data\\\":{\\\"request\\\":\\\"GET /items/$n\\\",\\\"status\\\":200,\\\"ms\\\":$((RANDOM % 90))}}\"; done | $CTL publish --jsonl",
    "n=0; while true; do n=$((n + 1)); for step in started compiling testing passed; do echo \"$step #$n\"; sleep 1.3; done; done \
     | $CTL publish build/web --type step --lines",
    "while sleep 20; do seq 400 | $CTL publish import/rows --lines --ttl 1m; done",
];

/// A queue with two workers, some of whose jobs fail.
const QUEUE: &[&str] = &[
    "$CTL publish wake/me up --in 10m --schedule-id tea; $CTL publish backup/start now --in 8h --schedule-id backup",
    "$CTL work thumbs --exec \"$JOB\" -j2 --client anna",
    "$CTL work thumbs --exec \"$JOB\" -j2 --client bert",
    "$CTL work mails --exec 'sleep 0.3' --client postman",
    "n=0; while sleep 0.$((2 + RANDOM % 3)); do n=$((n + 1)); echo \"img-$n.jpg\"; done | $CTL publish photos/new --lines",
    "while sleep 2; do $CTL publish mail/out 'to: a@example.org'; done",
];

/// Rejects some pictures, and fails at the first attempt of some.
const JOB: &str = "read f; sleep 1.$((RANDOM % 9)); case $f in \
    *7.jpg) echo \"$f is not a picture\" >&2; exit 65;; *3.jpg) [ $SSE_BUS_ATTEMPT -gt 1 ] || exit 1;; esac";

#[tokio::test]
#[ignore = "takes a minute: the queue should have something to show"]
async fn picture_of_a_queue() {
    let mut bus = Bus::start_with(&["--history", "disk"]).await;
    bus.ctl(&["consumer", "create", "thumbs", "photos/new"]).await;
    bus.ctl(&["consumer", "create", "mails", "mail/*"]).await;
    let _programs = Programs::start(&bus, QUEUE);
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    page.look("light", 1280, 800).await;
    let wait = async |seconds| tokio::time::sleep(Duration::from_secs(seconds)).await;
    wait(25).await;
    bus.crash().await;
    wait(2).await;
    bus.restart().await;
    page.connected().await;
    wait(25).await;
    says(&page, "#consumers-note", "dead letters").await;
    page.look("light", 1280, 920).await;
    page.screenshot("queue").await;
    browser.quit().await;
}

#[tokio::test]
#[ignore = "takes some minutes: the chart should have something to show"]
async fn pictures_for_the_readme() {
    let bus = Bus::start().await;
    let _programs = Programs::start(&bus, PROGRAMS);
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    page.connected().await;
    page.look("light", 1280, 800).await;
    let end = Instant::now() + Duration::from_secs(310);
    while Instant::now() < end {
        says(&page, "#topics .topic", "clock").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    for scheme in ["light", "dark"] {
        page.look(scheme, 1280, 800).await;
        page.screenshot(scheme).await;
    }
    // It is drawn only while it is seen.
    page.eval("document.querySelector('#map').scrollIntoView()").await;
    says(&page, "#map .subscribers .label", "watcher").await;
    says(&page, "#map .topics .label", "build/web").await;
    let height = page.eval("return document.querySelector('#map').offsetHeight + 32").await.as_u64().expect("a number");
    page.look("light", 1280, height as u32).await;
    page.eval("document.querySelector('#map').scrollIntoView()").await;
    page.screenshot("map").await;
    browser.quit().await;
}

struct Programs(Vec<Child>);

impl Programs {
    fn start(bus: &Bus, programs: &[&str]) -> Programs {
        let control = format!("{} --socket {}", Bus::control().display(), bus.socket().display());
        let shell = |program: &&str| {
            let mut shell = Command::new("bash");
            shell.args(["-c", program]).env("CTL", &control).env("JOB", JOB).stdin(Stdio::null()).stdout(Stdio::null());
            shell.process_group(0).spawn().expect("there is a shell")
        };
        Programs(programs.iter().map(shell).collect())
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        for shell in &mut self.0 {
            let _ = kill_process_group(Pid::from_child(shell), Signal::KILL);
            let _ = shell.wait();
        }
    }
}
