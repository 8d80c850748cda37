//! A task of Windows' Task Scheduler that runs the daemon when the user logs on, without a window and without rights
//! that the user does not have. Windows holds no sockets for others: while the daemon is away nobody waits.
//!
//! The elements are those of the Task Scheduler's schema, the commands those of `schtasks`. No Windows has run the task
//! yet.

use std::{fmt::Write as _, path::PathBuf};

use super::{
    Manager, Wanted, folders,
    plan::{File, Run, render, text_of, xml},
};
use crate::cli::ServiceLogs;

const TASK: &str = include_str!("../../packaging/windows/sse-bus.xml");
const NAME: &str = "sse-bus";

pub(super) struct Windows;

impl Windows {
    /// What the scheduler was given is kept, to see later whether it is what it should be.
    fn task() -> Result<PathBuf, String> {
        Ok(folders()?.data_local_dir().join(NAME).join("service.xml"))
    }

    fn log() -> Result<PathBuf, String> {
        Ok(folders()?.data_local_dir().join(NAME).join("sse-bus.log"))
    }
}

impl Manager for Windows {
    fn files(&self, wanted: &Wanted) -> Result<Vec<File>, String> {
        let variable = |name| std::env::var(name).unwrap_or_default();
        let (domain, user) = (variable("USERDOMAIN"), variable("USERNAME"));
        let user = match (domain.as_str(), user.as_str()) {
            (_, "") => r"DOMAIN\USER".to_owned(),
            ("", user) => user.to_owned(),
            (domain, user) => format!(r"{domain}\{user}"),
        };
        let mut daemon = format!("\"{}\"", text_of(&wanted.daemon)?);
        // Writing to a String does not fail.
        for listen in &wanted.listen {
            let _ = write!(daemon, " --listen {listen}");
        }
        if let Some(socket) = &wanted.socket {
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

    fn install(&self, wanted: &Wanted, changed: bool) -> Result<Vec<Run>, String> {
        let task = Windows::task()?;
        let stop = if changed { self.stop(wanted)? } else { vec![] };
        let create = Run::new("schtasks /Create /F /TN sse-bus /XML", [text_of(&task)?]);
        Ok(stop.into_iter().chain([create]).chain(self.start(wanted)?).collect())
    }

    fn uninstall(&self, wanted: &Wanted) -> Result<Vec<Run>, String> {
        let delete = Run::new("schtasks /Delete /F /TN", [NAME]);
        Ok(self.stop(wanted)?.into_iter().chain([delete]).collect())
    }

    fn start(&self, _: &Wanted) -> Result<Vec<Run>, String> {
        Ok(vec![Run::new("schtasks /Run /TN", [NAME])])
    }

    fn stop(&self, _: &Wanted) -> Result<Vec<Run>, String> {
        // It ends the console, and Windows whatever has that console.
        Ok(vec![Run::new("schtasks /End /TN", [NAME])])
    }

    fn restart(&self) -> Vec<Run> {
        vec![Run::new("schtasks /End /TN", [NAME]), Run::new("schtasks /Run /TN", [NAME])]
    }

    fn status(&self) -> Run {
        Run::new("schtasks /Query /V /FO LIST /TN", [NAME])
    }

    fn logs(&self, _: &Wanted, logs: &ServiceLogs) -> Result<Run, String> {
        // In quotes of PowerShell's own, where a quote is written twice.
        let log = text_of(&Windows::log()?)?.replace('\'', "''");
        let wait = if logs.follow { " -Wait" } else { "" };
        let script = format!("Get-Content -LiteralPath '{log}' -Tail {}{wait}", logs.lines);
        Ok(Run::new("powershell -NoProfile -Command", [script]))
    }

    fn logged(&self, _: &Wanted) -> Option<PathBuf> {
        Windows::log().ok()
    }
}
