//! What kind a call is to those who pay: told from its head and route alone, before the first byte of a body.
//!
//! The config's rules come first, in their order; then inference, which [`crate::api`] knows; then MCP, by its headers; then
//! paths that everybody serves alike. All the rest is `other`.

use std::rc::Rc;

use super::config::{self, KindMatch, KindRule};
use crate::api::Api;
use crate::call::kind::{KNOWN, Kind, SLOTS};
use crate::call::subject::{Subject, Wants, without_port};
use crate::config::values::fits;
use crate::port::Headers;

/// All kinds under one config.
#[derive(Debug, Default)]
pub struct Kinds {
    on: bool,
    rules: Vec<Rule>,
    /// By their number.
    words: Vec<Rc<str>>,
    wants_route: bool,
}

#[derive(Debug)]
struct Rule {
    matches: KindMatch,
    kind: Kind,
}

impl Kinds {
    /// Of this section; `enabled` says that something wants to know them.
    pub fn new(rules: Option<&[KindRule]>, enabled: bool) -> Self {
        if !enabled {
            return Self::default();
        }
        let of = rules.unwrap_or_default();
        let own = config::own(of);
        let words: Vec<Rc<str>> = KNOWN.iter().copied().chain(own).take(SLOTS).map(Rc::from).collect();
        let rule = |rule: &KindRule| {
            let slot = words.iter().position(|word| **word == *rule.kind.as_str())?;
            let mut matches = rule.matches.clone();
            matches.host = matches.host.map(|host| host.to_ascii_lowercase());
            let name = rule.name.as_ref().map(|name| Rc::from(name.as_str()));
            Some(Rule { matches, kind: Kind { word: Rc::clone(words.get(slot)?), name, slot: slot as u8 } })
        };
        let rules: Vec<Rule> = of.iter().filter_map(rule).collect();
        let wants_route = rules.iter().any(|rule| rule.matches.route.is_some());
        Self { on: true, rules, words, wants_route }
    }

    /// What kinds want to know when a call comes.
    pub fn wants(&self) -> Wants {
        Wants { route: self.wants_route, ..Wants::default() }
    }

    /// The config's own, in their order.
    pub fn own_words(&self) -> Vec<&str> {
        self.words.iter().skip(KNOWN.len()).map(|word| &**word).collect()
    }

    /// The kinds' names, by their numbers.
    pub fn words(&self) -> &[Rc<str>] {
        &self.words
    }

    /// The kind of the call with these headers; nothing where kinds are disabled.
    pub fn of(&self, head: Headers<'_>, subject: &Subject) -> Option<Kind> {
        if !self.on {
            return None;
        }
        let path = &*subject.asked.path;
        let by_rule = || self.by_rule(head, path, subject.route.as_deref());
        by_rule().or_else(|| {
            let slot = by_itself(path, subject.mcp, subject.asked.api);
            Some(Kind { word: Rc::clone(self.words.get(slot as usize)?), name: None, slot: slot as u8 })
        })
    }

    fn by_rule(&self, head: Headers<'_>, path: &str, route: Option<&str>) -> Option<Kind> {
        if self.rules.is_empty() {
            return None;
        }
        let host = without_port(head.text(":authority").unwrap_or_default()).to_ascii_lowercase();
        let method = head.text(":method").map(str::to_ascii_uppercase);
        let rule = self.rules.iter().find(|rule| {
            let KindMatch { route: wanted, path: path_wanted, host: host_wanted, method: method_wanted } =
                &rule.matches;
            fits(wanted, &[route])
                && fits(path_wanted, &[Some(path)])
                && fits(host_wanted, &[Some(&host)])
                && fits(method_wanted, &[method.as_deref()])
        })?;
        Some(rule.kind.clone())
    }
}

/// The numbers of [`KNOWN`].
#[derive(Clone, Copy)]
#[repr(u8)]
enum Known {
    Model = 0,
    Embedding = 1,
    Retrieval = 2,
    Rerank = 3,
    Tool = 4,
    Guardrail = 5,
    Observability = 6,
    Other = 7,
}

#[inline(never)]
fn by_itself(path: &str, mcp: bool, api: Api) -> Known {
    match api {
        Api::Other => {}
        Api::Embeddings => return Known::Embedding,
        Api::Rerank => return Known::Rerank,
        _ => return Known::Model,
    }
    if mcp {
        return Known::Tool;
    }
    let path = path.trim_end_matches('/').to_ascii_lowercase();
    let fitting = PATHS.iter().find(|(within, end, _)| path.contains(within) && ends_in(&path, end));
    fitting.map_or(Known::Other, |(_, _, kind)| *kind)
}

/// Whether a path ends in this, at the border of a segment or of a verb (`models/x:rank`).
fn ends_in(path: &str, end: &str) -> bool {
    path.strip_suffix(end).is_some_and(|front| front.ends_with(['/', ':']))
}

/// What a path holds, how it ends, and what that is, in lower case. The first row that fits counts.
const PATHS: &[(&str, &str, Known)] = &[
    // Cohere, Jina, Voyage, vLLM, TEI, …; Vertex's ranking API.
    ("", "rerank", Known::Rerank),
    ("/rankingconfigs/", "rank", Known::Rerank),
    // OpenAI and all like it; Bedrock Guardrails; Azure Content Safety; Model Armor.
    ("", "moderations", Known::Guardrail),
    ("/guardrail/", "apply", Known::Guardrail),
    ("/contentsafety/", "analyze", Known::Guardrail),
    ("/contentsafety/", "shieldprompt", Known::Guardrail),
    ("", "sanitizeuserprompt", Known::Guardrail),
    ("", "sanitizemodelresponse", Known::Guardrail),
    // OpenAI's vector stores, Bedrock's knowledge bases.
    ("/vector_stores/", "search", Known::Retrieval),
    ("/knowledgebases/", "retrieve", Known::Retrieval),
    // Qdrant; Chroma and Typesense have collections too.
    ("/collections/", "search", Known::Retrieval),
    ("/collections/", "search/batch", Known::Retrieval),
    ("/collections/", "search/groups", Known::Retrieval),
    ("/collections/", "query", Known::Retrieval),
    ("/collections/", "query/batch", Known::Retrieval),
    ("/collections/", "query/groups", Known::Retrieval),
    ("/collections/", "recommend", Known::Retrieval),
    // Milvus; Pinecone; Azure AI Search, Meilisearch and Marqo; Elasticsearch and OpenSearch.
    ("/vectordb/entities/", "search", Known::Retrieval),
    ("/vectordb/entities/", "hybrid_search", Known::Retrieval),
    ("/vectordb/entities/", "query", Known::Retrieval),
    ("/records/namespaces/", "search", Known::Retrieval),
    ("/indexes", "search", Known::Retrieval),
    ("/indexes", "search.post.search", Known::Retrieval),
    ("", "_search", Known::Retrieval),
    ("", "_msearch", Known::Retrieval),
    ("", "_knn_search", Known::Retrieval),
    // OTLP, at whatever place it is served; Langfuse; LangSmith.
    ("", "v1/traces", Known::Observability),
    ("", "v1/metrics", Known::Observability),
    ("", "v1/logs", Known::Observability),
    ("/api/public/", "ingestion", Known::Observability),
    ("", "runs/batch", Known::Observability),
    ("", "runs/multipart", Known::Observability),
    // Inference that is counted by other things than tokens.
    ("/images/", "generations", Known::Model),
    ("/images/", "edits", Known::Model),
    ("/audio/", "speech", Known::Model),
    ("/audio/", "transcriptions", Known::Model),
    ("/audio/", "translations", Known::Model),
];
