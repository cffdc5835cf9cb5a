//! What the demo drives: calls of several tenants in all formats, with everything that goes wrong in real life.

use serde_json::{Value, json};

/// Everything a run does, decided before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The calls, in the order in which they are begun.
    pub calls: Vec<Call>,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who pays.
    pub tenant: &'static str,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The path at the gateway: the route's name in front.
    pub path: String,
    /// The body; `null` for none.
    pub body: Value,
    /// What the upstream is told to do.
    pub steer: String,
    /// After how many pieces of the body the client goes away.
    pub abort_after: Option<usize>,
    /// HTTP/2 or HTTP/1.1.
    pub http2: bool,
}

/// Routes: the name, and the `host` that goes on to the embedded upstream, so that it speaks as that provider does.
pub const ROUTES: &[(&str, &str)] = &[
    ("openai", "api.openai.com"),
    ("azure", "weir.openai.azure.com"),
    ("anthropic", "api.anthropic.com"),
    ("google", "generativelanguage.googleapis.com"),
    ("bedrock", "bedrock-runtime.us-east-1.amazonaws.com"),
    ("cohere", "api.cohere.com"),
    ("mistral", "api.mistral.ai"),
    ("groq", "api.groq.com"),
    ("deepseek", "api.deepseek.com"),
    ("openrouter", "openrouter.ai"),
    ("vllm", "vllm.internal"),
    ("ollama", "ollama.internal"),
];

/// Tenants, and whether their clients speak HTTP/2.
pub const TENANTS: [(&str, bool); 4] = [("acme", true), ("globex", false), ("initech", true), ("umbrella", false)];

/// A kind of call.
struct Kind {
    /// How often, relative to the others.
    weight: u32,
    path: &'static str,
    body: fn(&str) -> Value,
    stream: bool,
}

const fn kind(weight: u32, path: &'static str, stream: bool, body: fn(&str) -> Value) -> Kind {
    Kind { weight, path, body, stream }
}

fn chat(model: &str, prompt: &str, stream: bool) -> Value {
    json!({"model": model, "stream": stream, "messages": [
        {"role": "system", "content": "You answer in short sentences."},
        {"role": "user", "content": prompt},
    ]})
}

fn with(mut body: Value, key: &str, value: Value) -> Value {
    body[key] = value;
    body
}

fn counted(body: Value) -> Value {
    with(body, "stream_options", json!({"include_usage": true}))
}

fn weather() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]})
}

fn contents(prompt: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": prompt}]}]})
}

fn converse(prompt: &str) -> Value {
    json!({"messages": [{"role": "user", "content": [{"text": prompt}]}], "inferenceConfig": {"maxTokens": 512}})
}

fn messages(model: &str, prompt: &str, stream: bool) -> Value {
    with(chat(model, prompt, stream), "max_tokens", json!(2048))
}

/// All kinds. The first part of a path is the route.
const KINDS: &[Kind] = &[
    kind(6, "/openai/v1/chat/completions", true, |p| counted(chat("gpt-4o-mini", p, true))),
    // Without include_usage OpenAI says nothing of tokens: weir estimates them.
    kind(3, "/openai/v1/chat/completions", true, |p| chat("gpt-4o-mini", p, true)),
    kind(3, "/openai/v1/chat/completions", true, |p| counted(chat("o4-mini", p, true))),
    kind(2, "/openai/v1/chat/completions", false, |p| {
        let tool = json!([{"type": "function", "function": {"name": "get_weather", "parameters": weather()}}]);
        with(chat("gpt-4o-mini", p, false), "tools", tool)
    }),
    kind(
        4,
        "/openai/v1/responses",
        true,
        |p| json!({"model": "gpt-5", "input": p, "stream": true, "reasoning": {"summary": "auto"}}),
    ),
    kind(
        1,
        "/openai/v1/completions",
        true,
        |p| json!({"model": "gpt-3.5-turbo-instruct", "prompt": p, "stream": true, "max_tokens": 40}),
    ),
    kind(2, "/openai/v1/embeddings", false, |p| json!({"model": "text-embedding-3-small", "input": [p, "weir"]})),
    kind(2, "/azure/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", true, |p| {
        counted(chat("gpt-4o", p, true))
    }),
    kind(5, "/anthropic/v1/messages", true, |p| {
        let thinking = json!({"type": "enabled", "budget_tokens": 1024});
        with(messages("claude-sonnet-4-5", p, true), "thinking", thinking)
    }),
    kind(4, "/anthropic/v1/messages", true, |p| {
        let tools = json!([{"name": "get_weather", "input_schema": weather()}]);
        with(messages("claude-haiku-4-5", p, true), "tools", tools)
    }),
    kind(2, "/anthropic/v1/messages", false, |p| messages("claude-haiku-4-5", p, false)),
    kind(4, "/google/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", true, contents),
    kind(2, "/google/v1beta/models/gemini-2.5-pro:streamGenerateContent", true, contents),
    kind(1, "/google/v1beta/models/gemini-2.5-flash:generateContent", false, contents),
    kind(3, "/bedrock/model/anthropic.claude-3-5-haiku-20241022-v1%3A0/converse-stream", true, converse),
    kind(2, "/bedrock/model/amazon.nova-lite-v1%3A0/invoke-with-response-stream", true, converse),
    kind(1, "/bedrock/model/anthropic.claude-3-5-haiku-20241022-v1%3A0/converse", false, converse),
    kind(3, "/cohere/v2/chat", true, |p| chat("command-a-03-2025", p, true)),
    kind(1, "/cohere/v1/chat", true, |p| json!({"model": "command-r", "message": p, "stream": true})),
    kind(2, "/mistral/v1/chat/completions", true, |p| chat("mistral-small-latest", p, true)),
    kind(2, "/groq/openai/v1/chat/completions", true, |p| chat("llama-3.3-70b-versatile", p, true)),
    kind(2, "/deepseek/chat/completions", true, |p| chat("deepseek-reasoner", p, true)),
    kind(2, "/openrouter/api/v1/chat/completions", true, |p| chat("qwen/qwen3-32b", p, true)),
    kind(2, "/vllm/v1/chat/completions", true, |p| counted(chat("meta-llama/Llama-3.1-8B-Instruct", p, true))),
    kind(2, "/ollama/api/chat", true, |p| chat("llama3.2", p, true)),
    kind(1, "/ollama/api/generate", true, |p| json!({"model": "llama3.2", "prompt": p})),
];

/// What goes wrong, and in how many of a thousand calls. Only streams can break off in the middle.
const MISHAPS: &[(Mishap, u32)] = &[
    (Mishap::ClientAbort, 40),
    (Mishap::Steered("end=error"), 30),
    (Mishap::Steered("end=reset"), 20),
    (Mishap::Steered("end=cut"), 15),
    (Mishap::Steered("stall=1400"), 40),
    (Mishap::Steered("status=429"), 35),
    (Mishap::Steered("status=503"), 10),
    (Mishap::NoRoute, 10),
    // No inference: shown as `other`, and never counted as tokens.
    (Mishap::NoInference, 15),
];

#[derive(Clone, Copy)]
enum Mishap {
    ClientAbort,
    Steered(&'static str),
    NoRoute,
    NoInference,
}

impl Plan {
    /// So many calls, the same ones for the same seed. From 40 calls on everything goes wrong at least once.
    pub fn new(calls: usize, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let total: u32 = KINDS.iter().map(|kind| kind.weight).sum();
        let mut planned: Vec<(Call, bool)> = (0..calls)
            .map(|i| {
                // Every kind once, then by weight.
                let kind = KINDS.get(i).unwrap_or_else(|| {
                    let mut pick = rng.u32(..total);
                    let passes = |kind: &&Kind| {
                        let hit = pick < kind.weight;
                        pick = pick.saturating_sub(kind.weight);
                        hit
                    };
                    KINDS.iter().find(passes).unwrap_or(&KINDS[0])
                });
                (call(kind, &mut rng), kind.stream)
            })
            .collect();
        rng.shuffle(&mut planned);
        let mut next = 0;
        for (mishap, per_thousand) in MISHAPS {
            let wanted = (calls * *per_thousand as usize / 1000).max(usize::from(calls >= 40));
            let mut given = 0;
            while given < wanted && next < planned.len() {
                let (call, stream) = &mut planned[next];
                next += 1;
                if *stream {
                    mishap.befall(call, &mut rng);
                    given += 1;
                }
            }
        }
        rng.shuffle(&mut planned);
        Self { calls: planned.into_iter().map(|(call, _)| call).collect() }
    }
}

impl Mishap {
    fn befall(self, call: &mut Call, rng: &mut fastrand::Rng) {
        match self {
            Self::ClientAbort => {
                // Long enough that there is something to run away from.
                call.steer = "tokens=150,tools=0".into();
                call.abort_after = Some(rng.usize(1..8));
            }
            Self::Steered(steer) => call.steer = steer.into(),
            Self::NoRoute => call.path = "/nowhere/v1/chat/completions".into(),
            Self::NoInference => {
                call.method = "GET";
                call.path = "/openai/v1/models".into();
                call.body = Value::Null;
            }
        }
    }
}

fn call(kind: &Kind, rng: &mut fastrand::Rng) -> Call {
    let (tenant, http2) = TENANTS[rng.usize(..TENANTS.len())];
    // Most prompts are short, some are a book: the time to the first token grows with them.
    let sentences = match rng.u8(..20) {
        0 => rng.usize(200..600),
        1..5 => rng.usize(20..80),
        _ => rng.usize(1..8),
    };
    let prompt = "How much water flows over the weir when the gauge reads two feet? ".repeat(sentences);
    Call {
        tenant,
        method: "POST",
        path: kind.path.into(),
        body: (kind.body)(&prompt),
        steer: format!("seed={}", rng.u32(..)),
        abort_after: None,
        http2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_plans_the_same_calls_and_every_kind_is_among_them() {
        let (one, two) = (Plan::new(120, 7), Plan::new(120, 7));
        let text = |plan: &Plan| format!("{:?}", plan.calls);
        assert_eq!(text(&one), text(&two));
        assert_ne!(text(&one), text(&Plan::new(120, 8)));
        for (route, _) in ROUTES {
            assert!(one.calls.iter().any(|call| call.path.starts_with(&format!("/{route}/"))), "{route}");
        }
    }

    #[test]
    fn from_forty_calls_on_everything_goes_wrong_once() {
        let plan = Plan::new(40, 1);
        assert_eq!(plan.calls.len(), 40);
        for wanted in ["end=error", "end=reset", "end=cut", "stall=1400", "status=429", "status=503"] {
            assert!(plan.calls.iter().any(|call| call.steer == wanted), "{wanted}");
        }
        assert!(plan.calls.iter().any(|call| call.abort_after.is_some()));
        assert!(plan.calls.iter().any(|call| call.method == "GET"));
        assert!(plan.calls.iter().any(|call| call.path.starts_with("/nowhere")));
    }
}
