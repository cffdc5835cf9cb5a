//! MCP's messages over HTTP: which tools a request calls, and how each call came out.
//!
//! A request's body is one JSON-RPC message or a batch of them; its answer is the same, or an SSE stream in which notifications,
//! progress and requests of the server stand between. Only `tools/call` matters, and what has its id in the answer.

use crate::json::Scalar;
use crate::units::Nanos;
use crate::wire::arguments::{Arguments, Reading, Wanted};
use crate::wire::dialects::{Dialect, Sum};
use crate::wire::facts::MAX_NAME;
use crate::wire::field::Field::{self, *};
use crate::wire::tree::{Inside, Tree, leaf, obj};

/// Most calls of one batch that are kept.
const MAX_RUNS: usize = 64;

/// The keys of a message. Clients that pass the model's id for a call on do so under names of their own.
const KEYS: &[(&str, Tree)] = &[
    ("id", leaf!(RpcId)),
    ("method", leaf!(RpcMethod)),
    (
        "params",
        obj! {
            "name" => leaf!(RpcName),
            "arguments" => leaf!(RpcArgs),
            "_meta" => obj! {
                "claudecode/toolUseId" => leaf!(RpcAskedAs),
                "toolUseId" => leaf!(RpcAskedAs),
                "tool_use_id" => leaf!(RpcAskedAs),
                "toolCallId" => leaf!(RpcAskedAs),
                "tool_call_id" => leaf!(RpcAskedAs),
            },
        },
    ),
    (
        "result",
        Tree {
            means: Some(RpcResult),
            inside: Some(&Inside {
                keys: &[
                    ("isError", leaf!(RpcIsError)),
                    ("resultType", leaf!(RpcResultType)),
                    ("_meta", Tree { means: None, inside: None }),
                ],
                item: None,
                rest: Some(&leaf!(RpcPart)),
            }),
        },
    ),
    ("error", leaf!(RpcError)),
];

static ONE: Tree = Tree { means: Some(Message), inside: Some(&Inside { keys: KEYS, item: None, rest: None }) };
static MESSAGE: Tree =
    Tree { means: Some(Message), inside: Some(&Inside { keys: KEYS, item: Some(&ONE), rest: None }) };

/// How MCP speaks. There are no tokens to count.
pub fn dialect() -> Dialect {
    Dialect { event: &MESSAGE, whole: &MESSAGE, sum: Sum::Inclusive, lines: false }
}

/// How a call came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// With a result.
    Ok,
    /// With a result that tells of an error.
    Error,
    /// With an error of the protocol: there is no such tool, its arguments are wrong, the server failed.
    Failed,
    /// Not yet: the server wants to know more, and the client is to ask again.
    Interim,
}

/// A call of a tool.
#[derive(Debug)]
pub struct Run {
    /// The tool's name.
    pub name: String,
    /// The model's id for the call, where the client passes it on.
    pub asked_as: Option<String>,
    /// What it was called with.
    pub arguments: Arguments,
    /// How it came out, if it did.
    pub answered: Option<Answered>,
    /// Bytes of its result.
    pub result_bytes: u64,
    /// When its result had come.
    pub at: Option<Nanos>,
    id: Id,
}

/// A request's id: `1` and `"1"` are two.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Id {
    Text(Box<[u8]>),
    Number(Box<[u8]>),
}

/// What is read of an exchange: first its request, then its answer.
#[derive(Debug)]
pub struct Rpc {
    salt: u64,
    wanted: Option<Wanted>,
    runs: Vec<Run>,
    answering: bool,
    message: OneMessage,
}

/// The message at hand.
#[derive(Debug, Default)]
struct OneMessage {
    id: Option<Id>,
    method: Option<String>,
    name: Option<String>,
    asked_as: Option<String>,
    arguments: Option<Reading>,
    result: bool,
    is_error: bool,
    interim: bool,
    error: bool,
    result_bytes: u64,
}

impl Rpc {
    /// Nothing read yet. The arguments that are wanted are kept.
    pub fn new(salt: u64, wanted: Option<Wanted>) -> Self {
        Self { salt, wanted, runs: Vec::new(), answering: false, message: OneMessage::default() }
    }

    /// Leaves nothing but the calls that are wanted.
    pub fn only_wanted(&mut self) {
        let wanted = self.wanted.as_ref();
        self.runs.retain(|run| wanted.is_some_and(|wanted| wanted.is(&run.name)));
    }

    fn arguments(salt: u64, wanted: Option<&Wanted>) -> Reading {
        Reading::new(salt, Wanted::keeps(wanted, None))
    }

    /// The request is over, and what comes is its answer. Gives whether there is anything in it to be found.
    pub fn answers(&mut self) -> bool {
        self.answering = true;
        self.message = OneMessage::default();
        !self.runs.is_empty()
    }

    /// It is this moment: those that came out since the last look have come out now.
    pub fn looked(&mut self, now: Nanos) {
        for run in self.runs.iter_mut().filter(|run| run.answered.is_some() && run.at.is_none()) {
            run.at = Some(now);
        }
    }

    /// The calls, in the order of the request.
    pub fn finish(self) -> Vec<Run> {
        self.runs
    }

    /// A value begins.
    pub fn open(&mut self, means: Field) {
        match means {
            Message => self.message = OneMessage::default(),
            RpcResult => self.message.result = true,
            RpcError => self.message.error = true,
            _ => {}
        }
    }

    /// A value ends.
    pub fn close(&mut self, means: Field) {
        if means != Message {
            return;
        }
        let message = std::mem::take(&mut self.message);
        let Some(id) = message.id else { return };
        match message.method {
            Some(method) if !self.answering && method == "tools/call" => {
                let Some(name) = message.name.filter(|_| self.runs.len() < MAX_RUNS) else { return };
                let wanted = self.wanted.as_ref();
                let mut arguments = message.arguments.unwrap_or_else(|| Self::arguments(self.salt, wanted));
                arguments.keep(Wanted::keeps(wanted, Some(&name)));
                let arguments = arguments.finish();
                let (answered, result_bytes, at) = Default::default();
                let asked_as = message.asked_as;
                self.runs.push(Run { name, asked_as, arguments, answered, result_bytes, at, id });
            }
            // A request of the server's has an id of its own, which may look like one of the client's.
            None if self.answering && (message.result || message.error) => {
                let open = |run: &&mut Run| run.answered.is_none() && run.id == id;
                let Some(run) = self.runs.iter_mut().find(open) else { return };
                run.result_bytes = message.result_bytes;
                run.answered = Some(match () {
                    () if message.error => Answered::Failed,
                    () if message.interim => Answered::Interim,
                    () if message.is_error => Answered::Error,
                    () => Answered::Ok,
                });
            }
            _ => {}
        }
    }

    /// A value that is no container.
    pub fn scalar(&mut self, means: Field, value: Scalar<'_>) {
        let text = || value.text().map(|text| text.chars().take(MAX_NAME).collect::<String>());
        let message = &mut self.message;
        match means {
            RpcMethod => message.method = text(),
            RpcName => message.name = text(),
            RpcAskedAs => message.asked_as = text(),
            RpcId => {
                message.id = match value {
                    Scalar::Text(text, _) => Some(Id::Text(text.into())),
                    Scalar::Number(digits) => Some(Id::Number(digits.into())),
                    Scalar::Bool(_) | Scalar::Null => None,
                }
            }
            RpcIsError => message.is_error = value == Scalar::Bool(true),
            RpcResultType => message.interim = matches!(value, Scalar::Text(b"input_required", _)),
            _ => {}
        }
    }

    /// A piece of a value.
    pub fn piece(&mut self, means: Field, bytes: &[u8]) {
        match means {
            RpcArgs if !self.answering => {
                let (salt, wanted) = (self.salt, self.wanted.as_ref());
                self.message.arguments.get_or_insert_with(|| Self::arguments(salt, wanted)).push(bytes);
            }
            RpcPart => self.message.result_bytes = self.message.result_bytes.saturating_add(bytes.len() as u64),
            _ => {}
        }
    }
}
