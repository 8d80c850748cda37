//! A task of the Windows Task Scheduler that runs the daemon when the user logs on, without a window and with the
//! rights of the user. Windows does not listen on sockets for the daemon, so connections fail while it does not run.
//!
//! The elements are documented in the schema of the Task Scheduler, the commands in `schtasks`. Not tested on Windows
//! yet.

use std::{fmt::Write as _, path::PathBuf};

use super::{
    error::ServiceError,
    manager::{Manager, ServiceConfig, user_directories},
    plan::{CommandLine, File, render, text_of, xml},
};
use crate::cli::ServiceLogs;

const TASK: &str = include_str!("../../packaging/windows/sse-bus.xml");
const NAME: &str = "sse-bus";

pub(super) struct Windows;

impl Windows {
    /// A copy of the task, to detect later whether it has changed.
    fn task() -> Result<PathBuf, ServiceError> {
        Ok(user_directories()?.data_local_dir().join(NAME).join("service.xml"))
    }

    fn log() -> Result<PathBuf, ServiceError> {
        Ok(user_directories()?.data_local_dir().join(NAME).join("sse-bus.log"))
    }
}

impl Manager for Windows {
    fn files(&self, config: &ServiceConfig) -> Result<Vec<File>, ServiceError> {
        let variable = |name| std::env::var(name).unwrap_or_default();
        let (domain, user) = (variable("USERDOMAIN"), variable("USERNAME"));
        let user = match (domain.as_str(), user.as_str()) {
            (_, "") => r"DOMAIN\USER".to_owned(),
            ("", user) => user.to_owned(),
            (domain, user) => format!(r"{domain}\{user}"),
        };
        let mut daemon = format!("\"{}\"", text_of(&config.daemon)?);
        // Writing to a String cannot fail.
        for listen in &config.listen {
            let _ = write!(daemon, " --listen {listen}");
        }
        if let Some(socket) = &config.socket {
            let _ = write!(daemon, " --socket \"{}\"", text_of(socket)?);
        }
        let values = [
            (r"DOMAIN\USER", xml(&user)),
            (r#""C:\Program Files\sse-bus\sse-busd.exe""#, xml(&daemon)),
            (r"C:\Users\USER\AppData\Local\sse-bus\sse-bus.log", xml(text_of(&Windows::log()?)?)),
        ];
        Ok(vec![File { wide: true, ..File::new(Windows::task()?, render(TASK, &values)) }])
    }

    fn holds_sockets(&self) -> bool {
        false
    }

    fn install(&self, config: &ServiceConfig, has_changed: bool) -> Result<Vec<CommandLine>, ServiceError> {
        let task = Windows::task()?;
        let stop = if has_changed { self.stop(config)? } else { vec![] };
        let create = CommandLine::new("schtasks /Create /F /TN sse-bus /XML", [text_of(&task)?]);
        Ok(stop.into_iter().chain([create]).chain(self.start(config)?).collect())
    }

    fn uninstall(&self, config: &ServiceConfig) -> Result<Vec<CommandLine>, ServiceError> {
        let delete = CommandLine::new("schtasks /Delete /F /TN", [NAME]);
        Ok(self.stop(config)?.into_iter().chain([delete]).collect())
    }

    fn start(&self, _: &ServiceConfig) -> Result<Vec<CommandLine>, ServiceError> {
        Ok(vec![CommandLine::new("schtasks /CommandLine /TN", [NAME])])
    }

    fn stop(&self, _: &ServiceConfig) -> Result<Vec<CommandLine>, ServiceError> {
        // This ends the console, and with it all its processes.
        Ok(vec![CommandLine::new("schtasks /End /TN", [NAME])])
    }

    fn restart(&self) -> Vec<CommandLine> {
        vec![CommandLine::new("schtasks /End /TN", [NAME]), CommandLine::new("schtasks /CommandLine /TN", [NAME])]
    }

    fn status(&self) -> CommandLine {
        CommandLine::new("schtasks /Query /V /FO LIST /TN", [NAME])
    }

    fn logs(&self, _: &ServiceConfig, logs: &ServiceLogs) -> Result<CommandLine, ServiceError> {
        // In PowerShell a single quote within single quotes is doubled.
        let log = text_of(&Windows::log()?)?.replace('\'', "''");
        let wait = if logs.follow { " -Wait" } else { "" };
        let script = format!("Get-Content -LiteralPath '{log}' -Tail {}{wait}", logs.lines);
        Ok(CommandLine::new("powershell -NoProfile -Command", [script]))
    }

    fn log_file(&self, _: &ServiceConfig) -> Option<PathBuf> {
        Windows::log().ok()
    }
}
