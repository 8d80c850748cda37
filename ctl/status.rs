//! `sse-busctl status`: shows the state of the daemon, or its configuration.

use std::{fmt::Write, time::Duration};

use sse_bus::{
    Client,
    protocol::{HistoryKind, KeptOut, LimitInfo, LogInfo, NodeInfo, NodeState, Setting, Status},
    shell::quoted,
};

use crate::{
    cli,
    exit::Failure,
    limit_fix::LimitFix,
    output::Output,
    table::{text, wrapped},
    units::{self, ago, count, duration, size},
    visible::visible,
};

pub(crate) async fn run(client: &mut Client, output: &Output, options: cli::Status) -> Result<(), Failure> {
    if options.config {
        let settings = client.config().await?;
        let columns = [text("KEY"), text("VALUE").shrinking(), text("SOURCE").shrinking().dropped(1)];
        let row = |setting: &Setting| {
            let value = if setting.value.is_null() { "-".into() } else { setting.value.to_string() };
            [setting.key.clone(), value, setting.source.clone()]
        };
        output.list(&settings, &columns, row, "no settings")?;
        return Ok(());
    }
    let status = client.status().await?;
    output.print(|| describe(&status, output.width), &status)?;
    Ok(())
}

fn describe(status: &Status, width: Option<usize>) -> String {
    /// The column in which values begin.
    const INDENT: usize = 10;
    let uptime = duration(Duration::from_secs(status.uptime_ms / 1000));
    let rows = [
        ("daemon", format!("sse-busd {}, process {}, up {uptime}", status.version, status.pid)),
        ("url", urls(status)),
        ("socket", status.socket.clone()),
        ("clients", format!("{}, {}", count(status.subscribers, "subscriber"), count(status.publishers, "publisher"))),
        ("topics", format!("{}, {} with a retained event", status.topics, status.retained)),
        ("events", format!("{} published, {} delivered", status.published, status.delivered)),
        ("history", history_usage(status)),
        ("losses", format!("{}, {}", count(status.gaps, "gap"), count(status.slow_disconnects, "slow disconnect"))),
        ("position", status.position.clone()),
    ];
    let disk = status.history_error.iter().map(|why| {
        let place = if status.history == HistoryKind::Nats { "log" } else { "disk" };
        (place, format!("history cannot be written: {why}"))
    });
    let log = status.log.iter().map(|log| ("nats", describe_log(log)));
    let work = Some(status).filter(|status| status.consumers > 0).map(|status| ("consumers", consumers(status)));
    let nodes = Some(status).filter(|status| !status.nodes.is_empty()).map(|status| ("nodes", nodes(status)));
    let schedules = status.limits.iter().filter(|limit| limit.limit == "schedules" && limit.used > 0);
    let later =
        schedules.map(|schedules| ("schedules", format!("{} to be published later", count(schedules.used, "event"))));
    let limits = status.limits.iter().filter(|limit| limit.is_near()).map(|near| {
        let LimitInfo { limit, used, bound, .. } = near;
        let fix = if near.is_fixed() {
            LimitFix::of(near).sentence
        } else {
            "increase it under [limits] in the configuration"
        };
        ("limit", format!("{used} of {limit} = {bound} are used; {fix}"))
    });
    let refused = status.refused_origins.iter().map(|refused| {
        let (times, last) = (count(refused.times, "time"), ago(refused.last));
        let fix = if refused.can_be_allowed() {
            format!("if they are yours, allow them with sse-busd --allow-origin {}", quoted(&refused.origin))
        } else {
            "these pages have no origin that can be allowed; serve them over HTTP".into()
        };
        ("refused", format!("pages of {}, {times}, last {last}; {fix}", refused.origin))
    });
    let hosts = status.refused_hosts.iter().map(|refused| {
        let (times, last) = (count(refused.times, "time"), ago(refused.last));
        let fix = format!("if they are for you, allow them with sse-busd --allow-host {}", quoted(&refused.host));
        ("refused", format!("requests for {}, {times}, last {last}; {fix}", refused.host))
    });
    let kept_out = status.kept_out.iter().map(|kept_out| {
        let KeptOut { client, until, .. } = kept_out;
        (
            "kept out",
            format!("{client}, for {}; `sse-busctl kick {} --for 0s` ends it", units::until(*until), quoted(client)),
        )
    });
    let mut text = String::new();
    for (name, value) in rows
        .into_iter()
        .chain(log)
        .chain(nodes)
        .chain(work)
        .chain(later)
        .chain(disk)
        .chain(limits)
        .chain(refused)
        .chain(hosts)
        .chain(kept_out)
    {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<INDENT$}{}", wrapped(&visible(&value), INDENT, width));
    }
    text.truncate(text.trim_end().len());
    text
}

/// Returns the nodes of the bus: `a (here), b, c (lost)`.
fn nodes(status: &Status) -> String {
    let node = |node: &NodeInfo| match node.state {
        _ if node.own => format!("{} (here)", node.name),
        NodeState::Up => node.name.clone(),
        state => format!("{} ({state})", node.name),
    };
    status.nodes.iter().map(node).collect::<Vec<_>>().join(", ")
}

/// Returns where the log is: `stream SSEBUS_team on n1 (2.15.1), round trip 0.21 ms, at 1840, lag 0`.
pub(crate) fn describe_log(log: &LogInfo) -> String {
    let LogInfo { stream, server, server_version, last, lag, skipped, rewrites, .. } = log;
    let round_trip = match log.round_trip_us {
        Some(micros) => format!("round trip {:.2} ms", micros as f64 / 1000.0),
        None => "no answer".into(),
    };
    let mut text = format!("stream {stream} on {server} ({server_version}), {round_trip}, at {last}, lag {lag}");
    // Writing to a String cannot fail.
    if *skipped > 0 {
        let _ = write!(text, ", {} of others skipped", count(*skipped, "message"));
    }
    if *rewrites > 0 {
        let _ = write!(text, ", rewritten {}", count(*rewrites, "time"));
    }
    text
}

/// Returns how much work there is: `2 consumers, 1 worker, 7 pending, 1 in flight, 3 dead letters`.
fn consumers(status: &Status) -> String {
    let Status { consumers, workers, pending, in_flight, dead, .. } = status;
    let (consumers, workers) = (count(*consumers, "consumer"), count(*workers, "worker"));
    format!("{consumers}, {workers}, {pending} pending, {in_flight} in flight, {}", count(*dead, "dead letter"))
}

/// Returns how much history there is, and where: `2 events on disk, 488 B of 64 MiB`.
pub(crate) fn history_usage(status: &Status) -> String {
    if status.history == HistoryKind::Nats {
        let used = size(status.history_bytes);
        return format!("on NATS; {} of it in memory, {used}", count(status.history_events, "event"));
    }
    let preposition = if status.history == HistoryKind::Disk { "on" } else { "in" };
    let (used, budget) = (size(status.history_bytes), size(status.history_budget));
    format!("{} {preposition} {}, {used} of {budget}", count(status.history_events, "event"), status.history)
}

/// Returns the URLs of the daemon. An earlier daemon reports only one.
fn urls(status: &Status) -> String {
    match (&status.urls[..], &status.url) {
        ([], None) => "none: the daemon serves only its local socket".into(),
        ([], Some(url)) => url.clone(),
        (urls, _) => urls.join(" "),
    }
}
