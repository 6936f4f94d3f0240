//! The evidence for a violation: the few operations that contradict the model, and what went on around them.

use std::collections::HashSet;

use schism_checkers::{CheckResult, Violation};
use schism_history::Kind;
use serde::Serialize;
use serde_json::Value;

use super::format;
use super::{Digest, Operation};

/// Violations of one checker that are shown with evidence.
pub(super) const VIOLATIONS_MAX: usize = 10;
/// Operations of a contradiction that are shown.
const OPERATIONS_MAX: usize = 40;
/// Operations around a contradiction that are shown.
const CONTEXT_MAX: usize = 200;
/// Characters of a value in a label.
const LABEL_CHARS_MAX: usize = 40;
/// Characters of a value in a table.
const VALUE_CHARS_MAX: usize = 300;
/// Characters of a sentence.
const SENTENCE_CHARS_MAX: usize = 1000;
/// Sentences of an explanation.
const SENTENCES_MAX: usize = 50;

/// One violation, with the operations behind it.
#[derive(Clone, Debug, Serialize)]
pub struct Evidence {
    /// Its number in the report, from 1.
    pub number: usize,
    /// The checker that found it.
    pub checker: String,
    /// The model that is contradicted.
    pub model: String,
    /// The independent key it concerns.
    pub key: Option<String>,
    /// One sentence.
    pub summary: String,
    /// Further sentences.
    pub explanation: Vec<String>,
    /// Start and end of the evidence, nanoseconds since the start of the run.
    pub window: (u64, u64),
    /// The operations that together are the contradiction, in the order of their invocations.
    pub operations: Vec<OperationRow>,
    /// How many of them are not shown.
    pub operations_left_out: usize,
    /// Those, and others of the same key that overlap the window, in the order of their invocations.
    pub context: Vec<OperationRow>,
    /// How many of these are not shown.
    pub context_left_out: usize,
    /// Positions (in the list of all faults) of the faults in force at some time of the window.
    pub faults: Vec<usize>,
}

/// One operation as it is shown.
#[derive(Clone, Debug, Serialize)]
pub struct OperationRow {
    /// The event index of its invocation.
    pub index: u64,
    /// The process.
    pub process: String,
    /// The node its client is bound to.
    pub node: String,
    /// What it did, in a few words: `write 7`, `read → 7`, `cas 3 to 4`.
    pub label: String,
    /// The same with longer values.
    pub full: String,
    /// `ok`, `fail` or `info` (open operations count as `info`: unknown).
    pub outcome: String,
    /// Why it did not succeed.
    pub error: Option<String>,
    /// Its invocation, nanoseconds since the start of the run.
    pub invoked: u64,
    /// Its completion; none when it was open at the end.
    pub completed: Option<u64>,
    /// Whether it is one of the contradiction.
    pub part: bool,
    /// Whether it is the impossible one.
    pub culprit: bool,
}

impl OperationRow {
    fn of(digest: &Digest<'_>, operation: Operation, parts: &Parts) -> Self {
        let invocation = digest.invocation(operation);
        let completion = digest.completion(operation);
        let outcome = match completion.map(|event| event.kind) {
            Some(Kind::Ok) => "ok",
            Some(Kind::Fail) => "fail",
            _ => "info",
        };
        Self {
            index: invocation.index,
            process: invocation.process.to_string(),
            node: invocation.node.as_deref().unwrap_or_default().to_owned(),
            label: label(digest, operation, LABEL_CHARS_MAX),
            full: label(digest, operation, VALUE_CHARS_MAX),
            outcome: outcome.to_owned(),
            error: completion
                .and_then(|event| event.error.as_ref())
                .map(|error| plain(error, VALUE_CHARS_MAX)),
            invoked: invocation.time,
            completed: completion.map(|event| event.time),
            part: parts.all.contains(&invocation.index),
            culprit: parts.culprit == Some(invocation.index),
        }
    }
}

/// The event indices of a contradiction, for look-ups: a checker may blame half a history.
struct Parts {
    all: HashSet<u64>,
    culprit: Option<u64>,
}

/// The name, the argument, and after an arrow the result where it says more than the argument.
fn label(digest: &Digest<'_>, operation: Operation, chars_max: usize) -> String {
    let invocation = digest.invocation(operation);
    let argument = match (&*invocation.f, &invocation.value) {
        (f, Value::Null) => f.to_owned(),
        ("cas", Value::Array(pair)) if pair.len() == 2 => {
            let [from, to] = [&pair[0], &pair[1]].map(|value| format::value(value, chars_max / 2));
            format!("cas {from} to {to}")
        }
        (f, value) => format!("{f} {}", format::value(value, chars_max)),
    };
    match digest.completion(operation) {
        // A read that found nothing has a result too: null.
        Some(completion) if completion.kind == Kind::Ok && completion.value != invocation.value => {
            format!("{argument} → {}", format::value(&completion.value, chars_max))
        }
        Some(completion) if completion.kind == Kind::Ok && invocation.f == "read" => {
            format!("{argument} → {}", format::value(&completion.value, chars_max))
        }
        _ => argument,
    }
}

fn plain(value: &Value, chars_max: usize) -> String {
    value.as_str().map_or_else(|| format::value(value, chars_max), |text| format::clip(text, chars_max))
}

impl Evidence {
    /// Evidence for all violations that are shown; how many are not.
    pub(super) fn collect(checks: &[CheckResult], digest: &Digest<'_>) -> (Vec<Self>, usize) {
        let mut shown = Vec::new();
        let mut left_out = 0;
        for check in checks {
            left_out += check.violations.len().saturating_sub(VIOLATIONS_MAX);
            for violation in check.violations.iter().take(VIOLATIONS_MAX) {
                shown.push(Self::of(shown.len() + 1, check, violation, digest));
            }
        }
        (shown, left_out)
    }

    fn of(number: usize, check: &CheckResult, violation: &Violation, digest: &Digest<'_>) -> Self {
        let parts = Parts {
            all: violation.operations.iter().copied().collect(),
            culprit: violation.operations.first().copied(),
        };
        let row = |operation: &Operation| OperationRow::of(digest, *operation, &parts);
        let mut operations: Vec<OperationRow> = violation
            .operations
            .iter()
            .take(OPERATIONS_MAX)
            .filter_map(|index| digest.find(*index))
            .map(|operation| row(&operation))
            .collect();
        operations.sort_by_key(|row| (row.invoked, row.index));
        // What a person needs to see around it: as much time again on both sides, where the checker gave a window.
        let (start, end) = (violation.window.0, violation.window.1.max(violation.window.0));
        let margin = (end - start) / 2 + 1;
        let (from, to) = (start.saturating_sub(margin), end.saturating_add(margin));
        let around: Vec<&Operation> = digest
            .operations
            .iter()
            .filter(|operation| {
                let invocation = digest.invocation(**operation);
                // Unknown outcomes may take effect until the end.
                let ended = digest.completion(**operation).filter(|event| event.kind != Kind::Info);
                let overlaps = invocation.time <= to && ended.is_none_or(|event| event.time >= from);
                overlaps && (violation.key.is_none() || invocation.key == violation.key)
            })
            .collect();
        let context = nearest(&around, digest, (start, end), &parts);
        Self {
            number,
            checker: check.checker.clone(),
            model: check.model.clone(),
            key: violation.key.as_ref().map(|key| plain(key, VALUE_CHARS_MAX)),
            summary: format::clip(&violation.summary, SENTENCE_CHARS_MAX),
            explanation: violation
                .explanation
                .iter()
                .take(SENTENCES_MAX)
                .map(|sentence| format::clip(sentence, SENTENCE_CHARS_MAX))
                .collect(),
            window: (start, end),
            operations_left_out: violation.operations.len() - operations.len(),
            operations,
            context_left_out: around.len() - context.len(),
            context: context.into_iter().map(row).collect(),
            faults: digest
                .faults
                .iter()
                .enumerate()
                .filter(|(_, fault)| {
                    let (injected, healed) = fault.window(digest.end);
                    injected <= end && healed >= start
                })
                .map(|(position, _)| position)
                .collect(),
        }
    }
}

/// Those of `around` that are shown: the contradiction's own first, then the ones nearest to the window.
fn nearest<'o>(
    around: &[&'o Operation],
    digest: &Digest<'_>,
    (start, end): (u64, u64),
    parts: &Parts,
) -> Vec<&'o Operation> {
    let mut ranked: Vec<(u64, &'o Operation)> = around
        .iter()
        .map(|operation| {
            let invocation = digest.invocation(**operation);
            let completed = digest.completion(**operation).map_or(digest.end, |event| event.time);
            let distance = invocation.time.saturating_sub(end).max(start.saturating_sub(completed));
            match parts.all.contains(&invocation.index) {
                true => (0, *operation),
                false => (distance.saturating_add(1), *operation),
            }
        })
        .collect();
    ranked.sort_by_key(|(distance, operation)| (*distance, operation.invocation));
    ranked.truncate(CONTEXT_MAX);
    let mut shown: Vec<&Operation> = ranked.into_iter().map(|(_, operation)| operation).collect();
    shown.sort_by_key(|operation| operation.invocation);
    shown
}
