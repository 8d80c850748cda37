//! `sse-busctl status`: the daemon, described, or its configuration.

use std::{fmt::Write, time::Duration};

use sse_bus::{
    Client,
    protocol::{LimitInfo, Status},
    shell::quoted,
};

use crate::{
    cli,
    exit::Failure,
    output::{Output, ago, count, duration, size, text, visible},
};

pub(crate) async fn run(client: &mut Client, output: &Output, options: cli::Status) -> Result<(), Failure> {
    if options.config {
        let settings = client.config().await?;
        output.whole(&settings, &[text("KEY"), text("VALUE"), text("SOURCE")], |setting| {
            let value = if setting.value.is_null() { "-".into() } else { setting.value.to_string() };
            [setting.key.clone(), value, setting.source.clone()]
        })?;
        return Ok(());
    }
    let status = client.status().await?;
    output.say(|| describe(&status), &status)?;
    Ok(())
}

fn describe(status: &Status) -> String {
    let uptime = duration(Duration::from_millis(status.uptime_ms));
    let rows = [
        ("daemon", format!("sse-busd {}, process {}, up {uptime}", status.version, status.pid)),
        ("url", urls(status)),
        ("socket", status.socket.clone()),
        ("clients", format!("{}, {}", count(status.subscribers, "subscriber"), count(status.publishers, "publisher"))),
        ("topics", format!("{}, {} with a retained event", status.topics, status.retained)),
        ("events", format!("{} published, {} delivered", status.published, status.delivered)),
        (
            "history",
            format!(
                "{} in {}, {} of {}",
                count(status.history_events, "event"),
                status.history,
                size(status.history_bytes),
                size(status.history_budget)
            ),
        ),
        ("trouble", format!("{}, {}", count(status.gaps, "gap"), count(status.slow_disconnects, "slow disconnect"))),
        ("position", status.position.clone()),
    ];
    let trouble = status.history_trouble.iter().map(|why| ("disk", format!("history is not written: {why}")));
    let limits = status.limits.iter().filter(|limit| limit.is_near()).map(|limit| {
        let LimitInfo { limit, used, bound, .. } = limit;
        ("limit", format!("{used} of {limit} = {bound} are used; raise it under [limits] of the configuration"))
    });
    let refused = status.refused_origins.iter().map(|refused| {
        let (times, last) = (count(refused.times, "time"), ago(refused.last));
        let mend = if can_be_allowed(&refused.origin) {
            format!("let in by sse-busd --allow-origin {}", quoted(&refused.origin))
        } else {
            "such pages have no origin that could be let in; serve them from one".into()
        };
        ("refused", format!("pages of {}, {times}, last {last}; {mend}", refused.origin))
    });
    let hosts = status.refused_hosts.iter().map(|refused| {
        let (times, last) = (count(refused.times, "time"), ago(refused.last));
        let mend = format!("let in by sse-busd --allow-host {}", quoted(&refused.host));
        ("refused", format!("requests for {}, {times}, last {last}; {mend}", refused.host))
    });
    let mut text = String::new();
    for (name, value) in rows.into_iter().chain(trouble).chain(limits).chain(refused).chain(hosts) {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:<10}{}", visible(&value));
    }
    text.truncate(text.trim_end().len());
    text
}

/// Where browsers find it. A daemon of an earlier version names one address only.
fn urls(status: &Status) -> String {
    match (&status.urls[..], &status.url) {
        ([], None) => "none: only the local socket is served".into(),
        ([], Some(url)) => url.clone(),
        (urls, _) => urls.join(" "),
    }
}

/// Whether `--allow-origin` takes it: there are pages without an origin, whose browsers say `null`.
pub(crate) fn can_be_allowed(origin: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| origin.starts_with(scheme))
}
