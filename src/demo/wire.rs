//! What nodes say to each other: `POST /peer/batch` with a [`Batch`], answered by [`Answers`] in the same order.
//!
//! Every request is idempotent, so a node may send it again after a lost connection.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::tag::Tag;

/// A value and its version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Register {
    pub tag: Tag,
    pub value: Value,
}

/// One request to a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Request {
    /// What do you hold under this key?
    Query { key: String },
    /// Keep this unless you hold something newer, and answer when it is safe from a crash.
    Store { key: String, register: Register },
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Answer {
    /// To a query: nothing when the key was never stored here.
    Holds { register: Option<Register> },
    /// To a store: this value, or a newer one, is safe here.
    Stored,
    /// To a store: it could not be kept.
    Failed { reason: String },
}

/// Requests that travel together.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch {
    pub requests: Vec<Arc<Request>>,
}

/// Their answers, in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answers {
    pub answers: Vec<Answer>,
}
