//! `sse-busctl doctor`: finds problems of the bus and suggests fixes.
//!
//! Each check adds one or more [findings](finding::Finding) to the report as soon as it is done: that something is in
//! order, that it may become a problem, or that it is one. A warning or a problem always has a fix. No fix starts a second
//! bus beside the one that runs, and none opens the bus to pages or hosts that the user may not know. Checks do not change
//! anything: the events that `--url` sends go to the doctor's own connection and are in no history. A check without access
//! to its information reports that it is unknown, which is not a problem.
//!
//! No check blocks: the daemon and every program have [`PATIENCE`](program::PATIENCE) to answer.

mod clock;
mod configuration;
mod consumers;
mod curl;
mod finding;
mod health;
mod pages;
mod port;
mod program;
mod proxy;
mod restart;
mod service;
mod socket;
mod target;
mod version;

use sse_bus::Endpoint;

use self::{
    finding::{Finding, Report},
    target::{Daemon, Target},
};
use crate::{
    cli,
    exit::{Exit, Failure},
    output::Output,
};

/// Runs all checks. `is_given` means that the user chose the endpoint with an option or a variable.
pub(crate) async fn run(
    endpoint: Endpoint,
    is_given: bool,
    output: &Output,
    options: cli::Doctor,
) -> Result<(), Failure> {
    options.url.as_deref().map_or(Ok(()), proxy::validate)?;
    let mut report = Report::new(output);
    let mut target = Target::new(endpoint, is_given);
    let (daemon, finding) = target.check().await;
    report.add(&finding)?;
    report.add_all(socket::check(&target, &daemon).await)?;
    let (finding, listen) = configuration::check().await;
    report.add(&finding)?;
    let units = service::Units::query().await;
    let is_service = units.as_ref().is_ok_and(service::Units::is_active);
    if let Daemon::Responds(status) = &daemon {
        report.add(&version::compare(env!("CARGO_PKG_VERSION"), status, is_service))?;
    }
    report.add_all(port::check(&daemon, &listen, &target, units.as_ref().ok()))?;
    report.add_all(service::check(units, &daemon).await)?;
    if let Daemon::Responds(status) = &daemon {
        report.add_all(health::check(status, &target, is_service))?;
        report.add_all(consumers::check(&target, status).await)?;
        report.add_all(pages::check(&target).await)?;
        report.add(&clock::check(&target).await)?;
    }
    match (&options.url, &daemon) {
        (Some(url), Daemon::Responds(status)) => {
            let (finding, stream) = proxy::check(url, options.token_file.as_deref(), &target, status).await;
            report.add(&finding)?;
            if let Some(stream) = stream {
                report.add(&proxy::check_idle(stream).await)?;
            }
        }
        (Some(url), _) => {
            let message = format!("no event was sent through {}: no daemon answers", proxy::without_credentials(url));
            report.add(&Finding::warning("url", message, target.start()))?;
        }
        (None, _) => {}
    }
    report.finish()?;
    match daemon {
        Daemon::IsAbsent => Err(Exit::NoDaemon.into()),
        _ if report.has_problem() => Err(Exit::Failed.into()),
        _ => Ok(()),
    }
}
