//! A connection with JSON lines.

use std::{
    io::{BufRead, BufReader, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
};

use serde_json::Value;

use super::PATIENCE;

pub struct Lines {
    reader: BufReader<UnixStream>,
}

impl Lines {
    pub fn new(stream: UnixStream) -> Lines {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Lines { reader: BufReader::new(stream) }
    }

    /// Sends a line.
    pub fn send(&mut self, line: impl AsRef<[u8]>) {
        self.send_raw([line.as_ref(), b"\n"].concat());
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// The next line; `None` at the end of the connection.
    pub fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line from the daemon");
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}")))
    }

    /// The next line; panics at the end of the connection.
    pub fn reply(&mut self) -> Value {
        self.next().expect("the daemon has closed the connection")
    }

    /// Sends a line and reads the reply; `None` if the daemon ends meanwhile.
    pub fn try_ask(&mut self, line: &str) -> Option<Value> {
        self.reader.get_mut().write_all(format!("{line}\n").as_bytes()).ok()?;
        let mut reply = String::new();
        self.reader.read_line(&mut reply).ok().filter(|_| reply.ends_with('\n'))?;
        serde_json::from_str(&reply).ok()
    }

    /// Sends a line and returns the reply.
    pub fn ask(&mut self, line: impl AsRef<[u8]>) -> Value {
        self.send(line);
        self.reply()
    }

    /// The next event.
    pub fn event(&mut self) -> Value {
        let mut reply = self.reply();
        assert!(reply["event"].is_object(), "no event: {reply}");
        reply["event"].take()
    }

    /// The next line, unparsed.
    pub fn head(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line from the daemon");
        line
    }

    /// Closes the sending half.
    pub fn close_sending(&self) {
        self.reader.get_ref().shutdown(Shutdown::Write).unwrap();
    }
}
