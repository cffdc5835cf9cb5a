//! What stands between client and upstream: Envoy alone, or Envoy with one filter; and how to see that the filter did
//! its work. A filter that finds something writes it to the access log, as it would be used; the others have no log.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};
use weirctl::envoy::{AccessLog, Bootstrap, Cluster, Envoy, Route, WeirFilter};

use crate::answer::{Coding, INPUT_TOKENS, OUTPUT_TOKENS};
use crate::load::Served;

const EXTENSIONS: &str = "type.googleapis.com/envoy.extensions";

/// A way to set Envoy up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Variant {
    /// No filter but the router.
    Plain,
    /// The same with Envoy's default access log, which most people have anyway.
    PlainLog,
    /// A Wasm filter that does nothing.
    WasmNoop,
    /// A Wasm filter that has each chunk copied to it.
    WasmCopy,
    /// A Lua filter that reads each chunk.
    Lua,
    /// Envoy's own `ai_protocol_manager`, with the extraction of token usage. It has no log: see `check_log`.
    AiProtocolManager,
    /// Envoy's own `sse_to_metadata`, with rules for the model and the token counts.
    SseToMetadata,
    /// Weir, with identity, an objective, all metrics, and the record in the access log.
    Weir,
    /// The same without the access log.
    WeirNoLog,
    /// The smaller build that only observes, set up as `weir`.
    WeirObserve,
    /// The same with four levels of limits, all of which count the call and let it pass.
    WeirLimits,
    /// The same with accounts: prices, kinds, runs, tools, a plan, the audit's headers, chain and trail.
    WeirAccount,
    /// Another weir.wasm (`--against`), set up as `weir`.
    WeirAgainst,
    /// The same, set up as `weir_limits`.
    WeirLimitsAgainst,
}

/// The files that variants need.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Weir.
    pub weir: PathBuf,
    /// The build of it that only observes.
    pub observe: Option<PathBuf>,
    /// Another build of it.
    pub against: Option<PathBuf>,
    /// The two filters of `bench/filters`.
    pub filters: PathBuf,
}

/// What weir is told: everything that a platform team would switch on.
fn weir_config() -> Value {
    json!({
        "identity": {
            "tenant": [{"header": "x-tenant"}],
            "user": [{"api_key_hash": {"salt": "weir-bench-salt"}}],
        },
        "slo": [{"name": "first-token", "match": {"route": "bench"}, "first_token_ms": 500, "objective": 0.99}],
    })
}

/// The names of the limits in [`with_limits`].
const LIMITS: [&str; 4] = ["tenant", "user", "run", "model"];

/// The same, held to a limit on each level: a tenant's tokens, a user's calls, a run's budget, and the tokens of a tenant's
/// model, divided among its users. None is ever reached.
fn with_limits() -> Value {
    let most: u64 = 1_000_000_000_000;
    let [tenant, user, run, model] = LIMITS;
    let mut config = weir_config();
    config["limits"] = json!([
        {"name": tenant, "scope": ["tenant"], "rate": {"limit": most, "per": "minute"}},
        {"name": user, "scope": ["user"], "unit": "calls", "rate": {"limit": most, "per": "minute"}},
        {"name": run, "scope": ["run"], "budget": {"limit": most}},
        {"name": model, "scope": ["tenant", "model"], "share": {"of": "user"}, "rate": {"limit": most, "per": "minute"}},
    ]);
    config
}

/// The same, accounting for whole runs: each call is priced, a step of its run, told to the client, chained and kept in its
/// run's trail.
fn with_account() -> Value {
    let mut config = weir_config();
    let account = json!({
        "prices": [{"models": ["gpt-*"], "per_million": {"input": 0.15, "output": 0.6}}],
        "runs": {"outcomes": ["resolved"]},
        "tools": {},
        "plan": {},
        "audit": {
            "headers": true,
            "chain": {"key": "the key of the bench's records"},
            "trail": {"key": "the key of the bench's trails"},
        },
    });
    if let (Some(config), Some(account)) = (config.as_object_mut(), account.as_object()) {
        config.extend(account.clone());
    }
    config
}

fn weir(wasm: &Path, config: Value) -> Value {
    WeirFilter::new(wasm).config(config).to_json()
}

impl Variant {
    /// Its name on the command line and in tables.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn is_weir(self) -> bool {
        matches!(self, Self::Weir | Self::WeirNoLog | Self::WeirObserve | Self::WeirLimits | Self::WeirAccount)
            || self.is_against()
    }

    /// Whether it is a Wasm filter that does something.
    pub fn is_wasm(self) -> bool {
        self.is_weir() || self == Self::WasmCopy
    }

    /// Whether it writes the record to an access log.
    pub fn logs(self) -> bool {
        self.is_weir() && self != Self::WeirNoLog
    }

    /// Whether there is what it needs.
    pub fn is_there(self, parts: &Parts) -> bool {
        match self {
            Self::WeirObserve => parts.observe.is_some(),
            _ => !self.is_against() || parts.against.is_some(),
        }
    }

    /// Whether it is another build of weir than the others are.
    pub fn is_against(self) -> bool {
        matches!(self, Self::WeirAgainst | Self::WeirLimitsAgainst)
    }

    /// The same without limits or accounts, if it has some.
    pub fn without(self) -> Option<Self> {
        match self {
            Self::WeirLimits | Self::WeirAccount => Some(Self::Weir),
            Self::WeirLimitsAgainst => Some(Self::WeirAgainst),
            _ => None,
        }
    }

    /// Whether it can do its work on an answer of this encoding; Envoy's own filters read no gzip.
    pub fn reads(self, coding: Coding) -> bool {
        coding == Coding::Plain || !matches!(self, Self::AiProtocolManager | Self::SseToMetadata)
    }

    /// The whole bootstrap.
    pub fn bootstrap(self, parts: &Parts, upstream: SocketAddr, log: &Path) -> Value {
        let mut bootstrap = Bootstrap {
            filters: self.filter(parts).into_iter().collect(),
            routes: vec![Route::all("bench", "upstream")],
            clusters: vec![Cluster::plain("upstream", upstream)],
            // As long as Envoy's own default: merging histograms is not what is measured.
            stats_flush_ms: 5000,
            ..Bootstrap::default()
        };
        if self.logs() {
            bootstrap.access_log = Some(AccessLog::Records(log.to_owned()));
        }
        let mut json = bootstrap.to_json();
        if !self.is_weir() {
            // Only weir needs its tags and buckets; what they cost counts as weir's.
            json["stats_config"] = json!({});
        }
        if let Some(format) = self.log_format() {
            let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
            if let Some(manager) = json.pointer_mut(manager) {
                let mut log =
                    json!({"@type": format!("{EXTENSIONS}.access_loggers.file.v3.FileAccessLog"), "path": log});
                if let Some(format) = format {
                    log["log_format"] = json!({"text_format_source": {"inline_string": format!("{format}\n")}});
                }
                manager["access_log"] = json!([{"name": "envoy.access_loggers.file", "typed_config": log}]);
            }
        }
        json
    }

    fn filter(self, parts: &Parts) -> Option<Value> {
        let filter = |name: &str, kind: &str, mut config: Value| {
            config["@type"] = json!(format!("{EXTENSIONS}.filters.http.{kind}"));
            Some(json!({"name": name, "typed_config": config}))
        };
        match self {
            Self::Plain | Self::PlainLog => None,
            Self::WasmNoop | Self::WasmCopy => {
                let what = if self == Self::WasmNoop { "noop" } else { "copy" };
                let mut json = WeirFilter::new(&parts.filters).config(what).to_json();
                json["name"] = json!(what);
                Some(json)
            }
            Self::Lua => filter("lua", "lua.v3.Lua", json!({"default_source_code": {"inline_string": LUA}})),
            Self::AiProtocolManager => filter(
                "envoy.filters.http.ai_protocol_manager",
                "ai_protocol_manager.v3.AiProtocolManager",
                json!({"response_handling": {"token_usage": {
                    "include_unconfigured_routes": true,
                    "default_llm_protocol": "OPENAI_CHAT_COMPLETIONS",
                }}}),
            ),
            Self::SseToMetadata => {
                let rule = |path: &[&str], kind: &str, matches: u32| {
                    let selectors: Vec<Value> = path.iter().map(|key| json!({"key": key})).collect();
                    json!({
                        "rule": {"selectors": selectors, "on_present": {
                            "metadata_namespace": "sse", "key": path.last(), "type": kind,
                        }},
                        "stop_processing_after_matches": matches,
                    })
                };
                let rules = json!([
                    // The model stands in every event, the counts in the last but one only.
                    rule(&["model"], "STRING", 1),
                    rule(&["usage", "prompt_tokens"], "NUMBER", 0),
                    rule(&["usage", "completion_tokens"], "NUMBER", 0),
                ]);
                filter(
                    "envoy.filters.http.sse_to_metadata",
                    "sse_to_metadata.v3.SseToMetadata",
                    json!({"response_rules": {"content_parser": {
                        "name": "envoy.content_parsers.json",
                        "typed_config": {
                            "@type": format!("{EXTENSIONS}.content_parsers.json.v3.JsonContentParser"),
                            "rules": rules,
                        },
                    }}}),
                )
            }
            Self::Weir | Self::WeirNoLog => Some(weir(&parts.weir, weir_config())),
            Self::WeirObserve => parts.observe.as_deref().map(|wasm| weir(wasm, weir_config())),
            Self::WeirLimits => Some(weir(&parts.weir, with_limits())),
            Self::WeirAccount => Some(weir(&parts.weir, with_account())),
            Self::WeirAgainst => parts.against.as_deref().map(|wasm| weir(wasm, weir_config())),
            Self::WeirLimitsAgainst => parts.against.as_deref().map(|wasm| weir(wasm, with_limits())),
        }
    }

    /// The access log of a variant other than weir, if it has one; nothing in it is Envoy's default.
    fn log_format(self) -> Option<Option<&'static str>> {
        match self {
            Self::PlainLog => Some(None),
            Self::SseToMetadata => {
                Some(Some("%DYNAMIC_METADATA(sse:prompt_tokens)% %DYNAMIC_METADATA(sse:completion_tokens)%"))
            }
            _ => None,
        }
    }

    /// Whether the filter did its work on all calls so far, as far as Envoy's stats tell.
    ///
    /// # Errors
    /// It did not.
    pub fn check_stats(self, envoy: &Envoy, served: &[(Coding, Served)]) -> Result<()> {
        let counter = |name: &str| -> Result<u64> {
            let text = envoy.admin().get(&format!("/stats?filter=^{}$", name.replace('.', r"\.")))?;
            let value =
                text.lines().find_map(|line| line.split_once(": ")).with_context(|| format!("no stat {name}"))?.1;
            Ok(value.trim().parse()?)
        };
        match self {
            Self::WasmCopy => {
                let (copied, sent) = (counter("wasmcustom.weir_bench_copied_bytes")?, bytes(served));
                ensure!(copied == sent, "the copying filter saw {copied} bytes of {sent}");
            }
            Self::Lua => {
                let (runs, errors) = (counter("http.llm.lua.executions")?, counter("http.llm.lua.errors")?);
                ensure!(errors == 0, "{errors} errors in the Lua filter");
                ensure!(runs >= calls(served, |_| true), "the Lua filter ran {runs} times");
            }
            Self::AiProtocolManager => {
                let found = counter("ai_protocol_manager.token_usage_found")?;
                let wanted = calls(served, |coding| self.reads(coding));
                ensure!(found == wanted, "ai_protocol_manager found the usage of {found} calls of {wanted}");
            }
            Self::Plain
            | Self::PlainLog
            | Self::WasmNoop
            | Self::SseToMetadata
            | Self::Weir
            | Self::WeirNoLog
            | Self::WeirObserve
            | Self::WeirLimits
            | Self::WeirAccount
            | Self::WeirAgainst
            | Self::WeirLimitsAgainst => {}
        }
        Ok(())
    }

    /// Whether the tokens of all calls came to the access log, once Envoy has ended.
    ///
    /// # Errors
    /// They did not.
    pub fn check_log(self, log: &Path, served: &[(Coding, Served)]) -> Result<()> {
        let found: fn(&str) -> bool = match self {
            Self::PlainLog => |line| line.contains("POST /v1/chat/completions HTTP/1.1\" 200"),
            Self::SseToMetadata => |line| line == format!("{INPUT_TOKENS} {OUTPUT_TOKENS}"),
            Self::Weir | Self::WeirObserve | Self::WeirAgainst => {
                |line| is_whole(&serde_json::from_str(line).unwrap_or_default())
            }
            Self::WeirLimits | Self::WeirLimitsAgainst => |line| {
                let record: Value = serde_json::from_str(line).unwrap_or_default();
                let charged =
                    [INPUT_TOKENS + OUTPUT_TOKENS, 1, INPUT_TOKENS + OUTPUT_TOKENS, INPUT_TOKENS + OUTPUT_TOKENS];
                let passed = |(at, name): (usize, &str)| {
                    let limit = &record["limits"][at];
                    limit["name"] == json!(name)
                        && limit["verdict"] == json!("pass")
                        && limit["charged"] == json!(charged[at])
                };
                is_whole(&record) && LIMITS.into_iter().enumerate().all(passed)
            },
            Self::WeirAccount => |line| {
                let record: Value = serde_json::from_str(line).unwrap_or_default();
                is_whole(&record) && record["cost"]["total"].is_u64() && record["chain"]["mac"].is_string()
            },
            // What ai_protocol_manager finds goes into typed metadata, which no access log shows.
            Self::Plain | Self::WasmNoop | Self::WasmCopy | Self::Lua | Self::AiProtocolManager | Self::WeirNoLog => {
                return Ok(());
            }
        };
        let text = fs::read_to_string(log).with_context(|| log.display().to_string())?;
        let wanted = calls(served, |coding| self.reads(coding));
        let had = text.lines().filter(|line| found(line)).count() as u64;
        let odd = text.lines().find(|line| !found(line)).unwrap_or("none");
        ensure!(
            had == wanted,
            "{}: {had} of {wanted} calls with their tokens in the log; another line: {odd}",
            self.name()
        );
        Ok(())
    }
}

/// Whether a record has what is to be known of a call.
fn is_whole(record: &Value) -> bool {
    record["usage"]["input"] == json!(INPUT_TOKENS)
        && record["usage"]["output"] == json!(OUTPUT_TOKENS)
        && record["ended"] == json!("complete")
        && record["time"]["first_token_ms"].is_number()
        && record["tenant"] == json!("acme")
}

fn calls(served: &[(Coding, Served)], which: impl Fn(Coding) -> bool) -> u64 {
    served.iter().filter(|(coding, _)| which(*coding)).map(|(_, served)| served.calls).sum()
}

fn bytes(served: &[(Coding, Served)]) -> u64 {
    served.iter().map(|(_, served)| served.bytes).sum()
}

/// Reads each chunk, and keeps nothing of it.
const LUA: &str = r"
function envoy_on_response(handle)
  local bytes = 0
  for chunk in handle:bodyChunks() do
    bytes = bytes + #chunk:getBytes(0, chunk:length())
  end
end
";
