//! A TCP connection between two programs that a test interrupts: bytes stop, as in a partition of the network, or connections
//! end.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// How a link treats its connections.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Bytes pass.
    Open,
    /// Bytes wait, new connections as well.
    Silent,
    /// Connections end, and new ones end at once.
    Closed,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    target: SocketAddr,
}

/// A link to an address. Its connections end when it is dropped.
pub struct Link {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Link {
    /// Opens a link that forwards connections to a port of this machine.
    pub fn to(port: u16) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let target = SocketAddr::from(([127, 0, 0, 1], port));
        let shared = Arc::new(Shared { state: Mutex::new(State::Open), changed: Condvar::new(), target });
        let accepting = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = accepting.clone();
                thread::spawn(move || shared.forward(&stream));
            }
        });
        Link { address, shared }
    }

    /// Stops all bytes: nobody learns anything, until [`heal`](Link::heal).
    pub fn silence(&self) {
        self.shared.set(State::Silent);
    }

    /// Ends all connections, and new ones at once.
    pub fn close(&self) {
        self.shared.set(State::Closed);
    }

    /// Lets bytes pass again, those that waited first.
    pub fn heal(&self) {
        self.shared.set(State::Open);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn set(&self, state: State) {
        *self.state.lock().unwrap() = state;
        self.changed.notify_all();
    }

    /// Waits while the link is silent. Returns false if it is closed.
    fn passes(&self) -> bool {
        let state = self.state.lock().unwrap();
        *self.changed.wait_while(state, |state| *state == State::Silent).unwrap() == State::Open
    }

    fn forward(self: &Arc<Shared>, client: &TcpStream) {
        if !self.passes() {
            return;
        }
        let Ok(server) = TcpStream::connect(self.target) else { return };
        let both = [client, &server].map(|stream| stream.try_clone().unwrap());
        let shared = self.clone();
        // Watches for the end of the link, while both copies wait for bytes.
        let ended = Arc::new(AtomicBool::new(false));
        let watched = ended.clone();
        let watch = thread::spawn(move || {
            let state = shared.state.lock().unwrap();
            let over = |state: &mut State| *state != State::Closed && !watched.load(Ordering::SeqCst);
            drop(shared.changed.wait_while(state, over).unwrap());
            for stream in both {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        thread::scope(|scope| {
            scope.spawn(|| self.copy(client, &server));
            self.copy(&server, client);
        });
        ended.store(true, Ordering::SeqCst);
        // So that the watch has either seen it, or waits and is notified.
        drop(self.state.lock().unwrap());
        self.changed.notify_all();
        let _ = watch.join();
    }

    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut chunk = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut chunk) {
            if !self.passes() || to.write_all(&chunk[..read]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
