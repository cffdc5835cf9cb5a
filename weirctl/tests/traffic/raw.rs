//! An HTTP/1.1 upstream that sends what a test tells it to, byte for byte and write for write.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::client::PATIENCE;

/// What an upstream does for one request, step by step.
#[derive(Clone, Debug)]
pub enum Step {
    /// Does not read the request's body first, as all others do.
    Early,
    /// Reads the request's body now.
    Body,
    /// One write.
    Send(Bytes),
    /// Waits until the client has got the answer's head.
    Head(Gate),
    /// Waits until the client has got so many bytes of the body.
    Until(Gate, usize),
    /// Lets time pass.
    Wait(Duration),
    /// Breaks the connection.
    Reset,
    /// Closes the connection in order.
    Close,
    /// Waits until the other side has closed the connection.
    Gone,
    /// Sends back what comes, until the other side closes.
    Echo,
}

/// How much a client has got so far; shared with it.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<Arrived>, Condvar)>);

/// What has come of an answer.
#[derive(Debug, Default)]
struct Arrived {
    head: bool,
    /// Bytes of the body.
    body: usize,
    /// The client has gone: nothing more will come.
    over: bool,
}

impl Gate {
    /// The client has got the head.
    pub fn head(&self) {
        self.change(|arrived| arrived.head = true);
    }

    /// The client has got more of the body.
    pub fn add(&self, bytes: usize) {
        self.change(|arrived| arrived.body += bytes);
    }

    /// Begins anew, for another answer.
    pub fn close(&self) {
        self.change(|arrived| *arrived = Arrived::default());
    }

    /// Nobody has to wait any longer.
    pub fn open(&self) {
        self.change(|arrived| arrived.over = true);
    }

    /// Whether the client has got the head and so many bytes of the body.
    pub fn has(&self, bytes: usize) -> bool {
        let arrived = self.0.0.lock().unwrap();
        arrived.over || arrived.head && arrived.body >= bytes
    }

    fn change(&self, change: impl FnOnce(&mut Arrived)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn wait(&self, bytes: usize) {
        let at_least = |arrived: &mut Arrived| !(arrived.over || arrived.head && arrived.body >= bytes);
        let got = self.0.0.lock().unwrap();
        // A client that never gets it fails its own test; this thread only has to end.
        drop(self.0.1.wait_timeout_while(got, PATIENCE, at_least));
    }
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Request line and headers.
    pub head: String,
    /// The body, without its chunked coding.
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub whole: bool,
}

#[derive(Debug, Default)]
struct Shared {
    scripts: Mutex<HashMap<String, Arc<[Step]>>>,
    seen: Mutex<HashMap<String, Seen>>,
    /// The cases in the order in which their requests were whole.
    order: Mutex<Vec<String>>,
    /// The cases whose other side closed the connection before the script's end.
    left: Mutex<HashSet<String>>,
}

/// A running upstream.
#[derive(Clone, Debug)]
pub struct Raw {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Raw {
    /// One that answers requests whose `x-case` it has a script for.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let raw = Self { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let shared = Arc::clone(&raw.shared);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (socket, shared) = (socket.unwrap(), Arc::clone(&shared));
                // A connection that breaks was asked for.
                std::thread::spawn(move || serve(&socket, &shared));
            }
        });
        raw
    }

    /// What is done for a case, each time it comes.
    pub fn on(&self, case: &str, steps: impl Into<Arc<[Step]>>) {
        self.shared.scripts.lock().unwrap().insert(case.to_owned(), steps.into());
    }

    /// The last request of a case, if one came.
    pub fn seen(&self, case: &str) -> Option<Seen> {
        self.shared.seen.lock().unwrap().get(case).cloned()
    }

    /// The cases whose requests came whole, in this order.
    pub fn order(&self) -> Vec<String> {
        self.shared.order.lock().unwrap().clone()
    }

    /// Whether the other side closed the connection while there was something to send, or [`Step::Gone`] waited for that.
    pub fn was_left(&self, case: &str) -> bool {
        self.shared.left.lock().unwrap().contains(case)
    }
}

fn serve(socket: &TcpStream, shared: &Shared) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(socket);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if reader.read_until(b'\n', &mut head).ok()? == 0 {
                return None;
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let case = header(&head, "x-case").unwrap_or_default();
        let steps = shared.scripts.lock().unwrap().get(&case).cloned().unwrap_or_default();
        assert!(!steps.is_empty(), "no script for `{case}`: {head}");
        let mut seen = Seen { head, ..Seen::default() };
        if !matches!(steps.first(), Some(Step::Early)) {
            seen.whole = body(&mut reader, &seen.head, &mut seen.body).is_some();
        }
        shared.seen.lock().unwrap().insert(case.clone(), seen.clone());
        if seen.whole {
            shared.order.lock().unwrap().push(case.clone());
        }
        for step in steps.iter() {
            match step {
                Step::Early => {}
                Step::Body => {
                    seen.whole = body(&mut reader, &seen.head, &mut seen.body).is_some();
                    shared.seen.lock().unwrap().insert(case.clone(), seen.clone());
                }
                Step::Send(bytes) => {
                    if (&*socket).write_all(bytes).is_err() {
                        shared.left.lock().unwrap().insert(case);
                        return None;
                    }
                }
                Step::Head(gate) => gate.wait(0),
                Step::Until(gate, bytes) => gate.wait(*bytes),
                Step::Wait(time) => std::thread::sleep(*time),
                Step::Reset => return reset(socket),
                Step::Close => return None,
                Step::Gone => {
                    drop(std::io::copy(&mut reader, &mut std::io::sink()));
                    shared.left.lock().unwrap().insert(case.clone());
                }
                Step::Echo => {
                    let mut piece = [0; 4096];
                    loop {
                        match reader.read(&mut piece) {
                            Ok(0) | Err(_) => return None,
                            Ok(n) => (&*socket).write_all(&piece[..n]).ok()?,
                        }
                    }
                }
            }
        }
    }
}

/// The value of a header in a head.
pub fn header(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned()).next()
}

fn body(reader: &mut impl BufRead, head: &str, into: &mut Vec<u8>) -> Option<()> {
    if let Some(length) = header(head, "content-length") {
        let length = length.parse().ok()?;
        return (reader.take(length).read_to_end(into).ok()? as u64 == length).then_some(());
    }
    if header(head, "transfer-encoding").is_none() {
        return Some(());
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = u64::from_str_radix(line.trim(), 16).ok()?;
        if size == 0 {
            // Trailers, up to an empty line.
            while line != "\r\n" {
                line.clear();
                if reader.read_line(&mut line).ok()? == 0 {
                    return None;
                }
            }
            return Some(());
        }
        if reader.take(size).read_to_end(into).ok()? as u64 != size {
            return None;
        }
        reader.read_line(&mut line).ok()?;
    }
}

/// Closes a connection so that the other side is told that it broke.
pub fn reset(socket: &TcpStream) -> Option<()> {
    #[repr(C)]
    struct Linger {
        on: i32,
        seconds: i32,
    }
    const SOL_SOCKET: i32 = 1;
    const SO_LINGER: i32 = 13;
    unsafe extern "C" {
        fn setsockopt(socket: i32, level: i32, name: i32, value: *const Linger, size: u32) -> i32;
    }
    let linger = Linger { on: 1, seconds: 0 };
    // SAFETY: the value is only read, and it outlives the call.
    unsafe { setsockopt(socket.as_raw_fd(), SOL_SOCKET, SO_LINGER, &linger, size_of::<Linger>() as u32) };
    None
}

/// A head with these header lines.
pub fn head(status: &str, headers: &[(&str, &str)]) -> Step {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    send(format!("HTTP/1.1 {status}\r\n{lines}\r\n"))
}

/// One write.
pub fn send(bytes: impl Into<Bytes>) -> Step {
    Step::Send(bytes.into())
}

/// A piece of a chunked body.
pub fn chunk(bytes: &[u8]) -> Step {
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    send(framed)
}

/// The end of a chunked body.
pub fn last_chunk() -> Step {
    send("0\r\n\r\n")
}

/// A chunked answer of this type, each piece a chunk and a write.
pub fn chunked(content_type: &str, pieces: &[&[u8]]) -> Vec<Step> {
    let mut steps = vec![head("200 OK", &[("content-type", content_type), ("transfer-encoding", "chunked")])];
    steps.extend(pieces.iter().map(|piece| chunk(piece)));
    steps.push(last_chunk());
    steps
}
