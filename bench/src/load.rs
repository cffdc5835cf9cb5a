//! The load: an upstream that writes answers and clients that read them, both in one thread, so that in lockstep the
//! upstream knows when the client has what it wrote, and so that the two take little of the core they share.
//!
//! HTTP/1.1 with keep-alive on both sides of Envoy. A client compares each byte of a body with what the upstream wrote:
//! that counts the events, and shows that none was lost or changed.

mod chunked;
mod client;
mod upstream;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::answer::{Answer, EVENTS, Pace};
use client::Client;
use upstream::Upstream;

/// Room for what is read at once.
const READ: usize = 256 * 1024;

/// Nothing moves for so long: something is stuck.
const STUCK: Duration = Duration::from_secs(10);

/// The token of the upstream's listener; those of connections count from zero.
const LISTENER: Token = Token(usize::MAX - 1);

/// What a stretch of load did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served {
    /// Calls that were answered whole.
    pub calls: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Chunks that they came in: calls of a filter's body callback.
    pub chunks: u64,
    /// From the first call to the end of the last.
    pub elapsed: Duration,
}

impl AddAssign for Served {
    fn add_assign(&mut self, other: Self) {
        let Self { calls, events, bytes, chunks, elapsed } = other;
        self.calls += calls;
        self.events += events;
        self.bytes += bytes;
        self.chunks += chunks;
        self.elapsed += elapsed;
    }
}

/// The upstream and the clients.
pub struct Load {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    buffer: Vec<u8>,
}

struct Connection {
    socket: TcpStream,
    side: Side,
}

enum Side {
    /// What it has of its answer, and where the upstream writes it; nothing between two calls.
    Client(Option<(Client, Option<Token>)>),
    Upstream(Upstream),
}

/// A stretch of load.
struct Run<'a> {
    answer: &'a Answer,
    served: Served,
    /// Clients in the middle of a call.
    busy: usize,
    stop: bool,
    /// Upstream connections with more to write.
    ready: Vec<Token>,
}

impl Load {
    /// An upstream that listens on a free port.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new() -> Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { poll, listener, connections: Vec::new(), buffer: vec![0; READ] })
    }

    /// The upstream's address.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Drives `streams` streams at once through a proxy, each begun anew when it ends, for `time`; then waits for the
    /// last ones.
    ///
    /// # Errors
    /// An answer other than what the upstream wrote, a connection that breaks, or one that is stuck.
    pub fn drive(&mut self, proxy: SocketAddr, answer: &Answer, streams: usize, time: Duration) -> Result<Served> {
        let mut run = Run { answer, served: Served::default(), busy: 0, stop: false, ready: Vec::new() };
        let mut clients = Vec::new();
        for _ in 0..streams {
            // Connected before the clock starts.
            let socket = std::net::TcpStream::connect(proxy).context("connecting to Envoy")?;
            socket.set_nonblocking(true)?;
            clients.push(self.add(TcpStream::from_std(socket), Side::Client(None))?);
        }
        let begin = Instant::now();
        for token in &clients {
            self.ask(*token, &mut run)?;
        }
        let mut events = Events::with_capacity(1024);
        while run.busy > 0 {
            let wait = if run.ready.is_empty() { STUCK } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            ensure!(!(events.is_empty() && run.ready.is_empty()), "nothing came for {STUCK:?}");
            run.stop = begin.elapsed() >= time;
            // One write each, and then a look at the others: streams take turns.
            for token in std::mem::take(&mut run.ready) {
                self.write(token, &mut run)?;
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                    continue;
                }
                if event.is_writable() {
                    self.write(event.token(), &mut run)?;
                }
                if event.is_readable() {
                    self.read(event.token(), &mut run)?;
                }
            }
        }
        run.served.elapsed = begin.elapsed();
        for Token(place) in clients {
            self.connections[place] = None;
        }
        Ok(run.served)
    }

    fn add(&mut self, mut socket: TcpStream, side: Side) -> Result<Token> {
        let place = self.connections.iter().position(Option::is_none).unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        socket.set_nodelay(true)?;
        self.poll.registry().register(&mut socket, Token(place), Interest::READABLE | Interest::WRITABLE)?;
        self.connections[place] = Some(Connection { socket, side });
        Ok(Token(place))
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            match self.listener.accept() {
                Ok((socket, _)) => self.add(socket, Side::Upstream(Upstream::default()))?,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e).context("accepting from Envoy"),
            };
        }
    }

    fn connection(&mut self, Token(place): Token) -> Option<&mut Connection> {
        self.connections.get_mut(place)?.as_mut()
    }

    /// Begins a client's next call.
    fn ask(&mut self, token: Token, run: &mut Run<'_>) -> Result<()> {
        let Some(Connection { socket, side: Side::Client(call) }) = self.connection(token) else {
            bail!("{token:?} is no client");
        };
        let request = client::request(token.0);
        let written = socket.write(&request).context("writing a request")?;
        ensure!(written == request.len(), "a request of {} bytes did not fit the socket", request.len());
        *call = Some((Client::default(), None));
        run.busy += 1;
        Ok(())
    }

    fn read(&mut self, token: Token, run: &mut Run<'_>) -> Result<()> {
        loop {
            let Some(Some(connection)) = self.connections.get_mut(token.0) else { return Ok(()) };
            let got = match connection.socket.read(&mut self.buffer) {
                Ok(0) => {
                    ensure!(
                        !matches!(connection.side, Side::Client(Some(_))),
                        "Envoy hung up in the middle of an answer"
                    );
                    self.connections[token.0] = None;
                    return Ok(());
                }
                Ok(got) => got,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e).context("reading"),
            };
            let bytes = &self.buffer[..got];
            match &mut connection.side {
                Side::Client(None) => bail!("bytes for a client that did not ask"),
                Side::Client(Some((client, upstream))) => {
                    client.read(bytes, run.answer)?;
                    let (done, arrived, upstream) = (client.is_done(), client.arrived(), *upstream);
                    if done {
                        self.finish(token, run)?;
                    } else if let Some(upstream) = upstream {
                        self.allow(upstream, arrived + 1, run)?;
                    }
                }
                Side::Upstream(upstream) => {
                    if let Some(stream) = upstream.read(bytes)? {
                        self.answer(token, Token(stream), run)?;
                    }
                }
            }
            // A short read has emptied the socket; what comes later is another event.
            if got < READ {
                return Ok(());
            }
        }
    }

    /// A call has been answered whole.
    fn finish(&mut self, token: Token, run: &mut Run<'_>) -> Result<()> {
        run.served.calls += 1;
        run.served.events += EVENTS as u64;
        run.served.bytes += run.answer.body.len() as u64;
        run.busy -= 1;
        if let Some(Connection { side: Side::Client(call), .. }) = self.connection(token) {
            run.served.chunks += call.take().map_or(0, |(client, _)| client.chunks());
        }
        if run.stop { Ok(()) } else { self.ask(token, run) }
    }

    /// A request has come to the upstream.
    fn answer(&mut self, upstream: Token, client: Token, run: &mut Run<'_>) -> Result<()> {
        let Some(Connection { side: Side::Client(Some((_, wrote_by))), .. }) = self.connection(client) else {
            bail!("a request of no client: {client:?}");
        };
        *wrote_by = Some(upstream);
        let writes = match run.answer.pace {
            Pace::Lockstep | Pace::Coalesced => 1,
            Pace::Burst => run.answer.writes.len(),
        };
        self.allow(upstream, writes, run)
    }

    fn allow(&mut self, token: Token, writes: usize, run: &mut Run<'_>) -> Result<()> {
        let Some(Connection { side: Side::Upstream(upstream), .. }) = self.connection(token) else {
            bail!("Envoy hung up on the upstream in the middle of an answer");
        };
        upstream.allow(writes);
        self.write(token, run)
    }

    /// One write, if one is allowed.
    fn write(&mut self, token: Token, run: &mut Run<'_>) -> Result<()> {
        let Some(Connection { socket, side: Side::Upstream(upstream) }) = self.connection(token) else { return Ok(()) };
        let writes = &run.answer.writes;
        let Some(bytes) = upstream.next(writes) else { return Ok(()) };
        match socket.write(bytes) {
            Ok(wrote) => upstream.wrote(wrote, writes),
            // Room in the socket is an event of its own.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e).context("writing to Envoy"),
        }
        if upstream.next(writes).is_some() && !run.ready.contains(&token) {
            run.ready.push(token);
        }
        Ok(())
    }
}
