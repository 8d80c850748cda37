//! A connection with binary frames, one at a time and without the library's client.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use sse_bus::protocol::{
    Reply, Request,
    binary::{Frame, Version},
};

pub struct Frames {
    version: Version,
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Frames {
    pub fn new(mut stream: UnixStream, version: Version) -> Frames {
        stream.write_all(&version.preface()).unwrap();
        Frames { version, stream, buffer: Vec::new() }
    }

    pub fn send(&mut self, request: &Request) {
        let mut frame = Vec::new();
        self.version.encode(request, &mut frame).unwrap();
        self.send_raw(&frame);
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next reply; `None` at the end of the connection.
    pub fn next(&mut self) -> Option<Reply> {
        loop {
            match self.version.decode(&self.buffer) {
                Frame::Whole(reply, used) => {
                    self.buffer.drain(..used);
                    return Some(reply);
                }
                Frame::Partial(_) => {}
                bad => panic!("{bad:?}"),
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk).expect("a frame from the daemon") {
                0 => return None,
                read => self.buffer.extend_from_slice(&chunk[..read]),
            }
        }
    }

    pub fn ask(&mut self, request: &Request) -> Reply {
        self.send(request);
        self.next().expect("the daemon has closed the connection")
    }
}
