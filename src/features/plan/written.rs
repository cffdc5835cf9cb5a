//! A plan as a model wrote it: names in JSON, which become the plan that a header would have declared.
//!
//! `["search", {"tool": "fetch", "target": "billing.history"}, ["summarize", "rank"]]` is
//! `search>fetch:billing.history>(summarize,rank)`.

use super::config::Pointer;
use super::syntax::NoPlan;
use crate::config::json::Json;

/// Most bytes of arguments, or of an answer's text, that are kept to be read.
pub const MAX_WRITTEN: usize = 8192;
/// Most places of a text at which a document may begin: what begins there may be read to the text's end each time.
const MAX_TRIES: usize = 32;
/// What names a step that is an object: the first of these that it has.
const NAMES: [&str; 3] = ["tool", "name", "action"];
/// What a step that is an object is about.
const TARGET: &str = "target";

/// The plan in a tool's arguments, of which there may be more than was kept.
///
/// # Errors
/// There is none, or it is too large.
pub fn in_arguments(json: &[u8], cut: bool, pointer: &Pointer) -> Result<String, NoPlan> {
    if cut {
        return Err(NoPlan::TooLarge);
    }
    Json::first(json).and_then(|json| plan(pointer.at(&json)?)).ok_or(NoPlan::Syntax)
}

/// The plan in an answer's text: in the first JSON document in it in which the pointer leads to one. What stands around it
/// does not matter.
///
/// # Errors
/// There is none, or it is too large.
pub fn in_text(text: &[u8], cut: bool, pointer: &Pointer) -> Result<String, NoPlan> {
    let begins = text.iter().enumerate().filter(|(_, byte)| matches!(byte, b'{' | b'['));
    let plan_at = |(at, _)| plan(pointer.at(&Json::first(text.get(at..)?)?)?);
    let found = begins.take(MAX_TRIES).find_map(plan_at);
    found.ok_or(if cut { NoPlan::TooLarge } else { NoPlan::Syntax })
}

/// A list's parts, or a plan that is written as one.
fn plan(json: &Json) -> Option<String> {
    match json {
        Json::Text(text) => Some(text.clone()),
        Json::List(parts) => joined(parts, ">", part),
        _ => None,
    }
}

fn part(json: &Json) -> Option<String> {
    let Json::List(members) = json else { return step(json) };
    Some(["(", &joined(members, ",", step)?, ")"].concat())
}

fn step(json: &Json) -> Option<String> {
    let name = match json {
        Json::Text(name) => name,
        _ => NAMES.iter().find_map(|name| text(json.member(name)?))?,
    };
    Some(match json.member(TARGET).and_then(text) {
        Some(target) => [name, ":", target].concat(),
        None => name.clone(),
    })
}

fn text(json: &Json) -> Option<&String> {
    if let Json::Text(text) = json { Some(text) } else { None }
}

fn joined(list: &[Json], between: &str, written: fn(&Json) -> Option<String>) -> Option<String> {
    let all: Vec<String> = list.iter().map(written).collect::<Option<_>>()?;
    Some(all.join(between))
}
