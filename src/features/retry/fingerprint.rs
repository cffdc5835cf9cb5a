//! A keyed hash of a request, made while its body passes: of the same caller's same request it is the same, and it tells
//! nothing of what the request was.
//!
//! Of JSON-RPC (MCP) the `id` and `params._meta` are left out: they are another in each try.

use std::hash::{DefaultHasher, Hasher};

use crate::shared::key::hasher;

/// The hash so far.
#[derive(Clone, Debug)]
pub struct Fingerprint {
    hash: DefaultHasher,
    rpc: Option<Rpc>,
}

impl Fingerprint {
    /// The hash of a request without a body, under this key: who calls, method and path.
    pub fn new(salt: u64, head: &[&[u8]], json_rpc: bool) -> Self {
        Self { hash: hasher(salt, head), rpc: json_rpc.then(Rpc::default) }
    }

    /// A piece of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self { hash, rpc } = self;
        match rpc {
            // SipHash works on a stream of bytes: how it is cut makes no difference (a test says so).
            None => hash.write(bytes),
            Some(rpc) => rpc.pass(bytes, hash),
        }
    }

    /// The hash of all that came.
    pub fn value(&self) -> u64 {
        self.hash.finish()
    }
}

/// The longest name that is looked at: that of `params`.
const MAX_NAME: usize = 6;

/// Where in a JSON-RPC message we are.
#[derive(Clone, Debug, Default)]
struct Rpc {
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// A string here is a name.
    names: bool,
    name: Vec<u8>,
    /// Inside of `params`.
    in_params: bool,
    /// The depth of the value that is left out.
    skips: Option<u32>,
}

impl Rpc {
    fn pass(&mut self, bytes: &[u8], hash: &mut DefaultHasher) {
        let mut from = 0;
        for (at, byte) in bytes.iter().enumerate() {
            let before = self.skips.is_some();
            self.step(*byte);
            match (before, self.skips.is_some()) {
                (false, true) => hash.write(bytes.get(from..at).unwrap_or_default()),
                (true, false) => from = at,
                _ => {}
            }
        }
        if self.skips.is_none() {
            hash.write(bytes.get(from..).unwrap_or_default());
        }
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => {
                    self.in_string = false;
                    return;
                }
                _ => {}
            }
            if self.names && self.name.len() <= MAX_NAME {
                self.name.push(byte);
            }
            return;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                if self.names {
                    self.name.clear();
                }
            }
            b':' if self.names => {
                self.names = false;
                let skip = match self.depth {
                    1 => {
                        self.in_params = self.name == b"params";
                        self.name == b"id"
                    }
                    2 => self.in_params && self.name == b"_meta",
                    _ => false,
                };
                if skip {
                    self.skips = Some(self.depth);
                }
            }
            b'{' | b'[' => {
                self.depth = self.depth.saturating_add(1);
                self.names = byte == b'{' && self.depth <= 2;
            }
            b',' => {
                self.names = self.depth == 1 || self.depth == 2 && self.in_params;
                self.skips = self.skips.filter(|depth| *depth < self.depth);
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.names = false;
                self.skips = self.skips.filter(|depth| *depth <= self.depth);
            }
            _ => {}
        }
    }
}
