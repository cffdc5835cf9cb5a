//! The JSON reader against serde_json, the obviously right one.

use proptest::prelude::*;
use serde_json::Value;
use weir::json::{Bad, Inside, MAX_TEXT, Meaning, Node, Reader, Scalar, Visitor};

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    Name,
    Size,
    List,
    Item,
    Any,
}

impl Meaning for Field {
    fn wants_text(self) -> bool {
        self != Field::Size
    }
}

const fn node(means: Field) -> Node<Field> {
    Node { means: Some(means), inside: None }
}

/// `{"name": …, "size": …, "list": [{"name": …}], "deep": {"name": …}}`
static TREE: Node<Field> = Node {
    means: None,
    inside: Some(&Inside {
        keys: &[
            ("name", node(Field::Name)),
            ("size", node(Field::Size)),
            (
                "list",
                Node {
                    means: Some(Field::List),
                    inside: Some(&Inside {
                        keys: &[],
                        item: Some(&Node {
                            means: Some(Field::Item),
                            inside: Some(&Inside { keys: &[("name", node(Field::Name))], item: None, rest: None }),
                        }),
                        rest: None,
                    }),
                },
            ),
            (
                "deep",
                Node {
                    means: None,
                    inside: Some(&Inside { keys: &[("name", node(Field::Name))], item: None, rest: None }),
                },
            ),
        ],
        item: None,
        rest: None,
    }),
};

/// Every string of a document, wherever it is.
static ANY: Node<Field> =
    Node { means: Some(Field::Any), inside: Some(&Inside { keys: &[], item: Some(&ANY), rest: Some(&ANY) }) };

/// What a visitor was told, as lines.
#[derive(Default)]
struct Told(Vec<String>);

impl Visitor<Field> for Told {
    fn open(&mut self, means: Field, _at: usize) {
        self.0.push(format!("open {means:?}"));
    }
    fn close(&mut self, means: Field, _at: usize) {
        self.0.push(format!("close {means:?}"));
    }
    fn scalar(&mut self, means: Field, value: Scalar<'_>, _span: Option<(usize, usize)>) {
        let value = match value {
            Scalar::Text(text, len) => format!("{:?} of {len}", String::from_utf8_lossy(text)),
            Scalar::Number(digits) => String::from_utf8_lossy(digits).into_owned(),
            Scalar::Bool(b) => b.to_string(),
            Scalar::Null => "null".to_owned(),
        };
        self.0.push(format!("{means:?} {value}"));
    }
}

fn read<'a>(tree: &'static Node<Field>, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<String>, Bad> {
    let mut reader = Reader::new(tree);
    let mut told = Told::default();
    for piece in pieces {
        let read = reader.feed(piece, &mut told)?;
        if read < piece.len() && !piece[read..].iter().all(u8::is_ascii_whitespace) {
            return Err(Bad);
        }
    }
    reader.finish(&mut told)?;
    Ok(told.0)
}

#[test]
fn what_the_tree_names_is_told_and_all_else_is_passed_over() {
    let cases: &[(&str, &[&str])] = &[
        (r#"{"name":"a"}"#, &[r#"Name "a" of 1"#]),
        (r#" { "name" : "a" , "x" : { "name" : "no" } } "#, &[r#"Name "a" of 1"#]),
        (r#"{"size":"12345"}"#, &[r#"Size "" of 5"#]),
        (r#"{"size":12.5e3,"name":null}"#, &["Size 12.5e3", "Name null"]),
        (r#"{"name":true,"size":false}"#, &["Name true", "Size false"]),
        (
            r#"{"list":[{"name":"a"},{"y":[1,2,{"name":"no"}]},3]}"#,
            &[
                "open List",
                "open Item",
                r#"Name "a" of 1"#,
                "close Item",
                "open Item",
                "close Item",
                "Item 3",
                "close List",
            ],
        ),
        (r#"{"deep":{"name":"a"},"list":[]}"#, &[r#"Name "a" of 1"#, "open List", "close List"]),
        (r#"{"name":{"name":"an object where a text was expected"}}"#, &["open Name", "close Name"]),
        (r#"{"x":"}]\"{[","name":"a"}"#, &[r#"Name "a" of 1"#]),
        (r#"{"x":[["]"],{"}":"\\"}],"name":"a"}"#, &[r#"Name "a" of 1"#]),
        (r#"{"name":"\u00e9\n\"\\\/"}"#, &["Name \"é\\n\\\"\\\\/\" of 14"]),
        (r#"{"name":"\ud83d\ude00"}"#, &[r#"Name "😀" of 12"#]),
        (r#"{"name":"\ud83dx\ude00"}"#, &["Name \"\u{fffd}x\u{fffd}\" of 13"]),
        (r#"{"n\u0061me":"a name may have escapes"}"#, &[r#"Name "a name may have escapes" of 23"#]),
        ("[1,2,3]", &[]),
        ("12", &[]),
        ("", &[]),
    ];
    for (document, expected) in cases {
        let bytes = document.as_bytes();
        for pieces in super::support::every_split(bytes) {
            assert_eq!(read(&TREE, pieces.clone()).as_deref(), Ok(&expected.map_to()[..]), "{document} as {pieces:?}");
        }
    }
}

trait MapTo {
    fn map_to(&self) -> Vec<String>;
}

impl MapTo for &[&str] {
    fn map_to(&self) -> Vec<String> {
        self.iter().map(|s| (*s).to_owned()).collect()
    }
}

#[test]
fn what_is_no_json_is_said_to_be_bad_at_every_split() {
    for document in [
        "{",
        "[",
        "}",
        "]",
        "{]",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1"#,
        r#"{"a" 1}"#,
        r#"{"a":1,,"b":2}"#,
        "nul",
        "tru",
        "<html>",
        r#"{"name":"\u12g4"}"#,
        r#"{"name":tru}"#,
        "{} x",
    ] {
        for pieces in super::support::every_split(document.as_bytes()) {
            assert_eq!(read(&TREE, pieces), Err(Bad), "{document}");
        }
    }
}

#[test]
fn a_text_longer_than_what_is_kept_is_cut_and_its_length_is_still_right() {
    let long = "ü".repeat(MAX_TEXT);
    let document = format!(r#"{{"name":"{long}"}}"#);
    for cut in [0, 5, 9, 10, 11, 300, document.len()] {
        let (a, b) = document.as_bytes().split_at(cut);
        let told = read(&TREE, [a, b]).unwrap();
        assert!(told[0].ends_with(&format!("of {}", long.len())), "{}", told[0]);
        assert!(told[0].len() < MAX_TEXT + 40);
    }
}

#[test]
fn nesting_without_end_costs_no_memory_and_no_stack() {
    let deep = 1_000_000;
    let document = format!(r#"{{"x":{}1{},"name":"a"}}"#, "[".repeat(deep), "]".repeat(deep));
    assert_eq!(read(&TREE, document.as_bytes().chunks(4096)).unwrap(), [r#"Name "a" of 1"#]);
    let document = format!("{}{}", r#"{"a":"#.repeat(deep), "1");
    assert_eq!(read(&ANY, document.as_bytes().chunks(4096)), Err(Bad));
}

/// Some JSON value.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(|n| serde_json::json!(n)),
        any::<f32>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| serde_json::json!(f)),
        "\\PC{0,12}".prop_map(Value::String),
        any::<String>().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map("[a-z\"\\\\é]{0,6}", inner, 0..6)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// All texts of a document in order, as serde_json reads them.
fn texts(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|v| texts(v, out)),
        Value::Object(map) => map.values().for_each(|v| texts(v, out)),
        _ => {}
    }
}

struct Texts(Vec<String>);

impl Visitor<Field> for Texts {
    fn open(&mut self, _: Field, _: usize) {}
    fn close(&mut self, _: Field, _: usize) {}
    fn scalar(&mut self, _: Field, value: Scalar<'_>, _: Option<(usize, usize)>) {
        if let Scalar::Text(text, _) = value {
            self.0.push(String::from_utf8_lossy(text).into_owned());
        }
    }
}

proptest! {
    #[test]
    fn texts_are_those_that_serde_json_finds(value in value(), pretty: bool, cuts in prop::collection::vec(0usize..2000, 0..8)) {
        let document = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let mut expected = Vec::new();
        texts(&value, &mut expected);
        prop_assume!(expected.iter().all(|t| t.len() <= MAX_TEXT));
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c % (document.len() + 1)).collect();
        cuts.push(document.len());
        cuts.sort_unstable();
        let mut reader = Reader::new(&ANY);
        let mut found = Texts(Vec::new());
        let mut from = 0;
        for cut in cuts {
            prop_assert!(reader.feed(&document.as_bytes()[from..cut], &mut found).is_ok(), "{}", document);
            from = cut;
        }
        prop_assert!(reader.finish(&mut found).is_ok());
        prop_assert_eq!(found.0, expected);
    }

    #[test]
    fn any_bytes_at_all_are_read_the_same_however_they_are_cut(bytes in prop::collection::vec(prop_oneof![
        Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b'"'), Just(b'\\'), Just(b','), Just(b':'), Just(b'1'), Just(b'n'),
        Just(b'u'), Just(b' '), any::<u8>()], 0..60), cut in 0usize..60) {
        let (a, b) = bytes.split_at(cut.min(bytes.len()));
        let whole = read(&ANY, [&bytes[..]]);
        prop_assert_eq!(read(&ANY, [a, b]), whole.clone());
        prop_assert_eq!(read(&ANY, bytes.chunks(1)), whole);
    }
}
