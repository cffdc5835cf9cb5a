//! Trees: what the places in a provider's documents mean, and how they are written down.

pub use crate::json::Inside;
use crate::json::Node;
use crate::wire::field::Field;

/// A tree of what a provider's documents mean.
pub type Tree = Node<Field>;

/// A node for a plain value.
macro_rules! leaf {
    ($means:expr) => {
        $crate::json::Node { means: Some($means), inside: None }
    };
}

/// A node for an object, with a meaning (`obj!(Choice; …)`) or without (`obj!(…)`).
macro_rules! obj {
    ($means:expr; $($key:literal => $node:expr),* $(,)?) => {
        $crate::json::Node { means: Some($means), inside: Some(&$crate::json::Inside { keys: &[$(($key, $node)),*], item: None, rest: None }) }
    };
    ($($key:literal => $node:expr),* $(,)?) => {
        $crate::json::Node { means: None, inside: Some(&$crate::json::Inside { keys: &[$(($key, $node)),*], item: None, rest: None }) }
    };
}

/// A node for an object of these keys, or for an array of such elements.
macro_rules! object_or_list {
    ($keys:expr, $item:expr) => {
        $crate::json::Node {
            means: None,
            inside: Some(&$crate::json::Inside { keys: $keys, item: Some(&$item), rest: None }),
        }
    };
}

/// A node for an array of such elements, with a meaning or without.
macro_rules! list {
    ($means:expr; $item:expr) => {
        $crate::json::Node {
            means: Some($means),
            inside: Some(&$crate::json::Inside { keys: &[], item: Some(&$item), rest: None }),
        }
    };
    ($item:expr) => {
        $crate::json::Node {
            means: None,
            inside: Some(&$crate::json::Inside { keys: &[], item: Some(&$item), rest: None }),
        }
    };
}

pub(crate) use {leaf, list, obj, object_or_list};
