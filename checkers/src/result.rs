//! What a checker says. The same shapes go into `results.json` and the report.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A checker's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Validity {
    /// Every operation fits the model.
    Pass,
    /// The history contradicts the model; the evidence is in [`CheckResult::violations`].
    Violation,
    /// The checker ran out of its budget; [`CheckResult::unknown`] says which and how far it came.
    Unknown,
}

/// The result of one checker over one history.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckResult {
    /// The checker's name as `schism list checkers` shows it, e.g. `linearizable`.
    pub checker: String,
    /// The model checked against, e.g. `cas-register`.
    pub model: String,
    /// The engine that decided, e.g. `just-in-time`.
    pub engine: String,
    /// The answer.
    pub validity: Validity,
    /// Independent keys checked.
    pub keys: usize,
    /// Client operations checked.
    pub operations: usize,
    /// How many keys contradict the model: all of them, also those beyond the ones explained in `violations`.
    #[serde(default)]
    pub violating_keys: usize,
    /// Evidence, the clearest first: fewest operations, then earliest. Empty unless `validity` is `violation`.
    pub violations: Vec<Violation>,
    /// What stayed undecided: which budget ran out, where, and how far the checker came. Also set beside a violation
    /// when other keys are undecided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// Seconds the check took.
    pub seconds: f64,
}

/// One contradiction, with what a person needs to follow it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Violation {
    /// The independent key it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
    /// One sentence with values, nodes and times.
    pub summary: String,
    /// Further sentences, in the order in which a person should read them.
    pub explanation: Vec<String>,
    /// Event indices of the invocations that together are the contradiction, the impossible one first.
    pub operations: Vec<u64>,
    /// The longest stretch of time the evidence spans: start and end in nanoseconds since the start of the run.
    pub window: (u64, u64),
}
