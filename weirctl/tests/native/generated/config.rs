//! docs/config.md, from the JSON Schema of the config.

use serde_json::{Map, Value};
use weir::settings::Config;

use crate::support::committed;

const HEAD: &str = "<!-- Generated from src/config.rs. Write it again with: WEIR_UPDATE=1 cargo test --package weirctl -->
# Configuration

JSON, in the Wasm plugin's `configuration` (a `StringValue`; in Istio the WasmPlugin's `pluginConfig`, as YAML). Every key may be left out
that is not said to be required; `{}` and nothing at all are good configs. An unknown key or a value out of range is refused with its
path, and an Envoy that already runs keeps the config it has. `weirctl check FILE` says the same without an Envoy.

```json
";

/// Shown at the head of the page, and checked to be a good config.
const EXAMPLE: &str = r#"{
  "identity": {
    "tenant": [{"header": "x-tenant"}, {"api_key_hash": {"salt": "change me"}}],
    "user": [{"jwt_claim": {"payload": "jwt", "claim": "sub"}}, {"baggage": "user.id"}],
    "run": ["trace_id"]
  },
  "labels": {"models": ["gpt-4o", "claude-sonnet-4-5"], "max_models": 20},
  "timing": {"stall_ms": 2000},
  "slo": [{"name": "interactive", "match": {"model": "gpt-*"}, "first_token_ms": 2000, "objective": 0.99}],
  "limits": [
    {
      "name": "tokens-per-minute", "scope": ["tenant"], "share": {"of": "user"}, "max_wait_ms": 2000,
      "rate": {"limit": 200000, "per": "minute"}, "weigh": {"cache_read": 0.1, "output": 4}
    },
    {"name": "run-budget", "scope": ["run"], "budget": {"limit": 2000000}, "on_exceeded": "cut"},
    {"name": "in-flight", "scope": ["tenant", "user"], "concurrency": 20},
    {"name": "tree", "scope": ["run"], "tree": {"max_depth": 4, "max_fanout": 16}}
  ]
}"#;

#[test]
fn the_page_has_every_key_of_the_schema_and_its_example_is_a_good_config() {
    Config::parse(EXAMPLE.as_bytes()).unwrap();
    let schema = schemars::schema_for!(Config).to_value();
    let mut page = format!("{HEAD}{EXAMPLE}\n```\n\n## The whole\n");
    object(&mut page, &schema);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        if is_section(definition) {
            page.push_str(&format!("\n## {name}\n{}\n\n", text(definition)));
            match definition["oneOf"].as_array() {
                Some(forms) => one_of(&mut page, &schema, forms),
                None => table(&mut page, &schema, definition),
            }
        }
    }
    committed::is("docs/config.md", &page);
}

fn object(page: &mut String, schema: &Value) {
    page.push_str(&format!("{}\n\n", text(schema)));
    table(page, schema, schema);
}

/// Whether a definition has a section of its own; the others are said where they are used.
fn is_section(definition: &Value) -> bool {
    definition["type"] == "object" || definition.get("oneOf").is_some()
}

fn table(page: &mut String, schema: &Value, object: &Value) {
    page.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
    let required: Vec<&str> = object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, value) in object["properties"].as_object().unwrap() {
        let default = match value.get("default") {
            _ if required.contains(&key.as_str()) => "required".to_owned(),
            Some(default) => match without_nulls(default) {
                Value::Null => "—".to_owned(),
                default => format!("`{default}`"),
            },
            None => "—".to_owned(),
        };
        page.push_str(&format!("| `{key}` | {} | {default} | {} |\n", kind(schema, value), text(value)));
    }
}

fn one_of(page: &mut String, schema: &Value, forms: &[Value]) {
    page.push_str("| form | meaning |\n|---|---|\n");
    for form in forms {
        let shape = match (form["const"].as_str(), form["properties"].as_object()) {
            (Some(word), _) => format!("`\"{word}\"`"),
            (None, Some(fields)) => {
                let (key, value) = fields.iter().next().unwrap();
                format!("`{{\"{key}\": …}}` with {}", kind(schema, value))
            }
            (None, None) => panic!("a form that this page does not know: {form}"),
        };
        page.push_str(&format!("| {shape} | {} |\n", text(form)));
    }
}

/// What a value is, in words.
fn kind(schema: &Value, value: &Value) -> String {
    if let Some(reference) = value["$ref"].as_str() {
        let name = reference.trim_start_matches("#/$defs/");
        let definition = &schema["$defs"][name];
        if is_section(definition) {
            return format!("[{name}](#{})", name.to_lowercase());
        }
        return kind(schema, definition);
    }
    // A section that may be left out.
    if let Some(forms) = value["anyOf"].as_array() {
        return kind(schema, &forms[0]);
    }
    let type_ = value["type"].as_str().or_else(|| value["type"][0].as_str()).unwrap_or_default();
    match type_ {
        "array" => format!("list of {}", kind(schema, &value["items"])),
        "string" => match (value["pattern"].as_str(), value["minLength"].as_u64()) {
            (Some(pattern), _) => format!("text, `{pattern}`"),
            (None, Some(least)) => format!("text, at least {least} characters"),
            (None, None) => "text".to_owned(),
        },
        "boolean" => "true or false".to_owned(),
        "integer" => match (value["minimum"].as_u64(), value["maximum"].as_u64()) {
            (least, Some(most)) => format!("whole number, {} to {most}", least.unwrap_or_default()),
            (Some(least), None) => format!("whole number from {least}"),
            (None, None) => "whole number".to_owned(),
        },
        "number" => {
            let bounds = |least: &str, most: &str| Some((value[least].as_f64()?, value[most].as_f64()?));
            match (bounds("exclusiveMinimum", "exclusiveMaximum"), bounds("minimum", "maximum")) {
                (Some((least, most)), _) => format!("number between {least} and {most}"),
                (None, Some((least, most))) => format!("number, {least} to {most}"),
                (None, None) => "number".to_owned(),
            }
        }
        _ => panic!("a value that this page does not know: {value}"),
    }
}

/// A default without the keys that are absent in it.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept: Map<_, _> =
                fields.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
            Value::Object(kept)
        }
        other => other.clone(),
    }
}

fn text(value: &Value) -> String {
    value["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|")
}
