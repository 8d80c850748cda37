//! A terminal with a shell: programs behave as they do for a person.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use rustix::{
    process::{Pid, Signal, kill_process_group},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::eventually;

/// Killed with all its processes when it is dropped.
pub(crate) struct Terminal {
    keyboard: File,
    shell: Child,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Runs a script.
    pub(crate) fn run(script: &str, folder: &Path, environment: &[(&str, String)]) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).expect("a new terminal");
        unlockpt(&master).expect("a new terminal");
        tcsetwinsize(&master, Winsize { ws_row: 40, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 }).expect("a window");
        let path = ptsname(&master, Vec::new()).expect("the terminal has a name").into_string().expect("in ASCII");
        let open = || File::options().read(true).write(true).open(&path).expect("the terminal opens");

        let mut command = Command::new("setsid");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SSE_BUS_")) {
            command.env_remove(name);
        }
        let shell = command
            .args(["--ctty", "sh", "-c", script])
            .current_dir(folder)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(open()))
            .stdout(Stdio::from(open()))
            .stderr(Stdio::from(open()))
            .spawn()
            .expect("setsid is installed");
        drop(command);

        let keyboard = File::from(master);
        let mut output = keyboard.try_clone().expect("a descriptor");
        let screen = Arc::new(Mutex::new(Vec::new()));
        let shown = Arc::clone(&screen);
        // Ends with an error once no process has the terminal open.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                shown.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
            shown.lock().unwrap().extend_from_slice(END);
        });
        Terminal { keyboard, shell, screen }
    }

    /// The output so far, without progress lines that a program has erased.
    pub(crate) fn screen(&self) -> String {
        const ERASED: &str = "\r\x1b[K";
        let written = String::from_utf8_lossy(&self.screen.lock().unwrap()).replace("\r\n", "\n").replace('\u{4}', "");
        written.split('\n').map(|line| line.rsplit(ERASED).next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
    }

    /// Returns true if the shell has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().expect("the shell is a child process")
    }

    /// Presses Ctrl-C.
    pub(crate) fn interrupt(&mut self) {
        let _ = self.keyboard.write_all(b"\x03");
    }

    /// Waits for the shell to end and returns its whole output.
    pub(crate) fn wait(&mut self) -> Result<String, String> {
        eventually("the command to end", || self.ended().ok_or_else(|| self.screen()))?;
        eventually("the end of its output", || {
            if self.screen.lock().unwrap().ends_with(END) { Ok(()) } else { Err(self.screen()) }
        })?;
        Ok(self.screen())
    }
}

/// Marks the end of the output. No output of a document contains it.
const END: &[u8] = b"\x04";

impl Drop for Terminal {
    fn drop(&mut self) {
        // The shell leads its session and process group. Once it was waited for, the number may be reused.
        if let Ok(None) = self.shell.try_wait() {
            let _ = kill_process_group(Pid::from_child(&self.shell), Signal::KILL);
            let _ = self.shell.wait();
        }
    }
}
