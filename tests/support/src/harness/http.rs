//! HTTP and streams over plain sockets, so that tests see what is on the wire.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Instant,
};

use serde_json::Value;

use super::PATIENCE;

pub trait Socket: Read + Write + Send {}
impl Socket for TcpStream {}
impl Socket for UnixStream {}

/// A status and headers, with their names in lower case.
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }
}

/// A complete response.
pub struct Response {
    pub status: u16,
    head: Head,
    pub body: Vec<u8>,
}

impl Response {
    pub fn new(head: Head, body: Vec<u8>) -> Response {
        Response { status: head.status, head, body }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{} {e}: {}", self.status, self.text()))
    }

    /// Checks that the response is a refusal with a message, and returns its status and code.
    #[track_caller]
    pub fn refusal(&self) -> (u16, String) {
        let json = self.json();
        let (code, message) = (&json["error"]["code"], &json["error"]["message"]);
        assert!(message.as_str().is_some_and(|message| !message.is_empty()), "{json}");
        (self.status, code.as_str().unwrap().to_owned())
    }
}

/// Sends a request and reads the response to its end.
pub fn exchange(
    socket: Box<dyn Socket>,
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let (head, mut reader) = send(socket, host, method, path, headers, body);
    let mut content = Vec::new();
    if method != "HEAD" && head.status != 204 {
        reader.read_to_end(&mut content).unwrap_or_else(|e| panic!("{method} {path}: {e}"));
    }
    Response::new(head, content)
}

fn send(
    mut socket: Box<dyn Socket>,
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (Head, Body) {
    let mut request = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        let _ = write!(request, "Host: {host}\r\n");
    }
    for (name, value) in headers {
        let _ = write!(request, "{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        let _ = write!(request, "Content-Length: {}\r\n", body.len());
    }
    request += "\r\n";
    socket.write_all(&[request.as_bytes(), body].concat()).unwrap();
    let mut reader = BufReader::new(socket);
    let head = read_head(&mut reader).unwrap_or_else(|e| panic!("{method} {path}: {e}"));
    let framing = match (head.header("transfer-encoding"), head.header("content-length")) {
        (Some("chunked"), _) => Framing::Chunked,
        (_, Some(length)) => Framing::Length(length.parse().unwrap()),
        _ => Framing::ToTheEnd,
    };
    (head, Body { reader, framing, left: 0, over: false })
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Head> {
    let status_line = line(reader)?;
    let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let mut headers = Vec::new();
    loop {
        match line(reader)?.split_once(": ") {
            Some((name, value)) => headers.push((name.to_lowercase(), value.to_owned())),
            None => return Ok(Head { status: status.unwrap_or_else(|| panic!("{status_line:?}")), headers }),
        }
    }
}

/// A line that ends in CRLF.
fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let complete = line.strip_suffix("\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(complete.to_owned())
}

enum Framing {
    Chunked,
    Length(usize),
    ToTheEnd,
}

/// A body without its framing. The end of the connection before the end of the body is an error.
struct Body {
    reader: BufReader<Box<dyn Socket>>,
    framing: Framing,
    /// Bytes left of a chunk.
    left: usize,
    over: bool,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.over {
            return Ok(0);
        }
        if let Framing::Chunked = self.framing
            && self.left == 0
        {
            let size = line(&mut self.reader)?;
            self.left = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
            if self.left == 0 {
                self.over = true;
                return line(&mut self.reader).map(|_| 0);
            }
        }
        let most = match self.framing {
            Framing::Chunked => self.left,
            Framing::Length(left) => left,
            Framing::ToTheEnd => usize::MAX,
        };
        let most = most.min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.reader.read(&mut buffer[..most])?;
        match &mut self.framing {
            Framing::ToTheEnd => {}
            _ if read == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Framing::Length(left) => *left -= read,
            Framing::Chunked => {
                self.left -= read;
                if self.left == 0 {
                    line(&mut self.reader)?;
                }
            }
        }
        Ok(read)
    }
}

/// An event according to the rules for reading streams.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sse {
    pub id: String,
    pub kind: Option<String>,
    pub data: String,
}

impl Sse {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn seq(&self) -> u64 {
        self.id.rsplit_once('-').unwrap().1.parse().unwrap()
    }
}

/// An open stream.
pub struct EventStream {
    pub head: Head,
    body: BufReader<Box<dyn Read + Send>>,
}

impl EventStream {
    pub fn open(socket: Box<dyn Socket>, host: &str, path: &str, headers: &[(&str, &str)]) -> EventStream {
        let (head, body) = send(socket, host, "GET", path, headers, b"");
        EventStream::of(path, head, Box::new(body))
    }

    /// The stream in the body of a response, which must have status 200.
    pub fn of(path: &str, head: Head, body: Box<dyn Read + Send>) -> EventStream {
        let mut stream = EventStream { head, body: BufReader::new(body) };
        if stream.head.status != 200 {
            let mut text = String::new();
            let _ = stream.body.read_to_string(&mut text);
            panic!("GET {path}: {} {text}", stream.head.status);
        }
        stream
    }

    /// The next line of the stream, with its LF; `None` at an orderly end.
    pub fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        Ok((self.body.read_line(&mut line)? > 0).then_some(line))
    }

    /// The next event; `None` at an orderly end.
    pub fn next(&mut self) -> io::Result<Option<Sse>> {
        // Heartbeats must not extend the wait for ever.
        let deadline = Instant::now() + PATIENCE;
        let mut event = Sse::default();
        let mut data: Vec<String> = Vec::new();
        while let Some(line) = self.line()? {
            let line = line.strip_suffix('\n').ok_or(io::ErrorKind::UnexpectedEof)?;
            match line.split_once(": ") {
                _ if line.is_empty() && data.is_empty() => {}
                _ if line.is_empty() => return Ok(Some(Sse { data: data.join("\n"), ..event })),
                Some(("id", id)) => event.id = id.into(),
                Some(("event", kind)) => event.kind = Some(kind.into()),
                Some(("data", text)) => data.push(text.into()),
                _ if Instant::now() > deadline => return Err(io::ErrorKind::TimedOut.into()),
                // A heartbeat, or the reason of a refusal.
                _ if line == ":" || line.starts_with(": {") || line.starts_with("retry: ") => {}
                _ => panic!("an unexpected line in the stream: {line:?}"),
            }
        }
        Ok(None)
    }

    /// The next event; panics if the stream ends first.
    #[track_caller]
    pub fn event(&mut self) -> Sse {
        self.next().unwrap().expect("the stream has ended")
    }

    /// The data of the next events.
    #[track_caller]
    pub fn data(&mut self, events: usize) -> Vec<String> {
        (0..events).map(|_| self.event().data).collect()
    }

    /// Checks that the stream ends here, in an orderly way.
    #[track_caller]
    pub fn ends(&mut self) {
        assert_eq!(self.next().unwrap(), None);
    }
}
