//! The command line of `sse-busctl schedule`.

use clap::{Args, Subcommand};

use super::completers;
use crate::exit;

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl publish wake/me up --in 10m --schedule-id tea
  sse-busctl schedule list
  sse-busctl schedule cancel tea"))]
pub(crate) struct Schedule {
    #[command(subcommand)]
    pub(crate) action: ScheduleAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleAction {
    /// List the events that are published later
    List,
    /// Cancel schedules, so that their events are not published
    Cancel(ScheduleCancel),
}

#[derive(Debug, Args)]
pub(crate) struct ScheduleCancel {
    /// The ids of the schedules
    #[arg(required = true, value_name = "ID", add = completers::schedules())]
    pub(crate) schedules: Vec<String>,
}
