//! Any bytes as JSON: no panic; what another reader takes is taken, and says the same.

#![no_main]

use std::borrow::Cow;

use gatemeter::collectors::freebox::json::{Doc, Node};
use gatemeter::metrics;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let doc = Doc::parse(bytes.to_vec());
    if let Ok(doc) = &doc {
        walk(doc.root());
    }
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
    match doc {
        Ok(doc) => compare(doc.root(), &value),
        // Its own bound is four times as deep.
        Err(error) => assert!(error.to_string().contains("allowed"), "{error}"),
    }
});

/// Asks for everything that can be asked.
fn walk(node: Node<'_>) {
    let _ = (node.text(), node.number(), node.truth(), node.at("a.0.b"), node.at(""));
    node.items().for_each(walk);
    node.members().for_each(|(_, node)| walk(node));
}

fn compare(node: Node<'_>, value: &Value) {
    match value {
        Value::Null => assert!(node.at("").is_none()),
        Value::Bool(truth) => assert_eq!(node.truth(), Some(*truth)),
        Value::String(text) => assert_eq!(node.text(), Some(Cow::Borrowed(text.as_str()))),
        Value::Number(number) => match (node.number(), number.as_u64(), number.as_f64()) {
            (Some(metrics::Value::Unsigned(got)), Some(want), _) => assert_eq!(got, want),
            (Some(metrics::Value::Float(got)), _, Some(want)) => {
                assert!((got - want).abs() <= want.abs() * 1e-12 + 1e-300, "{got} {want}");
            }
            // Beyond what a double can hold.
            (None, ..) => {}
            (got, ..) => panic!("{got:?} {number}"),
        },
        Value::Array(items) => {
            assert_eq!(node.items().count(), items.len());
            node.items().zip(items).for_each(|(node, value)| compare(node, value));
        }
        Value::Object(members) => {
            // Of several values of one key it keeps the last.
            if node.members().count() == members.len() {
                for (key, node) in node.members() {
                    compare(node, &members[&*key]);
                }
            }
        }
    }
}
