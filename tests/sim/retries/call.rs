//! One request that Envoy takes, played through [`Stream`] as the shell plays it.

use std::cell::RefCell;
use std::rc::Rc;

use weir::call::gate::Gate;
use weir::port::{Headers, Properties};
use weir::record::Record;
use weir::shared::Store;
use weir::stream::Stream;
use weir::units::Nanos;
use weir::worker::Worker;

/// How often the route has Envoy try again by itself.
const ROUTE_RETRIES: u64 = 3;

const GOOD: &[u8] = br#"{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#;
const BAD: &[u8] = br#"{"error":{"message":"overloaded","type":"server_error","param":null,"code":null}}"#;

/// What Envoy knows of a call.
struct Known {
    attempts: u64,
    details: &'static str,
}

impl Properties for Known {
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        match path {
            ["xds", "route_name"] => Some(b"llm".to_vec()),
            ["xds", "cluster_name"] => Some(b"models".to_vec()),
            ["upstream", "address"] if self.attempts > 0 => Some(b"10.0.0.1:443".to_vec()),
            ["upstream", "request_attempt_count"] if self.attempts > 0 => Some(self.attempts.to_le_bytes().to_vec()),
            ["response", "code_details"] => Some(self.details.into()),
            _ => None,
        }
    }
}

const AT_HEAD: Known = Known { attempts: 0, details: "" };

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Answer(u16),
    /// Its client went away.
    Abort,
}

/// A request that is at the upstream, or between two attempts.
pub struct Call {
    /// Whose wish it serves.
    pub action: usize,
    /// The number of the worker that has it.
    pub site: usize,
    /// The worker as it was when the call came: a reload gives later calls another.
    pub worker: Rc<RefCell<Worker>>,
    /// Attempts that were sent.
    pub attempts: u64,
    /// Envoy's retries that are left.
    pub left: u64,
    stream: Stream,
}

/// What becomes of a request when it comes.
pub enum Taken {
    Sent(Box<Call>),
    /// Answered by weir: the status, and whether the client is told not to come again.
    Refused(u16, bool),
}

/// What a client sends.
pub struct Request {
    pub action: usize,
    /// As the SDK counts its own tries.
    pub sdk_retries: u64,
}

impl Request {
    /// A request comes to a worker.
    pub fn arrive(&self, site: usize, worker: Rc<RefCell<Worker>>, store: &dyn Store, now: Nanos) -> Taken {
        let Self { action, sdk_retries } = *self;
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"question {action}"}}]}}"#);
        let (length, retries, id) = (body.len().to_string(), sdk_retries.to_string(), format!("call-{action}"));
        let head = [
            (":method", "POST"),
            (":path", "/v1/chat/completions"),
            (":authority", "llm"),
            ("authorization", "Bearer key"),
            ("x-request-id", &id),
            ("x-stainless-retry-count", &retries),
            ("content-length", &length),
        ];
        let head: Vec<_> = head.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let head = Headers(&head);
        let mut of = worker.borrow_mut();
        let mut stream = Stream::new(Rc::clone(&of.config));
        stream.request_head(head, false, &mut of, &AT_HEAD, store, now);
        let holds = stream.holds_headers(&of);
        let mut gate = if holds { Gate::Open } else { stream.admit(&mut of, store, false, true, now) };
        // What is known later than the head goes on changes no header any more.
        let mut may = stream.envoy_may_retry();
        if gate == Gate::Open {
            stream.request_body(body.as_bytes(), true, now);
            gate = stream.admit(&mut of, store, true, true, now);
            may = if holds { stream.envoy_may_retry() } else { may };
        }
        match gate {
            Gate::Open => {
                drop(of);
                let left = may.map_or(ROUTE_RETRIES, u64::from);
                Taken::Sent(Box::new(Call { action, site, worker, attempts: 0, left, stream }))
            }
            Gate::Refuse(answer) => {
                let status = answer.shaped.status;
                let stops = answer.headers.contains(&("x-should-retry", "false".to_owned()));
                let text = status.to_string();
                stream.response_head(Headers(&[(b":status", text.as_bytes())]), true, &of, now);
                stream.done(&mut of, &Known { attempts: 0, details: answer.details }, store, now);
                Taken::Refused(status, stops)
            }
            Gate::Wait { .. } => unreachable!("there is no limit that waits"),
        }
    }
}

impl Call {
    /// It is over; its worker must not be at work.
    pub fn end(mut self, end: End, store: &dyn Store, now: Nanos) -> Record {
        let mut details = "downstream_remote_disconnect";
        if let End::Answer(status) = end {
            details = "via_upstream";
            let text = status.to_string();
            let head: [(&[u8], &[u8]); 2] = [(b":status", text.as_bytes()), (b"content-type", b"application/json")];
            self.stream.response_head(Headers(&head), false, &self.worker.borrow(), now);
            self.stream.response_body(if status == 200 { GOOD } else { BAD }, true, now);
        }
        let mut worker = self.worker.borrow_mut();
        self.stream.done(&mut worker, &Known { attempts: self.attempts, details }, store, now).record
    }
}
