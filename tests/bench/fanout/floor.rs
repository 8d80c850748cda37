//! The floor: a loop that sends an event to each of many sockets and does nothing else. Its cost is that of the kernel;
//! no program that writes to this many sockets can cost less.
//!
//! It is a process of its own, this program started again, because one process has too few descriptors for both
//! ends.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::time::{ClockId, clock_gettime};

use super::{
    Result,
    crowd::{Crowd, Keep},
    daemon,
};

/// The argument that makes this program the sender to a number of sockets, which is the next argument.
pub(super) const SERVE: &str = "serve-floor";

pub(super) struct Floor {
    sender: Child,
    output: BufReader<ChildStdout>,
    crowd: Crowd,
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.sender.kill();
        let _ = self.sender.wait();
    }
}

impl Floor {
    pub(super) fn start(sockets: usize) -> Result<Floor> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([SERVE, &sockets.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut sender = command.spawn()?;
        let mut output = BufReader::new(sender.stdout.take().ok_or("the sender has no output")?);
        let mut address = String::new();
        output.read_line(&mut address)?;
        let crowd = Crowd::new(address.trim().parse()?)?;
        let mut floor = Floor { sender, output, crowd };
        floor.crowd.connect(Keep::Count, (0..sockets).map(|_| "/".into()))?;
        floor.event()?;
        Ok(floor)
    }

    pub(super) fn sockets(&self) -> usize {
        self.crowd.clients.len()
    }

    /// Sends events, one at a time. Returns the sender's microseconds for each delivery.
    pub(super) fn round(&mut self, events: usize) -> Result<f64> {
        // The first one only shows when the others begin.
        let (first, mut last) = (self.event()?, 0.0);
        for _ in 0..events {
            last = self.event()?;
        }
        Ok((last - first) * 1e6 / (events * self.crowd.clients.len()) as f64)
    }

    /// Sends an event to all. Returns the sender's processor time so far, in seconds.
    fn event(&mut self) -> Result<f64> {
        let until = self.crowd.delivered + self.crowd.clients.len() as u64;
        self.sender.stdin.as_mut().ok_or("the sender has no input")?.write_all(b"\n")?;
        self.crowd.wait_for(until)?;
        let mut spent = String::new();
        self.output.read_line(&mut spent)?;
        Ok(spent.trim().parse()?)
    }
}

/// The sender: for each line of input, an event to each socket, and its processor time as a line of output.
pub(super) fn serve(sockets: &str) -> Result<()> {
    daemon::stay_where_daemons_are_alone()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let accept = |_| -> Result<TcpStream> {
        let mut socket = listener.accept()?.0;
        socket.set_nodelay(true)?;
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        Ok(socket)
    };
    let mut sockets = (0..sockets.parse()?).map(accept).collect::<Result<Vec<_>>>()?;
    let event = format!("id: k3f9x0ab-1234\ndata: {}\n\n", "x".repeat(200));
    for asked in io::stdin().lines() {
        asked?;
        for socket in &mut sockets {
            socket.write_all(event.as_bytes())?;
        }
        let spent = clock_gettime(ClockId::ThreadCPUTime);
        println!("{}", spent.tv_sec as f64 + spent.tv_nsec as f64 * 1e-9);
    }
    Ok(())
}
