//! A host for native tests: Envoy as the shell sees it, as small state behind the real ABI.
//!
//! The shell's imports are unresolved symbols natively; this file defines them, and calls the exported `proxy_on_*`. So
//! the real shell and its exports run inside `cargo test`. It is as unkind as Envoy 1.40:
//! - a header map answers in its own callback, while that callback's Pause holds it, and in the log, else BadArgument;
//! - a body answers only in its own callbacks and in ticks that find it held; an empty one answers Ok and hands nothing over;
//! - held headers hold all that follows, or with `allow_on_headers_stop_iteration` wait for a body that goes on;
//! - what is asked to go on, to be answered or reset is so when the callback has returned, and then the exchange may be over;
//! - a property that is not there is NotFound, and some are SerializationFailure;
//! - a defined metric gets a new id each time, and names live as long as the process.
//!
//! A panic in the shell cannot unwind through the ABI and aborts the test binary. A misuse that Envoy would punish
//! later (a hang, a count lost) is noted, and `Vm::run` fails the test.
//!
//! The shell's contexts are thread-local, so a thread is a worker's VM; the process is what workers share.

mod abi;
mod flow;
mod http;
mod shared_data;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use proptest::test_runner::TestRng;

pub use flow::LocalResponse;
pub use http::{Goodbye, Http, Left};

/// Statuses of the ABI.
pub const OK: u32 = 0;
pub const NOT_FOUND: u32 = 1;
pub const BAD_ARGUMENT: u32 = 2;
pub const SERIALIZATION_FAILURE: u32 = 3;
pub const CAS_MISMATCH: u32 = 8;

/// Headers in order; anything may stand in them.
pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// Headers from text.
pub fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())).collect()
}

/// What all workers share: Envoy's stats and shared data.
#[derive(Debug, Default)]
pub struct Process {
    metrics: Mutex<BTreeMap<String, Metric>>,
    shared: Mutex<shared_data::SharedData>,
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
    Tick,
    Log,
    Done,
}

/// One direction of an exchange.
#[derive(Debug, Default)]
struct Half {
    headers: Headers,
    trailers: Headers,
    /// The filter can reach the headers: from their callback on, and if it held them, until it lets them go.
    reachable: bool,
    /// The headers' callback asked to keep them back.
    headers_held: bool,
    /// The other side has the headers.
    gone: bool,
    /// What came while the headers were held, and is shown when they go.
    waiting: Vec<u8>,
    /// The end came so: as a last piece, or as trailers.
    waiting_end: Option<End>,
    /// What a body callback can read now.
    readable: Vec<u8>,
    /// What was held by "stop and watermark" is not shown again.
    aside: Vec<u8>,
    /// The callback before asked to keep back what it saw.
    held: bool,
    /// The end was shown.
    ended: bool,
    passed: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Piece,
    Trailers,
}

impl Half {
    /// Something waits for somebody to let it go.
    fn is_held(&self) -> bool {
        self.headers_held || self.held && self.ended
    }
}

#[derive(Debug, Default)]
struct Exchange {
    request: Half,
    response: Half,
    local: Option<LocalResponse>,
    /// The client's answer broke off.
    broken: bool,
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
    /// What the host has been asked for in the callback that runs.
    wishes: VecDeque<(u32, flow::Wish)>,
    /// Exchanges that ended by themselves.
    over: BTreeMap<u32, Left>,
    /// `allow_on_headers_stop_iteration` of the plugin's config.
    allow_on_headers_stop_iteration: bool,
    tick_period: u32,
    configuration: Vec<u8>,
    /// Kind and name by id.
    defined: Vec<(u32, String)>,
    log: Vec<String>,
    calls: BTreeMap<&'static str, usize>,
    fault: Option<Fault>,
    /// A call has failed or will: ids and stats may be wrong, and the filter is not to blame.
    failed: bool,
    /// A call has failed without which nothing that is held can go.
    stuck: bool,
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
            wishes: VecDeque::new(),
            over: BTreeMap::new(),
            allow_on_headers_stop_iteration: false,
            tick_period: 0,
            configuration: Vec::new(),
            defined: Vec::new(),
            log: Vec::new(),
            calls: BTreeMap::new(),
            fault: None,
            failed: false,
            stuck: false,
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

    /// Another plugin in the same VM, under its default configuration.
    pub fn beside(&self) -> Self {
        let root = with(State::next_context);
        // SAFETY: as above.
        unsafe {
            abi::proxy_on_context_create(root, 0);
            assert!(abi::proxy_on_vm_start(root, 0));
        }
        Self { root }
    }

    /// The plugin goes with its configuration.
    pub fn delete(self) {
        with(|state| state.phase = Phase::Root);
        // SAFETY: as above.
        unsafe {
            assert!(abi::proxy_on_done(self.root));
            abi::proxy_on_delete(self.root);
        }
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
        let http = Http::of(context);
        for (path, value) in abi::USUAL_PROPERTIES {
            http.property(path, value);
        }
        http
    }

    /// Lets time pass.
    pub fn pass_ms(&self, ms: u64) {
        with(|state| state.clock += ms * 1_000_000);
    }

    /// Gives the plugin this setting: held headers then wait for a body that goes on.
    pub fn allow_on_headers_stop_iteration(&self) {
        with(|state| state.allow_on_headers_stop_iteration = true);
    }

    /// The period of ticks that the filter asked for, in milliseconds; zero: none.
    pub fn tick_period_ms(&self) -> u32 {
        with(|state| state.tick_period)
    }

    /// Lets one period pass, then a tick come. False, and nothing happens, if the filter wants none.
    pub fn tick(&self) -> bool {
        let period = self.tick_period_ms();
        if period == 0 {
            return false;
        }
        self.pass_ms(period.into());
        with(|state| (state.phase, state.current) = (Phase::Tick, self.root));
        // SAFETY: as above.
        unsafe { abi::proxy_on_tick(self.root) };
        flow::settle();
        true
    }

    /// Lets time pass with all its ticks.
    pub fn pass_ticking_ms(&self, ms: u64) {
        let now = || with(|state| state.clock);
        let end = now() + ms * 1_000_000;
        while end.saturating_sub(now()) >= u64::from(self.tick_period_ms()) * 1_000_000 && self.tick() {}
        with(|state| state.clock = state.clock.max(end));
    }

    /// Which calls fail from now on.
    pub fn fail(&self, fault: Option<Fault>) {
        with(|state| (state.fault, state.failed) = (fault, true));
    }

    /// What the filter did wrong since the last time this was asked; what nobody asks for fails the test.
    pub fn misuses(&self) -> Vec<String> {
        with(|state| std::mem::take(&mut state.misuses))
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

fn misuse(what: String) {
    with(|state| state.misuses.push(what));
}
