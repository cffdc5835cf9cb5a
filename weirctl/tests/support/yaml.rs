//! YAML files as JSON values.

use serde_json::Value;

use super::root;

/// A committed YAML file.
///
/// # Panics
/// If it is not there or no YAML.
pub fn file(path: &str) -> Value {
    let text = std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    parse(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// YAML text.
///
/// # Errors
/// It is no YAML.
pub fn parse(text: &str) -> Result<Value, serde_saphyr::Error> {
    serde_saphyr::from_str(text)
}

/// Calls `change` with every value of this tree, outer ones first.
pub fn each(value: &mut Value, change: &mut impl FnMut(&mut Value)) {
    change(value);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each(item, change)),
        Value::Object(fields) => fields.values_mut().for_each(|field| each(field, change)),
        _ => {}
    }
}
