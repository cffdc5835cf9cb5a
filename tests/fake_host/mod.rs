//! A host for native tests: Envoy as the shell sees it, as small state behind the real ABI.
//!
//! The shell's imports are unresolved symbols natively; this file defines them, and calls the exported `proxy_on_*`. So
//! the real shell and its exports run inside `cargo test`. It is as unkind as Envoy 1.40:
//! - a header map answers only in its own callback and in the log, else BadArgument;
//! - a body answers only in its own callbacks; an empty one answers Ok and hands nothing over;
//! - a property that is not there is NotFound, and some are SerializationFailure;
//! - a defined metric gets a new id each time, and names live as long as the process.
//!
//! A panic in the shell cannot unwind through the ABI and aborts the test binary. A misuse that Envoy would punish
//! later (a hang, a count lost) is noted, and `Vm::run` fails the test.
//!
//! The shell's contexts are thread-local, so a thread is a worker's VM; the process is what workers share.

mod abi;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proptest::test_runner::TestRng;

/// Statuses of the ABI.
pub const OK: u32 = 0;
pub const NOT_FOUND: u32 = 1;
pub const BAD_ARGUMENT: u32 = 2;
pub const SERIALIZATION_FAILURE: u32 = 3;

/// Headers in order; anything may stand in them.
pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// Headers from text.
pub fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())).collect()
}

/// What all workers share: Envoy's stats.
#[derive(Debug, Default)]
pub struct Process {
    metrics: Mutex<BTreeMap<String, Metric>>,
}

/// One stat.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metric {
    kind: u32,
    /// Of a counter or a gauge.
    pub value: i64,
    /// Of a histogram.
    pub samples: Vec<u64>,
}

impl Process {
    /// Runs a worker's VM on a thread of its own, so that nothing of another one is left in it.
    pub fn vm<R: Send>(self: &Arc<Self>, work: impl FnOnce(&Vm) -> R + Send) -> R {
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                VM.set(Some(State::new(Arc::clone(self))));
                let result = work(&Vm::start());
                let misuses = with(|state| std::mem::take(&mut state.misuses));
                assert!(misuses.is_empty(), "{misuses:?}");
                result
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The names of all stats whose name begins so.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let metrics = self.metrics.lock().unwrap();
        metrics.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    /// A stat by its whole name.
    pub fn metric(&self, name: &str) -> Option<Metric> {
        self.metrics.lock().unwrap().get(name).cloned()
    }

    /// The sum of the values of all counters or gauges whose name begins so.
    pub fn sum(&self, prefix: &str) -> i64 {
        let metrics = self.metrics.lock().unwrap();
        metrics.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, m)| m.value).sum()
    }
}

/// One process with one worker.
pub fn vm<R: Send>(work: impl FnOnce(&Vm) -> R + Send) -> R {
    Arc::new(Process::default()).vm(work)
}

/// Which callback runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Phase {
    #[default]
    Root,
    RequestHeaders,
    RequestBody,
    RequestTrailers,
    ResponseHeaders,
    ResponseBody,
    ResponseTrailers,
    Log,
    Done,
}

/// One direction of an exchange.
#[derive(Debug, Default)]
struct Half {
    headers: Headers,
    /// What a body callback can read now.
    readable: Vec<u8>,
    /// The callback before asked to keep back what it saw.
    held: bool,
    passed: Vec<u8>,
}

#[derive(Debug, Default)]
struct Exchange {
    request: Half,
    response: Half,
    filter_state: BTreeMap<String, Vec<u8>>,
    properties: BTreeMap<String, Vec<u8>>,
}

/// Which calls fail, and how.
pub enum Fault {
    /// Every call of a function answers this.
    Always(&'static str, u32),
    /// Any call answers any status from 0 to 12 or a made-up one, half of the time.
    Random(Box<TestRng>),
}

struct State {
    process: Arc<Process>,
    clock: u64,
    phase: Phase,
    current: u32,
    last_context: u32,
    exchanges: BTreeMap<u32, Exchange>,
    configuration: Vec<u8>,
    /// Kind and name by id.
    defined: Vec<(u32, String)>,
    log: Vec<String>,
    calls: BTreeMap<&'static str, usize>,
    fault: Option<Fault>,
    /// A call has failed or will: ids and stats may be wrong, and the filter is not to blame.
    failed: bool,
    misuses: Vec<String>,
}

thread_local! {
    static VM: RefCell<Option<State>> = const { RefCell::new(None) };
}

/// The state of this thread's VM. It is never borrowed across a callback.
fn with<R>(f: impl FnOnce(&mut State) -> R) -> R {
    VM.with_borrow_mut(|vm| f(vm.as_mut().expect("a VM runs in this thread")))
}

impl State {
    fn new(process: Arc<Process>) -> Self {
        Self {
            process,
            clock: 1_000_000_000,
            phase: Phase::Root,
            current: 0,
            last_context: 0,
            exchanges: BTreeMap::new(),
            configuration: Vec::new(),
            defined: Vec::new(),
            log: Vec::new(),
            calls: BTreeMap::new(),
            fault: None,
            failed: false,
            misuses: Vec::new(),
        }
    }

    fn exchange(&mut self) -> Option<&mut Exchange> {
        self.exchanges.get_mut(&self.current)
    }

    /// A misuse of stats or filter state.
    fn misuse(&mut self, what: String) {
        if !self.failed {
            self.misuses.push(what);
        }
    }

    fn next_context(&mut self) -> u32 {
        self.last_context += 1;
        self.last_context
    }
}

/// A worker's VM with one plugin in it.
pub struct Vm {
    root: u32,
}

impl Vm {
    fn start() -> Self {
        let root = with(State::next_context);
        // SAFETY: the exports take numbers, in the order the ABI asks for.
        unsafe {
            abi::_initialize();
            abi::proxy_on_context_create(root, 0);
            assert!(abi::proxy_on_vm_start(root, 0));
        }
        Self { root }
    }

    /// Hands a configuration over; whether it is taken.
    pub fn configure(&self, json: impl AsRef<[u8]>) -> bool {
        let json = json.as_ref();
        with(|state| (state.phase, state.configuration) = (Phase::Root, json.to_vec()));
        // SAFETY: as above.
        unsafe { abi::proxy_on_configure(self.root, json.len()) }
    }

    /// A new exchange of which nothing is known.
    pub fn exchange(&self) -> Http {
        let context = with(|state| {
            let context = state.next_context();
            state.exchanges.insert(context, Exchange::default());
            context
        });
        // SAFETY: as above.
        unsafe { abi::proxy_on_context_create(context, self.root) };
        let http = Http { context };
        for (path, value) in abi::USUAL_PROPERTIES {
            http.property(path, value);
        }
        http
    }

    /// Lets time pass.
    pub fn pass_ms(&self, ms: u64) {
        with(|state| state.clock += ms * 1_000_000);
    }

    /// Which calls fail from now on.
    pub fn fail(&self, fault: Option<Fault>) {
        with(|state| (state.fault, state.failed) = (fault, true));
    }

    /// What the filter has logged since the last time this was asked.
    pub fn logged(&self) -> Vec<String> {
        with(|state| std::mem::take(&mut state.log))
    }

    /// How often a host function was called since the last time this was asked.
    pub fn calls(&self, function: &str) -> usize {
        with(|state| state.calls.remove(function)).unwrap_or(0)
    }
}

/// Which way an exchange's context goes.
#[derive(Clone, Copy, Debug)]
pub enum Goodbye {
    /// The usual one: log, done, delete.
    Logged,
    /// As in a filter of the upstream's own chain: done and delete.
    Done,
    /// Delete alone.
    Dropped,
    /// A host that flushes its logs twice.
    LoggedTwice,
}

impl Goodbye {
    pub const ALL: [Self; 4] = [Self::Logged, Self::Done, Self::Dropped, Self::LoggedTwice];

    /// Whether a record is to be expected.
    pub fn is_logged(self) -> bool {
        matches!(self, Self::Logged | Self::LoggedTwice)
    }
}

/// What an exchange has left behind.
#[derive(Debug)]
pub struct Left {
    /// The request's headers as the upstream gets them.
    pub request_headers: Headers,
    /// The request's body as the upstream gets it.
    pub request_body: Vec<u8>,
    /// The answer's body as the client gets it.
    pub response_body: Vec<u8>,
    /// The record, if there is one.
    pub record: Option<serde_json::Value>,
    /// The names of all filter state.
    pub filter_state: Vec<String>,
}

/// One HTTP exchange.
pub struct Http {
    context: u32,
}

#[derive(Clone, Copy)]
enum Side {
    Request,
    Response,
}

impl Http {
    /// Gives a property a value; its path with dots.
    pub fn property(&self, path: &str, value: &[u8]) -> &Self {
        with(|state| {
            let exchange = state.exchanges.get_mut(&self.context).expect("the exchange is open");
            exchange.properties.insert(path.replace('.', "\0"), value.to_vec());
        });
        self
    }

    /// Takes a property away.
    pub fn no_property(&self, path: &str) -> &Self {
        with(|state| {
            let exchange = state.exchanges.get_mut(&self.context).expect("the exchange is open");
            exchange.properties.remove(&path.replace('.', "\0"));
        });
        self
    }

    pub fn request_headers(&self, headers: Headers, end: bool) -> &Self {
        self.headers(Side::Request, headers, end)
    }

    pub fn response_headers(&self, headers: Headers, end: bool) -> &Self {
        self.headers(Side::Response, headers, end)
    }

    pub fn request_body(&self, piece: &[u8], end: bool) -> &Self {
        self.body(Side::Request, piece, end)
    }

    pub fn response_body(&self, piece: &[u8], end: bool) -> &Self {
        self.body(Side::Response, piece, end)
    }

    pub fn request_trailers(&self) -> &Self {
        self.trailers(Side::Request)
    }

    pub fn response_trailers(&self) -> &Self {
        self.trailers(Side::Response)
    }

    /// A body in pieces of so many bytes, then the empty piece with which Envoy ends a body.
    pub fn response_in_pieces(&self, body: &[u8], size: usize) -> &Self {
        for piece in body.chunks(size) {
            self.response_body(piece, false);
        }
        self.response_body(b"", true)
    }

    /// The same of a request.
    pub fn request_in_pieces(&self, body: &[u8], size: usize) -> &Self {
        for piece in body.chunks(size) {
            self.request_body(piece, false);
        }
        self.request_body(b"", true)
    }

    fn headers(&self, side: Side, headers: Headers, end: bool) -> &Self {
        let (phase, count) = (side.phases()[0], headers.len());
        self.enter(phase, |exchange| side.half(exchange).headers = headers);
        // SAFETY: the exports take numbers, in the order the ABI asks for.
        let action = unsafe {
            match side {
                Side::Request => abi::proxy_on_request_headers(self.context, count, end),
                Side::Response => abi::proxy_on_response_headers(self.context, count, end),
            }
        };
        if action != CONTINUE {
            misuse("headers are held: without allow_on_headers_stop_iteration nothing comes after".to_owned());
        }
        self
    }

    fn body(&self, side: Side, piece: &[u8], end: bool) -> &Self {
        let size = self.enter(side.phases()[1], |exchange| {
            let half = side.half(exchange);
            half.readable.extend(piece);
            half.readable.len()
        });
        // SAFETY: as above.
        let action = unsafe {
            match side {
                Side::Request => abi::proxy_on_request_body(self.context, size, end),
                Side::Response => abi::proxy_on_response_body(self.context, size, end),
            }
        };
        self.go_on(side, action, end);
        self
    }

    fn trailers(&self, side: Side) -> &Self {
        self.enter(side.phases()[2], |_| ());
        // SAFETY: as above.
        let action = unsafe {
            match side {
                Side::Request => abi::proxy_on_request_trailers(self.context, 1),
                Side::Response => abi::proxy_on_response_trailers(self.context, 1),
            }
        };
        self.go_on(side, action, true);
        self
    }

    fn go_on(&self, side: Side, action: u32, end: bool) {
        self.enter(Phase::Root, |exchange| {
            let half = side.half(exchange);
            half.held = action != CONTINUE;
            if !half.held {
                half.passed.append(&mut half.readable);
            }
        });
        if end && action != CONTINUE {
            misuse("a body is held at its end: nothing lets it go".to_owned());
        }
    }

    fn enter<R>(&self, phase: Phase, f: impl FnOnce(&mut Exchange) -> R) -> R {
        with(|state| {
            (state.phase, state.current) = (phase, self.context);
            f(state.exchange().expect("the exchange is open"))
        })
    }

    /// The end of the context.
    pub fn end(self, goodbye: Goodbye) -> Left {
        // SAFETY: the exports take numbers, in the order the ABI asks for.
        unsafe {
            if goodbye.is_logged() {
                self.enter(Phase::Log, |_| ());
                abi::proxy_on_log(self.context);
            }
            if let Goodbye::LoggedTwice = goodbye {
                abi::proxy_on_log(self.context);
            }
            if !matches!(goodbye, Goodbye::Dropped) {
                self.enter(Phase::Done, |_| ());
                assert!(abi::proxy_on_done(self.context), "the filter is done at once");
            }
            self.enter(Phase::Done, |_| ());
            abi::proxy_on_delete(self.context);
        }
        let Exchange { request, response, filter_state, properties: _ } =
            with(|state| state.exchanges.remove(&self.context)).expect("the exchange is open");
        let record = filter_state.get("weir.record");
        Left {
            record: record.map(|json| serde_json::from_slice(json).expect("a record is JSON")),
            filter_state: filter_state.into_keys().collect(),
            request_headers: request.headers,
            request_body: request.passed,
            response_body: response.passed,
        }
    }

    /// The usual end.
    pub fn log(self) -> Left {
        self.end(Goodbye::Logged)
    }
}

const CONTINUE: u32 = 0;

fn misuse(what: String) {
    with(|state| state.misuses.push(what));
}

impl Side {
    /// Of headers, body, trailers.
    fn phases(self) -> [Phase; 3] {
        match self {
            Side::Request => [Phase::RequestHeaders, Phase::RequestBody, Phase::RequestTrailers],
            Side::Response => [Phase::ResponseHeaders, Phase::ResponseBody, Phase::ResponseTrailers],
        }
    }

    fn half(self, exchange: &mut Exchange) -> &mut Half {
        match self {
            Side::Request => &mut exchange.request,
            Side::Response => &mut exchange.response,
        }
    }
}
