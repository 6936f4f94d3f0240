//! From "this object is not linearizable" to a contradiction that a person can follow.
//!
//! The engine names a call for which there is no place, the *culprit*, and what happened after its return is no part of the
//! contradiction. Among what happened before, each kind of object has shapes that have a name (a value nobody wrote, a stale
//! read, …); whatever has none is shrunk. Either way an engine confirms that the operations shown are impossible together,
//! whatever all others did.

pub(super) mod counter;
pub(super) mod general;
pub(super) mod key_value;
mod minimal;
mod orders;
pub(super) mod register;
pub(super) mod set;
mod words;

use std::time::{Duration, Instant};

use schism_history::{OPEN, Table, ValueId, View};

use super::call::{Call, Contradiction};
use super::checker::Decide;
use super::specification::Specification;
use crate::Violation;

/// What is said of evidence that might be smaller.
const NOT_MINIMAL: &str = "Not all of them may be needed: the search for fewer was cut short.";

/// What is known about the object that failed.
pub(super) struct Failure<'a, S: Specification> {
    pub specification: &'a S,
    pub table: &'a Table,
    /// The key, or [`ValueId::ABSENT`].
    pub key: ValueId,
    /// All its operations, also those that the engine never saw.
    pub rows: &'a [u32],
    /// What the engine saw.
    pub calls: &'a [Call<S::Action>],
    pub contradiction: &'a Contradiction,
    /// Decides parts of it.
    pub decide: &'a Decide<'a, S>,
    /// How many objects are explained, which share the effort.
    pub sharing: usize,
    /// When to stop looking for a smaller contradiction, and what was granted.
    pub deadline: Option<(Instant, Duration)>,
}

/// The violation that consists of these rows: the culprit first, the others as they were invoked, each once.
fn violation(
    table: &Table,
    key: ValueId,
    culprit: u32,
    mut rows: Vec<u32>,
    summary: String,
    explanation: Vec<String>,
) -> Violation {
    rows.sort_unstable_by_key(|row| (*row != culprit, *row));
    rows.dedup();
    let views: Vec<View<'_>> = rows.iter().map(|row| table.view(*row as usize)).collect();
    // As `Table::to_events` does it, where there are no times.
    let time = |time: u64, position: u32| match table.is_timed() {
        true => time,
        false => u64::from(position) * 1_000_000,
    };
    let start = views.iter().map(|view| time(view.row.invoke_time, view.row.invoked)).min().unwrap_or(0);
    let ends = views.iter().map(|view| match view.row.completed {
        OPEN => time(view.row.invoke_time, view.row.invoked),
        completed => time(view.row.complete_time, completed),
    });
    let end = ends.max().unwrap_or(start);
    Violation {
        key: key.is_present().then(|| table.values.to_json(key)),
        summary,
        explanation,
        operations: views.iter().map(View::index).collect(),
        window: (start, end),
    }
}
