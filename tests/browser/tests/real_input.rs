//! A realistic log from a pipe to three curls and a browser: every line arrives in order and unchanged, except that
//! event streams turn every CR into a line break.

use std::{
    fmt::Write as _,
    fs::{self, File},
};

use sse_bus_browser_tests::{Browser, Bus, Random, Tab, eventually, sse::data_of_events};

const LINES: usize = 4000;
const LAST: &str = "-- the last line --";

#[tokio::test]
async fn every_line_of_a_log_arrives_everywhere_in_order() {
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let log = log_lines();
    let expected: Vec<String> = log.iter().map(|line| line.replace('\r', "\n")).collect();
    let file = bus.path().join("input.log");
    fs::write(&file, log.join("\n") + "\n").unwrap();

    let streams = ["a", "b", "c"].map(|name| bus.path().join(name));
    let targets = ["/events/log/real?client=a", "/events?topic=log/*", "/events/**"];
    let _curls = [0, 1, 2].map(|n| bus.curl(targets[n], &streams[n]));
    let page = browser.open(&format!("{}/?topic=log/**", bus.url())).await;
    page.connected().await;
    let plain = browser.open(&format!("{}/?topic=nothing", bus.url())).await;
    plain.connected().await;
    plain
        .eval(
            "window.lines = [];
             window.stream = new EventSource('/events/log/real');
             stream.onmessage = (e) => lines.push(e.data);",
        )
        .await;
    bus.subscribers(6).await;

    bus.ctl_reading(&["publish", "log/real", "--lines"], File::open(&file).unwrap()).await;

    for (stream, target) in streams.iter().zip(targets) {
        let end = format!("data: {LAST}\n\n");
        eventually(&format!("the end of {target}"), async || {
            let bytes = fs::read(stream).unwrap();
            if bytes.ends_with(end.as_bytes()) { Ok(()) } else { Err(format!("{} bytes", bytes.len())) }
        })
        .await;
        same(target, &data_of_events(&fs::read(stream).unwrap()), &expected);
    }
    eventually("the end of the EventSource", async || {
        let count = plain.eval("return lines.length").await;
        if count == LINES { Ok(()) } else { Err(format!("{count} lines")) }
    })
    .await;
    same("the EventSource", &plain.strings("lines").await, &expected);
    page.shows(LAST).await;
    // Its data arrives as JSON, which preserves everything.
    same("the page", &all_that_is_kept(&page).await, &log);
    page.screenshot("real-input").await;
    browser.quit().await;
}

/// The data of all events that the page keeps. It draws the newest, and more on request; long ones are shortened until
/// they are opened.
async fn all_that_is_kept(page: &Tab) -> Vec<String> {
    page.pause().await;
    page.eval("for (let n = 0; n < 20 && !older.hidden; n++) older.click();").await;
    page.eval("for (const more of document.querySelectorAll('#log .more')) more.closest('button').click();").await;
    page.eval("for (const as of document.querySelectorAll('#log .as')) as.click();").await;
    page.strings(
        "[...document.querySelectorAll('#log .event')]
           .map((row) => (row.querySelector('pre') ?? row.querySelector('.data')).textContent)",
    )
    .await
}

fn same(who: &str, got: &[String], expected: &[String]) {
    if let Some(n) = (0..got.len().max(expected.len())).find(|&n| got.get(n) != expected.get(n)) {
        let cut = |line: Option<&String>| line.map(|l| l.chars().take(200).collect::<String>());
        let (got_line, expected_line) = (cut(got.get(n)), cut(expected.get(n)));
        panic!("{who}: {} of {LINES} lines; line {n} is {got_line:?}, should be {expected_line:?}", got.len());
    }
}

/// A log as programs write them, the same every time. No line ends in CR, which would belong to the line's end.
fn log_lines() -> Vec<String> {
    let mut random = Random(0x5eed);
    let mut lines: Vec<String> = (0..LINES - 1).map(|n| log_line(n, &mut random)).collect();
    lines.push(LAST.to_owned());
    lines
}

fn log_line(n: usize, random: &mut Random) -> String {
    const WORDS: &[&str] = &[
        "started",
        "GET /index.html",
        "żółć",
        "Straße",
        "ошибка",
        "接続が切れました",
        "🦀🚀",
        "👩‍👩‍👧",
        "e\u{301}",
        "مرحبا",
        "\u{1b}[31mred\u{1b}[0m",
        "{\"level\":\"warn\",\"path\":\"C:\\\\tmp\"}",
        "\"quoted\"",
        "\\n",
        "%s%n",
        "<b>&amp;",
        "tab\there",
        "data: x",
        "\u{2028}",
        "\u{2029}",
        "\u{85}",
        "\u{b}\u{c}",
        "\u{feff}",
        "\u{a0}",
        "\u{ffff}",
    ];
    let mut line = String::new();
    match random.below(20) {
        0 => return line,
        1 => return "   ".to_owned(),
        2 => line.push_str("    at leading.spaces (file.js:1)"),
        3 => line.push_str("\u{feff}mark first"),
        4 => line.push_str("progress 10%\rprogress 20%\r\rdone"),
        5 => line.push_str("\rreturned first"),
        6 => line.push_str(["data: x", ": comment", "id: 7", "event: fake", "retry: 1", "data", ":"][random.below(7)]),
        7 => line.push_str("trailing spaces  \t "),
        _ => write!(line, "2026-02-28T23:59:59.{n:06}Z INFO [worker-{}] ", random.below(8)).unwrap(),
    }
    for _ in 0..random.below(12) {
        line.push_str(WORDS[random.below(WORDS.len())]);
        line.push(' ');
    }
    // One line in a hundred is long, the longest 100 KB.
    if n % 100 == 99 {
        let length = if n % 1000 == 999 { 100_000 } else { random.below(100_000) };
        while line.len() < length {
            line.push_str(WORDS[random.below(WORDS.len())]);
        }
        while line.len() > length {
            line.pop();
        }
    }
    line
}
